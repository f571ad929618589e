//! Topics: made, grown, configured, left alone.

use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka, eventually, root};

/// A sample of docs/samples with every topic name prefixed, so that it fits beside others on a shared broker.
fn sample(file: &str, prefix: &str) -> Value {
    let text = std::fs::read_to_string(root().join("docs/samples").join(file)).expect("the sample is there");
    let mut set: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
    let named = |name: &Value| json!(format!("{prefix}.{}", name.as_str().expect("a name")));
    for topic in set["spec"]["topics"].as_array_mut().expect("topics") {
        topic["name"] = named(&topic["name"]);
    }
    for worker in set["spec"]["workers"].as_array_mut().expect("workers") {
        for topic in worker["topics"].as_array_mut().expect("topics") {
            *topic = named(topic);
        }
    }
    set["spec"].take()
}

async fn the_sample_becomes_true(rig: &Rig, file: &str, replicas: usize) {
    for pool in ["parley-worker-account", "parley-worker-chat"] {
        rig.deployment(pool).await;
    }
    let spec = sample(file, &rig.prefix);
    rig.apply("chat", spec.clone()).await;
    rig.condition("chat", "TopicsReady", "True", "Reconciled").await;
    rig.scaled_to("parley-worker-account", 2).await;
    rig.scaled_to("parley-worker-chat", 2).await;
    for pool in ["parley-worker-account", "parley-worker-chat"] {
        rig.make_ready(pool).await;
    }
    let set = rig.ready("chat").await;
    let status = &set["status"];
    assert_eq!((&status["topicsReady"], &status["workersReady"]), (&json!("22/22"), &json!("4/4")));
    let wanted: i64 =
        spec["topics"].as_array().unwrap().iter().map(|t| t["partitions"].as_i64().unwrap_or(2)).sum();
    assert_eq!(status["partitions"], json!(wanted));
    for topic in spec["topics"].as_array().unwrap() {
        let name = topic["name"].as_str().unwrap();
        // Another broker than the one that the controller asked may hear of it a moment later.
        let live = eventually("the topic is there", || rig.describe(name)).await;
        assert_eq!(live.partitions.len() as i64, topic["partitions"].as_i64().unwrap_or(2), "{name}");
        assert!(live.partitions.iter().all(|p| p.replicas == replicas), "{name}");
        let config = rig.config(name).await;
        assert_eq!(config["message.timestamp.type"], "LogAppendTime", "{name}");
        assert_eq!(rig.topic_status("chat", name).await["topicId"], json!(live.id));
    }
}

/// Strimzi `shCreateTopicInKafkaWhenManagedTopicCreatedInKube`, twenty at once.
#[tokio::test]
async fn the_shipped_sample_on_one_broker() {
    let rig = Rig::start().await;
    the_sample_becomes_true(&rig, "chat.yaml", 1).await;
    let created = rig.events("TopicCreated").await;
    assert_eq!(created.len(), 1, "one event names them all: {created:?}");
    let printed = rig.api.kubectl(&["get", "cts", "-n", &rig.namespace, "chat", "--no-headers"]);
    let columns: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(columns[..5], ["chat", "True", "22/22", "60", "4/4"]);
}

#[tokio::test]
async fn the_shipped_sample_on_three_brokers() {
    let rig = Rig::on(ApiServer::shared(), Kafka::shared_three()).await;
    the_sample_becomes_true(&rig, "chat-three-brokers.yaml", 3).await;
}

/// Strimzi `shUpdate...WhenPartitionsIncreasedInKube`, `shUpdate...WhenConfigRemovedInKube`; foreign keys stay.
#[tokio::test]
async fn growth_and_the_three_way_merge() {
    let rig = Rig::start().await;
    let topic = rig.topic("grows");
    let spec = |partitions: i32, config: Value| json!({"topics": [{"name": topic, "partitions": partitions, "config": config}]});
    rig.apply("s", spec(1, json!({"retention.ms": 3_600_000, "cleanup.policy": "compact,delete"}))).await;
    rig.ready("s").await;
    // Somebody else's key.
    let foreign =
        parley::kafka::admin::ConfigChange::Set { key: "max.message.bytes".into(), value: "12345".into() };
    rig.admin.alter_configs(vec![(topic.clone(), vec![foreign])], false).await.unwrap()[0].1.clone().unwrap();

    rig.apply("s", spec(3, json!({"cleanup.policy": "delete, compact", "retention.bytes": "1000000"}))).await;
    let set = rig.ready("s").await;
    assert_eq!(rig.describe(&topic).await.unwrap().partitions.len(), 3);
    let config = rig.config(&topic).await;
    assert_eq!(config.get("retention.ms"), None, "dropped from the spec: reset");
    assert_eq!(config["max.message.bytes"], "12345", "not ours: untouched");
    assert_eq!(config["retention.bytes"], "1000000");
    assert_eq!(config["cleanup.policy"], "compact,delete", "the same in another order: not written again");
    assert_eq!(set["status"]["topics"][0]["ownedConfig"], json!(["cleanup.policy", "retention.bytes"]));
    // One event names what was set and what was reset, and not what is the same in another order.
    let changed = rig.events("ConfigChanged").await;
    let [note] = &changed[..] else { panic!("one event: {changed:?}") };
    assert!(note.contains(&topic) && note.contains("(retention.bytes, retention.ms)"), "{note}");
    let grown = rig.events("PartitionsIncreased").await;
    assert_eq!(grown, [format!("partitions increased: {topic} to 3")]);
}

