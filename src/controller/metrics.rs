//! Every metric of the controller.

use std::{collections::HashMap, sync::Arc};

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::ownership::SetKey;
use crate::{
    api::{ChatTopicSetStatus, WorkerStatus},
    process::metrics::IntGaugeTable,
};

crate::metrics! {
    /// What the controller counts.
    pub(crate) struct Metrics {
        /// Reconciles of a set, by outcome: changed, unchanged, waiting or failed.
        reconcile_total: IntCounterVec ["outcome"],
        /// How long a reconcile takes, Kafka's and the API server's time included.
        reconcile_duration_seconds: HistogramVec ["outcome"] = SECONDS,
        /// Reconciles that ended in an error, by its kind.
        reconcile_errors_total: IntCounterVec ["reason"],
        /// Sets that wait for another try after an error.
        objects_in_backoff: IntGauge [],
        /// How long Kafka's admin calls take, by API.
        kafka_admin_request_duration_seconds: HistogramVec ["api"] = SECONDS,
        /// Kafka admin calls that failed, by API and error code.
        kafka_admin_errors_total: IntCounterVec ["api", "code"],
        /// The conditions of a set: 1 when it has the status, else 0.
        topicset_condition: IntGaugeTable ["type", "namespace", "name", "status"],
        /// Partitions of a topic, desired by the spec and observed in Kafka.
        topic_partitions: IntGaugeTable ["topic", "namespace", "set", "kind"],
        /// Whether a topic is as declared (1) or not (0).
        topic_ready: IntGaugeTable ["topic", "namespace", "set"],
        /// Topics found changed by somebody else, each time it was found.
        topic_drift_total: IntCounterVec ["namespace", "set"],
        /// Replicas of a worker pool: desired, current and ready.
        worker_replicas: IntGaugeTable ["worker", "namespace", "set", "kind"],
        /// Records that wait for a worker pool.
        worker_lag: IntGaugeVec ["namespace", "set", "worker"],
        /// Replica counts that were written, by direction and the reason for it.
        scale_decisions_total: IntCounterVec ["direction", "reason"],
        /// Replica counts that were right but not written, by reason.
        scale_suppressed_total: IntCounterVec ["reason"],
        /// Sets that cannot be read as ChatTopicSets.
        malformed_sets: IntGauge [],
        /// Whether this process is the one that works (1) or stands by (0).
        leader: IntGauge [],
    }
}

/// From an answer of a broker nearby (a few ms) to the longest admin timeout (30 s), a step about doubling.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What a condition's status can be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
/// The counts of a worker pool's replicas.
const KINDS: [&str; 3] = ["desired", "current", "ready"];

/// The worker pools of a set that have series, so that these can be taken away with it.
pub(crate) type Pools = Vec<String>;

impl Metrics {
    /// Exports a status and takes away the series of what is no longer in it.
    pub(crate) fn export(
        &self,
        key: &SetKey,
        status: &ChatTopicSetStatus,
        desired: &[(String, Option<i32>)],
        before: &Pools,
    ) -> Pools {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        for value in STATUSES {
            let rows =
                status.conditions.iter().map(|c| (c.type_.as_str().into(), (c.status == value).into()));
            self.topicset_condition.put(&[ns, set, value], rows.collect());
        }
        self.export_topics(key, status, desired);
        type Count = fn(&WorkerStatus) -> Option<i32>;
        let counts: [Count; 3] =
            [|w| w.desired_replicas.or(w.replicas), |w| w.replicas, |w| w.ready_replicas];
        for (kind, count) in KINDS.into_iter().zip(counts) {
            let rows = status.workers.iter().map(|w| (w.name.as_str().into(), count(w).unwrap_or(0).into()));
            self.worker_replicas.put(&[ns, set, kind], rows.collect());
        }
        let now: Pools = status.workers.iter().map(|w| w.name.clone()).collect();
        self.forget_workers(key, before, &now);
        now
    }

    fn export_topics(&self, key: &SetKey, status: &ChatTopicSetStatus, desired: &[(String, Option<i32>)]) {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        let seen: HashMap<&str, _> = status.topics.iter().map(|t| (t.name.as_str(), t)).collect();
        let [mut wanted, mut observed, mut ready] = [(); 3].map(|()| Vec::with_capacity(desired.len()));
        for (topic, partitions) in desired {
            let seen = seen.get(topic.as_str());
            let there = seen.and_then(|t| t.partitions);
            let topic: Arc<str> = topic.as_str().into();
            wanted.push((Arc::clone(&topic), partitions.or(there).unwrap_or(0).into()));
            observed.push((Arc::clone(&topic), there.unwrap_or(0).into()));
            ready.push((topic, seen.is_some_and(|t| t.state.is_ready()).into()));
        }
        self.topic_partitions.put(&[ns, set, "desired"], wanted);
        self.topic_partitions.put(&[ns, set, "observed"], observed);
        self.topic_ready.put(&[ns, set], ready);
    }

    /// Takes away all that only a leader knows: a process that stands by must not go on telling what once was.
    pub(crate) fn stand_by(&self) {
        self.leader.set(0);
        self.malformed_sets.set(0);
        self.objects_in_backoff.set(0);
        self.topicset_condition.reset();
        self.topic_partitions.reset();
        self.topic_ready.reset();
        self.topic_drift_total.reset();
        self.worker_replicas.reset();
        self.worker_lag.reset();
    }

    /// Takes away the series of a set, and of the pools that it had.
    pub(crate) fn forget(&self, key: &SetKey, pools: &Pools) {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        self.topic_partitions.remove(&[ns, set, "desired"]);
        self.topic_partitions.remove(&[ns, set, "observed"]);
        self.topic_ready.remove(&[ns, set]);
        self.forget_workers(key, pools, &Pools::new());
        // A series that never was is no error worth a word.
        let _ = self.topic_drift_total.remove_label_values(&[ns, set]);
        for value in STATUSES {
            self.topicset_condition.remove(&[ns, set, value]);
        }
        for kind in KINDS {
            self.worker_replicas.remove(&[ns, set, kind]);
        }
    }

    fn forget_workers(&self, key: &SetKey, before: &Pools, now: &Pools) {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        for worker in before.iter().filter(|w| !now.contains(w)) {
            let _ = self.worker_lag.remove_label_values(&[ns, set, worker]);
        }
    }
}
