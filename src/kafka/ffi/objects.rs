//! What goes in: C objects made from Rust values, each freed by its guard.

use std::{
    collections::BTreeSet,
    ffi::{CString, c_char, c_int, c_void},
    ptr::{self, NonNull},
    time::Duration,
};

use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as Op;

use super::{
    super::admin_types::{ApiError, ConfigChange, NewTopic, OffsetSpec, Request},
    error::{ErrorText, c_string, check, no_memory, object, take_error},
};

/// The options of one call.
pub(super) struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_AdminOptions_new and owned here alone.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

impl Options {
    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }

    pub(super) fn new(
        rk: *mut sys::rd_kafka_t,
        request: &Request,
        broker: Option<i32>,
        timeout: Duration,
        number: usize,
    ) -> Result<Self, ApiError> {
        let op = match request {
            Request::CreateTopics { .. } => Op::RD_KAFKA_ADMIN_OP_CREATETOPICS,
            Request::CreatePartitions { .. } => Op::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
            Request::DeleteTopics(_) => Op::RD_KAFKA_ADMIN_OP_DELETETOPICS,
            Request::AlterConfigs { .. } => Op::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
            Request::DescribeConfigs(_) | Request::DescribeBroker(_) => Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            Request::DescribeTopics { .. } => Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            Request::DescribeCluster => Op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
            Request::DescribeGroups(_) => Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            Request::GroupOffsets { .. } => Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            Request::ListOffsets { .. } => Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        };
        // SAFETY: the client is alive; null is checked by `object`.
        let options =
            Self(NonNull::new(unsafe { sys::rd_kafka_AdminOptions_new(rk, op) }).ok_or_else(no_memory)?);
        let raw = options.0.as_ptr();
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        let mut text = ErrorText::default();
        // SAFETY: `raw` is alive, the text buffer is as long as said; the opaque is a number that nobody dereferences.
        unsafe {
            sys::rd_kafka_AdminOptions_set_opaque(raw, ptr::without_provenance_mut::<c_void>(number));
            text.check(|text, len| sys::rd_kafka_AdminOptions_set_request_timeout(raw, millis, text, len))?;
            if request.changes_topics() {
                text.check(|text, len| {
                    sys::rd_kafka_AdminOptions_set_operation_timeout(raw, millis, text, len)
                })?;
            }
            if let Some(id) = broker {
                text.check(|text, len| sys::rd_kafka_AdminOptions_set_broker(raw, id, text, len))?;
            }
            if request.validate_only() {
                text.check(|text, len| sys::rd_kafka_AdminOptions_set_validate_only(raw, 1, text, len))?;
            }
        }
        Ok(options)
    }
}

pub(super) fn new_topic(topic: &NewTopic) -> Result<*mut sys::rd_kafka_NewTopic_t, ApiError> {
    let name = c_string(&topic.name)?;
    let mut text = ErrorText::default();
    // -1 asks for the broker's default (KIP-464).
    let (partitions, replicas) = (topic.partitions.unwrap_or(-1), topic.replicas.unwrap_or(-1));
    // SAFETY: valid string and buffer, copied by the call.
    let native =
        unsafe { sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replicas, text.ptr(), text.len()) };
    let native = object(native).map_err(|_| text.error(RDKafkaErrorCode::InvalidArgument))?;
    for (key, value) in &topic.config {
        let set = c_string(key).and_then(|key| Ok((key, c_string(value)?))).and_then(|(key, value)| {
            // SAFETY: the object is alive, the strings are copied.
            check(
                unsafe { sys::rd_kafka_NewTopic_set_config(native, key.as_ptr(), value.as_ptr()) },
                ptr::null(),
            )
        });
        if let Err(error) = set {
            // SAFETY: made above and owned here alone.
            unsafe { sys::rd_kafka_NewTopic_destroy(native) };
            return Err(error);
        }
    }
    Ok(native)
}

pub(super) fn new_partitions(
    topic: &str,
    total: usize,
) -> Result<*mut sys::rd_kafka_NewPartitions_t, ApiError> {
    let name = c_string(topic)?;
    let mut text = ErrorText::default();
    // SAFETY: valid string and buffer, copied by the call.
    let native = unsafe { sys::rd_kafka_NewPartitions_new(name.as_ptr(), total, text.ptr(), text.len()) };
    object(native).map_err(|_| text.error(RDKafkaErrorCode::InvalidArgument))
}

/// A resource by its kind and its name there: a topic's, or a broker's id in digits.
fn config_resource(
    kind: sys::rd_kafka_ResourceType_t,
    name: &str,
) -> Result<*mut sys::rd_kafka_ConfigResource_t, ApiError> {
    let name = c_string(name)?;
    // SAFETY: a valid string, copied by the call.
    object(unsafe { sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()) })
}

pub(super) fn broker_resource(id: i32) -> Result<*mut sys::rd_kafka_ConfigResource_t, ApiError> {
    config_resource(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, &id.to_string())
}

