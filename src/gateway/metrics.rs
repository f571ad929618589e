//! Everything that the gateway measures.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

crate::metrics! {
    /// The gateway's metrics.
    pub(crate) struct Metrics {
        /// Requests answered, by route, method and status.
        http_requests_total: IntCounterVec ["route", "method", "status"],
        // From a cached read to a call held for 30 s.
        /// Time to answer a request, without event streams, in seconds.
        http_request_duration_seconds: HistogramVec ["route"] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0],
        /// Event streams, by where they stand.
        sse_connections: IntGaugeVec ["state"],
        /// Event streams that began to hear everything, by whether they are new, were resumed, or were told to read their state again.
        sse_opened_total: IntCounterVec ["result"],
        /// Event streams that ended, by reason.
        sse_closed_total: IntCounterVec ["reason"],
        /// Event streams that were answered and closed at once, by reason.
        sse_refused_total: IntCounterVec ["reason"],
        /// Events written to streams, by name; an event to three streams counts three times.
        sse_events_total: IntCounterVec ["event"],
        /// Bytes that wait for sockets.
        sse_queue_bytes: IntGauge [],
        // A local broker and a free machine take a few milliseconds; the bound that alerts ask about is a second.
        /// From the broker's timestamp of a record to its bytes being handed to the socket, in seconds.
        delivery_latency_seconds: Histogram [] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
        /// Calls that are held for their reply.
        pending_requests: IntGauge [],
        /// Calls whose reply did not come in the time that they asked for, by kind.
        request_timeouts_total: IntCounterVec ["kind"],
        /// Requests that Kafka did not take, by kind and by whether it may have them after all.
        produce_failures_total: IntCounterVec ["kind", "outcome"],
        /// Records of a topic that are not read yet.
        kafka_position_lag: IntGaugeVec ["topic"],
        /// Replies and events that were dropped because nobody of ours signed them.
        dropped_records_total: IntCounterVec ["topic"],
        /// Messages that the log did not bring in time and that were read from PostgreSQL.
        gaps_repaired_total: IntCounter [],
        /// Requests refused because of a limit, by limit.
        limited_total: IntCounterVec ["limit"],
        /// Streams that a draining gateway still has.
        drain_remaining: IntGauge [],
    }
}
