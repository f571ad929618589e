#[cfg(test)]
use rdkafka::client::{Client, ClientContext};
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

/// Puts an idempotent producer into the state that a fatal error leaves (`rd_kafka_test_fatal_error`).
#[cfg(test)]
pub(in crate::kafka) fn break_for_good<C: ClientContext>(client: &Client<C>) {
    // SAFETY: the client is alive as long as it is borrowed, and the reason is copied before the call returns.
    let code = unsafe {
        sys::rd_kafka_test_fatal_error(
            client.native_ptr(),
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test wants it".as_ptr(),
        )
    };
    assert_eq!(code, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
}
