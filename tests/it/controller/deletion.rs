//! Deleting sets: what goes with them and what never does.

use kube::api::{Patch, PatchParams};
use parley::kafka::admin::NewTopic;
use serde_json::{Value, json};

use super::{Rig, controller};
use crate::fixtures::{ApiServer, Kafka, eventually};

async fn gone(rig: &Rig, set: &str) {
    eventually("the set is gone", || async { rig.sets().get_opt(set).await.ok()?.is_none().then_some(()) })
        .await;
}

fn new(name: &str) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(1),
        replicas: Some(1),
        config: std::collections::BTreeMap::new(),
    }
}

/// Strimzi `shDeleteTopicFromKafkaWhenManagedTopicDeletedFromKube`, `shRestoreFinalizerIfRemoved`; adopted ones stay.
#[tokio::test]
async fn delete_takes_what_it_made_and_leaves_what_it_found() {
    let rig = Rig::start().await;
    let [made, found, dropped] = ["made", "found", "dropped"].map(|t| rig.topic(t));
    rig.admin.create_topics(vec![new(&found)], false).await.unwrap();
    // The broker acknowledges a topic a moment before it shows it.
    eventually("the broker shows it", || async { rig.describe(&found).await.map(drop) }).await;
    let spec = |topics: Value| json!({"deletionPolicy": "Delete", "topics": topics});
    rig.apply("s", spec(json!([{"name": made}, {"name": found}, {"name": dropped}]))).await;
    let set = rig.ready("s").await;
    assert_eq!(set["metadata"]["finalizers"], json!(["parley.dev/topics"]));
    // Restored when somebody takes it away.
    rig.sets()
        .patch("s", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": []}})))
        .await
        .unwrap();
    eventually("the finalizer is back", || async {
        (rig.get("s").await["metadata"]["finalizers"] == json!(["parley.dev/topics"])).then_some(())
    })
    .await;
    // A topic that leaves the list stays, and goes with the set.
    rig.apply("s", spec(json!([{"name": made}, {"name": found}]))).await;
    rig.ready("s").await;
    assert_eq!(rig.topic_status("s", &dropped).await["state"], "Released");
    assert!(rig.describe(&dropped).await.is_some());
    rig.delete("s").await;
    gone(&rig, "s").await;
    for (topic, there) in [(&made, false), (&found, true), (&dropped, false)] {
        eventually("the broker has done it", || async {
            (rig.describe(topic).await.is_some() == there).then_some(())
        })
        .await;
    }
    let deleted = rig.events("TopicDeleted").await;
    assert!(deleted.iter().any(|note| note.contains(&made) && !note.contains(&found)), "{deleted:?}");
}

/// Redpanda `delete_existent_topic`; ours: adopted topics only where the policy says so.
#[tokio::test]
async fn delete_adopted_takes_those_too() {
    let rig = Rig::start().await;
    let found = rig.topic("found");
    rig.admin.create_topics(vec![new(&found)], false).await.unwrap();
    rig.apply("s", json!({"deletionPolicy": "DeleteAdopted", "topics": [{"name": found}]})).await;
    rig.ready("s").await;
    rig.delete("s").await;
    gone(&rig, "s").await;
    eventually("deleted", || async { rig.describe(&found).await.is_none().then_some(()) }).await;
}

/// Strimzi `shNotDelete...WhenUnmanagedTopicDeletedFromKube`, `shReconcilePausedKafkaTopicOnDelete` (ours: the data
/// stays), and `Retain`, which carries no finalizer.
#[tokio::test]
async fn retain_observe_and_paused_keep_the_data() {
    let rig = Rig::start().await;
    for policy in ["Observe", "Paused"] {
        let topic = rig.topic(policy);
        rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic}]})).await;
        rig.ready("s").await;
        let spec =
            json!({"managementPolicy": policy, "deletionPolicy": "Delete", "topics": [{"name": topic}]});
        rig.apply("s", spec).await;
        rig.delete("s").await;
        gone(&rig, "s").await;
        assert!(rig.describe(&topic).await.is_some(), "{policy}");
    }
    let topic = rig.topic("retained");
    rig.apply("s", json!({"topics": [{"name": topic}]})).await;
    assert_eq!(rig.ready("s").await["metadata"]["finalizers"], Value::Null);
    rig.delete("s").await;
    gone(&rig, "s").await;
    assert!(rig.describe(&topic).await.is_some());
}

/// Somebody made the topic anew under the same name, or another set names it: it is not ours to delete.
#[tokio::test]
async fn another_incarnation_and_a_shared_topic_stay() {
    let rig = Rig::start().await;
    let [anew, shared] = ["anew", "shared"].map(|t| rig.topic(t));
    // Paused while the other incarnation is made, so that it is not taken for a lost topic.
    let spec = |policy: &str| json!({"managementPolicy": policy, "deletionPolicy": "Delete", "topics": [{"name": anew}, {"name": shared}]});
    rig.apply("s", spec("Managed")).await;
    rig.ready("s").await;
    rig.apply("s", spec("Paused")).await;
    rig.condition("s", "Ready", "Unknown", "Paused").await;
    rig.admin.delete_topics(vec![anew.clone()]).await.unwrap();
    eventually("made anew", || async {
        let made = rig.admin.create_topics(vec![new(&anew)], false).await.unwrap();
        made[0].1.is_ok().then_some(())
    })
    .await;
    let other = json!({"managementPolicy": "Observe", "topics": [{"name": shared}]});
    rig.apply("other", other).await;
    rig.condition("other", "TopicsReady", "True", "Reconciled").await;
    // Deleted while paused, then woken: an object that is being deleted never gets another policy's finalizer, so the
    // deletion itself must judge. With its finalizer it waits for us.
    drop(rig.controller);
    let managed = json!({"spec": {"managementPolicy": "Managed"}});
    let sets: kube::Api<kube::core::DynamicObject> =
        kube::Api::namespaced_with(rig.client.clone(), &rig.namespace, &super::set_resource());
    sets.patch("s", &PatchParams::default(), &Patch::Merge(managed)).await.unwrap();
    sets.delete("s", &kube::api::DeleteParams::default()).await.unwrap();
    let _again = controller(rig.api, &rig.namespace, &Kafka::shared().bootstrap(), &[]).ready().await;
    eventually("the set is gone", || async { sets.get_opt("s").await.ok()?.is_none().then_some(()) }).await;
    for topic in [&anew, &shared] {
        let described = rig.admin.describe_topics(vec![topic.clone()]).await.unwrap();
        assert!(described[0].1.is_ok(), "{topic} stays");
    }
}

/// Redpanda `delete_topic_with_unreachable_broker_succeeds`: after the deadline the object goes without its topics.
#[tokio::test]
async fn an_unreachable_kafka_holds_the_object_only_for_a_while() {
    let api = ApiServer::shared();
    let kafka = Kafka::own(1);
    let mut rig = Rig::on(api, &kafka).await;
    rig.controller =
        controller(api, &rig.namespace, &kafka.bootstrap(), &["--finalizer-deadline-seconds", "5"])
            .ready()
            .await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic}]})).await;
    rig.ready("s").await;
    let killed = std::process::Command::new("kill").args(["-KILL", &kafka.pid(0).to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    rig.delete("s").await;
    assert!(rig.sets().get_opt("s").await.unwrap().is_some(), "it waits first");
    gone(&rig, "s").await;
    let refused = rig.events("Refused").await;
    assert!(refused.iter().any(|note| note.contains("without its topics")), "{refused:?}");
}
