//! Writing `/scale`: of whatever kind, never through another count, and beside other installs.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka, eventually, unique};

fn spec(topic: &str, partitions: i32, scaling: Value) -> Value {
    json!({
        "topics": [{"name": topic, "partitions": partitions}],
        "workers": [{
            "name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic], "consumerGroup": topic, "scaling": scaling,
        }],
    })
}

/// Every count that a Deployment has had since the value was made.
struct Counts {
    seen: Arc<Mutex<Vec<i64>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Counts {
    async fn of(rig: &Rig, name: &str) -> Self {
        let deployments = rig.deployments();
        let now = deployments.get(name).await.expect("the Deployment is there");
        let version = now.metadata.resource_version.expect("it has a version");
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let events = deployments.watch(&only, &version).await.expect("a watch");
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                if let Ok(WatchEvent::Modified(object)) = event {
                    noted.lock().unwrap().push(object.data["spec"]["replicas"].as_i64().unwrap_or(-1));
                }
            }
        });
        Self { seen, task }
    }

    fn all(&self) -> Vec<i64> {
        assert!(!self.task.is_finished(), "the watch has ended");
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From mode to mode the count stays what it is until another one is right: never through 1, never back and forth.
#[tokio::test]
async fn changing_modes_never_passes_through_another_count() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 4, json!({}))).await;
    rig.scaled_to("pool", 4).await;
    let counts = Counts::of(&rig, "pool").await;
    for scaling in [
        json!({"mode": "External"}),
        json!({}),
        json!({"mode": "Lag", "lag": {"recordsPerSecondPerWorker": 100}}),
        json!({"mode": "Paused"}),
        json!({"mode": "Lag"}),
        json!({"mode": "PartitionCount"}),
    ] {
        rig.apply("s", spec(&topic, 4, scaling.clone())).await;
        rig.observed("s").await;
        rig.touch("s").await;
        assert_eq!(rig.replicas("pool").await, 4, "{scaling}");
    }
    rig.make_ready("pool").await;
    rig.ready("s").await;
    // The watch works: the next step is seen, alone.
    rig.apply("s", spec(&topic, 6, json!({}))).await;
    eventually("the step is seen", || async { (counts.all().last() == Some(&6)).then_some(()) }).await;
    let mut all = counts.all();
    all.dedup();
    assert_eq!(all.iter().filter(|n| **n != 4).collect::<Vec<_>>(), [&6], "{all:?}");
}

/// Anything with a `/scale` whose count stands in `spec.replicas`: Kubernetes' own kinds, and custom resources.
#[tokio::test]
async fn any_kind_with_a_scale() {
    let api = ApiServer::shared();
    let group = format!("{}.test", unique("k"));
    let replicas = json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "readyReplicas": {"type": "integer"}}});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("pools.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "pools", "singular": "pool", "kind": "Pool"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": replicas, "status": replicas}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            }],
        },
    });
    let kinds = format!("apps/deployments,apps/statefulsets,{group}/pools");
    let rig = Rig::with(api, Kafka::shared(), &["--scale-targets", &kinds]).await;
    // The custom one comes when the controller runs already: it needs no restart.
    let file = std::env::temp_dir().join(unique("crd.json"));
    std::fs::write(&file, crd.to_string()).unwrap();
    api.kubectl(&["apply", "-f", &file.display().to_string()]);
    std::fs::remove_file(&file).unwrap();
    let crd = format!("crd/pools.{group}");
    eventually("the definition to be established", || async {
        api.try_kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=60s"]).ok()
    })
    .await;
    let topic = rig.topic("t");
    let target = |gvk: &GroupVersionKind, plural: &str| -> Api<DynamicObject> {
        Api::namespaced_with(
            rig.client.clone(),
            &rig.namespace,
            &ApiResource::from_gvk_with_plural(gvk, plural),
        )
    };
    let stateful = target(&GroupVersionKind::gvk("apps", "v1", "StatefulSet"), "statefulsets");
    let labels = json!({"app": "x"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x"},
        "spec": {
            "selector": {"matchLabels": labels}, "serviceName": "x",
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
        },
    });
    stateful.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
    let pools = target(&GroupVersionKind::gvk(&group, "v1", "Pool"), "pools");
    let pool = json!({"apiVersion": format!("{group}/v1"), "kind": "Pool", "metadata": {"name": "x"}, "spec": {"replicas": 0}});
    pools.create(&PostParams::default(), &serde_json::from_value(pool).unwrap()).await.unwrap();
    let worker = |name: &str, version: &str, kind: &str| json!({"name": name, "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "x"}, "topics": [topic]});
    let workers = json!([
        worker("stateful", "apps/v1", "StatefulSet"),
        worker("custom", &format!("{group}/v1"), "Pool")
    ]);
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 3}], "workers": workers})).await;
    for target in [&stateful, &pools] {
        eventually("scaled", || async {
            (target.get("x").await.ok()?.data["spec"]["replicas"] == 3).then_some(())
        })
        .await;
        let status = json!({"status": {"replicas": 3, "readyReplicas": 3}});
        target.patch_status("x", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
    let set = rig.ready("s").await;
    assert_eq!(set["status"]["workersReady"], "6/6");
    // A kind that is not watched is named, with the flag that would watch it.
    let other = json!([worker("other", "apps/v1", "ReplicaSet")]);
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 3}], "workers": other})).await;
    let set = rig.condition("s", "WorkersReady", "False", "TargetNotFound").await;
    assert!(set["status"]["workers"][0]["message"].as_str().unwrap().contains("--scale-targets"));
}

