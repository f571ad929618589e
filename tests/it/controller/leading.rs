//! The lease: one works, the other stands by and takes over.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Rig, controller};
use crate::fixtures::{Binary, Kafka, eventually};

async fn leads(binary: &Binary) -> bool {
    binary.metric("parley_leader", &[]).await == 1.0
}

async fn two() -> (Rig, Binary) {
    let rig = Rig::start().await;
    eventually("the first leads", || async { leads(&rig.controller).await.then_some(()) }).await;
    let second = controller(rig.api, &rig.namespace, &Kafka::shared().bootstrap(), &[]).ready().await;
    (rig, second)
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_ten_seconds() {
    let (rig, second) = two().await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    rig.ready("s").await;
    assert!(!leads(&second).await);
    rig.controller.signal("KILL");
    let killed = Instant::now();
    eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await;
    eventually("the second works", || async {
        (rig.describe(&topic).await?.partitions.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_asked_to_stop_gives_the_lease_back() {
    let (rig, second) = two().await;
    let asked = Instant::now();
    let Rig { controller: first, .. } = rig;
    assert!(first.stop().await.success());
    eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}: it waited for the lease to run out",
        asked.elapsed()
    );
}

/// Stopped past its lease and resumed, an old leader sends nothing more.
#[tokio::test]
async fn a_leader_frozen_past_its_lease_writes_nothing_more() {
    let (rig, second) = two().await;
    let topic = rig.topic("t");
    rig.apply(
        "s",
        json!({"topics": [{"name": topic, "partitions": 1, "config": {"retention.ms": 1_000_000}}]}),
    )
    .await;
    rig.ready("s").await;
    rig.controller.signal("STOP");
    eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
    rig.apply(
        "s",
        json!({"topics": [{"name": topic, "partitions": 3, "config": {"retention.ms": 2_000_000}}]}),
    )
    .await;
    eventually("the second works", || async {
        (rig.config(&topic).await["retention.ms"] == "2000000").then_some(())
    })
    .await;
    rig.controller.signal("CONT");
    eventually("the first stands by", || async { (!leads(&rig.controller).await).then_some(()) }).await;
    eventually("it tells nothing of sets any more", || async {
        let (_, text) = rig.controller.get("/metrics").await?;
        (!text.contains(&rig.namespace)).then_some(())
    })
    .await;
    let calls = "parley_kafka_admin_request_duration_seconds_count";
    let sent = rig.controller.metric(calls, &["IncrementalAlterConfigs"]).await
        + rig.controller.metric(calls, &["CreatePartitions"]).await;
    rig.apply(
        "s",
        json!({"topics": [{"name": topic, "partitions": 4, "config": {"retention.ms": 3_000_000}}]}),
    )
    .await;
    eventually("the second works on", || async {
        (rig.config(&topic).await["retention.ms"] == "3000000").then_some(())
    })
    .await;
    let later = rig.controller.metric(calls, &["IncrementalAlterConfigs"]).await
        + rig.controller.metric(calls, &["CreatePartitions"]).await;
    assert_eq!(later, sent, "the old leader sent something");
    assert!(leads(&second).await);
}
