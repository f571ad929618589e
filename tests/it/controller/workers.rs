//! Worker counts: they follow partitions, and somebody else's count is left alone.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka, eventually};

fn spec(topic: &str, partitions: i32, scaling: Value) -> Value {
    json!({
        "topics": [{"name": topic, "partitions": partitions}],
        "workers": [{"name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic], "scaling": scaling}],
    })
}

/// The topic grows and the pool follows, one step each.
#[tokio::test]
async fn the_pool_follows_the_partitions() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", spec(&topic, 2, json!({}))).await;
    rig.condition("s", "WorkersReady", "False", "TargetNotFound").await;
    rig.deployment("pool").await;
    rig.scaled_to("pool", 2).await;
    rig.apply("s", spec(&topic, 4, json!({}))).await;
    rig.scaled_to("pool", 4).await;
    rig.make_ready("pool").await;
    let set = rig.ready("s").await;
    assert_eq!(set["status"]["workersReady"], "4/4");
    let scaled = rig.events("Scaled").await;
    assert!(scaled.iter().any(|note| note.contains("from 2 to 4 for 4 partitions")), "{scaled:?}");
    rig.apply("s", spec(&topic, 4, json!({"partitionsPerWorker": 3}))).await;
    rig.scaled_to("pool", 2).await;
}

/// Somebody scales by hand: their count stays until a token takes it back.
#[tokio::test]
async fn a_count_set_by_hand_is_left_alone_until_taken() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 3, json!({}))).await;
    rig.scaled_to("pool", 3).await;
    rig.api.kubectl(&["scale", "deployment/pool", "-n", &rig.namespace, "--replicas=5"]);
    let set = rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("kubectl") && message.contains("parley.dev/take-scale"), "{message}");
    assert_eq!(rig.replicas("pool").await, 5);
    let take =
        |token: &str| json!({"metadata": {"annotations": {"parley.dev/take-scale": format!("w={token}")}}});
    rig.sets().patch("s", &PatchParams::default(), &Patch::Merge(take("1"))).await.unwrap();
    rig.scaled_to("pool", 3).await;
    rig.make_ready("pool").await;
    let set = rig.ready("s").await;
    assert_eq!(set["status"]["workers"][0]["takenToken"], "1");
    // A token works once, though the annotation stays.
    rig.api.kubectl(&["scale", "deployment/pool", "-n", &rig.namespace, "--replicas=6"]);
    rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    rig.sets().patch("s", &PatchParams::default(), &Patch::Merge(take("2"))).await.unwrap();
    rig.scaled_to("pool", 3).await;
}

/// External and Paused never write; going back takes the count up where it is.
#[tokio::test]
async fn external_and_paused_write_nothing() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 3, json!({"mode": "External"}))).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    rig.apply("s", spec(&topic, 4, json!({"mode": "Paused"}))).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    assert_eq!(rig.replicas("pool").await, 1);
    rig.apply("s", spec(&topic, 4, json!({}))).await;
    rig.scaled_to("pool", 4).await;
}

/// One target follows one worker, also between sets.
#[tokio::test]
async fn a_target_follows_the_oldest_set() {
    let rig = Rig::start().await;
    rig.deployment("pool").await;
    rig.apply("a", spec(&rig.topic("a"), 2, json!({}))).await;
    rig.scaled_to("pool", 2).await;
    rig.apply("b", spec(&rig.topic("b"), 5, json!({}))).await;
    rig.condition("b", "WorkersReady", "False", "OwnershipConflict").await;
    assert_eq!(rig.replicas("pool").await, 2);
    rig.delete("a").await;
    rig.scaled_to("pool", 5).await;
}

/// A real HPA writes through the real API server: its count is left alone, and the status names it.
#[tokio::test]
async fn an_autoscaler_is_not_fought() {
    let rig = Rig::on(ApiServer::shared_with_controllers(), Kafka::shared()).await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 2, json!({}))).await;
    rig.scaled_to("pool", 2).await;
    // Below its minimum an HPA needs no metrics to write.
    rig.api.kubectl(&[
        "autoscale",
        "deployment/pool",
        "-n",
        &rig.namespace,
        "--min=6",
        "--max=8",
        "--cpu=50%",
    ]);
    rig.scaled_to("pool", 6).await;
    let set = rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("kube-controller-manager"), "{message}");
    rig.apply("s", spec(&topic, 3, json!({}))).await;
    rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    assert_eq!(rig.replicas("pool").await, 6);
    let contended = rig.events("ScaleContended").await;
    assert_eq!(contended.len(), 1, "said once: {contended:?}");
    // External is the way to leave it to the HPA.
    rig.apply("s", spec(&topic, 3, json!({"mode": "External"}))).await;
    rig.condition("s", "Stalled", "False", "Reconciled").await;
    assert_eq!(rig.replicas("pool").await, 6);
}

/// A manifest that names replicas, applied client-side, is an owner too; one that does not is none.
#[tokio::test]
async fn a_manifest_with_replicas_owns_them() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let manifest = |name: &str, replicas: Value| {
        let labels = json!({"app": name});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": rig.namespace},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
            },
        })
    };
    for (name, replicas) in [("named", json!(1)), ("unnamed", Value::Null)] {
        let file = std::env::temp_dir().join(crate::fixtures::unique(name));
        std::fs::write(&file, manifest(name, replicas).to_string()).unwrap();
        rig.api.kubectl(&["apply", "-f", &file.display().to_string()]);
        std::fs::remove_file(&file).unwrap();
    }
    let worker = |name: &str| json!({"name": name, "scaleTargetRef": {"name": name}, "topics": [topic]});
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 3}], "workers": [worker("named"), worker("unnamed")]})).await;
    rig.scaled_to("unnamed", 3).await;
    rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    assert_eq!(rig.replicas("named").await, 1);
}

/// Mode Lag: a pool at zero is woken by the first record, by a group that has never committed anything.
#[tokio::test]
async fn lag_wakes_a_pool_from_zero() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment_of("pool", json!(0)).await;
    let scaling =
        json!({"mode": "Lag", "minReplicas": 0, "maxReplicas": 4, "lag": {"recordsPerSecondPerWorker": 100}});
    let mut spec = spec(&topic, 4, scaling);
    spec["workers"][0]["consumerGroup"] = json!(topic);
    rig.apply("s", spec).await;
    let set = rig.ready("s").await;
    assert_eq!((rig.replicas("pool").await, &set["status"]["workersReady"]), (0, &json!("0/0")));
    Kafka::shared().tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &["--topic", &topic],
        &"record\n".repeat(10),
    );
    rig.scaled_to("pool", 1).await;
    eventually("the lag is exported", || async {
        (rig.controller.metric("parley_worker_lag", &[&rig.namespace]).await == 10.0).then_some(())
    })
    .await;
}
