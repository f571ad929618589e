//! Every metric of the controller.

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::ownership::SetKey;

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
        topicset_condition: IntGaugeVec ["namespace", "name", "type", "status"],
        /// Partitions of a topic, desired by the spec and observed in Kafka.
        topic_partitions: IntGaugeVec ["namespace", "set", "topic", "kind"],
        /// Whether a topic is as declared (1) or not (0).
        topic_ready: IntGaugeVec ["namespace", "set", "topic"],
        /// Topics found changed by somebody else, each time it was found.
        topic_drift_total: IntCounterVec ["namespace", "set"],
        /// Replicas of a worker pool: desired, current and ready.
        worker_replicas: IntGaugeVec ["namespace", "set", "worker", "kind"],
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

/// Which series exist for a set, so that they can be taken away with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetSeries {
    topics: Vec<String>,
    workers: Vec<String>,
}

impl Metrics {
    /// Exports a status and takes away the series of what is no longer in it.
    pub(crate) fn export(
        &self,
        key: &SetKey,
        status: &crate::api::ChatTopicSetStatus,
        desired: &[(String, Option<i32>)],
        before: &SetSeries,
    ) -> SetSeries {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        for condition in &status.conditions {
            for value in ["True", "False", "Unknown"] {
                let labels = [ns, set, condition.type_.as_str(), value];
                self.topicset_condition.with_label_values(&labels).set(i64::from(condition.status == value));
            }
        }
        for (topic, partitions) in desired {
            let seen = status.topics.iter().find(|t| &t.name == topic);
            let gauge = |kind| self.topic_partitions.with_label_values(&[ns, set, topic.as_str(), kind]);
            let observed = seen.and_then(|t| t.partitions);
            gauge("desired").set(partitions.or(observed).unwrap_or(0).into());
            gauge("observed").set(observed.unwrap_or(0).into());
            let ready = seen.is_some_and(|t| t.state.is_ready());
            self.topic_ready.with_label_values(&[ns, set, topic]).set(ready.into());
        }
        for worker in &status.workers {
            let gauge = |kind| self.worker_replicas.with_label_values(&[ns, set, worker.name.as_str(), kind]);
            gauge("desired").set(worker.desired_replicas.or(worker.replicas).unwrap_or(0).into());
            gauge("current").set(worker.replicas.unwrap_or(0).into());
            gauge("ready").set(worker.ready_replicas.unwrap_or(0).into());
        }
        let now = SetSeries {
            topics: desired.iter().map(|(topic, _)| topic.clone()).collect(),
            workers: status.workers.iter().map(|w| w.name.clone()).collect(),
        };
        self.forget(key, before, &now);
        now
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

    /// Takes away the series of `before` that are not in `now`; with an empty `now` also those of the set itself.
    pub(crate) fn forget(&self, key: &SetKey, before: &SetSeries, now: &SetSeries) {
        let (ns, set) = (key.namespace.as_str(), key.name.as_str());
        // A series that never was is no error worth a word.
        for topic in before.topics.iter().filter(|t| !now.topics.contains(t)) {
            for kind in ["desired", "observed"] {
                let _ = self.topic_partitions.remove_label_values(&[ns, set, topic, kind]);
            }
            let _ = self.topic_ready.remove_label_values(&[ns, set, topic]);
        }
        for worker in before.workers.iter().filter(|w| !now.workers.contains(w)) {
            for kind in ["desired", "current", "ready"] {
                let _ = self.worker_replicas.remove_label_values(&[ns, set, worker, kind]);
            }
            let _ = self.worker_lag.remove_label_values(&[ns, set, worker]);
        }
        if now == &SetSeries::default() {
            let _ = self.topic_drift_total.remove_label_values(&[ns, set]);
            for kind in crate::api::ConditionType::ALL {
                for value in ["True", "False", "Unknown"] {
                    let _ = self.topicset_condition.remove_label_values(&[ns, set, kind.as_str(), value]);
                }
            }
        }
    }
}
