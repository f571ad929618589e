//! The `ChatTopicSet` resource, `parley.dev/v1alpha1`: types, CEL rules, defaults, conditions. No IO.
//!
//! These types are the source; `crdgen` prints [`crd_yaml`] and `crds/chattopicsets.yaml` is its committed output.

mod condition;
#[expect(
    unreachable_pub,
    reason = "KubeSchema's derive repeats each struct, with its `pub`, inside a function"
)]
mod connection;
mod crd;
mod rules;
#[expect(unreachable_pub, reason = "see `connection`")]
#[expect(clippy::duplicated_attributes, reason = "clippy takes the keys of each printcolumn for one list")]
mod spec;
#[expect(unreachable_pub, reason = "see `connection`")]
mod status;
#[expect(unreachable_pub, reason = "see `connection`")]
mod topic;
#[expect(unreachable_pub, reason = "see `connection`")]
mod worker;

pub use condition::{ConditionType, MESSAGE_MAX, Reason, Verdict, bounded_message, conditions};
pub use connection::{KafkaConnection, KafkaSasl, KafkaTls, SaslMechanism, SecretKeyRef};
pub use crd::{crd, crd_yaml, schema};
pub use spec::{
    AdoptionPolicy, ChatTopicSet, ChatTopicSetSpec, DeletionPolicy, DriftPolicy, ManagementPolicy,
};
pub use status::{ChatTopicSetStatus, TopicOrigin, TopicState, TopicStatus, WorkerStatus};
pub use topic::{OnFewerPartitions, PartitionIncreasePolicy, TopicDefaults, TopicSpec};
pub use worker::{LagScaling, ScaleTargetRef, Scaling, ScalingMode, WorkerSpec};

/// The finalizer of sets whose `deletionPolicy` deletes topics.
pub const FINALIZER: &str = "parley.dev/topics";

/// The annotation that lets a set take a contended replica count: `<worker>=<any token>`, several separated by commas.
pub const TAKE_SCALE_ANNOTATION: &str = "parley.dev/take-scale";
