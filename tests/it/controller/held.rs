//! Pools of which something is not known, or which get nowhere: said by a reason of its own, and the count is held.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Rig, controller};
use crate::fixtures::{ApiServer, Kafka, eventually};

/// A set of one pool in mode Lag, whose group has the topic's name.
fn lagging(topic: &str, scaling: Value) -> Value {
    let mut whole = json!({"mode": "Lag", "lag": {"recordsPerSecondPerWorker": 100}});
    whole.as_object_mut().unwrap().extend(scaling.as_object().unwrap().clone());
    json!({
        "topics": [{"name": topic, "partitions": 2}],
        "workers": [{
            "name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic], "consumerGroup": topic, "scaling": whole,
        }],
    })
}

fn produce(kafka: &Kafka, topic: &str, records: usize) {
    kafka.tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", topic], &"record\n".repeat(records));
}

/// Whether the group has members and is at rest.
async fn stable(rig: &Rig, group: &str) -> bool {
    let described = rig.admin.describe_groups(vec![group.to_owned()]).await;
    let state = described.ok().and_then(|groups| groups.into_iter().next()?.1.ok());
    state.is_some_and(|group| group.state == parley::kafka::admin::GroupState::Stable)
}

/// A member that does not answer keeps the group from coming to rest: nothing is concluded from where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_come_to_rest_holds_the_count() {
    let (rig, kafka) = (Rig::start().await, Kafka::shared());
    let topic = rig.topic("t");
    rig.deployment_of("pool", json!(2)).await;
    rig.make_ready("pool").await;
    rig.apply("s", lagging(&topic, json!({"minReplicas": 2}))).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    let properties = ["session.timeout.ms=300000", "heartbeat.interval.ms=500"];
    let first = kafka.consumer(&topic, &topic, &properties);
    eventually("a member", || async { stable(&rig, &topic).await.then_some(()) }).await;
    first.signal("STOP");
    let second = kafka.consumer(&topic, &topic, &properties);
    let set = rig.condition("s", "WorkersReady", "False", "GroupRebalancing").await;
    assert_eq!(set["status"]["topicsReady"], "1/1");
    assert_eq!(rig.replicas("pool").await, 2);
    first.signal("CONT");
    rig.ready("s").await;
    drop((first, second));
}

/// Workers that are ready and commit nothing while records wait: a condition, for a person, and no reason for more of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stands_still_is_stuck() {
    let (rig, kafka) = (Rig::start().await, Kafka::shared());
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.make_ready("pool").await;
    rig.apply("s", lagging(&topic, json!({"maxReplicas": 2}))).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    produce(kafka, &topic, 10);
    let silent = kafka.consumer(
        &topic,
        &topic,
        &["enable.auto.commit=false", "auto.offset.reset=earliest", "session.timeout.ms=45000"],
    );
    let set = rig.condition("s", "WorkersReady", "False", "Stuck").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(&topic) && message.contains("stands still"), "{message}");
    rig.condition("s", "Stalled", "True", "Stuck").await;
    assert_eq!(rig.replicas("pool").await, 1, "ten records are no work for two");
    // One that commits takes its place.
    drop(silent);
    let _working =
        kafka.consumer(&topic, &topic, &["auto.commit.interval.ms=100", "auto.offset.reset=earliest"]);
    rig.ready("s").await;
}

/// While Kafka is away a pool keeps its count, though by the new spec it would be smaller: what is not known is no reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_held_while_kafka_is_away() {
    let kafka = tokio::task::block_in_place(|| Kafka::own(1));
    let rig = Rig::on(ApiServer::shared(), &kafka).await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let spec = |per_worker: i32| {
        json!({
            "topics": [{"name": topic, "partitions": 3}],
            "workers": [{
                "name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic],
                "scaling": {"partitionsPerWorker": per_worker},
            }],
        })
    };
    rig.apply("s", spec(1)).await;
    rig.scaled_to("pool", 3).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    kafka.signal(0, "KILL");
    rig.condition("s", "TopicsReady", "Unknown", "KafkaUnreachable").await;
    rig.apply("s", spec(3)).await;
    let set = rig.condition("s", "WorkersReady", "False", "Progressing").await;
    let worker = &set["status"]["workers"][0];
    assert!(worker["message"].as_str().is_some_and(|m| m.contains("the count is held")), "{worker}");
    assert_eq!((&worker["partitions"], &worker["replicas"]), (&json!(3), &json!(3)));
    rig.touch("s").await;
    assert_eq!(rig.replicas("pool").await, 3);
    tokio::task::block_in_place(|| kafka.start_again());
    rig.scaled_to("pool", 1).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
}

