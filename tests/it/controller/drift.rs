//! What others do to topics: reverted, reported, or no longer fought over; and sets that only look.

use parley::kafka::admin::ConfigChange;
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::eventually;

async fn meddle(rig: &Rig, topic: &str, value: &str) {
    let change = ConfigChange::Set { key: "retention.ms".into(), value: value.into() };
    rig.admin.alter_configs(vec![(topic.to_owned(), vec![change])], false).await.unwrap()[0]
        .1
        .clone()
        .unwrap();
}

fn spec(topic: &str, more: Value) -> Value {
    let mut spec =
        json!({"topics": [{"name": topic, "partitions": 2, "config": {"retention.ms": 1_000_000}}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn a_change_by_somebody_else_is_set_back() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({}))).await;
    rig.ready("s").await;
    meddle(&rig, &topic, "5").await;
    eventually("set back", || async {
        (rig.config(&topic).await["retention.ms"] == "1000000").then_some(())
    })
    .await;
    eventually("the drift is counted", || async {
        (rig.controller.metric("parley_topic_drift_total", &[]).await >= 1.0).then_some(())
    })
    .await;
}

/// What one set names as a key, and Kafka cannot even be asked about, is that set's own trouble: all others are looked at as ever, the
/// owner of the same topic too.
#[tokio::test]
async fn a_key_that_cannot_be_asked_about_blinds_nobody() {
    let rig = Rig::start().await;
    let (topic, other) = (rig.topic("t"), rig.topic("u"));
    rig.apply("s", spec(&topic, json!({}))).await;
    rig.ready("s").await;
    for (name, topic) in [("looks", &topic), ("makes", &other)] {
        let policy = if name == "looks" { "Observe" } else { "Managed" };
        let topics = json!([{"name": topic, "config": {"": "x"}}]);
        rig.apply(name, json!({"managementPolicy": policy, "topics": topics})).await;
        rig.condition(name, "TopicsReady", "False", "InvalidConfig").await;
    }
    meddle(&rig, &topic, "5").await;
    eventually("set back", || async {
        (rig.config(&topic).await["retention.ms"] == "1000000").then_some(())
    })
    .await;
    rig.ready("s").await;
}

#[tokio::test]
async fn or_only_reported() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({"driftPolicy": "Report"}))).await;
    rig.ready("s").await;
    meddle(&rig, &topic, "5").await;
    rig.condition("s", "Drifted", "True", "DriftReported").await;
    rig.touch("s").await;
    assert_eq!(rig.config(&topic).await["retention.ms"], "5");
    meddle(&rig, &topic, "1000000").await;
    rig.ready("s").await;
}

/// A key that somebody sets back again and again is left to them, and said so.
#[tokio::test]
async fn a_fight_ends() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({}))).await;
    rig.ready("s").await;
    for round in 1..=4_u8 {
        meddle(&rig, &topic, &format!("{round}")).await;
        eventually("set back", || async {
            let found = rig.controller.metric("parley_topic_drift_total", &[]).await;
            let config = rig.config(&topic).await;
            (found >= f64::from(round) && config["retention.ms"] == "1000000").then_some(())
        })
        .await;
        // Who meddles with what is being mended still is not counted as another one.
        rig.ready("s").await;
    }
    meddle(&rig, &topic, "77").await;
    let set = rig.condition("s", "TopicsReady", "False", "DriftReported").await;
    assert!(
        set["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Drifted" && c["status"] == "True")
    );
    let message = set["status"]["topics"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("again and again"), "{message}");
    assert_eq!(rig.config(&topic).await["retention.ms"], "77");
    // A new spec takes sides.
    rig.apply("s", spec(&topic, json!({"driftPolicy": "Revert", "defaults": {"replicas": 1}}))).await;
    rig.ready("s").await;
    assert_eq!(rig.config(&topic).await["retention.ms"], "1000000");
}

