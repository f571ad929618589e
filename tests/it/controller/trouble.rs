//! Servers that are away, and objects that make no sense.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Rig, admin, client, controller};
use crate::fixtures::{ApiServer, Binary, Kafka, eventually, unique};

/// Kafka gone for much longer than anybody waits for an answer: the set says so, nothing exits or spins, and it goes on by itself.
#[tokio::test]
async fn kafka_away_and_back() {
    let kafka = Kafka::own(1);
    let rig = Rig::on(ApiServer::shared(), &kafka).await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    rig.ready("s").await;
    let pid = kafka.pid(0).to_string();
    let effort = super::crowd::Effort::of(&rig).await;
    let killed = std::process::Command::new("kill").args(["-KILL", &pid]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let set = rig.condition("s", "Ready", "Unknown", "KafkaUnreachable").await;
    assert_eq!(set["status"]["topics"][0]["state"], "Ready", "what is remembered stays");
    eventually("readiness names Kafka", || async {
        let (_, body) = rig.controller.get("/readyz").await?;
        let report: serde_json::Value = serde_json::from_str(&body).ok()?;
        (report["dependencies"]["kafka"]["ready"] == false).then_some(())
    })
    .await;
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 3}]})).await;
    super::crowd::away_for(&rig, 5.0).await;
    effort.was_patient(&rig, 1).await;
    kafka.start_again();
    rig.ready("s").await;
    assert_eq!(rig.describe(&topic).await.unwrap().partitions.len(), 3);
}

/// Waits until readiness has this status and names this dependency as missing, with a reason.
async fn missed(controller: &Binary, dependency: &str, wanted: u16) {
    eventually(&format!("{dependency} to be missed: {}", controller.log()), || async {
        let (status, body) = controller.get("/readyz").await?;
        let report: serde_json::Value = serde_json::from_str(&body).ok()?;
        let state = &report["dependencies"][dependency];
        (status == wanted && state["ready"] == false && state["reason"].is_string()).then_some(())
    })
    .await;
}

/// Neither API server nor Kafka is there when it starts: it waits, says for what, and begins by itself when they come.
#[tokio::test]
async fn nothing_is_there_at_the_start() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::own()));
    let kafka = Kafka::own(1);
    let namespace = api.namespace();
    // Its account has to be made while there is a server.
    api.controller_kubeconfig(&namespace, "apps/deployments");
    api.kill();
    kafka.signal(0, "KILL");
    let controller = controller(api, &namespace, &kafka.bootstrap(), &[]);
    missed(&controller, "kubernetes", 503).await;
    assert_eq!(controller.get("/livez").await.map(|(status, _)| status), Some(200));
    eventually("a line about it", || async {
        controller.log().contains("the lease could not be read or written; trying again").then_some(())
    })
    .await;

    api.start_again();
    // Sets may have a Kafka of their own: it is ready without one.
    missed(&controller, "kafka", 200).await;
    let rig = Rig {
        api,
        client: client(api).await,
        admin: admin(&kafka.bootstrap()),
        controller,
        prefix: unique("t"),
        namespace,
    };
    let topic = rig.topic("t");
    // A server that has just come back may not know our kind yet.
    eventually("a set to be accepted", || async {
        rig.try_apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await.ok()
    })
    .await;
    rig.condition("s", "Ready", "Unknown", "KafkaUnreachable").await;
    kafka.start_again();
    rig.ready("s").await;
    assert_eq!(rig.describe(&topic).await.expect("it was made").partitions.len(), 2);
    assert!(rig.controller.stop().await.success());
}

/// An API server with a later version's schema: the CRD allows what this controller does not know.
pub(super) fn of_a_later_version() -> &'static ApiServer {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::own()));
    let schema = json!([{
        "op": "add",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/driftPolicy/enum/-",
        "value": "Negotiate",
    }]);
    api.kubectl(&["patch", "crd", "chattopicsets.parley.dev", "--type=json", "-p", &schema.to_string()]);
    api
}

