use bytes::Bytes;

use crate::{
    gateway::sse,
    ids::{RequestId, RoomId, Seq, Timestamp, UserId},
    store::reads::Message,
    wire::{EndedSession, Event, EventType, OpenedEvent},
};

/// A record of `chat-event`, decoded once for all shards: what decides who hears it, and the bytes that they are sent.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) partition: usize,
    pub(crate) offset: i64,
    /// The broker's timestamp, milliseconds since 1970; 0 when it has none.
    pub(crate) stamped: i64,
    pub(crate) route: Route,
    /// The event as it is written, but for its id.
    pub(crate) head: Bytes,
}

/// What decides who hears an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Message {
        room: RoomId,
        seq: Seq,
        request: RequestId,
    },
    Room {
        room: RoomId,
        joined: Vec<UserId>,
        left: Vec<UserId>,
        seq: Seq,
        version: i64,
    },
    Friend {
        user: UserId,
        friend: UserId,
    },
    Status {
        user: UserId,
        version: i64,
    },
    Ended {
        who: EndedSession,
        ended_at: Timestamp,
    },
    /// Nobody: what could not be believed or read. It still moves the position.
    Nobody,
}

impl Record {
    /// From a verified event and the value that it was read from.
    pub(crate) fn new(
        partition: usize,
        offset: i64,
        stamped: i64,
        opened: OpenedEvent,
        value: &[u8],
    ) -> Self {
        let name = opened.event.event_type().as_str();
        let (head, route) = match opened.event {
            Event::Message { room_id, seq, request_id, .. } => {
                (sse::event(name, value), Route::Message { room: room_id, seq, request: request_id })
            }
            Event::Room { room_id, joined, left, seq, version, .. } => {
                (sse::event(name, value), Route::Room { room: room_id, joined, left, seq, version })
            }
            Event::Friend { user_id, friend, .. } => {
                (sse::event(name, value), Route::Friend { user: user_id, friend: friend.user_id })
            }
            Event::Status { user_id, version, .. } => {
                (sse::event(name, value), Route::Status { user: user_id, version })
            }
            // Never written to a stream: it ends streams.
            Event::SessionEnded { who, ended_at, .. } => (Bytes::new(), Route::Ended { who, ended_at }),
        };
        Self { partition, offset, stamped, route, head }
    }

    pub(crate) fn nobody(partition: usize, offset: i64, stamped: i64) -> Self {
        Self { partition, offset, stamped, route: Route::Nobody, head: Bytes::new() }
    }

    /// What it costs to keep, in bytes: the text, and the rest roughly.
    pub(crate) fn cost(&self) -> usize {
        self.head.len() + 256
    }
}

/// A message read from PostgreSQL, as the event that was missed.
pub(crate) fn message_head(message: &Message) -> Bytes {
    let event = Event::Message {
        room_id: message.room_id,
        seq: message.seq,
        writer_id: message.writer_id.clone(),
        message: message.message.clone(),
        created_at: message.created_at,
        request_id: message.request_id,
    };
    sse::event(EventType::Message.as_str(), &event.encode())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn room(n: u128) -> RoomId {
        RoomId(uuid::Uuid::from_u128(n))
    }

    pub(crate) fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    /// A message record whose request id is made of its room and number.
    pub(crate) fn message(partition: usize, offset: i64, room_no: u128, seq: i64) -> Record {
        let request = RequestId(uuid::Uuid::from_u128(room_no << 64 | u128::try_from(seq).unwrap()));
        Record {
            partition,
            offset,
            stamped: 1_000 + offset,
            route: Route::Message { room: room(room_no), seq: Seq(seq), request },
            head: sse::event("message", format!("{room_no}:{seq}").as_bytes()),
        }
    }
}