/// Strimzi `shReconcileOnTopicExistsException` and adoption; `shNot...WhenUnmanaged` is our adoptionPolicy Never.
#[tokio::test]
async fn topics_that_were_there_first() {
    let rig = Rig::start().await;
    let (taken, left) = (rig.topic("taken"), rig.topic("left"));
    let new = |name: &str| parley::kafka::admin::NewTopic {
        name: name.to_owned(),
        partitions: Some(2),
        replicas: Some(1),
        config: [("retention.ms".to_owned(), "1000000".to_owned())].into(),
    };
    rig.admin.create_topics(vec![new(&taken), new(&left)], false).await.unwrap();
    // The broker acknowledges a topic a moment before it shows it; in between it looks like one that is to be made.
    for topic in [&taken, &left] {
        eventually("the broker shows it", || async { rig.describe(topic).await.map(drop) }).await;
    }
    rig.apply(
        "takes",
        json!({"topics": [{"name": taken, "partitions": 3, "config": {"retention.ms": 2_000_000}}]}),
    )
    .await;
    let set = rig.ready("takes").await;
    assert_eq!(set["status"]["topics"][0]["origin"], "Adopted");
    assert_eq!(rig.describe(&taken).await.unwrap().partitions.len(), 3);
    assert_eq!(rig.config(&taken).await["retention.ms"], "2000000");

    let never = |policy: &str| json!({"adoptionPolicy": policy, "topics": [{"name": left, "partitions": 3}]});
    rig.apply("leaves", never("Never")).await;
    rig.condition("leaves", "TopicsReady", "False", "AdoptionRefused").await;
    rig.apply("leaves", never("IfIdentical")).await;
    rig.condition("leaves", "Stalled", "True", "AdoptionRefused").await;
    assert_eq!(rig.describe(&left).await.unwrap().partitions.len(), 2, "left alone");
    rig.delete("leaves").await;
    rig.apply(
        "leaves",
        json!({"adoptionPolicy": "IfIdentical", "topics": [{"name": left, "partitions": 2}]}),
    )
    .await;
    rig.ready("leaves").await;
}

/// Strimzi `shDetectMultipleResourcesManagingSameTopicInKafka` and the hand-over after the winner is gone.
#[tokio::test]
async fn the_oldest_of_two_sets_owns_a_topic_and_passes_it_on() {
    let rig = Rig::start().await;
    let topic = rig.topic("shared");
    rig.apply(
        "first",
        json!({"topics": [{"name": topic, "partitions": 2, "config": {"retention.ms": 1_000_000}}]}),
    )
    .await;
    rig.ready("first").await;
    // Creation times have whole seconds; within one, the name decides, and "first" goes before "second".
    rig.apply(
        "second",
        json!({"topics": [{"name": topic, "partitions": 2, "config": {"retention.ms": 2_000_000}}]}),
    )
    .await;
    let set = rig.condition("second", "TopicsReady", "False", "OwnershipConflict").await;
    let message = set["status"]["topics"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("{}/first", rig.namespace)), "{message}");
    assert_eq!(set["status"]["topics"][0]["topicId"], Value::Null);
    assert_eq!(rig.config(&topic).await["retention.ms"], "1000000");
    rig.delete("first").await;
    rig.ready("second").await;
    assert_eq!(rig.config(&topic).await["retention.ms"], "2000000");
    assert!(rig.describe(&topic).await.is_some(), "Retain: deleting the first set deleted nothing");
}