/// A set that this version cannot read is left alone, keeps its topics claimed, and stops nobody; deleted, it holds its
/// namespace only for a while.
#[tokio::test]
async fn a_malformed_set_stops_nobody() {
    let api = of_a_later_version();
    let rig = Rig::with(api, Kafka::shared(), &["--finalizer-deadline-seconds", "3"]).await;
    let topic = rig.topic("claimed");
    let strange =
        json!({"driftPolicy": "Negotiate", "deletionPolicy": "Delete", "topics": [{"name": topic}]});
    eventually("the new schema is served", || async {
        rig.try_apply("a-strange", strange.clone()).await.ok()
    })
    .await;
    eventually("an event about it", || async {
        let notes = rig.events("Refused").await;
        notes.iter().any(|note| note.contains("cannot be read")).then_some(())
    })
    .await;
    let other = rig.topic("other");
    rig.apply("b-good", json!({"topics": [{"name": other, "partitions": 1}]})).await;
    rig.ready("b-good").await;
    rig.apply("b-good", json!({"topics": [{"name": other, "partitions": 1}, {"name": topic}]})).await;
    rig.condition("b-good", "TopicsReady", "False", "OwnershipConflict").await;
    assert!(rig.describe(&topic).await.is_none(), "nobody made it");
    assert_eq!(rig.controller.metric("parley_malformed_sets", &[]).await, 1.0);
    let finalizer = json!({"metadata": {"finalizers": ["parley.dev/topics"]}});
    rig.sets().patch("a-strange", &PatchParams::default(), &Patch::Merge(finalizer)).await.unwrap();
    rig.delete("a-strange").await;
    eventually("it goes", || async { rig.sets().get_opt("a-strange").await.ok()?.is_none().then_some(()) })
        .await;
    rig.ready("b-good").await;
    let notes = rig.events("Refused").await;
    assert!(notes.iter().any(|note| note.contains("deleted without its topics")), "{notes:?}");
}

/// The CRD is not there yet, or was taken away: unready, said once, and all is well when it comes.
#[tokio::test]
async fn without_its_resource_it_waits() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::own()));
    let rig = Rig::on(api, Kafka::shared()).await;
    api.kubectl(&["delete", "crd", "chattopicsets.parley.dev"]);
    eventually("readiness names the resource", || async {
        let (status, body) = rig.controller.get("/readyz").await?;
        (status == 503 && body.contains("chattopicsets") && body.contains("crds.enabled")).then_some(())
    })
    .await;
    let missing = ["dependency=\"chattopicsets\""];
    assert_eq!(rig.controller.metric("parley_ready", &missing).await, 0.0);
    let said = eventually("an event about it", || async {
        let notes = rig.events("Refused").await;
        (!notes.is_empty()).then_some(notes)
    });
    assert_eq!(said.await.len(), 1);
    api.install_crd();
    let topic = rig.topic("t");
    eventually("the resource is served", || async {
        rig.try_apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await.ok()
    })
    .await;
    rig.ready("s").await;
    // Readiness looks by itself, every few seconds.
    eventually("readiness has the resource", || async {
        (rig.controller.metric("parley_ready", &missing).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(rig.events("Refused").await.len(), 1);
}

/// The API server stopped and back: nothing exits, and what changed meanwhile is done.
#[tokio::test]
async fn the_api_server_away_and_back() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::own()));
    let rig = Rig::on(api, Kafka::shared()).await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    rig.ready("s").await;
    let signal = |name: &str| {
        let sent =
            std::process::Command::new("kill").args([&format!("-{name}"), &api.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    };
    signal("STOP");
    eventually("readiness names the API server", || async {
        let (status, body) = rig.controller.get("/readyz").await?;
        (status == 503 && body.contains("kubernetes")).then_some(())
    })
    .await;
    signal("CONT");
    let patch = json!({"spec": {"topics": [{"name": topic, "partitions": 2}]}});
    eventually("the API server takes a change", || async {
        rig.sets().patch("s", &PatchParams::default(), &Patch::Merge(&patch)).await.ok()
    })
    .await;
    rig.ready("s").await;
    assert_eq!(rig.describe(&topic).await.unwrap().partitions.len(), 2);
}

/// The API server is killed and comes back without the history that a watch would go on from: nothing is missed.
#[tokio::test]
async fn what_happened_while_nobody_watched_is_done() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::own()));
    // A lease that outlives the restart: otherwise the work begins anew, and its watches with it.
    let rig = Rig::with(api, Kafka::shared(), &["--lease-seconds", "300"]).await;
    let [kept, gone] = ["kept", "gone"].map(|t| rig.topic(t));
    rig.apply("a", json!({"topics": [{"name": kept, "partitions": 1}]})).await;
    rig.apply("b", json!({"topics": [{"name": gone, "partitions": 1}]})).await;
    rig.ready("a").await;
    rig.ready("b").await;
    rig.controller.signal("STOP");
    rig.apply("a", json!({"topics": [{"name": kept, "partitions": 2}, {"name": gone, "partitions": 1}]}))
        .await;
    rig.delete("b").await;
    api.kill_and_start_again();
    // A server that has just started knows only what comes after its start.
    rig.controller.signal("CONT");
    eventually("the watch has expired", || async {
        let log = rig.controller.log();
        let expired = |line: &str| line.contains("too old resource version") || line.contains("Expired");
        log.lines().any(|line| line.contains("ChatTopicSet") && expired(line)).then_some(())
    })
    .await;
    rig.ready("a").await;
    assert_eq!(rig.describe(&kept).await.unwrap().partitions.len(), 2);
    assert_eq!(rig.topic_status("a", &gone).await["state"], "Ready", "b's topic was passed on");
}