/// Strimzi `shNotCreate...WhenUnmanaged`, `shUpdateAnUnmanagedTopic`: Observe says what differs and writes nowhere.
#[tokio::test]
async fn observe_writes_nothing_but_status() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let workers = json!([{"name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic]}]);
    let observed = |policy: &str| spec(&topic, json!({"managementPolicy": policy, "workers": workers}));
    rig.apply("s", observed("Observe")).await;
    rig.condition("s", "TopicsReady", "False", "DriftReported").await;
    assert!(rig.describe(&topic).await.is_none());
    rig.apply("s", observed("Managed")).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    rig.scaled_to("pool", 2).await;
    rig.make_ready("pool").await;
    rig.apply("s", observed("Observe")).await;
    rig.condition("s", "Ready", "True", "Observing").await;
    // What was true before and is no longer so is somebody else's doing, and stays so as long as it is.
    meddle(&rig, &topic, "5").await;
    rig.condition("s", "TopicsReady", "False", "DriftReported").await;
    let drifted = |set: &Value| condition_of(set, "Drifted") == json!(["True", "DriftReported"]);
    assert!(drifted(&rig.get("s").await));
    rig.touch("s").await;
    assert!(drifted(&rig.get("s").await));
    assert_eq!(rig.config(&topic).await["retention.ms"], "5");
    meddle(&rig, &topic, "1000000").await;
    rig.condition("s", "Drifted", "False", "Reconciled").await;
    let id = rig.condition("s", "Ready", "True", "Observing").await["status"]["topics"][0]["topicId"].clone();
    // Its loss, too; and it is told as one when the set writes again.
    rig.admin.delete_topics(vec![topic.clone()]).await.unwrap()[0].1.clone().unwrap();
    rig.condition("s", "Drifted", "True", "DriftReported").await;
    rig.touch("s").await;
    let set = rig.get("s").await;
    assert!(drifted(&set));
    assert_eq!(
        (&set["status"]["topics"][0]["state"], &set["status"]["topics"][0]["topicId"]),
        (&json!("Missing"), &id)
    );
    assert!(rig.describe(&topic).await.is_none());
    assert_eq!(rig.replicas("pool").await, 2);
    rig.apply("s", observed("Managed")).await;
    rig.ready("s").await;
    let lost = rig.events("TopicLost").await;
    assert!(lost.len() == 1 && lost[0].contains(&topic), "{lost:?}");
}

/// Status and reason of a condition.
fn condition_of(set: &Value, kind: &str) -> Value {
    let conditions = set["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|c| c["type"] == kind);
    found.map_or(Value::Null, |c| json!([c["status"], c["reason"]]))
}

/// Strimzi `shNotReconcilePausedKafkaTopicOnAdd / OnUpdate`.
#[tokio::test]
async fn paused_does_nothing() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({"managementPolicy": "Paused"}))).await;
    let set = rig.condition("s", "Ready", "Unknown", "Paused").await;
    assert_eq!(set["status"]["topics"], Value::Null, "nothing is said of what was not looked at");
    assert!(rig.describe(&topic).await.is_none());
    rig.apply("s", spec(&topic, json!({"managementPolicy": "Managed"}))).await;
    rig.ready("s").await;
}

/// More partitions than declared, out of band or by a rollback: said, and no error loop.
#[tokio::test]
async fn partitions_above_the_spec_serve() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({}))).await;
    rig.ready("s").await;
    rig.admin.create_partitions(vec![(topic.clone(), 5)], false).await.unwrap()[0].1.clone().unwrap();
    let set = rig.condition("s", "Ready", "True", "PartitionsAboveSpec").await;
    assert_eq!(set["status"]["topics"][0]["partitions"], 5);
    assert_eq!(set["status"]["topicsReady"], "1/1");
    let failed = async || rig.controller.metric("parley_reconcile_total", &["failed"]).await;
    let before = failed().await;
    rig.touch("s").await;
    rig.touch("s").await;
    assert_eq!(failed().await, before);
    // Strimzi `shFailDecreaseInPartitionsWithConfigChange`: the rest is still made true.
    let mut other = spec(&topic, json!({}));
    other["topics"][0]["config"]["retention.ms"] = json!(3_000_000);
    rig.apply("s", other).await;
    rig.condition("s", "Ready", "True", "PartitionsAboveSpec").await;
    rig.configured(&topic, "retention.ms", "3000000").await;
}

/// Strimzi `shUpdateTopicIdIfDeletedWhileUnmanaged`: the status never lies about identity.
#[tokio::test]
async fn the_id_of_another_incarnation_is_shown() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, json!({}))).await;
    rig.ready("s").await;
    rig.apply("s", spec(&topic, json!({"managementPolicy": "Observe"}))).await;
    let before =
        rig.condition("s", "Ready", "True", "Observing").await["status"]["topics"][0]["topicId"].clone();
    rig.admin.delete_topics(vec![topic.clone()]).await.unwrap();
    rig.condition("s", "TopicsReady", "False", "DriftReported").await;
    assert_eq!(rig.topic_status("s", &topic).await["state"], "Missing");
    let anew = parley::kafka::admin::NewTopic {
        name: topic.clone(),
        partitions: Some(2),
        replicas: Some(1),
        config: [("retention.ms".to_owned(), "1000000".to_owned())].into(),
    };
    rig.admin.create_topics(vec![anew], false).await.unwrap()[0].1.clone().unwrap();
    let set = rig.condition("s", "Ready", "True", "Observing").await;
    let after = &set["status"]["topics"][0];
    assert_eq!(after["topicId"], json!(rig.describe(&topic).await.unwrap().id));
    assert_ne!(after["topicId"], before);
    assert_eq!(after["origin"], Value::Null, "not made by us, and not taken");
}

/// The guard against the wrong cluster, from the spec.
#[tokio::test]
async fn another_cluster_is_refused_before_anything_is_written() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let kafka = json!({"bootstrapServers": crate::fixtures::Kafka::shared().bootstrap(), "clusterId": "not-this-one"});
    rig.apply("s", spec(&topic, json!({ "kafka": kafka }))).await;
    rig.condition("s", "Stalled", "True", "ClusterIdMismatch").await;
    assert!(rig.describe(&topic).await.is_none());
}

/// A set of another connection than the controller's own; one cluster is one client and one owner.
#[tokio::test]
async fn two_names_for_one_cluster_are_one_cluster() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("first", spec(&topic, json!({}))).await;
    rig.ready("first").await;
    let port = crate::fixtures::Kafka::shared().bootstrap().rsplit(':').next().unwrap().to_owned();
    let kafka = json!({ "bootstrapServers": format!("localhost:{port}") });
    rig.apply("second", spec(&topic, json!({ "kafka": kafka }))).await;
    rig.condition("second", "TopicsReady", "False", "OwnershipConflict").await;
}
