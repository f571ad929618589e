//! What a room waits for: messages that the log lacks, and members, both read from PostgreSQL.

use std::sync::Arc;

use super::{MOST_LACKING, Reason, Shard};
use crate::{
    gateway::hub::{
        lookup::{ATTEMPTS, Lookup, Missing},
        record::{Record, Route, message_head},
    },
    ids::{RoomId, Seq, UserId},
    store::reads::{Message, RoomMembers},
};

impl Shard {
    pub(super) fn wait(&mut self, room: RoomId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.waiting.push_front(Arc::clone(record));
        self.vector.pin(record.partition, record.offset);
    }

    fn next_ticket(&mut self, room: RoomId) -> Option<u64> {
        let state = self.rooms.get_mut(&room)?;
        self.ticket += 1;
        state.ticket = Some(self.ticket);
        Some(self.ticket)
    }

    pub(super) fn repair(&mut self, room: RoomId, after: Seq, before: Seq) {
        if let Some(state) = self.rooms.get_mut(&room) {
            state.asked = (after, before);
        }
        self.ask_messages(room, 0);
    }

    fn ask_messages(&mut self, room: RoomId, attempt: u32) {
        let Some((after, before)) = self.rooms.get(&room).map(|state| state.asked) else { return };
        let Some(ticket) = self.next_ticket(room) else { return };
        self.lookups.push(Lookup::Gap { room, ticket, after, before, attempt });
    }

    pub(super) fn ask_members(&mut self, room: RoomId, users: Vec<UserId>, attempt: u32) {
        let Some(ticket) = self.next_ticket(room) else { return };
        self.lookups.push(Lookup::Members { room, ticket, users, attempt });
    }

    /// Messages that were missing have been read.
    pub(crate) fn gap_found(
        &mut self,
        room: RoomId,
        ticket: u64,
        attempt: u32,
        messages: Result<Vec<Message>, Missing>,
    ) {
        if self.rooms.get(&room).is_none_or(|state| state.ticket != Some(ticket)) {
            return;
        }
        let Ok(messages) = messages else { return self.retry_messages(room, attempt + 1) };
        let reached = messages.last().map(|message| message.seq);
        let Some(state) = self.rooms.get(&room) else { return };
        let only_newcomers = state.serves_newcomers_beside_others();
        for message in messages {
            let Some(state) = self.rooms.get_mut(&room) else { return };
            let to = if message.seq == state.last.next() && !only_newcomers {
                state.last = message.seq;
                state.unlogged.insert(message.seq);
                state.remember(message.seq, message.request_id);
                self.metrics.gaps_repaired_total.inc();
                self.hearers(room, message.seq)
            } else {
                let may = state.newcomers.iter().filter(|user| state.may_see(user, message.seq));
                let may: Vec<UserId> = may.cloned().collect();
                self.streams_of(may.iter())
            };
            let head = message_head(&message);
            for id in to {
                self.push(id, &head, 0, "message");
            }
        }
        let Some(state) = self.rooms.get(&room) else { return };
        let before = state.asked.1;
        match reached {
            // A page at a time.
            Some(reached) if reached.next() < before => self.repair(room, reached, before),
            Some(_) if only_newcomers || state.last.next() >= before => self.release(room),
            // PostgreSQL does not have it yet: a replica that lags.
            _ => self.retry_messages(room, attempt + 1),
        }
    }

    fn retry_messages(&mut self, room: RoomId, attempt: u32) {
        if attempt < ATTEMPTS { self.ask_messages(room, attempt) } else { self.give_up(room) }
    }

    /// The room's members have been read.
    pub(crate) fn members_found(
        &mut self,
        room: RoomId,
        ticket: u64,
        attempt: u32,
        members: Result<Option<RoomMembers>, Missing>,
    ) {
        if self.rooms.get(&room).is_none_or(|state| state.ticket != Some(ticket)) {
            return;
        }
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let record = state.waiting.front().cloned();
        let nobody = &[][..];
        let (joined, left, seq, version) = match record.as_deref().map(|record| &record.route) {
            Some(Route::Room { joined, left, seq, version, .. }) => {
                (joined.as_slice(), left.as_slice(), *seq, *version)
            }
            _ => (nobody, nobody, Seq(0), 0),
        };
        // A room that PostgreSQL does not know is one of which it does not know yet.
        let Ok(Some(found)) = members else {
            if attempt + 1 >= ATTEMPTS {
                return self.give_up(room);
            }
            let mut users: Vec<UserId> = state.members.keys().cloned().collect();
            users.extend(joined.iter().filter(|user| self.users.contains_key(*user)).cloned());
            users.sort_unstable();
            users.dedup();
            return self.ask_members(room, users, attempt + 1);
        };
        state.version = state.version.max(found.version);
        let until = found.last_seq.max(state.last).next();
        let mut lowest: Option<Seq> = None;
        let mut too_many = Vec::new();
        for (user, span) in found.members {
            let Some(known) = self.users.get_mut(&user) else { continue };
            known.rooms.insert(room);
            let before = state.seat(&user, span, found.version);
            let Some(seat) = state.members.get(&user).filter(|seat| seat.span.present()) else { continue };
            let from = seat.span.joined;
            if before && !joined.contains(&user) {
                continue;
            }
            if until.0 - from.0 > MOST_LACKING {
                too_many.extend(known.conns.iter().copied());
                continue;
            }
            state.newcomers.push(user);
            lowest = Some(lowest.map_or(from, |lowest| lowest.min(from)));
        }
        // For an answer that is older than the record.
        state.depart(left, seq, version);
        // What the log has not shown yet is for newcomers alone, of whom the answer just told: of others it does not say whether they
        // left before that.
        let after = |joined: Seq| {
            if state.serves_newcomers_beside_others() { joined } else { joined.min(state.last) }
        };
        let after = lowest.map(after).filter(|after| after.next() < until);
        // The event that was waited for goes first, then what its newcomers lack. Until they have it, cursors stay before the event.
        if let Some(record) = record
            && matches!(record.route, Route::Room { .. })
        {
            state.waiting.pop_front();
            if after.is_some() {
                state.held = Some((record.partition, record.offset));
                self.vector.hold(record.partition, record.offset);
            }
            self.vector.unpin(record.partition, record.offset);
            self.show_membership(room, &record);
        }
        for id in too_many {
            self.resync(id, "overflow");
        }
        match after {
            Some(after) => self.repair(room, after, until),
            None => self.release(room),
        }
    }

    /// The look-up is done: what waited goes on, until something waits again.
    fn release(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.ticket = None;
        state.newcomers.clear();
        if let Some((partition, offset)) = state.held.take() {
            self.vector.let_go(partition, offset);
        }
        loop {
            let Some(state) = self.rooms.get_mut(&room) else { return };
            if state.ticket.is_some() {
                return;
            }
            let Some(record) = state.waiting.pop_front() else { break };
            self.room_step(room, &record);
            self.vector.unpin(record.partition, record.offset);
        }
        self.drop_if_unheard(room);
    }

    /// PostgreSQL does not tell what is needed: the room's streams are closed and come back to where they were.
    pub(super) fn give_up(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get(&room) else { return };
        let members: Vec<UserId> = state.members.keys().cloned().collect();
        let mut streams = self.streams_of(members.iter());
        for record in state.waiting.iter() {
            if let Route::Room { joined, .. } = &record.route {
                streams.extend(self.streams_of(joined.iter()));
            }
        }
        streams.sort_unstable();
        streams.dedup();
        for id in streams {
            self.close(id, Reason::Unavailable);
        }
        self.drop_room(room);
    }
}
