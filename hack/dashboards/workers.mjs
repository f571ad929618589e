// What the worker pools do: rate, errors and duration of each kind, and what holds them up.
const OF = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"';
const quantile = (q, metric, by) => `histogram_quantile(${q}, sum by (le, ${by}) (rate(${metric}_bucket{${OF}}[$__rate_interval])))`;

export const workers = {
  uid: "parley-workers",
  title: "Parley / Workers",
  description: "Requests by kind: how many, how they end, how long they take; batches, lag, dead letters, database.",
  job: ".*worker.*",
  rows: [
    {
      title: "Requests", height: 8, of: [
        { title: "Rate by kind", unit: "reqps", description: "Requests that were answered.",
          queries: [[`sum by (kind) (rate(parley_requests_total{${OF}}[$__rate_interval]))`, "{{kind}}"]] },
        { title: "Rate by outcome", unit: "reqps", description: "A refusal is an answer: wrong_credentials is no fault of the worker.",
          queries: [[`sum by (outcome) (rate(parley_requests_total{${OF}}[$__rate_interval]))`, "{{outcome}}"]] },
        { title: "Duration, p99", unit: "s", description: "From the broker's timestamp to the acknowledged reply. Login includes the hash.",
          queries: [[quantile(0.99, "parley_request_duration_seconds", "kind"), "{{kind}}"]] },
      ],
    },
    {
      title: "Partitions", height: 8, of: [
        { title: "Lag by topic", unit: "short", description: "Requests that wait.",
          queries: [[`sum by (topic) (parley_consumer_lag{${OF}})`, "{{topic}}"]] },
        { title: "Partitions by worker", unit: "short", description: "Even is good; a worker with none is idle.",
          queries: [[`sum by (instance) (parley_assigned_partitions{${OF}})`, "{{instance}}"]] },
        { title: "Rebalances", unit: "short", description: "Each is a short pause for the partitions that move.",
          queries: [[`sum by (instance) (increase(parley_rebalances_total{${OF}}[$__rate_interval]))`, "{{instance}}"]] },
      ],
    },
    {
      title: "Batches", height: 8, of: [
        { title: "Records in a batch", unit: "short", description: "Median and p99. Small batches mean that there is little to do.",
          queries: [0.5, 0.99].map((q) => [`histogram_quantile(${q}, sum by (le) (rate(parley_batch_records_bucket{${OF}}[$__rate_interval])))`, `p${q * 100}`]) },
        { title: "Time in each stage, p99", unit: "s", description: "Where a batch spends its time.",
          queries: [[quantile(0.99, "parley_batch_duration_seconds", "stage"), "{{stage}}"]] },
        { title: "Dead letters", unit: "short", description: "Records that no retry can mend, by kind and code, per interval.",
          queries: [[`sum by (kind, code) (increase(parley_dead_letters_total{${OF}}[$__rate_interval])) or vector(0)`, "{{kind}}: {{code}}"]] },
        { title: "Replays", unit: "short", description: "Records that came again after they had taken effect: answered again, changed nothing.",
          queries: [[`sum(increase(parley_replays_total{${OF}}[$__rate_interval])) or vector(0)`, "replays"]] },
      ],
    },
    {
      title: "Resources", height: 8, of: [
        { title: "Database connections", unit: "short", description: "By state, all workers together.",
          queries: [[`sum by (state) (parley_db_pool_connections{${OF}})`, "{{state}}"]] },
        { title: "Password hashes, p99", unit: "s", description: "argon2id on its own small pool, so that logins never starve chat.",
          queries: [[`histogram_quantile(0.99, sum by (le) (rate(parley_password_hash_duration_seconds_bucket{${OF}}[$__rate_interval])))`, "p99"]] },
        { title: "Hashes under way", unit: "short", description: "Waiting for a thread, or on one.",
          queries: [[`sum(parley_password_hash_queue{${OF}})`, "under way"]] },
        { title: "Memory", unit: "bytes", description: "Resident, by worker.",
          queries: [[`process_resident_memory_bytes{${OF}}`, "{{instance}}"]] },
      ],
    },
  ],
};