/// Strimzi `shFailCreationIfMoreReplicasThanBrokers`, `IfUnknownConfig`, `shFailTheReconciliationWithUnexpectedConfig`:
/// the broker's words land in the status, and the other topics go on.
#[tokio::test]
async fn one_bad_topic_does_not_stop_the_others() {
    let rig = Rig::start().await;
    let [good, replicas, unknown, list] = ["good", "replicas", "unknown", "list"].map(|t| rig.topic(t));
    rig.apply(
        "s",
        json!({"topics": [
            {"name": good, "partitions": 1},
            {"name": replicas, "partitions": 1, "replicas": 9},
            {"name": unknown, "config": {"no.such.key": 1}},
            {"name": list, "config": {"retention.ms": [1]}},
        ]}),
    )
    .await;
    rig.condition("s", "Ready", "False", "InvalidConfig").await;
    // The broker may show the good one a moment after it said that it made it.
    eventually("the good one serves", || async {
        (rig.get("s").await["status"]["topicsReady"] == "1/4").then_some(())
    })
    .await;
    assert_eq!(rig.topic_status("s", &good).await["state"], "Ready");
    for (topic, words) in [(&replicas, "eplication factor"), (&unknown, "no.such.key"), (&list, "a list")] {
        let message = rig.topic_status("s", topic).await["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(words), "{topic}: {message}");
    }
    // Mended, it heals.
    rig.apply(
        "s",
        json!({"topics": [{"name": good}, {"name": replicas}, {"name": unknown}, {"name": list}]}),
    )
    .await;
    rig.ready("s").await;
}

/// Every YAML type reaches Kafka (Strimzi `shUpdate...When{String,Int,Long,Double,Boolean,List}ConfigChangedInKube`).
#[tokio::test]
async fn yaml_types_of_config() {
    let rig = Rig::start().await;
    let topic = rig.topic("types");
    rig.apply(
        "s",
        json!({"topics": [{"name": topic, "config": {
            "compression.type": "lz4", "segment.bytes": 104_857_600, "retention.ms": 9_223_372_036_854_775_807_i64,
            "min.cleanable.dirty.ratio": "0.25", "segment.ms": null, "unclean.leader.election.enable": true, "cleanup.policy": "compact,delete",
        }}]}),
    )
    .await;
    rig.ready("s").await;
    let config = rig.config(&topic).await;
    assert_eq!(config["retention.ms"], "9223372036854775807");
    assert_eq!(config["unclean.leader.election.enable"], "true");
    assert_eq!(config["min.cleanable.dirty.ratio"], "0.25");
    assert_eq!(config.get("segment.ms"), None, "a null is as if it had been left out");
}

/// Strimzi `shRestore...`, Redpanda `overwrite_topic`: drift behind our back is set back or reported.
#[tokio::test]
async fn a_topic_lost_behind_our_back_is_made_anew_and_said_so() {
    let rig = Rig::start().await;
    let topic = rig.topic("lost");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await;
    let before = rig.ready("s").await["status"]["topics"][0]["topicId"].clone();
    rig.admin.delete_topics(vec![topic.clone()]).await.unwrap();
    eventually("the topic is back", || async {
        let status = rig.topic_status("s", &topic).await;
        (status["state"] == "Ready" && status["topicId"] != before).then_some(())
    })
    .await;
    assert_eq!(rig.describe(&topic).await.unwrap().partitions.len(), 2);
    let lost = rig.events("TopicLost").await;
    assert!(lost.iter().any(|note| note.contains(&topic) && note.contains("data is gone")), "{lost:?}");
}

/// Strimzi `shCreate...HasOnlyPartitions / OnlyReplicas / OnlyConfigs`, `shReconcile...WithoutPartitions / WithoutReplicas`:
/// what is left out is the broker's default at creation, and no opinion afterwards.
#[tokio::test]
async fn what_is_left_out_is_nobodys_opinion() {
    let rig = Rig::start().await;
    let [bare, partitions, replicas, config] =
        ["bare", "partitions", "replicas", "config"].map(|t| rig.topic(t));
    let topics = json!([
        {"name": bare}, {"name": partitions, "partitions": 3}, {"name": replicas, "replicas": 1},
        {"name": config, "config": {"retention.ms": 7_000_000}},
    ]);
    rig.apply("s", json!({ "topics": topics })).await;
    rig.ready("s").await;
    for (topic, expected) in [(&bare, 1), (&partitions, 3), (&replicas, 1), (&config, 1)] {
        assert_eq!(rig.describe(topic).await.unwrap().partitions.len(), expected, "{topic}");
    }
    assert!(rig.config(&bare).await.is_empty());
    rig.admin.create_partitions(vec![(bare.clone(), 4)], false).await.unwrap()[0].1.clone().unwrap();
    eventually("the growth is seen", || async {
        (rig.topic_status("s", &bare).await["partitions"] == 4).then_some(())
    })
    .await;
    rig.ready("s").await;
}

/// Strimzi `shFailChangeToRf` and `ReplicasChangeIT`: replicas are not moved; the spec that names the live count heals.
#[tokio::test]
async fn another_replication_factor_is_said_and_healed_by_the_spec() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let spec = |replicas: i32, retention: i64| json!({"topics": [{"name": topic, "partitions": 1, "replicas": replicas, "config": {"retention.ms": retention}}]});
    rig.apply("s", spec(1, 1_000_000)).await;
    rig.ready("s").await;
    rig.apply("s", spec(2, 2_000_000)).await;
    rig.condition("s", "Ready", "False", "ReplicationFactorDiffers").await;
    // The rest is still made true.
    rig.configured(&topic, "retention.ms", "2000000").await;
    rig.apply("s", spec(1, 2_000_000)).await;
    rig.ready("s").await;
}

