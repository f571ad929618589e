//! What the admin calls take and give: owned values, free of librdkafka's pointers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rdkafka::types::RDKafkaErrorCode;

/// Keys of a topic's configuration.
pub type Keys = Arc<BTreeSet<String>>;

/// One admin call.
#[derive(Debug)]
pub(super) enum Request {
    CreateTopics { topics: Vec<NewTopic>, validate_only: bool },
    CreatePartitions { topics: Vec<(String, usize)>, validate_only: bool },
    DeleteTopics(Vec<String>),
    AlterConfigs { changes: Vec<(String, Vec<ConfigChange>)>, validate_only: bool },
    DescribeConfigs(Vec<(String, Keys)>),
    DescribeBroker(i32),
    DescribeTopics { topics: Vec<String>, broker: Option<i32> },
    DescribeCluster,
    DescribeGroups(Vec<String>),
    GroupOffsets { group: String, partitions: Vec<(String, i32)> },
    ListOffsets { spec: OffsetSpec, partitions: Vec<(String, i32)> },
}

impl Request {
    /// The call's name in Kafka's protocol, a bounded label for metrics.
    pub(super) fn api(&self) -> &'static str {
        match self {
            Self::CreateTopics { .. } => "CreateTopics",
            Self::CreatePartitions { .. } => "CreatePartitions",
            Self::DeleteTopics(_) => "DeleteTopics",
            Self::AlterConfigs { .. } => "IncrementalAlterConfigs",
            Self::DescribeConfigs(_) | Self::DescribeBroker(_) => "DescribeConfigs",
            Self::DescribeTopics { .. } => "DescribeTopics",
            Self::DescribeCluster => "DescribeCluster",
            Self::DescribeGroups(_) => "DescribeConsumerGroups",
            Self::GroupOffsets { .. } => "ListConsumerGroupOffsets",
            Self::ListOffsets { .. } => "ListOffsets",
        }
    }

    /// Whether the broker may be told how long to work on it.
    pub(super) fn changes_topics(&self) -> bool {
        matches!(self, Self::CreateTopics { .. } | Self::CreatePartitions { .. } | Self::DeleteTopics(_))
    }

    /// Whether any broker may be asked: it answers by itself or hands it on.
    pub(super) fn is_for_any(&self) -> bool {
        match self {
            Self::CreateTopics { .. }
            | Self::CreatePartitions { .. }
            | Self::DeleteTopics(_)
            | Self::AlterConfigs { .. }
            | Self::DescribeConfigs(_)
            | Self::DescribeTopics { .. }
            | Self::DescribeCluster => true,
            // One is asked about itself, a group's coordinator, or each partition's leader.
            Self::DescribeBroker(_)
            | Self::DescribeGroups(_)
            | Self::GroupOffsets { .. }
            | Self::ListOffsets { .. } => false,
        }
    }

    /// The broker that must answer; none for whichever is right.
    pub(super) fn broker(&self) -> Option<i32> {
        match self {
            Self::DescribeTopics { broker, .. } => *broker,
            _ => None,
        }
    }

    pub(super) fn validate_only(&self) -> bool {
        match self {
            Self::CreateTopics { validate_only, .. }
            | Self::CreatePartitions { validate_only, .. }
            | Self::AlterConfigs { validate_only, .. } => *validate_only,
            _ => false,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) enum Reply {
    Topics(Vec<(String, Result<(), ApiError>)>),
    Configs(Vec<(String, Result<Vec<ConfigEntry>, ApiError>)>),
    Described(Vec<(String, Result<TopicDescription, ApiError>)>),
    Cluster(ClusterDescription),
    Groups(Vec<(String, Result<GroupDescription, ApiError>)>),
    Offsets(Vec<(String, i32, Result<Option<i64>, ApiError>)>),
}

impl Reply {
    /// Whether a broker was asked that cannot hand changes on: none of a cluster with KRaft.
    pub(super) fn wants_the_controller(&self) -> bool {
        let Self::Topics(topics) = self else { return false };
        topics.iter().any(|(_, outcome)| {
            outcome.as_ref().is_err_and(|error| error.code == RDKafkaErrorCode::NotController)
        })
    }
}

/// An error of Kafka or of its client, with the broker's own words where it gave any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The closed set of codes.
    pub code: RDKafkaErrorCode,
    /// For people.
    pub message: String,
}

impl ApiError {
    pub(super) fn new(code: RDKafkaErrorCode, message: String) -> Self {
        Self { code, message }
    }

