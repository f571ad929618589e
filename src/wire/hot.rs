//! Records of an ordinary size, and the wire's part of [`crate::hot`].

use std::{collections::BTreeMap, hint::black_box};

use super::{AddChat, Incoming, Keyring, Outgoing, Request, RequestHeaders, open_request, request_record};
use crate::ids::{RequestId, RoomId, SessionKey, Timestamp, UserId};

/// A ring of one key.
pub(crate) fn keys() -> Option<Keyring> {
    Keyring::build("k1".to_owned(), BTreeMap::from([("k1".to_owned(), [1; 32])]))
}

/// A text of the length that people write.
pub(crate) fn text() -> String {
    "A message of an ordinary length, as people write them. ".repeat(4)
}

/// The n-th message to one of ten rooms, and who sends it.
pub(crate) fn message(n: u32) -> Option<(RequestHeaders, Request)> {
    let writer_id: UserId = "bob.smith".parse().ok()?;
    let headers = RequestHeaders {
        request_id: RequestId(uuid::Uuid::from_u128(1 << 64 | u128::from(n))),
        session_key: SessionKey([9; 32]),
        user_id: Some(writer_id.clone()),
        client_address: None,
        deadline: Timestamp::from_micros(1_800_000_000_123_456),
        traceparent: None,
    };
    let room_id = RoomId(uuid::Uuid::from_u128(u128::from(n % 10)));
    let message = text().parse().ok()?;
    Some((headers, Request::AddChat(AddChat { room_id, writer_id, message, client_message_id: None })))
}

/// A record that was sent, as it comes from Kafka.
pub(crate) fn arrived(out: &Outgoing) -> Incoming<'_> {
    Incoming {
        topic: out.topic,
        key: &out.key,
        value: &out.value,
        headers: out.headers.iter().map(|(name, value)| (name.as_ref(), value.as_slice())).collect(),
    }
}

/// Encodes and signs a message.
pub(crate) fn request_out(rounds: u32) -> u32 {
    let (Some(keys), Some((headers, request))) = (keys(), message(0)) else { return 0 };
    let sent = |_: u32| !black_box(request_record(&keys, &headers, black_box(&request))).value.is_empty();
    good(rounds, sent)
}

/// Verifies and decodes a message.
pub(crate) fn request_in(rounds: u32) -> u32 {
    let (Some(keys), Some((headers, request))) = (keys(), message(0)) else { return 0 };
    let out = request_record(&keys, &headers, &request);
    let record = arrived(&out);
    let opened = |_: u32| {
        let opened = open_request(&keys, black_box(&record));
        black_box(opened).is_ok_and(|opened| opened.request.is_ok())
    };
    good(rounds, opened)
}

/// Runs so many rounds and counts those that did what they should.
pub(crate) fn good(rounds: u32, round: impl FnMut(u32) -> bool) -> u32 {
    (0..rounds).map(round).map(u32::from).sum()
}
