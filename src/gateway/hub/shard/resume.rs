use std::sync::Arc;

use serde_json::json;

use super::{Conn, ConnId, Ears, MOST_LACKING, Phase, Reason, Shard, Wanted};
use crate::{
    gateway::{
        hub::{
            lookup::{Lookup, Missing},
            plan::{self, Plan},
            record::{Record, Route},
        },
        sse::{self, Cursor},
    },
    ids::{RoomId, UserId},
    kafka::reader::Range,
    store::reads::{Interests, Message},
};

/// How often a replay is gathered anew because the world moved on, before the stream is closed, to try again.
const ROUNDS: u8 = 8;

impl Shard {
    /// The rooms and friends of a stream's user have been read.
    pub(crate) fn interests_found(&mut self, id: ConnId, interests: Result<Interests, Missing>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match interests {
            Ok(interests) => conn.interests = Some(interests),
            Err(_) => return self.close(id, Reason::Unavailable),
        }
        self.settle(id);
    }

    /// Messages inside a stream's replay have been read.
    pub(crate) fn holes_found(&mut self, id: ConnId, messages: Result<Vec<Message>, Missing>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match messages {
            // Nothing more is to be had: numbers that PostgreSQL does not have are no messages of this room.
            Ok(messages) if messages.is_empty() => conn.resync = Some("unknown"),
            Ok(messages) => conn.filled.extend(messages),
            Err(_) => return self.close(id, Reason::Unavailable),
        }
        self.settle(id);
    }

    /// Records that memory no longer holds have been read, or cannot be.
    pub(crate) fn replay_found(
        &mut self,
        id: ConnId,
        ranges: &[Range],
        records: Result<Vec<Record>, Missing>,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match records {
            Ok(records) => {
                conn.replayed = records.into_iter().map(Arc::new).collect();
                let ends = ranges
                    .iter()
                    .filter_map(|range| Some((usize::try_from(range.partition).ok()?, range.to)));
                conn.replayed_to = ends.collect();
            }
            Err(Missing::Expired) => conn.resync = Some("expired"),
            Err(Missing::Overflow | Missing::Unavailable) => conn.resync = Some("overflow"),
        }
        self.settle(id);
    }

    /// The offsets at the time that a cursor names.
    pub(crate) fn offsets_found(&mut self, id: ConnId, offsets: Result<Vec<i64>, Missing>) {
        let epoch = self.vector.epoch();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match offsets {
            Ok(next) => conn.wanted = Wanted::Cursor(Cursor::Offsets { epoch, next }),
            Err(Missing::Expired) => conn.resync = Some("expired"),
            Err(_) => return self.close(id, Reason::Unavailable),
        }
        self.settle(id);
    }

    /// How far the partitions reach.
    pub(crate) fn ends_found(&mut self, id: ConnId, ends: Result<Vec<i64>, Missing>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match ends {
            Ok(ends) => conn.ends = Some(ends),
            Err(_) => return self.close(id, Reason::Unavailable),
        }
        self.settle(id);
    }

