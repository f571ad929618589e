//! Many sets, in one go and while Kafka is away: patience, told from spinning.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::{Rig, trouble::of_a_later_version};
use crate::fixtures::{Kafka, eventually};

/// How often looking at the cluster has failed.
async fn failed_looks(rig: &Rig) -> f64 {
    rig.controller.metric("parley_kafka_admin_errors_total", &["api=\"DescribeCluster\""]).await
}

/// Waits until it has failed so many more times: each waits for the whole admin timeout, which is more than half of the lease.
pub(super) async fn away_for(rig: &Rig, looks: f64) {
    let before = failed_looks(rig).await;
    eventually("Kafka stays away", || async { (failed_looks(rig).await >= before + looks).then_some(()) })
        .await;
}

/// What the controller does while a server is away, to tell patience from spinning.
pub(super) struct Effort {
    calls: f64,
    reconciles: f64,
    lines: usize,
    since: Instant,
}

impl Effort {
    pub(super) async fn of(rig: &Rig) -> Self {
        Self {
            calls: rig.controller.metric("parley_kafka_admin_request_duration_seconds_count", &[]).await,
            reconciles: rig.controller.metric("parley_reconcile_total", &[]).await,
            lines: rig.controller.log().lines().count(),
            since: Instant::now(),
        }
    }

    /// The poller asks once in a while, for all sets, and nobody else does; each set is tried again after ever longer waits, and
    /// says what is wrong once.
    pub(super) async fn was_patient(&self, rig: &Rig, sets: usize) {
        let (now, seconds, sets) = (Self::of(rig).await, self.since.elapsed().as_secs_f64(), sets as f64);
        let calls = now.calls - self.calls;
        assert!(calls < seconds * 3.0 + 20.0, "{calls} calls in {seconds} s");
        let reconciles = now.reconciles - self.reconciles;
        // Waits of 0.25 s at least, doubled each time up to a minute.
        let tries = (seconds * 4.0).log2().max(1.0) + seconds / 30.0 + 6.0;
        assert!(reconciles < sets * tries, "{reconciles} reconciles of {sets} sets in {seconds} s");
        let lines = (now.lines - self.lines) as f64;
        assert!(lines < sets * 4.0 + seconds * 10.0 + 50.0, "{lines} lines of {sets} sets in {seconds} s");
    }
}

/// Strimzi `shTerminateIfQueueFull`, inverted: many sets in one go, some of which cannot be read, slow the controller down and end as
/// they should. Nor does Kafka, frozen for longer than the lease and any call last, make it fail or spin.
/// `TEST_SETS=1000` makes it a thousand.
#[tokio::test(flavor = "multi_thread")]
async fn many_sets_at_once() {
    let sets = std::env::var("TEST_SETS").map_or(300, |sets| sets.parse::<usize>().expect("a number"));
    let (api, kafka) = tokio::task::block_in_place(|| (of_a_later_version(), Kafka::own(1)));
    let rig = Rig::on(api, &kafka).await;
    let strange = |i: usize| i % 10 == 3;
    let readable = (0..sets).filter(|i| !strange(*i)).count();
    let topics: Vec<String> = (0..sets).map(|i| rig.topic(&format!("many-{i}"))).collect();
    let set = |i: usize| {
        let drift = if strange(i) { "Negotiate" } else { "Revert" };
        let topic = json!({"name": topics[i], "partitions": 1});
        json!({"deletionPolicy": "Delete", "driftPolicy": drift, "topics": [topic]})
    };
    eventually("the new schema is served", || async { rig.try_apply("s3", set(3)).await.ok() }).await;
    let apply = |i: usize| {
        let (rig, spec) = (&rig, set(i));
        async move { rig.apply(&format!("s{i}"), spec).await }
    };
    let applied: Vec<_> = stream::iter((0..sets).map(apply)).buffer_unordered(100).collect().await;
    assert_eq!(applied.len(), sets);
    let with = async |status: &str, reason: &str| -> usize {
        // Reading hundreds of sets is work, and these tests run beside others.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = rig.sets().list(&ListParams::default()).await.expect("the API server answers").items;
        let is = |c: &Value| c["type"] == "Ready" && c["status"] == status && c["reason"] == reason;
        let conditions = |set: &Value| set["conditions"].as_array().is_some_and(|all| all.iter().any(is));
        all.iter().filter(|set| conditions(&set.data["status"])).count()
    };
    let all_ready = async || {
        eventually("all are ready", || async {
            (with("True", "Reconciled").await == readable).then_some(())
        })
        .await;
    };
    all_ready().await;
    // One that waited too long for a busy broker may fail; that none of them does so for long is what was waited for.
    let failed = rig.controller.metric("parley_reconcile_total", &["failed"]).await;
    assert!(failed < sets as f64 * 0.1, "{failed} reconciles of {sets} sets failed");
    eventually("the malformed are counted", || async {
        let malformed = rig.controller.metric("parley_malformed_sets", &[]).await;
        (malformed == (sets - readable) as f64).then_some(())
    })
    .await;

    let effort = Effort::of(&rig).await;
    kafka.signal(0, "STOP");
    eventually("all say that Kafka is away", || async {
        (with("Unknown", "KafkaUnreachable").await == readable).then_some(())
    })
    .await;
    away_for(&rig, 5.0).await;
    effort.was_patient(&rig, sets).await;
    kafka.signal(0, "CONT");
    all_ready().await;

    let delete = |i: usize| {
        let api = rig.sets();
        async move { api.delete(&format!("s{i}"), &DeleteParams::default()).await.expect("it can be deleted") }
    };
    let deleted: Vec<_> = stream::iter((0..sets).map(delete)).buffer_unordered(100).collect().await;
    assert_eq!(deleted.len(), sets);
    eventually("all are gone", || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = rig.sets().list(&ListParams::default()).await.ok()?;
        left.items.is_empty().then_some(())
    })
    .await;
    eventually("each took its topic along", || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = rig.admin.describe_topics(topics.clone()).await.ok()?;
        left.iter().all(|(_, topic)| topic.is_err()).then_some(())
    })
    .await;
}
