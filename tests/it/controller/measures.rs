//! What the controller tells of itself: every metric of its contract.

use std::time::{Duration, Instant};

use parley::kafka::admin::ConfigChange;
use serde_json::json;

use super::{crowd::away_for, refused::Limited};
use crate::fixtures::{DEADLINE, Kafka, eventually};

/// The controller's part of docs/metrics.md, process metrics too. A vector is there from its first use on.
const METRICS: [&str; 29] = [
    "parley_build_info",
    "parley_ready{dependency=\"kubernetes\"}",
    "parley_ready{dependency=\"chattopicsets\"}",
    "parley_ready{dependency=\"kafka\"}",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "parley_reconcile_total{outcome=\"changed\"}",
    "parley_reconcile_total{outcome=\"failed\"}",
    "parley_reconcile_duration_seconds_bucket{outcome=\"changed\"",
    "parley_reconcile_errors_total{reason=\"kubernetes\"}",
    "parley_objects_in_backoff",
    "parley_kafka_admin_request_duration_seconds_bucket{api=\"CreateTopics\"",
    "parley_kafka_admin_errors_total{api=\"DescribeCluster\",code=",
    "parley_topicset_condition{name=\"s\",namespace=",
    "parley_topic_partitions{",
    "parley_topic_ready{",
    "parley_topic_drift_total{namespace=",
    "parley_worker_replicas{kind=\"desired\"",
    "parley_worker_replicas{kind=\"current\"",
    "parley_worker_replicas{kind=\"ready\"",
    "parley_worker_lag{namespace=",
    "parley_scale_decisions_total{direction=\"up\",reason=\"partitions\"}",
    "parley_scale_decisions_total{direction=\"down\",reason=\"partitions\"}",
    "parley_scale_suppressed_total{reason=\"contended\"}",
    "parley_scale_suppressed_total{reason=\"Progressing\"}",
    "parley_malformed_sets",
    "parley_leader 1",
    "parley_kafka_admin_request_duration_seconds_count{api=\"IncrementalAlterConfigs\"}",
];

/// A life of a set with all that is measured: a status that may not be written, pools up and down, drift, somebody else's count, and a
/// Kafka that freezes; and then a set that goes and takes its series along.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_contract_is_there() {
    let kafka = tokio::task::block_in_place(|| Kafka::own(1));
    let limited = Limited::start(&kafka).await;
    let rig = &limited.rig;
    limited.grant("patch", "deployments.apps/scale");
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let spec = |per_worker: i32| {
        json!({
            "topics": [{"name": topic, "partitions": 4, "config": {"retention.ms": 1_000_000}}],
            "workers": [{
                "name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic], "consumerGroup": topic,
                "scaling": {"partitionsPerWorker": per_worker},
            }],
        })
    };
    let metric = async |name: &str, labels: &[&str]| rig.controller.metric(name, labels).await;
    rig.apply("s", spec(1)).await;
    eventually("an error is counted", || async {
        let errors = metric("parley_reconcile_errors_total", &[]).await;
        (errors > 0.0 && metric("parley_objects_in_backoff", &[]).await == 1.0).then_some(())
    })
    .await;
    assert!(rig.describe(&topic).await.is_none(), "what cannot be remembered is not done");
    limited.grant("patch", "chattopicsets.parley.dev/status");
    rig.scaled_to("pool", 4).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    rig.apply("s", spec(2)).await;
    rig.scaled_to("pool", 2).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    let meddled = ConfigChange::Set { key: "retention.ms".into(), value: "5".into() };
    rig.admin.alter_configs(vec![(topic.clone(), vec![meddled])], false).await.unwrap()[0].1.clone().unwrap();
    eventually("the drift is counted", || async {
        (metric("parley_topic_drift_total", &[]).await >= 1.0).then_some(())
    })
    .await;
    let of = |kind: &str| format!("kind=\"{kind}\"");
    for (kind, replicas) in [("desired", 2.0), ("current", 2.0), ("ready", 2.0)] {
        assert_eq!(metric("parley_worker_replicas", &[&of(kind)]).await, replicas, "{kind}");
    }
    for kind in ["desired", "observed"] {
        assert_eq!(metric("parley_topic_partitions", &[&of(kind)]).await, 4.0, "{kind}");
    }
    rig.api.kubectl(&["scale", "deployment/pool", "-n", &rig.namespace, "--replicas=3"]);
    rig.condition("s", "WorkersReady", "False", "ReplicasContended").await;
    kafka.signal(0, "STOP");
    rig.condition("s", "TopicsReady", "Unknown", "KafkaUnreachable").await;
    // Whichever call was under way when it stopped, the first of a round fails too.
    away_for(rig, 1.0).await;
    kafka.signal(0, "CONT");
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    // The lag is known again with the next look at it.
    let mut missing: Vec<&&str> = Vec::new();
    let start = Instant::now();
    let text = loop {
        let (_, text) = rig.controller.get("/metrics").await.expect("metrics");
        missing.clear();
        missing.extend(METRICS.iter().filter(|metric| !text.lines().any(|line| line.starts_with(**metric))));
        if missing.is_empty() {
            break text;
        }
        assert!(start.elapsed() < DEADLINE, "no {missing:?} in {text}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    // Help texts are the fields' doc comments: none may be empty.
    let helped = text.lines().filter_map(|line| line.strip_prefix("# HELP parley_"));
    assert!(helped.clone().count() >= 16 && helped.clone().all(|line| line.split_once(' ').is_some()));
    rig.delete("s").await;
    eventually("its series go with it", || async {
        let (_, text) = rig.controller.get("/metrics").await?;
        (!text.contains(&rig.namespace)).then_some(())
    })
    .await;
}
