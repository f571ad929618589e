//! What a set says about one topic.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rules;

/// What holds for every topic that does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicDefaults {
    /// Partitions of a topic that names none. Left out: the broker's default at creation, no opinion afterwards.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas of a topic that names none. Left out: the broker's default at creation, no opinion afterwards.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Topic configuration, key by key; a topic's own value for a key wins.
    #[schemars(schema_with = "config_schema")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, Value>,
}

/// One Kafka topic, made and kept as described here.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::partitions_only_grow())]
pub struct TopicSpec {
    /// The topic's name in Kafka.
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = rules::topic_name())]
    pub name: String,
    /// How many partitions; it can only grow. Left out: `defaults.partitions`, else the broker's default at creation.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// How many replicas, judged at creation. Left out: `defaults.replicas`, else the broker's default at creation.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Topic configuration by Kafka's key names; each value a string, an integer or a boolean. A key that leaves this
    /// list is reset to the broker's default; a key that never stood here is never touched.
    #[schemars(schema_with = "config_schema")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, Value>,
    /// Configuration keys that are somebody else's: never set and never reset, not even when they once stood in config.
    #[schemars(length(max = 100), inner(length(min = 1, max = 249)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged_config: Vec<String>,
    /// Whether a larger number of partitions is created at once or waits for a person to do it.
    #[serde(default)]
    pub partition_increase_policy: PartitionIncreasePolicy,
    /// What happens when the number of partitions is made smaller, which Kafka cannot do.
    #[serde(default)]
    pub on_fewer_partitions: OnFewerPartitions,
}

/// Whether the controller adds partitions by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PartitionIncreasePolicy {
    /// Partitions are added as soon as the spec asks for more.
    #[default]
    Immediate,
    /// The difference is reported; somebody else adds the partitions.
    Manual,
}

/// What a smaller number of partitions in the spec means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnFewerPartitions {
    /// The change is refused at admission.
    #[default]
    Refuse,
    /// The change is accepted and reported as PartitionsAboveSpec, so that rollbacks and reverts pass.
    Report,
}

/// An object whose values keep their YAML type: each is judged when its topic is, so that one bad value costs one
/// topic and never the set.
fn config_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": { "x-kubernetes-preserve-unknown-fields": true },
    })
}
