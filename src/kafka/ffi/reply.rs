//! What comes out: events turned into owned Rust values before they are destroyed.

use std::{
    ptr::{self, NonNull},
    slice,
};

use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::{
    super::admin_types::{
        ApiError, ClusterDescription, ConfigEntry, ConfigSource, GroupDescription, GroupState,
        PartitionDescription, Reply, TopicDescription,
    },
    Answer,
    error::{borrowed_error, check, text_of},
};

/// An event of the queue, destroyed when it goes.
pub(super) struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: came from rd_kafka_queue_poll and is owned here alone.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Event {
    /// Takes an event that came from the queue.
    pub(super) fn of(event: NonNull<sys::rd_kafka_event_t>) -> Self {
        Self(event)
    }

    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_type(self.0.as_ptr()) }
    }

    pub(super) fn opaque(&self) -> usize {
        // SAFETY: the event is alive; the value is the number that the request was given, never dereferenced.
        unsafe { sys::rd_kafka_event_opaque(self.0.as_ptr()) }.addr()
    }

    pub(super) fn error(&self) -> Result<(), ApiError> {
        // SAFETY: the event is alive; the text belongs to it and is copied.
        unsafe {
            let event = self.0.as_ptr();
            check(sys::rd_kafka_event_error(event), sys::rd_kafka_event_error_string(event))
        }
    }

    pub(super) fn log(&self) {
        let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is a log event; the strings belong to it and are copied.
        let (facility, text) = unsafe {
            if sys::rd_kafka_event_log(self.0.as_ptr(), &raw mut facility, &raw mut text, &raw mut level) != 0
            {
                return;
            }
            (text_of(facility), text_of(text))
        };
        // A broker that is away is said by readiness, the status and the failed call; librdkafka repeats it for ever.
        tracing::debug!(level, facility, "librdkafka: {text}");
    }

    /// The answer as an owned value.
    pub(super) fn reply(&self) -> Answer {
        self.error()?;
        let event = self.0.as_ptr();
        // SAFETY, for each arm: the event is alive and of the type named; the result and all it points to belong to
        // the event and are copied before it is destroyed.
        unsafe {
            Ok(match self.kind() {
                sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT => topic_results(
                    sys::rd_kafka_CreateTopics_result_topics,
                    sys::rd_kafka_event_CreateTopics_result(event),
                ),
                sys::RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT => topic_results(
                    sys::rd_kafka_CreatePartitions_result_topics,
                    sys::rd_kafka_event_CreatePartitions_result(event),
                ),
                sys::RD_KAFKA_EVENT_DELETETOPICS_RESULT => topic_results(
                    sys::rd_kafka_DeleteTopics_result_topics,
                    sys::rd_kafka_event_DeleteTopics_result(event),
                ),
                sys::RD_KAFKA_EVENT_INCREMENTALALTERCONFIGS_RESULT => {
                    let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event);
                    Reply::Topics(
                        items(|n| sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, n))
                            .iter()
                            .map(|resource| config_result(*resource, |_| ()))
                            .collect(),
                    )
                }
                sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT => {
                    let result = sys::rd_kafka_event_DescribeConfigs_result(event);
                    Reply::Configs(
                        items(|n| sys::rd_kafka_DescribeConfigs_result_resources(result, n))
                            .iter()
                            .map(|resource| config_result(*resource, |r| config_entries(r)))
                            .collect(),
                    )
                }
                sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                    let result = sys::rd_kafka_event_DescribeTopics_result(event);
                    Reply::Described(
                        items(|n| sys::rd_kafka_DescribeTopics_result_topics(result, n))
                            .iter()
                            .map(|topic| described_topic(*topic))
                            .collect(),
                    )
                }
                sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT => {
                    let result = sys::rd_kafka_event_DescribeCluster_result(event);
                    let id = sys::rd_kafka_DescribeCluster_result_cluster_id(result);
                    let brokers = items(|n| sys::rd_kafka_DescribeCluster_result_nodes(result, n))
                        .iter()
                        .map(|node| sys::rd_kafka_Node_id(*node))
                        .collect();
                    Reply::Cluster(ClusterDescription { id: text_of(id), brokers })
                }
                sys::RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT => {
                    let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
                    Reply::Groups(
                        items(|n| sys::rd_kafka_DescribeConsumerGroups_result_groups(result, n))
                            .iter()
                            .map(|group| described_group(*group))
                            .collect(),
                    )
                }
                sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT => {
                    let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                    let mut offsets = Vec::new();
                    for group in items(|n| sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, n)) {
                        borrowed_error(sys::rd_kafka_group_result_error(*group))?;
                        let Some(list) = sys::rd_kafka_group_result_partitions(*group).as_ref() else {
                            continue;
                        };
                        let len = usize::try_from(list.cnt).unwrap_or(0);
                        if !list.elems.is_null() {
                            offsets.extend(slice::from_raw_parts(list.elems, len).iter().map(offset_of));
                        }
                    }
                    Reply::Offsets(offsets)
                }
                sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                    let result = sys::rd_kafka_event_ListOffsets_result(event);
                    Reply::Offsets(
                        items(|n| sys::rd_kafka_ListOffsets_result_infos(result, n))
                            .iter()
                            .filter_map(|info| {
                                sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref()
                            })
                            .map(offset_of)
                            .collect(),
                    )
                }
                other => {
                    return Err(ApiError::new(
                        RDKafkaErrorCode::Fail,
                        format!("event {other} is not an answer"),
                    ));
                }
            })
        }
    }
}

