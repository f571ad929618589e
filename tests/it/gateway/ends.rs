//! How streams end: logout, expiry, drain, slowness.

use std::time::{Duration, Instant};

use parley::{
    ids::Timestamp,
    loadgen::ClientError,
    wire::{EndedSession, Event},
};

use super::kit::{Ear, Kit};

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_streams_of_its_session_on_all_replicas_and_no_others() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let other = kit.session(&amy.id);
    let mut ears = Vec::new();
    for n in 0..3 {
        ears.push(Ear::live(&amy, kit.addr(n), None).await);
    }
    let mut elsewhere = Ear::live(&other, kit.addr(1), None).await;

    // Somebody says so, and PostgreSQL does not: nothing ends.
    let who = EndedSession::SessionKey(amy.key);
    kit.produce(&[Event::SessionEnded { who, ended_at: Timestamp::now(), reason: "logout".into() }]).await;
    let room = kit.room(&[&amy]);
    let mut still = Ear::live(&amy, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 1).await;
    still.message(room, 1).await;

    let ended = Instant::now();
    kit.end_session(&amy).await;
    for ear in ears.iter_mut().chain([&mut still]) {
        ear.run_out().await;
    }
    // The contract wants a second; the machine may be busy.
    assert!(ended.elapsed() < Duration::from_secs(10), "{:?}", ended.elapsed());
    for n in 0..3 {
        let again = amy.client.at(kit.addr(n)).events(None).await;
        assert!(matches!(again, Err(ClientError::Status(204))), "a browser stops at 204");
        assert_eq!(amy.client.at(kit.addr(n)).get("/api/me").await.unwrap().status, 401);
    }
    kit.say(room, &amy.id, 2, 2).await;
    let mut fresh = Ear::live(&other, kit.addr(1), None).await;
    kit.say(room, &amy.id, 3, 3).await;
    fresh.message(room, 3).await;
    assert_eq!(other.client.get("/api/me").await.unwrap().status, 200);
    elsewhere.until("a heartbeat or an event: it lives", |_| true).await;
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
    assert_eq!(amy.client.get("/api/me").await.unwrap().status, 200);
    kit.chat.database.sql(&format!("UPDATE sessions SET ended_at = now() WHERE user_id = '{}'", amy.id));
    crate::fixtures::eventually("a refusal", || async {
        (amy.client.get("/api/me").await.ok()?.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_ends_while_it_streams() {
    let kit = Kit::own(1, &[("PARLEY_HEARTBEAT_SECONDS", "1")]).await;
    let amy = kit.person("amy");
    kit.chat.database.sql(&format!(
        "UPDATE sessions SET expires_at = now() + interval '4 seconds' WHERE user_id = '{}'",
        amy.id
    ));
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    ear.run_out().await;
    assert!(
        ear.heard.iter().any(|block| block.event.is_empty() && block.id.is_some()),
        "it lived until then"
    );
    assert!(matches!(amy.client.events(None).await, Err(ClientError::Status(204))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_everybody_away_in_time_and_nothing_is_lost() {
    let mut kit = Kit::own(2, &[("PARLEY_DRAIN_SECONDS", "6")]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ears = Vec::new();
    for _ in 0..20 {
        ears.push(Ear::live(&amy, kit.addr(1), None).await);
    }
    let (gateway, _) = kit.gateways.pop().unwrap();
    let started = Instant::now();
    gateway.signal("TERM");
    let speak = async {
        for seq in 1..=60 {
            kit.say(room, &amy.id, seq, seq).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let listen = async {
        let mut left_at = Vec::new();
        for mut ear in ears {
            ear.run_out().await;
            left_at.push(started.elapsed());
            let told = ear.heard.last().expect("a last word").clone();
            assert_eq!(told.event, "reconnect", "{told:?}");
            assert!(told.retry.is_some() && told.data.contains("afterMs"));
            // Elsewhere it goes on exactly where it was.
            let first = ear.seqs(room);
            let rest = Ear::live(&amy, kit.addr(0), Some(&ear.cursor())).await;
            let all: Vec<i64> = first.into_iter().chain(rest.seqs(room)).collect();
            assert!(all.iter().enumerate().all(|(n, seq)| *seq == i64::try_from(n).unwrap() + 1), "{all:?}");
        }
        left_at
    };
    let (_, left_at) = tokio::join!(speak, listen);
    let mut gateway = gateway;
    assert_eq!(gateway.wait().await.code(), Some(0), "{}", gateway.log());
    assert!(left_at.last().unwrap() > &Duration::from_secs(3), "spread over the time: {left_at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_an_unknown_session_hears_nothing_and_ends() {
    let kit = Kit::shared().await;
    let nobody = parley::loadgen::Client::new(kit.addr(0));
    let mut stream = nobody.events(None).await.unwrap();
    assert!(
        nobody.cookie().is_some_and(|cookie| cookie.starts_with("__Host-parley=")),
        "an anonymous cookie"
    );
    let started = Instant::now();
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