    /// Brings a stream that is loading as far as it can come now: asks for what is missing, or replays and goes live. Gathering and
    /// going live are one step, so that nothing falls between.
    fn settle(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.phase != Phase::Loading {
            return;
        }
        conn.rounds += 1;
        if conn.rounds > ROUNDS {
            return self.close(id, Reason::Unavailable);
        }
        if conn.resync.is_none() && !conn.resuming && !self.accept_cursor(id) {
            return;
        }
        if self.conns.get(&id).is_some_and(|conn| conn.resync.is_some()) {
            self.start_anew(id);
        }
        if !self.within_memory(id) {
            return;
        }
        let Some(conn) = self.conns.get(&id) else { return };
        let (Some(user), Some(interests)) = (conn.user.clone(), conn.interests.clone()) else { return };
        let ears = Ears::new(&user, &interests);
        let records = self.gather(conn, &ears);
        if self.is_stale(&user, conn) {
            return self.read_interests_again(id, user);
        }
        let cost: usize = records.iter().map(|record| record.cost()).sum();
        if records.len() > self.settings.replay_events || cost > self.settings.replay_bytes {
            return self.overflow(id);
        }
        let joins = plan::joins(&records, &user, &interests);
        if joins.values().any(|join| join.count() > MOST_LACKING) {
            return self.overflow(id);
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        // What was read for an earlier look at the user's rooms: they may have left, and come back after it.
        conn.filled.retain(|message| ears.may_see(message.room_id, message.seq));
        let conn = &*conn;
        // What was committed before it and is not in the log yet, for its worker died in between, comes first.
        let had = |room: RoomId| {
            let span = interests.rooms.iter().find(|now| now.room_id == room)?.span;
            // Who joined since has had nothing of what the log has before.
            let was_there = conn.resuming && !joins.contains_key(&room);
            let had = self.ring.newest_before(room, &conn.from).filter(|_| was_there)?;
            // Of a room that they left nothing is missing that was said since.
            Some(had.min(span.left.unwrap_or(had)).max(span.joined))
        };
        let holes = plan::holes(&records, &conn.filled, &joins, had);
        if !holes.is_empty() {
            self.lookups.push(Lookup::Holes { conn: id, holes });
            return;
        }
        let plan = Plan::new(records, &conn.filled, &joins, &self.vector.sent());
        self.go_live(id, &user, &interests, plan);
    }

    /// What the user may hear has changed: what was read by the old knowledge is not complete.
    fn read_interests_again(&mut self, id: ConnId, user: UserId) {
        let now = self.vector.next().to_vec();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.read_from = now;
        conn.replayed.clear();
        conn.replayed_to.clear();
        self.lookups.push(Lookup::Interests { conn: id, user });
    }

    /// Decides where the stream's events begin. Gives `false` when that needs an answer first.
    fn accept_cursor(&mut self, id: ConnId) -> bool {
        let (next, sent) = (self.vector.next().to_vec(), self.vector.sent());
        let epoch = self.vector.epoch();
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        let cursor = match &conn.wanted {
            Wanted::Nothing => return true,
            Wanted::Unreadable => {
                conn.resync = Some("unknown");
                return true;
            }
            Wanted::Cursor(cursor) => cursor.clone(),
        };
        if cursor.epoch() != epoch {
            conn.resync = Some("foreign");
            return true;
        }
        let mut offsets = match cursor {
            Cursor::Offsets { next, .. } => next,
            Cursor::Time { millis, .. } => match self.ring.offsets_at(&next, millis) {
                Some(offsets) => offsets,
                None => {
                    self.lookups.push(Lookup::OffsetsAt { conn: id, partitions: next.len(), millis });
                    return false;
                }
            },
        };
        // A partition that the cursor does not know began after it.
        if offsets.len() < next.len() {
            offsets.resize(next.len(), 0);
        }
        let reach = match &conn.ends {
            Some(ends) => ends.clone(),
            None => next.clone(),
        };
        let ahead = |reach: &[i64]| {
            offsets.iter().enumerate().any(|(n, offset)| reach.get(n).is_none_or(|end| offset > end))
        };
        if ahead(&reach) {
            if conn.ends.is_none() {
                self.lookups.push(Lookup::Ends { conn: id, partitions: offsets.len() });
                return false;
            }
            // Beyond the log's own end: nobody can have sent it.
            conn.resync = Some("unknown");
            return true;
        }
        if ahead(&sent) {
            conn.ahead = Some(offsets.clone());
            // A partition that this gateway has not met yet: its records come in time, and are skipped.
            offsets.truncate(next.len());
        }
        conn.from = offsets;
        conn.resuming = true;
        true
    }

    /// What the stream had is void: it begins here, and is told to read its state again.
    fn start_anew(&mut self, id: ConnId) {
        let next = self.vector.next().to_vec();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.from = next;
        conn.resuming = false;
        conn.ahead = None;
        conn.replayed.clear();
        conn.replayed_to.clear();
        conn.filled.clear();
        conn.wanted = Wanted::Nothing;
    }

    fn overflow(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.resync = Some("overflow");
        }
        self.start_anew(id);
        self.settle(id);
    }

    /// Whether memory, with what was read again, holds everything from where the stream begins. If not, it is asked for.
    fn within_memory(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        let mut ranges = Vec::new();
        for (partition, from) in conn.from.iter().enumerate() {
            let (start, have) = (self.ring.start(partition), conn.replayed_to.get(&partition).copied());
            if have.unwrap_or(*from) >= start {
                continue;
            }
            if have.is_some() {
                // Memory moved on while Kafka was read: this would never end.
                self.overflow(id);
                return false;
            }
            ranges.push(Range {
                partition: i32::try_from(partition).unwrap_or(i32::MAX),
                from: *from,
                to: start,
            });
        }
        if ranges.is_empty() {
            return true;
        }
        let (Some(user), Some(interests)) = (conn.user.clone(), conn.interests.clone()) else { return false };
        self.lookups.push(Lookup::Replay { conn: id, ranges, interests, user });
        false
    }

    /// All that the stream missed and its user may hear, but for what waits in this shard: that comes live.
    fn gather(&self, conn: &Conn, ears: &Ears<'_>) -> Vec<Arc<Record>> {
        let mut from = conn.from.clone();
        for (partition, to) in &conn.replayed_to {
            if let Some(from) = from.get_mut(*partition) {
                *from = (*from).max(*to);
            }
        }
        let again = conn.replayed.iter();
        let kept = self.since(&from).filter(|record| !self.vector.is_pinned(record.partition, record.offset));
        again.chain(kept).filter(|record| ears.hear(record)).cloned().collect()
    }

    /// Whether something happened since the stream's interests were asked for that they may not show: they are read again then.
    fn is_stale(&self, user: &UserId, conn: &Conn) -> bool {
        let from = |partition: usize| conn.read_from.get(partition).copied().unwrap_or(0);
        // Nobody knows what was in records that memory has lost since.
        if (0..self.vector.next().len()).any(|partition| self.ring.start(partition) > from(partition)) {
            return true;
        }
        self.since(&conn.read_from).any(|record| match &record.route {
            Route::Room { joined, left, .. } => joined.contains(user) || left.contains(user),
            Route::Friend { user: whose, .. } => whose == user,
            _ => false,
        })
    }

    /// Everything in memory from these offsets on.
    pub(super) fn since<'a>(&'a self, from: &'a [i64]) -> impl Iterator<Item = &'a Arc<Record>> {
        let parts = 0..self.vector.next().len();
        parts.flat_map(|part| self.ring.from(part, from.get(part).copied().unwrap_or(0)))
    }

    /// Tells a live stream that its continuity is broken.
    pub(super) fn resync(&mut self, id: ConnId, reason: &'static str) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ahead = None;
        }
        self.metrics.sse_opened_total.with_label_values(&["resync"]).inc();
        self.push(id, &sse::control("resync", &json!({"reason": reason})), 0, "resync");
    }
}
