//! What a set says about the workers that serve its topics.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// A pool of workers and how its replica count follows the partitions of its topics.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::lag_needs_a_group())]
pub struct WorkerSpec {
    /// The pool's name within the set.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What is scaled: anything with a /scale subresource, in the set's own namespace.
    pub scale_target_ref: ScaleTargetRef,
    /// The consumer group of the pool, from which its lag is read.
    #[schemars(length(min = 1, max = 249))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// The topics that the pool consumes; each must stand in spec.topics.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 249)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub topics: Vec<String>,
    /// How many replicas the pool gets.
    #[serde(default)]
    pub scaling: Scaling,
}

/// The object whose /scale is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// The target's apiVersion, for instance `apps/v1`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default = "apps_v1")]
    pub api_version: String,
    /// The target's kind, for instance `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    #[serde(default = "deployment")]
    pub kind: String,
    /// The target's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn apps_v1() -> String {
    "apps/v1".to_owned()
}

fn deployment() -> String {
    "Deployment".to_owned()
}

impl ScaleTargetRef {
    /// The API group of `apiVersion`; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version part of `apiVersion`.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }
}

/// The rule by which the replica count is chosen.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::min_not_above_max())]
pub struct Scaling {
    /// What decides.
    #[serde(default)]
    pub mode: ScalingMode,
    /// How many partitions one worker serves in mode PartitionCount.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "one")]
    pub partitions_per_worker: i32,
    /// Never fewer replicas than this. 0 allows mode Lag to scale to zero.
    #[schemars(range(min = 0, max = 10_000))]
    #[serde(default = "one")]
    pub min_replicas: i32,
    /// Never more replicas than this. Left out: the number of partitions is the only bound.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// The figures of mode Lag.
    #[serde(default)]
    pub lag: LagScaling,
    /// For how long a lower count must have been right before replicas are taken away, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(default = "five_minutes")]
    pub scale_down_stabilization_seconds: i32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            mode: ScalingMode::default(),
            partitions_per_worker: one(),
            min_replicas: one(),
            max_replicas: None,
            lag: LagScaling::default(),
            scale_down_stabilization_seconds: five_minutes(),
        }
    }
}

/// Who or what decides a pool's replica count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ScalingMode {
    /// The observed number of partitions.
    #[default]
    PartitionCount,
    /// The consumer group's lag and arrival rate.
    Lag,
    /// Somebody else, an HPA for instance: the controller only reports.
    External,
    /// Nobody for now: the count is held as it is.
    Paused,
}

/// The figures of mode Lag.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LagScaling {
    /// Within how many seconds what is waiting should be worked off.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default = "half_a_minute")]
    pub target_drain_seconds: i32,
    /// Lag, in records, below which a pool counts as idle, and from which a pool at zero wakes.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[serde(default = "one_record")]
    pub activation_lag: i64,
    /// What one worker does in a second. Left out: learnt while the workers are saturated.
    #[schemars(range(min = 1, max = 100_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second_per_worker: Option<i64>,
}

impl Default for LagScaling {
    fn default() -> Self {
        Self {
            target_drain_seconds: half_a_minute(),
            activation_lag: one_record(),
            records_per_second_per_worker: None,
        }
    }
}

fn one() -> i32 {
    1
}

fn one_record() -> i64 {
    1
}

fn half_a_minute() -> i32 {
    30
}

fn five_minutes() -> i32 {
    300
}
