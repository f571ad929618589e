//! Between namespaces, sets and policies: who owns what, what stays remembered, and what is left as it is.

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Rig, refused::controller_as, set_resource};
use crate::fixtures::{ApiServer, Kafka, eventually};

/// A rig that serves a second namespace, too, with or without the controller's own connection.
async fn of_two(api: &'static ApiServer, kafka: &Kafka, own: bool, flags: &[&str]) -> (Rig, String) {
    let second = api.namespace();
    let mut all = vec!["--watch-namespaces", second.as_str()];
    if own {
        all.extend(["--own-connection-namespaces", second.as_str()]);
    }
    all.extend(flags);
    let namespace = api.namespace();
    let masters: &[&str] = &["system:masters"];
    let controller = controller_as(("of-two", masters), api, &namespace, &kafka.bootstrap(), &all);
    (Rig::around(api, kafka, namespace, controller).await, second)
}

/// Sets of another namespace.
fn sets_in(rig: &Rig, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(rig.client.clone(), namespace, &set_resource())
}

async fn apply_in(rig: &Rig, namespace: &str, name: &str, spec: Value) {
    let set = json!({
        "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": name}, "spec": spec,
    });
    let (sets, params) = (sets_in(rig, namespace), PatchParams::apply("user").force());
    sets.patch(name, &params, &Patch::Apply(&set)).await.expect("the set is accepted");
}

/// Waits for a condition of a set in another namespace; gives the status.
async fn condition_in(rig: &Rig, namespace: &str, name: &str, expected: [&str; 3]) -> Value {
    let [kind, status, reason] = expected;
    eventually(&format!("{kind}={status}/{reason} of {name}"), || async {
        let set = sets_in(rig, namespace).get(name).await.ok()?;
        let found = set.data["status"]["conditions"].as_array()?.iter().any(|c| {
            c["type"] == kind
                && c["status"] == status
                && c["reason"] == reason
                && c["observedGeneration"] == json!(set.metadata.generation)
        });
        found.then(|| set.data["status"].clone())
    })
    .await
}

/// The controller's own connection serves the namespaces that it is said to serve, and no other.
#[tokio::test]
async fn the_own_connection_serves_only_its_namespaces() {
    let kafka = Kafka::shared();
    let (rig, second) = of_two(ApiServer::shared(), kafka, false, &[]).await;
    let topic = rig.topic("t");
    apply_in(&rig, &second, "s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    let status = condition_in(&rig, &second, "s", ["Ready", "Unknown", "KafkaUnreachable"]).await;
    let words = format!("does not serve namespace {second}");
    assert!(status["conditions"].to_string().contains(&words), "{status}");
    assert!(rig.describe(&topic).await.is_none());
    // Its own namespace is served, and so is the other with a connection of its own.
    rig.apply("s", json!({"topics": [{"name": rig.topic("own"), "partitions": 1}]})).await;
    rig.ready("s").await;
    let spec = json!({"kafka": {"bootstrapServers": kafka.bootstrap()}, "topics": [{"name": topic, "partitions": 1}]});
    apply_in(&rig, &second, "s", spec).await;
    condition_in(&rig, &second, "s", ["Ready", "True", "Reconciled"]).await;
}

/// Of two sets in two namespaces the older owns a topic, whatever the namespaces are called; its deletion passes the topic on and
/// deletes nothing.
#[tokio::test]
async fn ownership_spans_namespaces() {
    let (rig, second) = of_two(ApiServer::shared(), Kafka::shared(), true, &[]).await;
    let topic = rig.topic("t");
    let spec = |retention: i64| {
        json!({
            "deletionPolicy": "Delete",
            "topics": [{"name": topic, "partitions": 1, "config": {"retention.ms": retention}}],
        })
    };
    // The older one has the name that comes last in the alphabet.
    let (first_is_last, last) =
        if rig.namespace > second { (true, &rig.namespace) } else { (false, &second) };
    let other = if first_is_last { &second } else { &rig.namespace };
    apply_in(&rig, last, "older", spec(1_000_000)).await;
    let older = condition_in(&rig, last, "older", ["Ready", "True", "Reconciled"]).await;
    let created = sets_in(&rig, last).get("older").await.unwrap().metadata.creation_timestamp.unwrap().0;
    eventually("the next second", || async {
        (k8s_openapi::jiff::Timestamp::now().as_second() > created.as_second() + 1).then_some(())
    })
    .await;
    apply_in(&rig, other, "younger", spec(2_000_000)).await;
    let status = condition_in(&rig, other, "younger", ["TopicsReady", "False", "OwnershipConflict"]).await;
    assert!(status["topics"].to_string().contains(&format!("{last}/older")), "{status}");
    assert_eq!(rig.config(&topic).await["retention.ms"], "1000000");
    sets_in(&rig, last).delete("older", &DeleteParams::default()).await.expect("it can be deleted");
    let status = condition_in(&rig, other, "younger", ["Ready", "True", "Reconciled"]).await;
    assert_eq!(rig.config(&topic).await["retention.ms"], "2000000");
    assert_eq!(
        (&status["topics"][0]["topicId"], &status["topics"][0]["origin"]),
        (&older["topics"][0]["topicId"], &json!("Adopted"))
    );
}

/// A topic that leaves the list stays as it is and remembered, until it comes back, as ours, or another set takes it.
#[tokio::test]
async fn a_released_topic_comes_back_or_is_taken() {
    let rig = Rig::start().await;
    let [kept, left] = ["kept", "left"].map(|t| rig.topic(t));
    let with = |names: &[&String]| {
        let topics: Vec<Value> = names
            .iter()
            .map(|n| json!({"name": n, "partitions": 1, "config": {"retention.ms": 1_000_000}}))
            .collect();
        json!({ "topics": topics })
    };
    rig.apply("s", with(&[&kept, &left])).await;
    rig.ready("s").await;
    let before = rig.topic_status("s", &left).await;
    rig.apply("s", with(&[&kept])).await;
    rig.ready("s").await;
    let released = rig.topic_status("s", &left).await;
    assert_eq!(released["state"], "Released");
    for field in ["topicId", "origin", "ownedConfig"] {
        assert_eq!(released[field], before[field], "{field}");
    }
    assert_eq!(rig.config(&left).await["retention.ms"], "1000000", "its configuration stays");
    // It comes back without the key, which is known for ours: it is reset.
    rig.apply("s", json!({"topics": [{"name": kept, "partitions": 1}, {"name": left, "partitions": 1}]}))
        .await;
    rig.ready("s").await;
    let back = rig.topic_status("s", &left).await;
    assert_eq!((&back["topicId"], &back["origin"]), (&before["topicId"], &json!("Created")));
    assert!(rig.config(&left).await.is_empty());
    rig.apply("s", with(&[&kept])).await;
    rig.ready("s").await;
    assert_eq!(rig.topic_status("s", &left).await["state"], "Released");
    rig.apply("taker", with(&[&left])).await;
    let taker = rig.ready("taker").await;
    assert_eq!(taker["status"]["topics"][0]["origin"], "Adopted");
    rig.touch("s").await;
    eventually("it is forgotten where it was", || async {
        (rig.topic_status("s", &left).await == Value::Null).then_some(())
    })
    .await;
}

/// A worker that leaves the spec keeps its replicas: nothing is written to its target, not even by the set's deletion.
#[tokio::test]
async fn a_worker_that_leaves_keeps_its_replicas() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.deployment("other").await;
    let worker = |name: &str| json!({"name": name, "scaleTargetRef": {"name": name}, "topics": [topic]});
    let spec = |workers: Value| json!({"topics": [{"name": topic, "partitions": 4}], "workers": workers});
    rig.apply("s", spec(json!([worker("pool"), worker("other")]))).await;
    for pool in ["pool", "other"] {
        rig.scaled_to(pool, 4).await;
        rig.make_ready(pool).await;
    }
    rig.ready("s").await;
    let target = async || rig.deployments().get("pool").await.expect("it is there").metadata.resource_version;
    let before = target().await;
    // The spec goes on, and the other pool with it.
    let mut fewer = spec(json!([worker("other")]));
    fewer["workers"][0]["scaling"] = json!({"partitionsPerWorker": 2});
    rig.apply("s", fewer).await;
    rig.scaled_to("other", 2).await;
    rig.make_ready("other").await;
    let set = rig.ready("s").await;
    assert_eq!(set["status"]["workers"].as_array().map(Vec::len), Some(1));
    rig.delete("s").await;
    rig.apply("last", json!({"topics": [{"name": topic, "partitions": 4}]})).await;
    rig.ready("last").await;
    assert_eq!((rig.replicas("pool").await, target().await), (4, before), "nothing was written to it");
}