/// A C array that belongs to a result: `getter` stores its length and returns its start.
///
/// # Safety
/// What the getter returns must be an array of the length it stores, alive for `'a`.
pub(super) unsafe fn items<'a, T>(getter: impl FnOnce(*mut usize) -> *mut *const T) -> &'a [*const T] {
    let mut len = 0;
    let start = getter(&raw mut len);
    if start.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: by this function's own contract.
    unsafe { slice::from_raw_parts(start.cast_const(), len) }
}

/// # Safety
/// `result` must be a live result of the kind that `getter` takes.
pub(super) unsafe fn topic_results<R>(
    getter: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const sys::rd_kafka_topic_result_t,
    result: *const R,
) -> Reply {
    // SAFETY: by the caller's word; names and texts are copied.
    unsafe {
        Reply::Topics(
            items(|n| getter(result, n))
                .iter()
                .map(|topic| {
                    let outcome = check(
                        sys::rd_kafka_topic_result_error(*topic),
                        sys::rd_kafka_topic_result_error_string(*topic),
                    );
                    (text_of(sys::rd_kafka_topic_result_name(*topic)), outcome)
                })
                .collect(),
        )
    }
}

/// # Safety
/// `resource` must be a live config resource of a result.
pub(super) unsafe fn config_result<T>(
    resource: *const sys::rd_kafka_ConfigResource_t,
    read: impl FnOnce(*const sys::rd_kafka_ConfigResource_t) -> T,
) -> (String, Result<T, ApiError>) {
    // SAFETY: by the caller's word.
    unsafe {
        let outcome = check(
            sys::rd_kafka_ConfigResource_error(resource),
            sys::rd_kafka_ConfigResource_error_string(resource),
        );
        (text_of(sys::rd_kafka_ConfigResource_name(resource)), outcome.map(|()| read(resource)))
    }
}

/// # Safety
/// `resource` must be a live config resource of a result.
pub(super) unsafe fn config_entries(resource: *const sys::rd_kafka_ConfigResource_t) -> Vec<ConfigEntry> {
    use sys::rd_kafka_ConfigSource_t as Source;
    // SAFETY: by the caller's word.
    unsafe {
        items(|n| sys::rd_kafka_ConfigResource_configs(resource, n))
            .iter()
            .map(|entry| {
                let value = sys::rd_kafka_ConfigEntry_value(*entry);
                ConfigEntry {
                    key: text_of(sys::rd_kafka_ConfigEntry_name(*entry)),
                    value: (!value.is_null()).then(|| text_of(value)),
                    source: match sys::rd_kafka_ConfigEntry_source(*entry) {
                        Source::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG => ConfigSource::Topic,
                        _ => ConfigSource::Inherited,
                    },
                }
            })
            .collect()
    }
}

/// # Safety
/// `topic` must be a live topic description of a result.
pub(super) unsafe fn described_topic(
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> (String, Result<TopicDescription, ApiError>) {
    // SAFETY: by the caller's word.
    unsafe {
        let name = text_of(sys::rd_kafka_TopicDescription_name(topic));
        let described = borrowed_error(sys::rd_kafka_TopicDescription_error(topic)).map(|()| {
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            TopicDescription {
                id: if id.is_null() { String::new() } else { text_of(sys::rd_kafka_Uuid_base64str(id)) },
                partitions: items(|n| sys::rd_kafka_TopicDescription_partitions(topic, n))
                    .iter()
                    .map(|partition| PartitionDescription {
                        replicas: items(|n| sys::rd_kafka_TopicPartitionInfo_replicas(*partition, n)).len(),
                        in_sync: items(|n| sys::rd_kafka_TopicPartitionInfo_isr(*partition, n)).len(),
                        has_leader: !sys::rd_kafka_TopicPartitionInfo_leader(*partition).is_null(),
                    })
                    .collect(),
            }
        });
        (name, described)
    }
}

/// # Safety
/// `group` must be a live group description of a result.
pub(super) unsafe fn described_group(
    group: *const sys::rd_kafka_ConsumerGroupDescription_t,
) -> (String, Result<GroupDescription, ApiError>) {
    use sys::rd_kafka_consumer_group_state_t as State;
    // SAFETY: by the caller's word.
    unsafe {
        let name = text_of(sys::rd_kafka_ConsumerGroupDescription_group_id(group));
        let described =
            borrowed_error(sys::rd_kafka_ConsumerGroupDescription_error(group)).map(|()| GroupDescription {
                members: sys::rd_kafka_ConsumerGroupDescription_member_count(group),
                state: match sys::rd_kafka_ConsumerGroupDescription_state(group) {
                    State::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE
                    | State::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => GroupState::Rebalancing,
                    State::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => GroupState::Stable,
                    State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => GroupState::Empty,
                    State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => GroupState::Dead,
                    _ => GroupState::Unknown,
                },
            });
        (name, described)
    }
}

/// Topic, partition and offset of one entry; an offset below zero means that there is none.
pub(super) fn offset_of(
    entry: &sys::rd_kafka_topic_partition_t,
) -> (String, i32, Result<Option<i64>, ApiError>) {
    // SAFETY: the entry is alive, and so is its topic, a string or null.
    let topic = unsafe { text_of(entry.topic) };
    let offset = check(entry.err, ptr::null()).map(|()| (entry.offset >= 0).then_some(entry.offset));
    (topic, entry.partition, offset)
}