pub(super) fn topic_resource(
    topic: &str,
    changes: &[ConfigChange],
) -> Result<*mut sys::rd_kafka_ConfigResource_t, ApiError> {
    let native = config_resource(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic)?;
    for change in changes {
        let added = change_strings(change).and_then(|(op, key, value)| {
            let value = value.as_ref().map_or(ptr::null(), |value| value.as_ptr());
            // SAFETY: the object is alive, the strings are copied; a null value goes with the delete operation only.
            let error = unsafe {
                sys::rd_kafka_ConfigResource_add_incremental_config(native, key.as_ptr(), op, value)
            };
            take_error(error)
        });
        if let Err(error) = added {
            // SAFETY: made above and owned here alone.
            unsafe { sys::rd_kafka_ConfigResource_destroy(native) };
            return Err(error);
        }
    }
    Ok(native)
}

/// A topic of whose configuration these keys are asked for; with none of them, all.
pub(super) fn described_resource(
    topic: &str,
    keys: &BTreeSet<String>,
) -> Result<*mut sys::rd_kafka_ConfigResource_t, ApiError> {
    let native = topic_resource(topic, &[])?;
    for key in keys {
        let added = c_string(key).and_then(|key| {
            // SAFETY: the object is alive, the strings are copied; only the name of what is asked for is sent.
            check(
                unsafe { sys::rd_kafka_ConfigResource_set_config(native, key.as_ptr(), c"".as_ptr()) },
                ptr::null(),
            )
        });
        if let Err(error) = added {
            // SAFETY: made above and owned here alone.
            unsafe { sys::rd_kafka_ConfigResource_destroy(native) };
            return Err(error);
        }
    }
    Ok(native)
}

pub(super) type ChangeStrings = (sys::rd_kafka_AlterConfigOpType_t, CString, Option<CString>);

pub(super) fn change_strings(change: &ConfigChange) -> Result<ChangeStrings, ApiError> {
    use sys::rd_kafka_AlterConfigOpType_t as AlterOp;
    Ok(match change {
        ConfigChange::Set { key, value } => {
            (AlterOp::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, c_string(key)?, Some(c_string(value)?))
        }
        ConfigChange::Reset { key } => (AlterOp::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, c_string(key)?, None),
    })
}

/// A list of C objects that are destroyed when it goes.
pub(super) struct Objects<T> {
    list: Vec<*mut T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Objects<T> {
    pub(super) fn new(
        objects: impl Iterator<Item = Result<*mut T, ApiError>>,
        destroy: unsafe extern "C" fn(*mut T),
    ) -> Result<Self, ApiError> {
        let mut guard = Self { list: Vec::new(), destroy };
        for object in objects {
            guard.list.push(object?);
        }
        Ok(guard)
    }

    /// The array, as the C functions take it: `*mut *mut T`, which they only read.
    pub(super) fn ptr(&self) -> *mut *mut T {
        self.list.as_ptr().cast_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

impl<T> Drop for Objects<T> {
    fn drop(&mut self) {
        for object in &self.list {
            // SAFETY: each pointer was made by the constructor that goes with `destroy` and is owned here alone.
            unsafe { (self.destroy)(*object) }
        }
    }
}

/// Strings with the array of pointers to them.
pub(super) struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    pub(super) fn new(strings: &[String]) -> Result<Self, ApiError> {
        let owned = strings.iter().map(|s| c_string(s)).collect::<Result<Vec<_>, _>>()?;
        let pointers = owned.iter().map(|s| s.as_ptr()).collect();
        Ok(Self { _owned: owned, pointers })
    }

    pub(super) fn ptr(&mut self) -> *mut *const c_char {
        self.pointers.as_mut_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.pointers.len()
    }
}

/// An owned list of topic partitions.
pub(super) struct Partitions(NonNull<sys::rd_kafka_topic_partition_list_t>);

impl Partitions {
    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }

    /// Builds the list; with a spec, each entry's offset says which offset is asked for.
    pub(super) fn new(partitions: &[(String, i32)], spec: Option<OffsetSpec>) -> Result<Self, ApiError> {
        let size = c_int::try_from(partitions.len()).unwrap_or(0);
        // SAFETY: the size is only a hint.
        let list = unsafe { sys::rd_kafka_topic_partition_list_new(size) };
        let list = Self(NonNull::new(list).ok_or_else(no_memory)?);
        for (topic, partition) in partitions {
            let topic = c_string(topic)?;
            // SAFETY: list and string are alive; the string is copied; the returned entry is alive until the next add.
            unsafe {
                let entry =
                    sys::rd_kafka_topic_partition_list_add(list.0.as_ptr(), topic.as_ptr(), *partition);
                if let (Some(spec), Some(entry)) = (spec, entry.as_mut()) {
                    entry.offset = match spec {
                        OffsetSpec::Earliest => -2,
                        OffsetSpec::Latest => -1,
                        // A time takes the place of the spec: rdkafka.h, rd_kafka_ListOffsets.
                        OffsetSpec::Since(millis) => millis.max(0),
                    };
                }
            }
        }
        Ok(list)
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_topic_partition_list_new and owned here alone.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}
