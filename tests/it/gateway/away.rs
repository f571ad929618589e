//! Kafka away, PostgreSQL away: streams stay, requests fail fast, and nothing needs a restart.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use super::kit::{Ear, Kit};
use crate::fixtures::{Chat, eventually, read};

/// Told at once, within the contract's two seconds on a free machine. A busy one may take some more, and still tells that from waiting
/// for a library to give up: 30 s for a connection of the pool, 60 s for a socket of Kafka's, 5 min for a record.
const AT_ONCE: Duration = Duration::from_secs(25);

fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_requests_fail_fast_and_streams_stay() {
    let kit = Kit::own(1, &[]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 1).await;
    ear.message(room, 1).await;
    signal(kit.chat.kafka.pid(0), "KILL");

    let started = Instant::now();
    let answer = amy
        .client
        .json(Method::PUT, "/api/me/status", &[], &json!({"status": "x"}))
        .await
        .expect("an answer");
    eprintln!("Kafka away: the first answer, {}, came after {:?}", answer.status, started.elapsed());
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    // What was on its way when the broker died may be either; what comes after is refused.
    assert!(
        answer.status == 503 || answer.json()["accepted"] == "unknown",
        "{} {}",
        answer.status,
        answer.json()
    );
    let took = eventually("a refusal", || async {
        let started = Instant::now();
        let answer =
            amy.client.json(Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await.ok()?;
        (answer.status == 503
            && answer.json()["code"] == "unavailable"
            && answer.headers.contains_key("retry-after"))
        .then_some(started.elapsed())
    })
    .await;
    eprintln!("Kafka away: refused after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    // Reads go on, and the stream beats.
    assert_eq!(read(&amy.client, &format!("/api/rooms/{room}/messages")).await.status, 200);
    ear.until("a heartbeat", |block| block.event.is_empty() && block.id.is_some()).await;
    eventually("kafka in /readyz", || async {
        let (status, body) = kit.gateways[0].0.get("/readyz").await?;
        (status == 503 && body.contains("kafka")).then_some(())
    })
    .await;

    tokio::task::block_in_place(|| kit.chat.kafka.start_again());
    kit.say(room, &amy.id, 2, 3).await;
    ear.message(room, 3).await;
    assert_eq!(ear.seqs(room), [1, 2, 3], "the same stream, nothing missed");
    eventually("requests to be taken again", || async {
        let answer =
            amy.client.json(Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await.ok()?;
        (answer.status == 202).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_live_streams_go_on_and_new_ones_are_told_to_come_back() {
    let server: &'static crate::fixtures::Postgres = Box::leak(Box::new(crate::fixtures::Postgres::own()));
    server.migrate("parley");
    let mut chat = Chat::bare().await;
    chat.database = server.database();
    let kit = Kit::on(chat, 1, &[]).await;
    let addr = kit.addr(0);
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, addr, None).await;
    // Stored, and not told before PostgreSQL is gone.
    let events = kit.store(room, &amy.id, 1, 3);

    signal(server.pid(), "KILL");
    // The session was read a moment ago and is believed for some seconds; then nobody can say.
    let took = eventually("503", || async {
        let started = Instant::now();
        let answer = amy.client.get("/api/me").await.ok()?;
        (answer.status == 503 && answer.json()["code"] == "unavailable").then_some(started.elapsed())
    })
    .await;
    eprintln!("PostgreSQL away: refused after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    kit.produce(&events).await;
    ear.message(room, 3).await;
    assert_eq!(ear.seqs(room), [1, 2, 3], "events are delivered meanwhile");
    let started = Instant::now();
    let mut refused = Ear::open(&amy, addr, Some("v1.0123456789ab.AA")).await;
    refused.run_out().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(refused.heard.last().is_some_and(|block| block.retry.is_some()), "{:?}", refused.heard);
    assert_eq!(refused.count("resync"), 0, "its cursor stays as it is");
    ear.until("a heartbeat", |block| block.event.is_empty() && block.id.is_some()).await;

    tokio::task::block_in_place(|| server.start_again());
    eventually("200", || async {
        let answer = amy.client.get("/api/me").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    kit.say(room, &amy.id, 4, 4).await;
    ear.message(room, 4).await;
    assert_eq!(ear.seqs(room), [1, 2, 3, 4], "the same stream, nothing missed");
    Ear::live(&amy, addr, None).await;
}