/// From Delete to Retain the finalizer goes, and the topics stay when the set does.
#[tokio::test]
async fn retain_takes_the_finalizer_away() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let spec = |policy: &str| json!({"deletionPolicy": policy, "topics": [{"name": topic}]});
    rig.apply("s", spec("Delete")).await;
    assert_eq!(rig.ready("s").await["metadata"]["finalizers"], json!(["parley.dev/topics"]));
    rig.apply("s", spec("Retain")).await;
    assert_eq!(rig.ready("s").await["metadata"]["finalizers"], Value::Null);
    rig.delete("s").await;
    eventually("the set is gone", || async { rig.sets().get_opt("s").await.ok()?.is_none().then_some(()) })
        .await;
    assert!(rig.describe(&topic).await.is_some());
}

/// A namespace that ends while Kafka is away: it takes no event, and it ends all the same once the deadline is over. What it was
/// about stands in the status until then: held by a finalizer of somebody else's, it can be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_though_kafka_is_away() {
    let (api, kafka) = tokio::task::block_in_place(|| (ApiServer::shared_with_controllers(), Kafka::own(1)));
    let (rig, second) = of_two(api, &kafka, true, &["--finalizer-deadline-seconds", "5"]).await;
    let spec = json!({"deletionPolicy": "Delete", "topics": [{"name": rig.topic("t"), "partitions": 1}]});
    apply_in(&rig, &second, "s", spec).await;
    condition_in(&rig, &second, "s", ["Ready", "True", "Reconciled"]).await;
    let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let sets = sets_in(&rig, &second);
    let held = hold(json!(["parley.dev/topics", "test.dev/hold"]));
    sets.patch("s", &PatchParams::default(), &Patch::Merge(held)).await.expect("held");
    kafka.signal(0, "KILL");
    api.kubectl(&["delete", "namespace", &second, "--wait=false"]);
    let status = eventually("ours is gone", || async {
        let set = sets.get("s").await.ok()?;
        (set.metadata.finalizers == Some(vec!["test.dev/hold".to_owned()]))
            .then(|| set.data["status"].clone())
    })
    .await;
    let topics_ready =
        status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "TopicsReady").cloned();
    assert_eq!(topics_ready.map(|c| c["reason"].clone()), Some(json!("FinalizerTimedOut")), "{status}");
    sets.patch("s", &PatchParams::default(), &Patch::Merge(hold(json!([])))).await.expect("let go");
    eventually("the namespace is gone", || async {
        api.try_kubectl(&["get", "namespace", &second]).is_err().then_some(())
    })
    .await;
}
