use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

crate::metrics! {
    /// What a worker counts (docs/metrics.md). No label names a user, a room or a partition.
    pub struct WorkerMetrics {
        /// Requests answered, by kind and outcome (ok, or the error's code).
        requests_total: IntCounterVec ["kind", "outcome"],
        /// Seconds from the broker's timestamp of a request to the acknowledgement of its reply.
        // From a local round trip to the default deadline of 15 s, where nobody waits any more.
        request_duration_seconds: HistogramVec ["kind"] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0],
        /// Records in a batch.
        // Up to the default bound of 500, and what a larger setting allows.
        batch_records: Histogram [] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0],
        /// Seconds that a stage of a batch took: decode, hash, transaction, produce.
        // A batch of 500 takes 8 ms in PostgreSQL and 7 ms in Kafka (docs/benchmarks.md); the top is the statement timeout.
        batch_duration_seconds: HistogramVec ["stage"] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 8.0],
        /// Batches that were tried again, by reason: conflict, postgresql, kafka, isolated.
        batch_retries_total: IntCounterVec ["reason"],
        /// Records of the group's topics that are not done yet, as far as this member's partitions go.
        consumer_lag: IntGaugeVec ["topic"],
        /// Partitions that are this member's now.
        assigned_partitions: IntGauge [],
        /// Rebalances that took or gave partitions.
        rebalances_total: IntCounter [],
        /// Records that went to the dead-letter topic, by kind and error code.
        dead_letters_total: IntCounterVec ["kind", "code"],
        /// Records whose sender could not be believed; they are dead-lettered and answered to nobody.
        unverified_records_total: IntCounterVec ["kind"],
        /// Requests that came again and were answered from what was stored.
        replays_total: IntCounterVec ["kind"],
        /// Connections to PostgreSQL by state: idle, busy, max.
        db_pool_connections: IntGaugeVec ["state"],
        /// Seconds that one password hash took, without the wait for a thread.
        // 11 ms on a quiet core (docs/benchmarks.md); more when chat has the cores.
        password_hash_duration_seconds: Histogram [] = &[0.005, 0.01, 0.015, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5],
        /// Passwords that wait for a hashing thread or are on one.
        password_hash_queue: IntGauge [],
        /// Seconds by which PostgreSQL's clock is ahead of this machine's.
        clock_offset_seconds: prometheus::Gauge [],
        /// How far this process's idea of PostgreSQL's time may be out, in seconds.
        clock_uncertainty_seconds: prometheus::Gauge [],
        /// Outcomes, sessions and throttles removed because their time was over, and idle sessions ended.
        cleaned_rows_total: IntCounterVec ["what"],
    }
}
