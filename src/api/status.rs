//! What the controller reports, and the little it must remember.
//!
//! Status is memory, never truth: what is forgotten here makes the controller leave things alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The observed state of a set. Holds nothing that changes by itself every second.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatTopicSetStatus {
    /// The generation of the spec that this status speaks of; -1 until the controller has looked at the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, TopicsReady, WorkersReady, Reconciling, Stalled and Drifted, always all of them.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The id of the Kafka cluster for which topics[] was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Topics as declared, of all: "20/20".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics_ready: Option<String>,
    /// Partitions seen in Kafka, all topics of the spec together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i64>,
    /// Ready worker replicas of those wanted, all workers together: "4/4".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_ready: Option<String>,
    /// Every topic of the spec, and those released from it, in the order of their names.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicStatus>,
    /// Every worker of the spec.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerStatus>,
}

/// One topic as the controller last saw it, and what it remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The topic's name in Kafka.
    pub name: String,
    /// The id that Kafka gave this incarnation of the topic; of one that is gone, the id that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions seen in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Replicas seen in Kafka (of the partition with the fewest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Where the topic stands.
    pub state: TopicState,
    /// Whether this set made the topic or found it; unknown until one of both is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<TopicOrigin>,
    /// Why the topic is not as declared.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The configuration keys that this set has set and would reset when they leave the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owned_config: Vec<String>,
}

/// Where one topic stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TopicState {
    /// As declared.
    Ready,
    /// About to be created, or just created and not yet seen. A topic found in this state counts as created by this set.
    Creating,
    /// A change is under way.
    Updating,
    /// Differs from what is declared, and the policy says to report only.
    Drifted,
    /// Has more partitions than declared.
    PartitionsAboveSpec,
    /// Has another number of replicas than declared.
    ReplicationFactorDiffers,
    /// What is declared cannot be: a bad value, an unknown key, more replicas than brokers.
    Invalid,
    /// Kafka refused the controller's credentials for this topic.
    Unauthorized,
    /// An older set declares the same topic and owns it.
    Conflict,
    /// Exists, and the adoption policy says to leave it.
    NotAdopted,
    /// Was deleted behind the controller's back, or was never there, and the policy says to report only.
    Missing,
    /// No longer in the spec: remembered, not touched.
    Released,
    /// Kafka answered with an error that another try may mend.
    Failed,
    /// Nothing known about it yet.
    #[default]
    Unknown,
}

impl TopicState {
    /// Whether the topic serves as declared. More partitions than declared serve as well: Kafka cannot take them away, and
    /// a rollback to an older spec must be able to become ready.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::PartitionsAboveSpec)
    }
}

/// How a topic came to this set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TopicOrigin {
    /// This set made it.
    Created,
    /// It was there before.
    Adopted,
}

/// One pool of workers as the controller last saw it, and what it remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The pool's name in the spec.
    pub name: String,
    /// Partitions of the pool's topics, as seen in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// The replica count that the controller wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Replicas of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Ready replicas of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// The uid of the target whose replica count this set took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_uid: Option<String>,
    /// The last token of the annotation parley.dev/take-scale that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_token: Option<String>,
    /// Why the pool is not as wanted.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
