//! A set that is as it should be costs nobody a write.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka};

/// What a controller may ask of Kafka while nothing is to be done: questions, and what a client says on connecting.
const QUESTIONS: &[&str] = &[
    "API_VERSIONS",
    "CONSUMER_GROUP_DESCRIBE",
    "DESCRIBE_CLUSTER",
    "DESCRIBE_CONFIGS",
    "DESCRIBE_GROUPS",
    "DESCRIBE_TOPIC_PARTITIONS",
    "FIND_COORDINATOR",
    "GET_TELEMETRY_SUBSCRIPTIONS",
    "LIST_OFFSETS",
    "METADATA",
    "OFFSET_FETCH",
];

/// Every write to the namespace so far but for leases, from the API server's audit log.
fn writes(rig: &Rig) -> Vec<String> {
    let log = std::fs::read_to_string(rig.api.audit_log()).expect("the audit log");
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = entries.filter(|entry| {
        let object = &entry["objectRef"];
        object["namespace"] == json!(rig.namespace) && object["resource"] != "leases"
    });
    ours.map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

/// Strimzi `shNotRemoveInheritedConfigs`, `shUpdateAnUnmanagedTopic`, `KubernetesHandlerTest`: no write when nothing has
/// changed, counted over 1,000 reconciles by those who would have been written to: the API server's audit log, and the
/// broker's log of requests.
#[tokio::test]
async fn a_thousand_reconciles_of_an_unchanged_set_write_nothing() {
    const RECONCILES: f64 = 1_000.0;
    let kafka = Kafka::own(1);
    kafka.note_requests();
    let rig = Rig::on(ApiServer::shared(), &kafka).await;
    rig.deployment("w").await;
    let (still, bare) = (rig.topic("still"), rig.topic("bare"));
    let worker = |mode: &str| {
        json!([{
            "name": "w", "scaleTargetRef": {"name": "w"}, "topics": [still, bare], "consumerGroup": still,
            "scaling": {"mode": mode},
        }])
    };
    rig.apply(
        "s",
        json!({
            "deletionPolicy": "Delete",
            "topics": [
                {"name": still, "partitions": 2, "config": {"retention.ms": 3_600_000, "cleanup.policy": "compact, delete"}},
                {"name": bare},
            ],
            "workers": worker("PartitionCount"),
        }),
    )
    .await;
    rig.scaled_to("w", 3).await;
    rig.make_ready("w").await;
    rig.ready("s").await;
    rig.touch("s").await;
    rig.touch("s").await;

    let (written, asked) = (writes(&rig), kafka.requests("parley-controller"));
    assert!(written.iter().any(|write| write.contains("/status")), "the audit log shows writes: {written:?}");
    assert!(asked.contains_key("CREATE_TOPICS"), "the broker's log shows writes: {asked:?}");
    let unchanged = async || rig.controller.metric("parley_reconcile_total", &["unchanged"]).await;
    let failed = async || rig.controller.metric("parley_reconcile_total", &["failed"]).await;
    let (start, failed_before) = (unchanged().await, failed().await);
    let mut touched = 0;
    // A label is no part of the spec: each new one causes a reconcile that finds nothing to do.
    while unchanged().await < start + RECONCILES {
        assert!(touched < 20_000, "the controller reconciles no more");
        for _ in 0..20 {
            touched += 1;
            let patch = json!({"metadata": {"labels": {"touched": touched.to_string()}}});
            rig.sets().patch("s", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("touched");
        }
    }
    let later = writes(&rig);
    assert_eq!(later.len(), written.len() + touched, "only our own patches: {:?}", later.last());
    let now = kafka.requests("parley-controller");
    for (api, count) in &now {
        let before = asked.get(api).copied().unwrap_or(0);
        assert!(*count == before || QUESTIONS.contains(&api.as_str()), "{api}: {before}, then {count}");
    }
    assert!(now.values().sum::<usize>() > asked.values().sum(), "the broker still notes requests: {now:?}");
    assert_eq!(failed().await, failed_before);
}