/// `unmanagedConfig`: never set, never reset, not even when the key once stood in config.
#[tokio::test]
async fn unmanaged_keys_are_somebody_elses() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "config": {"retention.ms": 1_000_000}}]})).await;
    rig.ready("s").await;
    rig.apply("s", json!({"topics": [{"name": topic, "unmanagedConfig": ["retention.ms"]}]})).await;
    let set = rig.ready("s").await;
    assert_eq!(rig.config(&topic).await["retention.ms"], "1000000", "not reset");
    assert_eq!(set["status"]["topics"][0]["ownedConfig"], Value::Null, "and no longer ours");
}

/// Strimzi `TopicST.testCreateDeleteCreate`, ten rounds.
#[tokio::test]
async fn made_and_deleted_ten_times() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..10 {
        rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic}]})).await;
        let set = rig.ready("s").await;
        ids.insert(set["status"]["topics"][0]["topicId"].as_str().unwrap().to_owned());
        rig.delete("s").await;
        eventually("the set is gone", || async {
            rig.sets().get_opt("s").await.ok()?.is_none().then_some(())
        })
        .await;
        eventually("the topic is gone", || async { rig.describe(&topic).await.is_none().then_some(()) })
            .await;
    }
    assert_eq!(ids.len(), 10, "each time another topic, and made by us");
}

/// Strimzi `MetricsIT`, `testKafkaTopicDifferentStatesInUTOMode`: series follow the status and go with the set.
#[tokio::test]
async fn metrics_follow_the_status_and_vanish_with_the_set() {
    let rig = Rig::start().await;
    let (good, bad) = (rig.topic("good"), rig.topic("bad"));
    rig.apply(
        "s",
        json!({"topics": [{"name": good, "partitions": 2}, {"name": bad, "config": {"no.such": 1}}]}),
    )
    .await;
    rig.condition("s", "Ready", "False", "InvalidConfig").await;
    let value = async |name: &str, labels: &[&str]| rig.controller.metric(name, labels).await;
    // The status is written first, then its series, then the reconcile is counted.
    eventually("the reconcile to be counted", || async {
        (value("parley_reconcile_total", &["outcome=\"failed\""]).await >= 1.0).then_some(())
    })
    .await;
    eventually("the good one serves", || async {
        (value("parley_topic_ready", &[&format!("topic=\"{good}\"")]).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(value("parley_topicset_condition", &["type=\"Ready\"", "status=\"False\""]).await, 1.0);
    assert_eq!(value("parley_topicset_condition", &["type=\"Ready\"", "status=\"True\""]).await, 0.0);
    assert_eq!(value("parley_topic_ready", &[&format!("topic=\"{bad}\"")]).await, 0.0);
    assert_eq!(
        value("parley_topic_partitions", &[&format!("topic=\"{good}\""), "kind=\"observed\""]).await,
        2.0
    );
    assert!(
        value("parley_kafka_admin_request_duration_seconds_count", &["api=\"CreateTopics\""]).await >= 1.0
    );
    rig.delete("s").await;
    eventually("its series are gone", || async {
        let (_, text) = rig.controller.get("/metrics").await?;
        (!text.contains(&rig.namespace)).then_some(())
    })
    .await;
}
