//! Kafka away, PostgreSQL away: streams stay, requests fail fast, and nothing needs a restart.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use super::kit::{Ear, Kit};
use crate::fixtures::eventually;

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
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // What was on its way when the broker died may be either; what comes after is refused.
    assert!(
        answer.status == 503 || answer.json()["accepted"] == "unknown",
        "{} {}",
        answer.status,
        answer.json()
    );
    eventually("a refusal", || async {
        let answer =
            amy.client.json(Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await.ok()?;
        (answer.status == 503
            && answer.json()["code"] == "unavailable"
            && answer.headers.contains_key("retry-after"))
        .then_some(())
    })
    .await;
    // Reads go on, and the stream beats.
    assert_eq!(amy.client.get(&format!("/api/rooms/{room}/messages")).await.unwrap().status, 200);
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
    let kit = Kit::own(0, &[]).await;
    let (gateway, addr) = kit.chat.gateway(&[("PARLEY_DATABASE_URL", &server.url("gateway", "parley"))]);
    let gateway = gateway.ready().await;
    let token = parley::ids::SessionToken::fresh().unwrap();
    let sql = format!(
        "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('amy', 'a@b.c', 'amy', now());
         INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
         VALUES ('\\x{}', 'amy', now(), now(), now() + interval '1 hour');",
        token.key()
    );
    let done = std::process::Command::new("psql")
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &server.url("postgres", "parley"), "-c", &sql])
        .status();
    assert!(done.is_ok_and(|status| status.success()));
    let client = parley::loadgen::Client::new(addr);
    client.set_cookie(Some(format!("__Host-parley={}", token.reveal())));
    let amy = super::kit::Person { id: "amy".parse().unwrap(), key: token.key(), client };
    let mut ear = Ear::live(&amy, addr, None).await;

    signal(server.pid(), "KILL");
    // The session was read a moment ago and is believed for some seconds; then nobody can say.
    eventually("503", || async {
        let answer = amy.client.get("/api/me").await.ok()?;
        (answer.status == 503 && answer.json()["code"] == "unavailable").then_some(())
    })
    .await;
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
    Ear::live(&amy, addr, None).await;
    drop(gateway);
}
