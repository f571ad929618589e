use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{FriendEntry, request::json_bytes};
use crate::ids::{RequestId, RoomId, Seq, SessionKey, Timestamp, UserId};

/// What the `event` header of a `chat-event` record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see the variants of Event")]
pub enum EventType {
    Message,
    Room,
    Friend,
    Status,
    SessionEnded,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 5] = [Self::Message, Self::Room, Self::Friend, Self::Status, Self::SessionEnded];

    /// The header's value, and the SSE event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Room => "room",
            Self::Friend => "friend",
            Self::Status => "status",
            Self::SessionEnded => "session-ended",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or(())
    }
}

/// Whose sessions ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndedSession {
    /// This one.
    SessionKey(SessionKey),
    /// All of this user's that were opened before `ended_at`.
    UserId(UserId),
}

/// The value of a `chat-event` record: everything pushed to browsers that is not a reply. State events carry a version from
/// the row that they speak of, and a receiver drops what is not newer than what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "fields as in docs/protocol.md section 1")]
pub enum Event {
    /// A message of a room. Doubles are dropped by `room_id` and `seq`.
    Message {
        room_id: RoomId,
        seq: Seq,
        writer_id: UserId,
        message: String,
        created_at: Timestamp,
        request_id: RequestId,
    },
    /// A room was opened or its membership changed; `version` is the membership's, `seq` the room's newest message by then.
    Room {
        room_id: RoomId,
        room_name: String,
        member_count: i64,
        members: Vec<UserId>,
        joined: Vec<UserId>,
        left: Vec<UserId>,
        seq: Seq,
        version: i64,
    },
    /// `user_id` has a new friend. One record per recipient; `version` is the friend's row's.
    Friend { user_id: UserId, friend: FriendEntry, version: i64 },
    /// A user changed their status: one record, keyed by that user, for all their friends.
    Status { user_id: UserId, status: String, version: i64 },
    /// Sessions ended: live streams of theirs end within this event.
    SessionEnded {
        #[serde(flatten)]
        who: EndedSession,
        ended_at: Timestamp,
        reason: String,
    },
}

impl Event {
    /// Its type.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Message { .. } => EventType::Message,
            Self::Room { .. } => EventType::Room,
            Self::Friend { .. } => EventType::Friend,
            Self::Status { .. } => EventType::Status,
            Self::SessionEnded { .. } => EventType::SessionEnded,
        }
    }

    /// The record's key: the room, or the user (or session) whom it concerns.
    pub fn key(&self) -> String {
        match self {
            Self::Message { room_id, .. } | Self::Room { room_id, .. } => room_id.to_string(),
            Self::Friend { user_id, .. } | Self::Status { user_id, .. } => user_id.to_string(),
            Self::SessionEnded { who: EndedSession::UserId(user), .. } => user.to_string(),
            Self::SessionEnded { who: EndedSession::SessionKey(key), .. } => key.to_string(),
        }
    }

    /// The value as it goes to Kafka.
    pub fn encode(&self) -> Vec<u8> {
        json_bytes(self)
    }

    /// Reads the value of an event of this type.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(event: EventType, value: &[u8]) -> Result<Self, serde_json::Error> {
        let parsed: Self = serde_json::from_slice(value)?;
        if parsed.event_type() == event {
            return Ok(parsed);
        }
        Err(serde::de::Error::custom(format_args!("not the fields of a {event} event")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_reads_back_under_its_own_type_only() {
        let bob: UserId = "bob".parse().unwrap();
        let room_id = RoomId(uuid::Uuid::nil());
        let events = [
            Event::Message {
                room_id,
                seq: Seq(1),
                writer_id: bob.clone(),
                message: "hi".into(),
                created_at: Timestamp::from_micros(0),
                request_id: RequestId::fresh(),
            },
            Event::Room {
                room_id,
                room_name: "r".into(),
                member_count: 1,
                members: vec![bob.clone()],
                joined: vec![],
                left: vec![],
                seq: Seq(0),
                version: 1,
            },
            Event::Friend {
                user_id: bob.clone(),
                friend: FriendEntry {
                    user_id: "amy".parse().unwrap(),
                    user_name: "Amy".into(),
                    user_status: String::new(),
                },
                version: 3,
            },
            Event::Status { user_id: bob.clone(), status: "away".into(), version: 4 },
            Event::SessionEnded {
                who: EndedSession::SessionKey(SessionKey([7; 32])),
                ended_at: Timestamp::from_micros(1),
                reason: "logout".into(),
            },
            Event::SessionEnded {
                who: EndedSession::UserId(bob),
                ended_at: Timestamp::from_micros(1),
                reason: "logout".into(),
            },
        ];
        for event in events {
            for claimed in EventType::ALL {
                let read = Event::decode(claimed, &event.encode()).ok();
                assert_eq!(
                    read,
                    (claimed == event.event_type()).then(|| event.clone()),
                    "{event:?} as {claimed}"
                );
            }
        }
    }
}
