//! Every CEL rule of the resource, with the plain words that a user reads when it refuses.
//!
//! The rules are evaluated by the API server at admission, by `controller lint` offline (kube's CEL), and by the
//! tests both ways. Their cost is bounded by the list and string bounds of the schema: nested `exists` over
//! `topics` and `workers` is refused by the API server as too expensive, `sets.contains` is not.

use kube::core::Rule;

/// A topic's Kafka name: Kafka's own alphabet, none of the names that Kafka keeps for itself.
/// Source: `org.apache.kafka.common.internals.Topic` (1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`).
pub(super) fn topic_name() -> Rule {
    Rule::new("self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..' && !self.startsWith('__')")
        .message(
            "a topic name holds only letters, digits, '.', '_' and '-', is not '.' or '..', and does not begin with \
             '__' (those topics are Kafka's own)",
        )
}

/// Kafka cannot take partitions away; an accepted decrease would only ever be an error in the status.
pub(super) fn partitions_only_grow() -> Rule {
    Rule::new(
        "self.onFewerPartitions == 'Report' || !has(oldSelf.partitions) || !has(self.partitions) || \
         self.partitions >= oldSelf.partitions",
    )
    .message(
        "Kafka cannot take partitions away: partitions may only grow (onFewerPartitions: Report accepts the number \
         and reports PartitionsAboveSpec)",
    )
}

/// The same for topics that take their number from `defaults`.
pub(super) fn default_partitions_only_grow() -> Rule {
    Rule::new(
        "!has(oldSelf.defaults) || !has(oldSelf.defaults.partitions) || !has(self.defaults) || \
         !has(self.defaults.partitions) || self.defaults.partitions >= oldSelf.defaults.partitions || \
         self.topics.all(t, has(t.partitions) || t.onFewerPartitions == 'Report')",
    )
    .message(
        "Kafka cannot take partitions away: defaults.partitions may only grow while a topic without its own \
         partitions has onFewerPartitions: Refuse",
    )
}

/// A worker is sized by the partitions of its topics, so they must be topics of this set.
pub(super) fn worker_topics_are_declared() -> Rule {
    Rule::new(
        "!has(self.workers) || self.workers.all(w, sets.contains(self.topics.map(t, t.name), w.topics))",
    )
    .message("every topic of a worker must also stand in spec.topics")
}

/// Two pools writing one replica count would flap for ever.
pub(super) fn one_worker_per_target() -> Rule {
    Rule::new(
        "self.all(a, self.exists_one(b, a.scaleTargetRef.kind == b.scaleTargetRef.kind && \
         a.scaleTargetRef.name == b.scaleTargetRef.name && \
         a.scaleTargetRef.apiVersion.split('/')[0] == b.scaleTargetRef.apiVersion.split('/')[0]))",
    )
    .message("two workers name the same scaleTargetRef: one target can follow only one worker")
}

/// The cluster guard is worth something only if it cannot be edited away. A rule on `spec`, because a rule on the
/// field is skipped when its parent is removed.
pub(super) fn cluster_id_stays() -> Rule {
    Rule::new(
        "!has(oldSelf.kafka) || !has(oldSelf.kafka.clusterId) || oldSelf.kafka.clusterId == '' || \
         (has(self.kafka) && has(self.kafka.clusterId) && self.kafka.clusterId == oldSelf.kafka.clusterId)",
    )
    .message("kafka.clusterId cannot change once it is set: make a new ChatTopicSet for another cluster")
}

/// The bounds of a worker's replica count.
pub(super) fn min_not_above_max() -> Rule {
    Rule::new("!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas")
        .message("minReplicas must not be above maxReplicas")
}

/// Lag is read from a consumer group; without its name there is nothing to read.
pub(super) fn lag_needs_a_group() -> Rule {
    Rule::new("!has(self.scaling) || self.scaling.mode != 'Lag' || has(self.consumerGroup)")
        .message("scaling mode Lag needs consumerGroup")
}

/// A client certificate is of no use without its key, and the other way round.
pub(super) fn certificate_and_key_together() -> Rule {
    Rule::new("has(self.certSecretRef) == has(self.keySecretRef)")
        .message("certSecretRef and keySecretRef come together or not at all")
}
