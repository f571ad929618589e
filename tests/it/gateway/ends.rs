//! How streams end: logout, expiry, drain, slowness.

use std::time::{Duration, Instant};

use futures::future::join_all;
use parley::{
    ids::{RequestId, Timestamp},
    wire::{Body, EndedSession, Event, Kind, Reply},
};

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};
use crate::fixtures::{eventually, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_streams_of_its_session_on_all_replicas_and_no_others() {
    let kit = Kit::shared().await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let other = kit.session(&amy.id);
    let room = kit.room(&[&amy]);
    let (mut ears, mut of_eve) = (Vec::new(), Vec::new());
    for n in 0..3 {
        ears.push(Ear::live(&amy, kit.addr(n), None).await);
        of_eve.push(Ear::live(&eve, kit.addr(n), None).await);
    }
    let mut elsewhere = Ear::live(&other, kit.addr(1), None).await;

    // Somebody says so, and PostgreSQL does not: nothing ends.
    let who = EndedSession::SessionKey(amy.key);
    kit.produce(&[Event::SessionEnded { who, ended_at: Timestamp::now(), reason: "logout".into() }]).await;
    // An end that is true comes after it, and every gateway has acted on that: so the streams that are heard now have outlived it.
    kit.end_session(&eve).await;
    join_all(of_eve.iter_mut().map(Ear::run_out)).await;
    kit.say(room, &amy.id, 1, 1).await;
    for ear in &mut ears {
        ear.message(room, 1).await;
    }
    let still = Ear::live(&amy, kit.addr(0), None).await;
    ears.push(still);

    kit.end_session(&amy).await;
    let told = Instant::now();
    let took = join_all(ears.iter_mut().map(async |ear| {
        ear.run_out().await;
        told.elapsed()
    }))
    .await;
    eprintln!("from the broker's having a session's end to the end of each stream: {took:?}");
    // The contract wants a second, and a free machine takes some milliseconds; a busy one still tells the event from the end of a
    // stream's life, which is eight minutes at the least.
    assert!(took.iter().all(|took| *took < Duration::from_secs(120)), "{took:?}");
    for n in 0..3 {
        Ear::never(&amy, kit.addr(n)).await;
        assert_eq!(read(&amy.client.at(kit.addr(n)), "/api/me").await.status, 401);
    }
    kit.say(room, &amy.id, 2, 2).await;
    let mut fresh = Ear::live(&other, kit.addr(1), None).await;
    kit.say(room, &amy.id, 3, 3).await;
    fresh.message(room, 3).await;
    assert_eq!(read(&other.client, "/api/me").await.status, 200);
    elsewhere.until("a heartbeat or an event: it lives", |_| true).await;
}

/// What was asked before a session ended may be answered after it: nobody hears the answer, least of all the user's other session.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_for_a_session_that_ended_goes_nowhere() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let other = kit.session(&amy.id);
    let (mut ear, mut elsewhere) =
        (Ear::live(&amy, kit.addr(0), None).await, Ear::live(&other, kit.addr(0), None).await);
    kit.end_session(&amy).await;
    ear.run_out().await;
    let reply = |status: &str| Reply {
        user_id: Some(amy.id.clone()),
        result: Ok(Body::ChangeStatus { status: status.into() }),
    };
    kit.reply(Kind::ChangeStatus, amy.key, RequestId::fresh(), &reply("too late")).await;
    // Both have one key of the record, and so one order.
    kit.reply(Kind::ChangeStatus, other.key, RequestId::fresh(), &reply("heard")).await;
    elsewhere.until("its own reply", |block| block.data.contains("heard")).await;
    assert_eq!(elsewhere.count("reply"), 1);
    Ear::never(&amy, kit.addr(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_user_end_but_the_one_that_was_opened_after() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let mut before = Ear::live(&amy, kit.addr(0), None).await;
    let ended_at = Timestamp::now();
    kit.chat.database.sql(&format!("UPDATE sessions SET ended_at = now() WHERE user_id = '{}'", amy.id));
    let later = kit.session(&amy.id);
    let mut after = Ear::live(&later, kit.addr(0), None).await;
    let who = EndedSession::UserId(amy.id.clone());
    kit.produce(&[Event::SessionEnded { who, ended_at, reason: "everywhere".into() }]).await;
    before.run_out().await;
    let room = kit.room(&[&amy]);
    let mut fresh = Ear::live(&later, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 1).await;
    fresh.message(room, 1).await;
    after.until("a heartbeat", |block| block.event.is_empty() && block.id.is_some()).await;
}

/// The event that says so may be late or lost: nobody is believed for longer than the cache's five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_refused_within_seconds_though_no_event_says_so() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    assert_eq!(read(&amy.client, "/api/me").await.status, 200);
    kit.chat.database.sql(&format!("UPDATE sessions SET ended_at = now() WHERE user_id = '{}'", amy.id));
    let ended = Instant::now();
    eventually("a refusal", || async { (amy.client.get("/api/me").await.ok()?.status == 401).then_some(()) })
        .await;
    eprintln!("an ended session was believed for {:?}", ended.elapsed());
    assert!(ended.elapsed() < Duration::from_secs(60), "not for minutes: {:?}", ended.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_ends_while_it_streams() {
    let kit = Kit::own(1, &[("PARLEY_HEARTBEAT_SECONDS", "1")]).await;
    let amy = kit.person("amy");
    kit.chat.database.sql(&format!(
        "UPDATE sessions SET expires_at = now() + interval '30 seconds' WHERE user_id = '{}'",
        amy.id
    ));
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let begun = Instant::now();
    ear.run_out().await;
    eprintln!("a stream whose session had thirty seconds ended after {:?}", begun.elapsed());
    // Without the check it would end with its life, after eight minutes at the least.
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    assert_eq!(ear.count("reconnect"), 0, "it ended for its session");
    assert!(
        ear.heard.iter().any(|block| block.event.is_empty() && block.id.is_some()),
        "it lived until then"
    );
    Ear::never(&amy, kit.addr(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_everybody_away_in_time_and_nothing_is_lost() {
    const DRAIN: Duration = Duration::from_secs(40);
    // What the chart's grace period leaves beyond the drain time.
    const GRACE: Duration = Duration::from_secs(20);
    const MESSAGES: i64 = 150;
    let mut kit = Kit::own(2, &[("PARLEY_DRAIN_SECONDS", "40")]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ears = Vec::new();
    for _ in 0..20 {
        ears.push(Ear::live(&amy, kit.addr(1), None).await);
    }
    let (mut gateway, leaving) = kit.gateways.pop().unwrap();
    let started = Instant::now();
    gateway.signal("TERM");
    let watch = async {
        // Readiness goes first: whoever is refused could have known, while most streams are still there.
        eventually("new connections to be refused", || async {
            tokio::net::TcpStream::connect(leaving).await.is_err().then_some(())
        })
        .await;
        let (status, body) = gateway.get("/readyz").await.expect("the admin server answers to the end");
        assert!(status == 503 && body.contains("draining"), "{status} {body}");
        let live = gateway.metric("parley_sse_connections", &["live"]).await;
        assert!(live > 0.0, "unready at once, not when the last stream has left");
        (gateway.wait().await, started.elapsed())
    };
    let speak = async {
        for seq in 1..=MESSAGES {
            kit.say(room, &amy.id, seq, seq).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let listen = join_all(ears.into_iter().map(async |mut ear| {
        ear.run_out().await;
        let left_at = started.elapsed();
        let told = ear.heard.last().expect("a last word").clone();
        assert_eq!(told.event, "reconnect", "{told:?}");
        assert!(told.retry.is_some() && told.data.contains("afterMs"));
        // Elsewhere it goes on exactly where it was, and hears all of the rest.
        let mut rest = Ear::live(&amy, kit.addr(0), Some(&ear.cursor())).await;
        assert_eq!(outcome(&rest), "resumed");
        if rest.seqs(room).last() != Some(&MESSAGES) {
            rest.message(room, MESSAGES).await;
        }
        let all: Vec<i64> = ear.seqs(room).into_iter().chain(rest.seqs(room)).collect();
        assert_eq!(all, (1..=MESSAGES).collect::<Vec<_>>(), "each once");
        left_at
    }));
    let ((status, ended), (), mut left_at) = tokio::join!(watch, speak, listen);
    left_at.sort_unstable();
    eprintln!("drained in {ended:?}; the streams left after {left_at:?}");
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(ended < DRAIN + GRACE, "{ended:?}");
    assert!(!gateway.log().contains("connections are cut"), "{}", gateway.log());
    let (first, last) = (left_at[0], left_at[left_at.len() - 1]);
    assert!(last - first > DRAIN / 2, "spread over the time: {left_at:?}");
    let at_once = left_at.iter().filter(|at| **at < Duration::from_secs(1)).count();
    assert!(at_once <= left_at.len() / 2, "{at_once} left at once: {left_at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_an_unknown_session_hears_nothing_and_ends() {
    let kit = Kit::shared().await;
    let nobody = parley::loadgen::Client::new(kit.addr(0));
    let started = Instant::now();
    let mut stream = nobody.events(None).await.unwrap();
    assert!(
        nobody.cookie().is_some_and(|cookie| cookie.starts_with("__Host-parley=")),
        "an anonymous cookie"
    );
    let mut blocks = Vec::new();
    while let Some(block) =
        tokio::time::timeout(Duration::from_secs(90), stream.next()).await.unwrap().unwrap()
    {
        blocks.push(block);
    }
    let hello = blocks.iter().find(|block| block.event == "hello").unwrap();
    assert!(hello.data.contains("\"userId\":null") && hello.id.is_some());
    assert!(started.elapsed() > Duration::from_secs(25), "{:?}", started.elapsed());
    assert!(blocks.last().unwrap().retry.is_some(), "{blocks:?}");
}