/// Partitions first, then workers: as long as one of three brokers does not know of the new partitions, the pool stays as it is; then
/// it grows in one step. Whoever added them, the controller or somebody else, and also when another controller leads by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_grows_when_the_last_broker_knows_the_partitions() {
    // A broker that is frozen stays one of them for longer than this takes.
    let kafka = tokio::task::block_in_place(|| Kafka::own_with(3, "broker.session.timeout.ms=600000"));
    let mut rig = Rig::on(ApiServer::shared(), &kafka).await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let spec = |partitions: i32| {
        json!({
            "topics": [{"name": topic, "partitions": partitions, "replicas": 3}],
            "workers": [{"name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic]}],
        })
    };
    rig.apply("s", spec(2)).await;
    rig.scaled_to("pool", 2).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    // One that is not yet among the brokers when it is frozen is none that could have to know.
    eventually("three brokers", || async {
        (rig.admin.describe_cluster().await.ok()?.brokers.len() == 3).then_some(())
    })
    .await;
    let status = kafka.tool("org.apache.kafka.tools.MetadataQuorumCommand", &["describe", "--status"], "");
    let leader: u16 = status
        .lines()
        .find_map(|line| line.strip_prefix("LeaderId:")?.trim().parse().ok())
        .expect("the quorum has a leader");
    let frozen = (leader + 1) % 3;
    for (before, after, theirs) in [(2, 4, false), (4, 6, true)] {
        kafka.signal(frozen, "STOP");
        if theirs {
            // Asked for until it is there: an answer may be lost, and the frozen broker asked.
            let somebody = rig.admin.clone().within(Arc::new(|| Duration::from_secs(5)));
            eventually("somebody grows the topic", || async {
                let _ = somebody.create_partitions(vec![(topic.clone(), 6)], false).await;
                (shown(&rig, leader, &topic).await? == after).then_some(())
            })
            .await;
        } else {
            rig.apply("s", spec(4)).await;
        }
        eventually("the controller has seen it", || async {
            (rig.topic_status("s", &topic).await["partitions"] == after).then_some(())
        })
        .await;
        if theirs {
            let next = controller(rig.api, &rig.namespace, &kafka.bootstrap(), &[]).ready().await;
            assert!(std::mem::replace(&mut rig.controller, next).stop().await.success());
        }
        for _ in 0..2 {
            rig.touch("s").await;
            assert_eq!(rig.replicas("pool").await, before, "one broker does not know it yet");
        }
        // Nothing else would remind of it: the poller may have seen all that there is to see, from another broker.
        let looks = async || rig.controller.metric("parley_reconcile_total", &["outcome=\"waiting\""]).await;
        let seen = looks().await;
        eventually("it is looked at again by itself", || async { (looks().await > seen).then_some(()) })
            .await;
        kafka.signal(frozen, "CONT");
        rig.scaled_to("pool", after).await;
        rig.make_ready("pool").await;
        // The event follows the count.
        let told = format!("from {before} to {after} for {after} partitions");
        eventually("it is told as one step", || async {
            rig.events("Scaled").await.iter().any(|note| note.contains(&told)).then_some(())
        })
        .await;
    }
}

/// How many partitions of the topic this broker shows.
async fn shown(rig: &Rig, broker: u16, topic: &str) -> Option<i64> {
    let described = rig.admin.describe_topics_by(i32::from(broker), vec![topic.to_owned()]).await.ok()?;
    i64::try_from(described[0].1.as_ref().ok()?.partitions.len()).ok()
}
