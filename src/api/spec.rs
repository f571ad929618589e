//! The resource itself: `ChatTopicSet`, its spec and its policies.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    connection::KafkaConnection,
    rules,
    status::ChatTopicSetStatus,
    topic::{TopicDefaults, TopicSpec},
    worker::WorkerSpec,
};

/// What a `ChatTopicSet` declares: the topics of one Kafka cluster and the workers that serve them.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "parley.dev",
    version = "v1alpha1",
    kind = "ChatTopicSet",
    namespaced,
    shortname = "cts",
    category = "parley",
    status = "ChatTopicSetStatus",
    derive = "PartialEq",
    doc = "Kafka topics and the workers that serve them, made true and kept in step by the Parley controller.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether everything declared here is true"
    ),
    printcolumn(
        name = "Topics",
        type_ = "string",
        json_path = ".status.topicsReady",
        description = "Topics as declared, of all"
    ),
    printcolumn(
        name = "Partitions",
        type_ = "integer",
        json_path = ".status.partitions",
        description = "Partitions seen in Kafka, all topics together"
    ),
    printcolumn(
        name = "Workers",
        type_ = "string",
        json_path = ".status.workersReady",
        description = "Ready worker replicas, of those wanted"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Policy",
        type_ = "string",
        json_path = ".spec.managementPolicy",
        description = "Whether the controller writes, only reports, or rests",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "Why it is ready, or why not",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::worker_topics_are_declared(),
    validation = rules::default_partitions_only_grow(),
    validation = rules::cluster_id_stays()
)]
pub struct ChatTopicSetSpec {
    /// The Kafka cluster. Left out: the controller's own connection, which serves only the namespaces it was told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaConnection>,
    /// Whether the controller writes (Managed), only reports (Observe), or rests (Paused).
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// What happens to the topics in Kafka when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What happens when a topic is changed behind the controller's back.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Whether topics that exist already are taken over.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What holds for every topic that does not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<TopicDefaults>,
    /// The topics, keyed by name.
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub topics: Vec<TopicSpec>,
    /// The pools of workers that serve the topics, keyed by name.
    #[schemars(length(max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = rules::one_worker_per_target()
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerSpec>,
}

/// How far the controller goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ManagementPolicy {
    /// Make it true and keep it so.
    #[default]
    Managed,
    /// Report what differs; write nowhere but into the status.
    Observe,
    /// Do nothing, not even when the object is deleted: the data stays.
    Paused,
}

/// What deleting the object means for the data in Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Topics stay. The object carries no finalizer.
    #[default]
    Retain,
    /// Topics that this set created are deleted; adopted ones stay.
    Delete,
    /// Topics that this set created or adopted are deleted.
    DeleteAdopted,
}

impl DeletionPolicy {
    /// Whether the object needs a finalizer so that its topics can be deleted before it goes.
    pub fn deletes(self) -> bool {
        !matches!(self, Self::Retain)
    }
}

/// What to do about changes made by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DriftPolicy {
    /// Set it back.
    #[default]
    Revert,
    /// Report it and leave it.
    Report,
}

/// What to do about a topic that was there first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Take it over and change it to what is declared.
    #[default]
    Always,
    /// Take it over only when it already is as declared.
    IfIdentical,
    /// Leave it alone.
    Never,
}
