//! Every metric that operators are promised is there once what it measures has happened.

use hyper::Method;
use parley::{
    ids::RequestId,
    wire::{Body, Kind, Reply},
};
use serde_json::json;

use super::kit::{Ear, Kit, call};
use crate::fixtures::eventually;

/// Name and labels.
const PROMISED: [(&str, &[&str]); 18] = [
    ("http_requests_total", &["route", "method", "status"]),
    ("http_request_duration_seconds_count", &["route"]),
    ("sse_connections", &["state=\"live\""]),
    ("sse_opened_total", &["result=\"new\""]),
    ("sse_opened_total", &["result=\"resumed\""]),
    ("sse_opened_total", &["result=\"resync\""]),
    ("sse_closed_total", &["reason"]),
    ("sse_events_total", &["event=\"message\""]),
    ("sse_queue_bytes", &[]),
    ("delivery_latency_seconds_bucket", &["le"]),
    ("pending_requests", &[]),
    ("request_timeouts_total", &["kind=\"ChangeStatus\""]),
    ("kafka_position_lag", &["topic=\"chat-event\""]),
    ("gaps_repaired_total", &[]),
    ("drain_remaining", &[]),
    ("build_info", &["version", "commit"]),
    ("ready", &["dependency=\"kafka\""]),
    ("ready", &["dependency=\"postgres\""]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_gateway_is_there_and_counts() {
    let kit = Kit::own(1, &[]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 1).await;
    ear.message(room, 1).await;
    // 2 and 3 are stored, and their events never come.
    kit.store(room, &amy.id, 2, 3);
    kit.say(room, &amy.id, 4, 4).await;
    ear.message(room, 4).await;
    Ear::live(&amy, kit.addr(0), Some(&ear.cursor())).await;
    Ear::live(&amy, kit.addr(0), Some("nonsense")).await;
    let late = [("prefer", "wait=1")];
    let late = call(&amy.client, Method::PUT, "/api/me/status", &late, &json!({"status": "x"})).await;
    assert_eq!(late.status, 202, "there is no worker here");
    let reply =
        Reply { user_id: Some(amy.id.clone()), result: Ok(Body::ChangeStatus { status: "s".into() }) };
    kit.reply(Kind::ChangeStatus, amy.key, RequestId::fresh(), &reply).await;
    ear.until("the reply", |block| block.event == "reply").await;
    let gateway = &kit.gateways[0].0;
    eventually("streams that were dropped to be gone", || async {
        (gateway.metric("parley_sse_closed_total", &["gone"]).await >= 2.0).then_some(())
    })
    .await;
    let (_, text) = gateway.get("/metrics").await.unwrap();
    for (name, labels) in PROMISED {
        let found = text.lines().any(|line| {
            line.strip_prefix("parley_").and_then(|line| line.strip_prefix(name)).is_some_and(|rest| {
                rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
            })
        });
        assert!(found, "no parley_{name} with {labels:?} in:\n{text}");
    }
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(text.contains(&format!("\n{name} ")), "no {name}");
    }
    for (name, labels, least) in [
        ("parley_sse_connections", vec!["live"], 1.0),
        ("parley_sse_opened_total", vec!["new"], 1.0),
        ("parley_sse_opened_total", vec!["resumed"], 1.0),
        ("parley_sse_opened_total", vec!["resync"], 1.0),
        ("parley_gaps_repaired_total", vec![], 2.0),
        ("parley_request_timeouts_total", vec!["ChangeStatus"], 1.0),
        ("parley_sse_events_total", vec!["\"reply\""], 1.0),
        ("parley_delivery_latency_seconds_count", vec![], 3.0),
        ("parley_http_requests_total", vec!["/api/me/status", "\"PUT\"", "\"202\""], 1.0),
    ] {
        let value = gateway.metric(name, &labels).await;
        assert!(value >= least, "{name} {labels:?} is {value}");
    }
    // No label names a person, a room, a session, or a partition of a topic.
    for secret in [amy.id.as_str(), &room.to_string(), &amy.key.to_string(), "partition="] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
}