    /// The code's name, for metrics: one of a closed set.
    pub fn name(&self) -> &'static str {
        super::ffi::error_name(self.code)
    }

    /// A topic that was asked about and is missing from the answer.
    pub fn unseen(topic: &str) -> Self {
        Self::new(RDKafkaErrorCode::OperationTimedOut, format!("nothing was said about {topic}"))
    }

    /// What a broker answers when a topic is there already.
    #[cfg(test)]
    pub(crate) fn topic_exists_for_tests() -> Self {
        Self::new(RDKafkaErrorCode::TopicAlreadyExists, "there".to_owned())
    }

    /// What a broker answers to who lacks a right.
    #[cfg(test)]
    pub(crate) fn refused_for_tests() -> Self {
        Self::new(RDKafkaErrorCode::TopicAuthorizationFailed, "not authorized".to_owned())
    }

    /// A call that only timed out is explained by what the client last complained about.
    pub(super) fn because(&mut self, complaint: Option<&Self>) {
        if let (true, Some(complaint)) = (self.is_unreachable(), complaint) {
            if complaint.is_authentication() {
                self.code = complaint.code;
            }
            self.message = format!("{}: {}", self.message, complaint.message);
        }
    }

    /// The broker refused the credentials themselves, not one operation.
    pub fn is_authentication(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
    }

    /// The credentials are good but lack a right.
    pub fn is_authorization(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    }

    /// Topics cannot be deleted in this cluster at all (`delete.topic.enable=false`).
    pub fn is_deletion_disabled(&self) -> bool {
        self.code == RDKafkaErrorCode::TopicDeletionDisabled
    }

    /// The topic is not there.
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
    }

    /// The consumer group is not there.
    pub fn is_unknown_group(&self) -> bool {
        self.code == RDKafkaErrorCode::GroupIdNotFound
    }

    /// The topic is there already.
    pub fn is_topic_exists(&self) -> bool {
        self.code == RDKafkaErrorCode::TopicAlreadyExists
    }

    /// What was asked for cannot be, however often it is asked: a bad value, too many replicas, an unknown key.
    pub fn is_invalid_request(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::InvalidConfig
                | RDKafkaErrorCode::InvalidReplicationFactor
                | RDKafkaErrorCode::InvalidPartitions
                | RDKafkaErrorCode::InvalidRequest
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::InvalidArgument
                | RDKafkaErrorCode::PolicyViolation
        )
    }

    /// Whether its time ran out before anybody answered.
    pub fn is_late(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut)
    }

    /// No answer: the brokers are away, slow, or cannot be found.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::BrokerDestroy
                | RDKafkaErrorCode::NetworkException
        )
    }
}

/// A topic to create; what is left out is the broker's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: Option<i32>,
    /// How many replicas each.
    pub replicas: Option<i32>,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
}

/// One change of one configuration key (KIP-339): all other keys stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Give the key a value.
    Set {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Take the key's value away, so that the broker's default holds.
    Reset {
        /// The key.
        key: String,
    },
}

impl ConfigChange {
    /// The key that changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Reset { key } => key,
        }
    }
}

/// One configuration key of a topic as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub key: String,
    /// The effective value; none when the broker hides it.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
}

/// Where a topic's configuration value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// It was set on this very topic.
    Topic,
    /// From a broker, the cluster's defaults or Kafka's own.
    Inherited,
}

/// A topic as the brokers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The id of this incarnation of the topic, base64 as Kafka prints it.
    pub id: String,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Assigned replicas, in sync or not. A running reassignment counts the old and the new ones.
    pub replicas: usize,
    /// How many of them are in sync.
    pub in_sync: usize,
    /// Whether it can be written now.
    pub has_leader: bool,
}

/// The cluster behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id: the identity of everything in it.
    pub id: String,
    /// Ids of the brokers alive.
    pub brokers: Vec<i32>,
}

/// A consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Where it stands.
    pub state: GroupState,
    /// How many members.
    pub members: usize,
}

/// Where a consumer group stands, for both group protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Every member has its partitions.
    Stable,
    /// Partitions are being handed over.
    Rebalancing,
    /// No members, but it may have offsets.
    Empty,
    /// There is no such group.
    Dead,
    /// Something this version does not know.
    Unknown,
}

/// Which end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The oldest record kept.
    Earliest,
    /// One past the newest record.
    Latest,
    /// The first record with at least this timestamp, milliseconds since 1970; none when there is no such record.
    Since(i64),
}