/// Another install that applied the very same count shares it without a conflict. It is a foreign owner all the same, and
/// the next count is not written.
#[tokio::test]
async fn an_equal_count_of_another_install_is_not_ours() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 3, json!({}))).await;
    rig.scaled_to("pool", 3).await;
    let other = "parley-scale/elsewhere/release";
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "pool", "namespace": rig.namespace},
        "spec": {"replicas": 3},
    });
    rig.deployments()
        .patch_subresource("scale", "pool", &PatchParams::apply(other), &Patch::Apply(&scale))
        .await
        .expect("equal values share");
    rig.apply("s", spec(&topic, 5, json!({}))).await;
    let set = rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(other), "{message}");
    assert_eq!(rig.replicas("pool").await, 3);
    // The command that the message prints does what it says.
    let command = message.split_once("kubectl ").unwrap().1.split(' ').collect::<Vec<_>>();
    rig.api.kubectl(&command);
    rig.scaled_to("pool", 5).await;
    // The status, which no longer speaks of a contention, follows the count.
    eventually("it is taken", || async {
        (rig.get("s").await["status"]["workers"][0]["takenToken"] == "1").then_some(())
    })
    .await;
    // So does the one that is printed the next time.
    rig.api.kubectl(&["scale", "deployment/pool", "-n", &rig.namespace, "--replicas=7"]);
    let set = rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap().to_owned();
    let command = message.split_once("kubectl ").unwrap().1.split(' ').collect::<Vec<_>>();
    rig.api.kubectl(&command);
    rig.scaled_to("pool", 5).await;
}

/// Regression: of a target that was applied server-side without a count, the API server itself enters the defaulted one as
/// somebody's (`before-first-apply`) when ours is the same. It is nobody's.
#[tokio::test]
async fn a_target_applied_without_a_count_follows() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    let labels = json!({"app": "pool"});
    let pool = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pool"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
        },
    });
    let applied = PatchParams::apply("gitops");
    rig.deployments().patch("pool", &applied, &Patch::Apply(&pool)).await.unwrap();
    rig.apply("s", spec(&topic, 1, json!({}))).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    eventually("the count is taken", || async {
        let status = rig.get("s").await;
        status["status"]["workers"][0]["targetUid"].as_str().map(|_| ())
    })
    .await;
    rig.apply("s", spec(&topic, 3, json!({}))).await;
    rig.scaled_to("pool", 3).await;
    // GitOps applies its manifest again and again; that takes nothing back.
    rig.deployments().patch("pool", &applied, &Patch::Apply(&pool)).await.unwrap();
    assert_eq!(rig.replicas("pool").await, 3);
    rig.apply("s", spec(&topic, 4, json!({}))).await;
    rig.scaled_to("pool", 4).await;
}

/// An older set that only observes takes no target from a younger one that works.
#[tokio::test]
async fn looking_at_a_target_takes_nothing() {
    let rig = Rig::start().await;
    rig.deployment("pool").await;
    let mut looks = spec(&rig.topic("a"), 2, json!({}));
    looks["managementPolicy"] = json!("Observe");
    rig.apply("a", looks).await;
    rig.observed("a").await;
    rig.apply("b", spec(&rig.topic("b"), 3, json!({}))).await;
    rig.scaled_to("pool", 3).await;
}

/// In mode External the condition says how the next owner takes a count that was ours, and it does.
#[tokio::test]
async fn the_next_owner_is_told_how_to_take_the_count() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    rig.apply("s", spec(&topic, 3, json!({}))).await;
    rig.scaled_to("pool", 3).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    rig.apply("s", spec(&topic, 3, json!({"mode": "External"}))).await;
    let set = rig.condition("s", "WorkersReady", "True", "Reconciled").await;
    let conditions = set["status"]["conditions"].to_string();
    assert!(conditions.contains("--server-side --force-conflicts"), "{conditions}");
    rig.delete("s").await;
    eventually("the set is gone", || async { rig.sets().get_opt("s").await.ok()?.is_none().then_some(()) })
        .await;
    assert_eq!(rig.replicas("pool").await, 3, "a set that goes takes no workers with it");
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pool", "namespace": rig.namespace},
        "spec": {"replicas": 2},
    });
    let file = std::env::temp_dir().join(unique("pool.json"));
    std::fs::write(&file, manifest.to_string()).unwrap();
    let file_name = file.display().to_string();
    rig.api.try_kubectl(&["apply", "--server-side", "-f", &file_name]).expect_err("it is still owned");
    rig.api.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file_name]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(rig.replicas("pool").await, 2);
}
