//! The status as memory: written before the deed, and no harm done when it is lost or about something else.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    Rig, admin, controller,
    tap::{CREATE_PARTITIONS, CREATE_TOPICS, INCREMENTAL_ALTER_CONFIGS, Tap},
};
use crate::fixtures::{ApiServer, Kafka, eventually};

/// A rig whose controller reaches its broker by a tap only.
async fn tapped() -> (Rig, Kafka, Tap) {
    let (kafka, tap) = Tap::on_a_broker().await;
    let api = ApiServer::shared();
    let namespace = api.namespace();
    let controller = controller(api, &namespace, &tap.bootstrap(), &[]);
    (Rig::around(api, &kafka, namespace, controller).await, kafka, tap)
}

/// While a request that changes something is on its way to the broker, the status says already what must not be forgotten of it,
/// and a key that is being reset is still there.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_written_before_the_deed() {
    let (rig, _kafka, tap) = tapped().await;
    let topic = rig.topic("t");
    let spec = |partitions: i32, config: Value| json!({"topics": [{"name": topic, "partitions": partitions, "config": config}]});
    let asked = async |api: i16, before: usize| {
        eventually("the request is on its way", || async { (tap.requests(api) > before).then_some(()) })
            .await;
        rig.topic_status("s", &topic).await
    };
    tap.hold(&[CREATE_TOPICS]);
    rig.apply("s", spec(1, json!({"retention.ms": 1_000_000}))).await;
    let status = asked(CREATE_TOPICS, 0).await;
    assert_eq!((&status["state"], &status["ownedConfig"]), (&json!("Creating"), &json!(["retention.ms"])));
    assert!(rig.describe(&topic).await.is_none(), "it is held on its way");
    tap.hold(&[]);
    rig.ready("s").await;
    assert_eq!(rig.topic_status("s", &topic).await["origin"], "Created");

    // A key that is set, and one that is reset.
    let before = tap.requests(INCREMENTAL_ALTER_CONFIGS);
    tap.hold(&[INCREMENTAL_ALTER_CONFIGS]);
    rig.apply("s", spec(1, json!({"retention.bytes": 1_000_000}))).await;
    let status = asked(INCREMENTAL_ALTER_CONFIGS, before).await;
    assert_eq!(status["ownedConfig"], json!(["retention.bytes", "retention.ms"]));
    assert_eq!(
        rig.config(&topic).await.keys().collect::<Vec<_>>(),
        ["retention.ms"],
        "it is held on its way"
    );
    tap.hold(&[]);
    rig.ready("s").await;
    assert_eq!(rig.topic_status("s", &topic).await["ownedConfig"], json!(["retention.bytes"]));
    assert_eq!(rig.config(&topic).await.keys().collect::<Vec<_>>(), ["retention.bytes"]);
    assert_eq!(tap.requests(CREATE_PARTITIONS), 0);
}

/// Whoever is killed between the asking and the answer has left word: its successor knows the topic for its own, takes it away
/// with the set, and asks nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_knows_what_was_asked_for() {
    let (mut rig, kafka, tap) = tapped().await;
    let topic = rig.topic("t");
    tap.hold(&[CREATE_TOPICS]);
    rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic, "partitions": 1}]})).await;
    eventually("the request is on its way", || async { (tap.requests(CREATE_TOPICS) > 0).then_some(()) })
        .await;
    rig.controller.signal("KILL");
    // What was on its way arrives all the same, with nobody left to hear the answer.
    tap.hold(&[]);
    eventually("it is carried out", || async { rig.describe(&topic).await }).await;
    rig.controller = controller(rig.api, &rig.namespace, &kafka.bootstrap(), &[]).ready().await;
    rig.ready("s").await;
    assert_eq!(rig.topic_status("s", &topic).await["origin"], "Created");
    rig.delete("s").await;
    eventually("the topic goes with the set", || async {
        let gone = rig.sets().get_opt("s").await.ok()?.is_none();
        (gone && rig.describe(&topic).await.is_none()).then_some(())
    })
    .await;
}

/// A topic that was lost is made anew by a call that is carried out and never answered: its loss is told all the same, once, and not
/// as a creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_told_though_nobody_answered() {
    let (rig, _kafka, tap) = tapped().await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await;
    let before = rig.ready("s").await["status"]["topics"][0]["topicId"].clone();
    assert_eq!(rig.events("TopicCreated").await.len(), 1);
    let asked = tap.requests(CREATE_TOPICS);
    tap.leave_unanswered(&[CREATE_TOPICS]);
    rig.admin.delete_topics(vec![topic.clone()]).await.unwrap()[0].1.clone().unwrap();
    eventually("it is made anew", || async { (tap.requests(CREATE_TOPICS) > asked).then_some(()) }).await;
    eventually("and is there", || async { rig.describe(&topic).await }).await;
    tap.leave_unanswered(&[]);
    let lost = eventually("the loss is told", || async {
        let lost = rig.events("TopicLost").await;
        (!lost.is_empty()).then_some(lost)
    })
    .await;
    assert!(lost.len() == 1 && lost[0].contains(&topic) && lost[0].contains("data is gone"), "{lost:?}");
    // The loss may be told before the round that mends it ends; until then the set says that the topic is being created.
    let after = eventually("the set has it", || async {
        let topic = rig.topic_status("s", &topic).await;
        (topic["state"] == "Ready").then_some(topic)
    })
    .await;
    assert!(after["topicId"] != before && after["origin"] == "Created", "{after}");
    assert_eq!(rig.events("TopicCreated").await.len(), 1, "the first creation alone");
}

