use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers as _},
};

use crate::wire::Incoming;

/// A record as librdkafka holds it, seen as the wire sees it: nothing is copied but the list of header references.
#[derive(Debug)]
pub struct RecordView<'a> {
    /// Its topic, key, value and headers.
    pub record: Incoming<'a>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp in milliseconds since 1970, when there is one.
    pub timestamp: Option<i64>,
}

impl<'a> RecordView<'a> {
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        });
        Self {
            record: Incoming {
                topic: message.topic(),
                key: message.key().unwrap_or_default(),
                value: message.payload().unwrap_or_default(),
                headers: headers.unwrap_or_default(),
            },
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
        }
    }
}
