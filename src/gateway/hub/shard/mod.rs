//! One shard: the streams that it owns, who of them hears what, and what waits. It does no IO and never waits: records and
//! answers go in, bytes go into outboxes, and questions come out as [`Lookup`]s. All streams of a session are in one shard.

mod close;
mod conn;
mod deliver;
mod ears;
mod live;
#[cfg(test)]
mod membership_tests;
#[cfg(test)]
mod model;
mod open;
mod people;
mod repair;
mod resume;
mod room_state;
mod rooms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unlogged_tests;
mod waiting;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus::IntCounter;

pub(crate) use close::{LINGER, Reason};
use conn::{Conn, Phase};
pub(crate) use conn::{Opening, Wanted};
pub(crate) use deliver::event_name;
pub(crate) use ears::Ears;
use people::{UserState, Watch};
use room_state::RoomState;
use waiting::InAll;

use super::{
    lookup::{ConnId, Lookup},
    record::{Record, Route},
    ring::Ring,
    vector::Vector,
    wheel::Wheel,
};
use crate::{
    gateway::{
        metrics::Metrics,
        sse::{Epoch, Outbox},
    },
    ids::{RoomId, SessionKey, UserId},
};

/// The most messages that somebody who joined is sent from PostgreSQL: a page. Who lacks more is told to read their state.
const MOST_LACKING: i64 = 1_000;

/// What a shard is told beyond records.
#[derive(Debug, Clone)]
pub(crate) struct ShardSettings {
    /// Bytes of records kept for resumes.
    pub(crate) ring_bytes: usize,
    /// The most events of one replay.
    pub(crate) replay_events: usize,
    /// The most bytes of one replay.
    pub(crate) replay_bytes: usize,
    /// Between two heartbeats of a stream, before jitter.
    pub(crate) heartbeat: Duration,
    /// How long a stream lives, before jitter.
    pub(crate) life: Duration,
    /// How long a stream of an unknown session lives.
    pub(crate) unknown_life: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shard {
    settings: ShardSettings,
    metrics: Metrics,
    vector: Vector,
    ring: Ring,
    wheel: Wheel,
    conns: HashMap<ConnId, Conn>,
    sessions: HashMap<SessionKey, Vec<ConnId>>,
    users: HashMap<UserId, UserState>,
    /// By friend: whose streams are told of that user's status.
    watched: HashMap<UserId, Watch>,
    rooms: HashMap<RoomId, RoomState>,
    /// Bytes of records that wait in rooms for look-ups.
    waiting: InAll,
    /// Numbers the look-ups of rooms.
    ticket: u64,
    lookups: Vec<Lookup>,
    /// The counters of events by name, each looked up once: the look-up takes a lock that all shards share.
    sent: HashMap<&'static str, IntCounter>,
    /// Outboxes in which something waits since they were flushed last.
    unflushed: Vec<Outbox>,
    /// All events that went into outboxes.
    delivered: u64,
    /// When all streams must have left, once draining has begun.
    drain: Option<Instant>,
}

impl Shard {
    pub(crate) fn new(settings: ShardSettings, metrics: Metrics) -> Self {
        Self {
            vector: Vector::new(),
            ring: Ring::new(settings.ring_bytes),
            wheel: Wheel::new(),
            conns: HashMap::new(),
            sessions: HashMap::new(),
            users: HashMap::new(),
            watched: HashMap::new(),
            rooms: HashMap::new(),
            waiting: InAll::default(),
            ticket: 0,
            lookups: Vec::new(),
            sent: HashMap::new(),
            unflushed: Vec::new(),
            delivered: 0,
            drain: None,
            settings,
            metrics,
        }
    }

    /// What it wants to know since it was last asked.
    pub(crate) fn take_lookups(&mut self) -> Vec<Lookup> {
        std::mem::take(&mut self.lookups)
    }

    /// The outboxes that are to be flushed now.
    pub(crate) fn take_unflushed(&mut self) -> Vec<Outbox> {
        std::mem::take(&mut self.unflushed)
    }

    /// How many events it has put into outboxes.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many streams it owns.
    pub(crate) fn streams(&self) -> usize {
        self.conns.len()
    }

    /// A partition of `chat-event` is read from here on.
    pub(crate) fn begins(&mut self, epoch: Epoch, partition: usize, offset: i64) {
        if self.vector.begin(epoch, partition, offset) {
            self.ring.begin(partition, offset);
            return;
        }
        // Another topic under the same name: nothing connects to what was sent before.
        self.ring.clear();
        self.ring.begin(partition, offset);
        for room in self.rooms.values_mut() {
            room.forget_waiting();
        }
        for conn in self.conns.values_mut().filter(|conn| conn.phase != Phase::Live) {
            // What they were to begin from is void as well.
            conn.from = Vec::new();
            conn.registered = Vec::new();
            conn.read_from = Vec::new();
        }
        self.all_resync("foreign");
    }

    /// Records of a partition were lost: it goes on at this offset.
    pub(crate) fn lost(&mut self, partition: usize, offset: i64) {
        let epoch = self.vector.epoch();
        self.vector.begin(epoch, partition, offset);
        self.ring.begin(partition, offset);
        for from in self.conns.values_mut().filter_map(|conn| conn.from.get_mut(partition)) {
            *from = (*from).max(offset);
        }
        self.all_resync("expired");
    }

    fn all_resync(&mut self, reason: &'static str) {
        for conn in self.conns.values_mut().filter(|conn| conn.phase != Phase::Live && conn.resuming) {
            conn.resync = Some(reason);
        }
        let live: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| conn.phase == Phase::Live).map(|(id, _)| *id).collect();
        for id in live {
            self.resync(id, reason);
        }
    }

    /// The next record of its partition.
    pub(crate) fn record(&mut self, record: &Arc<Record>) {
        self.vector.advance(record.partition, record.offset, record.stamped);
        if record.route == Route::Nobody {
            return;
        }
        self.ring.push(record);
        match &record.route {
            Route::Message { room, .. } | Route::Room { room, .. } => self.room_record(*room, record),
            Route::Friend { user, friend } => self.friend(user, friend, record),
            Route::Status { user, version } => self.status(user, *version, record),
            Route::Ended { who, ended_at } => self.session_ended(who, *ended_at),
            Route::Nobody => {}
        }
    }

    /// A reply to a session's request. `login`: the session may be open now.
    pub(crate) fn reply(&mut self, key: &SessionKey, head: &Bytes, stamped: i64, login: bool) {
        let Some(conns) = self.sessions.get(key).cloned() else { return };
        let mut unknown = false;
        for id in conns {
            match self.conns.get_mut(&id) {
                Some(conn) if conn.phase == Phase::Opening || conn.hello.is_some() => {
                    conn.held.push((head.clone(), stamped));
                }
                Some(conn) => {
                    unknown |= conn.phase == Phase::Unknown;
                    self.push(id, head, stamped, "reply");
                }
                None => {}
            }
        }
        if login && unknown {
            self.lookups.push(Lookup::Session { key: *key });
        }
    }
}