/// Somebody wipes the status of a live set: what it remembered is nobody's then. Nothing is written to Kafka, no replica count
/// changes, and no data goes with the set.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_wiped_by_hand_does_no_harm() {
    let (mut rig, _kafka, tap) = tapped().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let spec = |config: Value| {
        json!({
            "deletionPolicy": "Delete",
            "topics": [{"name": topic, "partitions": 2, "config": config}],
            "workers": [{"name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic]}],
        })
    };
    rig.apply("s", spec(json!({"retention.ms": 1_000_000, "retention.bytes": 7}))).await;
    rig.scaled_to("pool", 2).await;
    rig.make_ready("pool").await;
    let before = rig.ready("s").await["status"]["topics"][0].clone();
    assert_eq!(before["origin"], "Created");
    let changes = tap.changes();
    wipe(&rig).await;
    let after = adopted(&rig).await;
    assert_eq!(after["topicId"], before["topicId"]);
    assert_eq!(after["ownedConfig"], before["ownedConfig"], "the spec names them");

    // While nobody watches it is wiped, and a key leaves the spec: it would have been reset, had it been remembered.
    rig.controller.signal("KILL");
    rig.apply("s", spec(json!({"retention.ms": 1_000_000}))).await;
    wipe(&rig).await;
    rig.controller = controller(rig.api, &rig.namespace, &tap.bootstrap(), &[]).ready().await;
    assert_eq!(adopted(&rig).await["ownedConfig"], json!(["retention.ms"]));
    rig.touch("s").await;
    assert_eq!(rig.replicas("pool").await, 2);
    assert_eq!(tap.changes(), changes, "nothing was asked of Kafka");
    assert_eq!(rig.config(&topic).await["retention.bytes"], "7");
    rig.delete("s").await;
    eventually("the set is gone", || async { rig.sets().get_opt("s").await.ok()?.is_none().then_some(()) })
        .await;
    assert!(rig.describe(&topic).await.is_some(), "what is not remembered as ours stays");
    assert_eq!(tap.changes(), changes, "nothing was asked of Kafka");
}

async fn wipe(rig: &Rig) {
    let wiped = json!({"status": null});
    rig.sets().patch_status("s", &PatchParams::default(), &Patch::Merge(&wiped)).await.expect("wiped");
}

/// Waits until the status speaks again of its only topic, as of one that was there before.
async fn adopted(rig: &Rig) -> Value {
    eventually("the status is there again", || async {
        let set = rig.get("s").await;
        let topic = set["status"]["topics"][0].clone();
        let observed = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        (observed && topic["state"] == "Ready" && topic["origin"] == "Adopted").then_some(topic)
    })
    .await
}

/// The status is about one cluster. Behind another name there is another: nothing is written there until the spec names it.
#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_than_the_remembered_one_waits_for_the_spec() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let other = tokio::task::block_in_place(|| Kafka::own(1));
    let there = admin(&other.bootstrap());
    let id = there.describe_cluster().await.expect("it answers").id;
    let spec = |kafka: Value| json!({"kafka": kafka, "topics": [{"name": topic, "partitions": 2}]});
    rig.apply("s", spec(json!({"bootstrapServers": Kafka::shared().bootstrap()}))).await;
    let before = rig.ready("s").await["status"].clone();
    rig.apply("s", spec(json!({"bootstrapServers": other.bootstrap()}))).await;
    let set = rig.condition("s", "Stalled", "True", "ClusterIdMismatch").await;
    assert_eq!(
        (&set["status"]["clusterId"], &set["status"]["topics"]),
        (&before["clusterId"], &before["topics"])
    );
    let known = async || {
        let described = there.describe_topics(vec![topic.clone()]).await.expect("it answers");
        described[0].1.clone().ok()
    };
    assert_eq!(known().await, None, "nothing is written there");
    rig.apply("s", spec(json!({"bootstrapServers": other.bootstrap(), "clusterId": id}))).await;
    let set = rig.ready("s").await;
    assert_eq!(set["status"]["clusterId"], json!(id));
    let made = known().await.expect("made there");
    assert_eq!(set["status"]["topics"][0]["topicId"], json!(made.id));
    assert!(rig.describe(&topic).await.is_some(), "where it was before, it stays");
}
