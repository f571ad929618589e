// What browsers see: streams, how late events arrive, and the HTTP side.
const OF = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"';
const rate = (metric, by) => `sum by (${by}) (rate(${metric}{${OF}}[$__rate_interval]))`;

export const gateway = {
  uid: "parley-gateway",
  title: "Parley / Gateway",
  description: "Event streams, delivery latency, queues and HTTP.",
  job: ".*gateway.*",
  rows: [
    {
      title: "Streams", height: 8, of: [
        { title: "Open streams", unit: "short", description: "By state, all gateways together.",
          queries: [[`sum by (state) (parley_sse_connections{${OF}})`, "{{state}}"]] },
        { title: "Opened", unit: "ops", description: "new: first of its kind; resumed: nothing was missed; resync: the browser reads its state anew.",
          queries: [[rate("parley_sse_opened_total", "result"), "{{result}}"]] },
        { title: "Closed", unit: "ops", description: "By reason. slow: the browser fell behind its limit.",
          queries: [[rate("parley_sse_closed_total", "reason"), "{{reason}}"]] },
        { title: "Events", unit: "ops", description: "Written to streams, by type.",
          queries: [[rate("parley_sse_events_total", "event"), "{{event}}"]] },
      ],
    },
    {
      title: "Delivery", height: 9, of: [
        { title: "Delivery latency", type: "heatmap", unit: "s", description: "From the broker's timestamp to the write to the socket.",
          queries: [[rate("parley_delivery_latency_seconds_bucket", "le"), "{{le}}"]] },
        { title: "Delivery latency, quantiles", unit: "s", description: "The same as lines.",
          queries: [0.5, 0.99, 0.999].map((q) => [`histogram_quantile(${q}, ${rate("parley_delivery_latency_seconds_bucket", "le")})`, `p${q * 100}`]) },
        { title: "Bytes that wait", unit: "bytes", description: "In the queues of all streams: what browsers have not taken yet.",
          queries: [[`sum by (instance) (parley_sse_queue_bytes{${OF}})`, "{{instance}}"]] },
      ],
    },
    {
      title: "HTTP", height: 8, of: [
        { title: "Rate by route", unit: "reqps", description: "All methods and answers.",
          queries: [[rate("parley_http_requests_total", "route"), "{{route}}"]] },
        { title: "Rate by status", unit: "reqps", description: "503: Kafka did not take the request.",
          queries: [[rate("parley_http_requests_total", "status"), "{{status}}"]] },
        { title: "Duration, p99", unit: "s", description: "A call that waits for its reply (Prefer: wait) takes as long as the reply.",
          queries: [[`histogram_quantile(0.99, ${rate("parley_http_request_duration_seconds_bucket", "le, route")})`, "{{route}}"]] },
      ],
    },
    {
      title: "Behind it", height: 8, of: [
        { title: "Requests without reply yet", unit: "short", description: "In flight between gateway and workers.",
          queries: [[`sum by (instance) (parley_pending_requests{${OF}})`, "{{instance}}"]] },
        { title: "Reply timeouts", unit: "short", description: "Requests whose deadline passed without a reply, by kind, per interval.",
          queries: [[`sum by (kind) (increase(parley_request_timeouts_total{${OF}}[$__rate_interval])) or vector(0)`, "{{kind}}"]] },
        { title: "Reading behind", unit: "short", description: "Records between the newest and what each gateway has read.",
          queries: [[`sum by (instance, topic) (parley_kafka_position_lag{${OF}})`, "{{instance}} {{topic}}"]] },
        { title: "Gaps repaired", unit: "short", description: "Messages that came out of order and were read from PostgreSQL, per interval.",
          queries: [[`sum(increase(parley_gaps_repaired_total{${OF}}[$__rate_interval]))`, "gaps"]] },
      ],
    },
  ],
};
