// Is what the ChatTopicSets declare true, and what does the controller do about it?
const OF = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"';
const SET = "max by (namespace, set, worker)";

export const platform = {
  uid: "parley-platform",
  title: "Parley / Platform",
  description: "Topic sets, topics, partitions and worker pools, as the controller sees them.",
  job: ".*controller.*",
  rows: [
    {
      title: "Sets", height: 5, of: [
        { title: "Sets that are Ready", type: "stat", unit: "short", description: "ChatTopicSets whose declaration is true at this moment.",
          queries: [[`sum(max by (namespace, name) (parley_topicset_condition{${OF},type="Ready",status="True"}))`, "ready"]] },
        { title: "Sets that are not", type: "stat", unit: "short", description: "Their conditions say why: kubectl get chattopicsets -A -o wide.",
          thresholds: [{ color: "green", value: null }, { color: "red", value: 1 }],
          queries: [[`sum(1 - max by (namespace, name) (parley_topicset_condition{${OF},type="Ready",status="True"}))`, "not ready"]] },
        { title: "Topics as declared", type: "stat", unit: "percentunit", description: "Share of the declared topics that Kafka has as they are declared.",
          queries: [[`avg(max by (namespace, set, topic) (parley_topic_ready{${OF}}))`, "ready"]] },
        { title: "Leaders", type: "stat", unit: "short", description: "Controllers that hold their lease: one for each install.",
          thresholds: [{ color: "red", value: null }, { color: "green", value: 1 }], queries: [[`sum(parley_leader{${OF}})`, "leaders"]] },
      ],
    },
    {
      title: "Topics", height: 8, of: [
        { title: "Partitions by set", unit: "short", description: "Desired by the specs and observed in Kafka. Apart for long: look at the set's conditions.",
          queries: [[`sum by (namespace, set, kind) (max by (namespace, set, topic, kind) (parley_topic_partitions{${OF}}))`, "{{namespace}}/{{set}} {{kind}}"]] },
        { title: "Topics", type: "table", unit: "short", description: "1: as declared; 0: not, see the set's status for state and message.",
          queries: [[`sort(max by (namespace, set, topic) (parley_topic_ready{${OF}}))`, ""]] },
        { title: "Drift", unit: "short", description: "Topics found changed by somebody else, per interval.",
          queries: [[`sum by (namespace, set) (increase(parley_topic_drift_total{${OF}}[$__rate_interval])) or vector(0)`, "{{namespace}}/{{set}}"]] },
      ],
    },
    {
      title: "Worker pools", height: 8, of: [
        { title: "Workers desired and ready", unit: "short", description: "Desired follows the partitions (or the lag); ready follows after a moment.",
          queries: [[`${SET} (parley_worker_replicas{${OF},kind="desired"})`, "{{worker}} desired"], [`${SET} (parley_worker_replicas{${OF},kind="ready"})`, "{{worker}} ready"]] },
        { title: "Lag", unit: "short", description: "Records that wait in the topics of each pool.",
          queries: [[`sum by (namespace, topic) (parley_consumer_lag{namespace=~"$namespace"})`, "{{topic}}"]] },
        { title: "Scale decisions", unit: "short", description: "Replica counts that were written, by direction and reason, per interval.",
          queries: [[`sum by (direction, reason) (increase(parley_scale_decisions_total{${OF}}[$__rate_interval]))`, "{{direction}}: {{reason}}"]] },
      ],
    },
    {
      title: "Controller", height: 8, of: [
        { title: "Reconciles", unit: "ops", description: "By outcome. An idle platform reconciles little and changes nothing.",
          queries: [[`sum by (outcome) (rate(parley_reconcile_total{${OF}}[$__rate_interval]))`, "{{outcome}}"]] },
        { title: "Reconcile time, p99", unit: "s", description: "Kafka's and the API server's time included.",
          queries: [[`histogram_quantile(0.99, sum by (le, outcome) (rate(parley_reconcile_duration_seconds_bucket{${OF}}[$__rate_interval])))`, "{{outcome}}"]] },
        { title: "Kafka admin calls, p99", unit: "s", description: "By API.",
          queries: [[`histogram_quantile(0.99, sum by (le, api) (rate(parley_kafka_admin_request_duration_seconds_bucket{${OF}}[$__rate_interval])))`, "{{api}}"]] },
        { title: "Sets in backoff", unit: "short", description: "Sets that wait for another try after an error.",
          queries: [[`sum(parley_objects_in_backoff{${OF}})`, "sets"]] },
      ],
    },
  ],
};
