//! The plan: what to ask of Kafka, and what to say of each topic. Pure: no IO, no clock.
//!
//! | the topic is | remembered | then |
//! |---|---|---|
//! | absent | never seen, or `Creating` without an id | create it |
//! | absent | under an id, `Creating` or not | it was lost: create it anew (`Revert`) or say so (`Report`) |
//! | present | under the same id | grow it, merge its configuration |
//! | present | as `Creating`, not under this id | it is ours: as above |
//! | present | not, or under another id | adopt it, or leave it, as `adoptionPolicy` says |
//! | owned by an older set | | leave it alone and name the owner |
//!
//! Partitions never shrink, replicas are never changed, keys that are not ours are never named.

pub(crate) mod config;
#[cfg(test)]
pub(in crate::controller) mod properties;
#[cfg(test)]
mod tests;
mod topic;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use topic::{Owner, TopicPlan, plan_topic};

use crate::{
    api::{AdoptionPolicy, DriftPolicy, ManagementPolicy},
    kafka::admin::{ApiError, ConfigChange, NewTopic},
};

/// A topic as it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Live {
    /// Kafka says that there is none.
    Absent,
    /// There it is.
    Present(LiveTopic),
    /// Kafka would not say.
    Unknown(ApiError),
}

impl Live {
    pub(crate) fn present(&self) -> Option<&LiveTopic> {
        match self {
            Self::Present(topic) => Some(topic),
            _ => None,
        }
    }
}

/// What the brokers say of a topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveTopic {
    /// The id of this incarnation.
    pub(crate) id: String,
    pub(crate) partitions: i32,
    /// Replicas of the partition with the fewest.
    pub(crate) replicas: i32,
    /// Some partition is being reassigned (or behind): its replica count is not final.
    pub(crate) settling: bool,
    /// Every partition has a leader, and every broker knows of it.
    pub(crate) led: bool,
    /// Values set on the topic itself, or why they could not be read.
    pub(crate) config: Result<TopicConfig, ApiError>,
}

/// Values by key. Shared, for most topics of a cluster are set alike.
pub(crate) type TopicConfig = Arc<BTreeMap<String, String>>;

/// One thing to ask of Kafka.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Make the topic.
    Create(NewTopic),
    /// Give it this many partitions in all.
    Grow(i32),
    /// Change configuration key by key.
    Configure(Vec<ConfigChange>),
}

/// What holds for all topics of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policies {
    pub(crate) management: ManagementPolicy,
    pub(crate) drift: DriftPolicy,
    pub(crate) adoption: AdoptionPolicy,
    /// The spec is the one that the status speaks of: a difference is somebody else's doing, not the user's wish.
    pub(crate) spec_settled: bool,
}

impl Policies {
    /// Whether changes to topics may be asked for at all.
    pub(crate) fn writes(&self) -> bool {
        self.management == ManagementPolicy::Managed
    }
}

/// Keys, by topic, that somebody else keeps setting back.
pub(crate) type Contended = BTreeMap<String, BTreeSet<String>>;
