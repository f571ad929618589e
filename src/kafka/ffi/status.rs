use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;

/// What librdkafka knows of the fate of a message that it reported on (`rd_kafka_msg_status_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum Fate {
    /// It never left the queue, or the broker refused it: it is not in the log and will not be.
    NotPersisted,
    /// It was sent and no answer came: it may be in the log.
    PossiblyPersisted,
    /// The broker acknowledged it.
    Persisted,
}

/// The fate of a message in a delivery report.
pub(in crate::kafka) fn fate(reported: &BorrowedMessage<'_>) -> Fate {
    // SAFETY: the pointer is valid as long as the message is borrowed, and the call only reads a field of it.
    match unsafe { sys::rd_kafka_message_status(reported.ptr()) } {
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Fate::Persisted,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Fate::NotPersisted,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Fate::PossiblyPersisted,
    }
}
