//! `controller uninstall`, as the chart's pre-delete hook runs it: a set that deletes its topics outlives no controller.

use std::process::Stdio;

use kube::{
    Api,
    api::{DeleteParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::Rig;
use crate::fixtures::eventually;

const DEPLOYMENT: &str = "release-controller";

fn pods(rig: &Rig) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    Api::namespaced_with(rig.client.clone(), &rig.namespace, &resource)
}

/// A pod that no node runs stands for the controller's: it goes when somebody deletes it.
async fn pod(rig: &Rig) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "release-controller-0", "labels": {"app": DEPLOYMENT}},
        "spec": {"containers": [{"name": "c", "image": "none"}]},
    });
    let pod = serde_json::from_value(pod).expect("a pod");
    pods(rig).create(&PostParams::default(), &pod).await.expect("created");
}

fn uninstall(rig: &Rig, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_controller"))
        .args(["uninstall", "--deployment", DEPLOYMENT, "--pods", "app=release-controller"])
        .args(["--namespace", &rig.namespace, "--watch-namespaces", &rig.namespace])
        .args(more)
        .env("KUBECONFIG", rig.api.kubeconfig())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the controller runs")
}

async fn finalizers(rig: &Rig, set: &str) -> Value {
    rig.get(set).await["metadata"]["finalizers"].clone()
}

#[tokio::test]
async fn sets_are_freed_once_the_controller_is_gone_and_their_topics_stay() {
    let mut rig = Rig::start().await;
    let [deleting, retained] = ["deleting", "retained"].map(|topic| rig.topic(topic));
    rig.apply("deleting", json!({"deletionPolicy": "Delete", "topics": [{"name": deleting}]})).await;
    rig.apply("retained", json!({"topics": [{"name": retained}]})).await;
    rig.ready("deleting").await;
    rig.ready("retained").await;
    // Somebody else's finalizer is none of ours.
    let both = json!({"metadata": {"finalizers": ["parley.dev/topics", "example.com/theirs"]}});
    let merge = kube::api::Patch::Merge(both);
    rig.sets().patch("deleting", &kube::api::PatchParams::default(), &merge).await.expect("patched");
    rig.deployment_of(DEPLOYMENT, json!(1)).await;
    pod(&rig).await;

    let hook = uninstall(&rig, &[]);
    rig.scaled_to(DEPLOYMENT, 0).await;
    // The real one, which this test runs outside of the cluster, ends now; its pod takes longer.
    rig.controller.signal("KILL");
    rig.controller.wait().await;
    assert_eq!(finalizers(&rig, "deleting").await, json!(["parley.dev/topics", "example.com/theirs"]));
    pods(&rig)
        .delete("release-controller-0", &DeleteParams::default().grace_period(0))
        .await
        .expect("deleted");
    let ended = hook.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{ended:?}");
    assert!(said.contains("sets freed of their finalizer: 1;"), "{said}");
    assert_eq!(finalizers(&rig, "deleting").await, json!(["example.com/theirs"]));
    assert_eq!(finalizers(&rig, "retained").await, Value::Null);
    assert!(rig.describe(&deleting).await.is_some(), "the topic stays");

    // Once more, as a second try of the hook would: nothing is left to do, and that is no error.
    rig.deployments().delete(DEPLOYMENT, &DeleteParams::default()).await.expect("deleted");
    let again = uninstall(&rig, &[]).wait_with_output().await.expect("it ends");
    assert!(again.status.success(), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("finalizer: 0;"), "{again:?}");
}

#[tokio::test]
async fn a_controller_that_does_not_end_keeps_the_finalizers() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic}]})).await;
    rig.ready("s").await;
    rig.deployment_of(DEPLOYMENT, json!(1)).await;
    pod(&rig).await;
    let ended = uninstall(&rig, &["--wait-seconds", "1"]).wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("release-controller-0 has not ended in 1 s"), "{said}");
    assert_eq!(finalizers(&rig, "s").await, json!(["parley.dev/topics"]));
    // A person may free it by another uninstall, when the pod is gone.
    pods(&rig)
        .delete("release-controller-0", &DeleteParams::default().grace_period(0))
        .await
        .expect("deleted");
    eventually("the pod is gone", || async {
        pods(&rig).get_opt("release-controller-0").await.ok()?.is_none().then_some(())
    })
    .await;
}
