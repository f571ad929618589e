//! Events against requests: whoever must hear of something does, at least once, and nobody hears of anything else.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parley::{
    ids::{RequestId, RoomId, Seq, UserId},
    wire::{CHAT_EVENT, EndedSession, Event, Request},
};
use serde_json::Value;

use super::{Load, Sent};
use crate::{fixtures::DEADLINE, worker::world::World};

/// After everything is answered, the events of what was answered last are at most this far: a worker that died between two
/// records of a batch is missed for a while.
const SOON: Duration = DEADLINE;

/// An event that must come of a request.
#[derive(Debug)]
pub(super) enum Heard {
    /// The room hears what its reply says.
    Message,
    /// The first hears that the second is a friend.
    Friend(UserId, UserId),
    /// Friends hear the status that was asked for, under this version of its owner.
    Status { version: i64 },
    /// The room that the reply names hears who came and went, and how many are there then, under this version of its own.
    Room { joined: Vec<UserId>, left: Vec<UserId>, members: i64, version: i64 },
    /// These sessions end, at the time of the outcome.
    Ended(EndedSession),
}

fn sorted(users: &[UserId]) -> Vec<UserId> {
    let mut users = users.to_vec();
    users.sort();
    users
}

/// Whether a value of a reply is this text.
fn says(reply: &Value, field: &str, text: impl ToString) -> bool {
    reply[field].as_str() == Some(&text.to_string())
}

impl Heard {
    /// Whether an event is this one, of a request that was answered so, and whose outcome was stored then.
    fn is(&self, event: &Event, sent: &Sent, reply: &Value, stored: Option<&i64>) -> bool {
        match (self, event, &sent.request) {
            (
                Self::Message,
                Event::Message { room_id, seq, writer_id, message, created_at, request_id },
                Request::AddChat(chat),
            ) => {
                (*room_id, *request_id) == (chat.room_id, sent.id())
                    && (writer_id, message.as_str()) == (&chat.writer_id, chat.message.as_str())
                    && reply["seq"].as_i64() == Some(seq.0)
                    && says(reply, "createdAt", created_at)
            }
            (Self::Friend(user, them), Event::Friend { user_id, friend, .. }, _) => {
                (user, them) == (user_id, &friend.user_id)
            }
            (
                Self::Status { version },
                Event::Status { user_id, status, version: told },
                Request::ChangeStatus(change),
            ) => (user_id, status.as_str(), told) == (&change.user_id, change.status.as_str(), version),
            (
                Self::Room { joined, left, members, version },
                Event::Room {
                    room_id,
                    joined: came,
                    left: went,
                    member_count,
                    version: told,
                    seq: Seq(0),
                    ..
                },
                _,
            ) => {
                says(reply, "roomId", room_id)
                    && (sorted(joined), sorted(left)) == (sorted(came), sorted(went))
                    && (members, version) == (member_count, told)
            }
            (Self::Ended(whose), Event::SessionEnded { who, ended_at, .. }, _) => {
                whose == who && stored == Some(&ended_at.as_micros())
            }
            _ => false,
        }
    }
}

impl Load {
    /// `replies` and `stored`: the answer to each request, and when its outcome was stored.
    pub(super) async fn audit_events(
        &self,
        world: &World,
        replies: &HashMap<RequestId, Value>,
        stored: &HashMap<RequestId, i64>,
        what: &str,
    ) {
        let late = Instant::now() + SOON;
        loop {
            let told = told(world, what);
            let missing: Vec<String> =
                self.sent.iter().flat_map(|sent| sent.missing(&told, replies, stored, what)).collect();
            if missing.is_empty() {
                break;
            }
            assert!(Instant::now() < late, "{what}: nobody heard of {missing:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A reader who drops doubles by room and number sees every message in order.
        let mut newest: HashMap<RoomId, i64> = HashMap::new();
        for (_, event) in world.events() {
            let Event::Message { room_id, seq, .. } = &event else { continue };
            let newest = newest.entry(*room_id).or_default();
            assert!(seq.0 <= *newest + 1, "{what}: {seq} of {room_id} was heard after {newest}");
            *newest = (*newest).max(seq.0);
        }
    }
}

/// The events so far by their requests, doubles left out. Each went to those whom it concerns: they are its key.
fn told(world: &World, what: &str) -> HashMap<RequestId, Vec<Event>> {
    let written = world.written();
    let keys = written.iter().filter(|seen| seen.topic == CHAT_EVENT).map(|seen| &seen.key);
    let mut told: HashMap<RequestId, Vec<Event>> = HashMap::new();
    for (key, (cause, event)) in keys.zip(world.events()) {
        assert_eq!(key.as_slice(), event.key().as_bytes(), "{what}: the key of {event:?}");
        let of_cause = told.entry(cause.expect("a request that it came of")).or_default();
        if !of_cause.contains(&event) {
            of_cause.push(event);
        }
    }
    told
}

impl Sent {
    /// What nobody has heard of yet. An event that must not be is a failure at once.
    fn missing(
        &self,
        told: &HashMap<RequestId, Vec<Event>>,
        replies: &HashMap<RequestId, Value>,
        stored: &HashMap<RequestId, i64>,
        what: &str,
    ) -> Vec<String> {
        let (id, kind) = (self.id(), self.request.kind());
        let events = told.get(&id).map(Vec::as_slice).unwrap_or_default();
        let is = |heard: &Heard, event: &Event| heard.is(event, self, &replies[&id], stored.get(&id));
        for event in events {
            let known = self.heard.iter().any(|heard| is(heard, event));
            assert!(known, "{what}: {id} ({kind}) has an event that it must not have: {event:?}");
        }
        let of = |heard: &Heard| events.iter().filter(|event| is(heard, event)).count();
        for heard in &self.heard {
            assert!(of(heard) <= 1, "{what}: {id} ({kind}) has doubles that differ: {events:?}");
        }
        let missing = self.heard.iter().filter(|heard| of(heard) == 0);
        missing.map(|heard| format!("{id} ({kind}): {heard:?}")).collect()
    }
}
