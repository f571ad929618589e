use std::sync::Arc;

use super::{ConnId, MOST_LACKING, Reason, Shard, room_state::RoomState};
use crate::{
    gateway::hub::{
        lookup::{ATTEMPTS, Lookup, Missing},
        plan::Stretch,
        record::{Record, Route, message_head},
    },
    ids::{RequestId, RoomId, Seq, UserId},
    store::reads::{Message, Room, RoomMembers},
};

impl Shard {
    /// A record of a room: waits when the room does, else is sent.
    pub(super) fn room_record(&mut self, room: RoomId, record: &Arc<Record>) {
        match self.rooms.get_mut(&room) {
            Some(state) if state.ticket.is_some() => {
                state.waiting.push_back(Arc::clone(record));
                let (full, all_full) = (state.waiting.is_too_much(), state.waiting.all_are_too_much());
                self.vector.pin(record.partition, record.offset);
                if full {
                    self.give_up(room);
                } else if all_full {
                    // Not this one, which may have brought a line.
                    let rooms = self.rooms.iter();
                    let largest = rooms.max_by_key(|(_, state)| state.waiting.bytes()).map(|(room, _)| *room);
                    self.give_up(largest.unwrap_or(room));
                }
            }
            Some(_) => self.room_step(room, record),
            None => {
                // A room that nobody here hears yet; somebody may have just joined.
                if let Route::Room { joined, seq, .. } = &record.route
                    && joined.iter().any(|user| self.users.contains_key(user))
                {
                    self.rooms.insert(room, RoomState::new(*seq, *seq, 0, &self.waiting));
                    self.room_step(room, record);
                }
            }
        }
    }

    /// Sends a record of a room, or has it wait for a look-up.
    fn room_step(&mut self, room: RoomId, record: &Arc<Record>) {
        match &record.route {
            Route::Message { seq, request, .. } => self.message(room, *seq, *request, record),
            Route::Room { joined, left, seq, version, .. } => {
                self.membership(room, joined, left, *seq, *version, record);
            }
            _ => {}
        }
    }

    fn message(&mut self, room: RoomId, seq: Seq, request: RequestId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        if seq == state.last.next() {
            state.last = seq;
            state.remember(seq, request);
            let to = self.hearers(room, seq);
            self.deliver(&to, record);
        } else if seq > state.last {
            let (after, before) = (state.last, seq);
            self.wait(room, record);
            self.repair(room, after, before);
        } else {
            self.late_message(room, seq, request, record);
        }
    }

    /// A number that is not new: a double, or a record that the log has after its successors.
    fn late_message(&mut self, room: RoomId, seq: Seq, request: RequestId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.unlogged.remove(&seq);
        let before_us = seq <= state.begin;
        let known = state.request_of(seq);
        match known {
            Some(known) if known == request => {}
            Some(_) => {
                tracing::warn!(%room, %seq, "two requests claim one message");
                for id in self.hearers(room, seq) {
                    self.resync(id, "unknown");
                }
                return;
            }
            None => state.remember(seq, request),
        }
        let mut to = self.hearers(room, seq);
        if known.is_some() || !before_us {
            // Only those lack it whose replay began above it, or who came while it was sent ahead of its record. A second copy is
            // known by its request.
            let conns = &mut self.conns;
            to.retain(|id| {
                let Some(conn) = conns.get_mut(id) else { return false };
                let ahead = conn.lacking.get_mut(&room).is_some_and(|lacking| lacking.remove(&seq));
                ahead || (known.is_none() && conn.floors.get(&room).is_some_and(|floor| seq < *floor))
            });
        }
        self.deliver(&to, record);
    }

    fn membership(
        &mut self,
        room: RoomId,
        joined: &[UserId],
        left: &[UserId],
        seq: Seq,
        version: i64,
        record: &Arc<Record>,
    ) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        // A record that comes after its successor still tells of somebody of whom no other record does.
        let unsure = state.change(joined, left, seq, version);
        let old = version <= state.shown;
        // Also who is seated by this very version: what was said since may have stood in the log before their stream began.
        let tells = |known: i64| known < version || (known == version && !old);
        let new_here: Vec<UserId> = joined
            .iter()
            .filter(|user| self.users.contains_key(*user))
            .filter(|user| state.members.get(*user).is_none_or(|seat| tells(seat.version)))
            .cloned()
            .collect();
        let missed_one = !old && version > state.version + 1 && state.version > 0;
        if new_here.is_empty() && !missed_one && !unsure {
            if !old {
                state.version = state.version.max(version);
                self.show_membership(room, record);
            }
            return;
        }
        let mut users: Vec<UserId> = state.members.keys().cloned().collect();
        users.extend(new_here);
        users.sort_unstable();
        users.dedup();
        self.wait(room, record);
        self.ask_members(room, users, 0);
    }

    /// Sends a membership event to members, and to those who have just left.
    fn show_membership(&mut self, room: RoomId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Route::Room { left, version, .. } = &record.route else { return };
        state.shown = state.shown.max(*version);
        let Some(state) = self.rooms.get(&room) else { return };
        let told = state.members.keys().filter(|user| state.is_present(user) || left.contains(*user));
        let to = self.streams_of(told);
        self.deliver(&to, record);
    }

    /// The streams that may see this message.
    fn hearers(&self, room: RoomId, seq: Seq) -> Vec<ConnId> {
        let Some(state) = self.rooms.get(&room) else { return Vec::new() };
        let may = state.members.iter().filter(|(_, seat)| seat.span.covers(seq));
        let users = may.filter_map(|(user, _)| self.users.get(user));
        users.flat_map(|user| user.conns.iter().copied()).collect()
    }

    fn wait(&mut self, room: RoomId, record: &Arc<Record>) {
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

    fn repair(&mut self, room: RoomId, after: Seq, before: Seq) {
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

    fn ask_members(&mut self, room: RoomId, users: Vec<UserId>, attempt: u32) {
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
    fn give_up(&mut self, room: RoomId) {
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

    fn drop_room(&mut self, room: RoomId) {
        let Some(state) = self.rooms.remove(&room) else { return };
        if let Some((partition, offset)) = state.held {
            self.vector.let_go(partition, offset);
        }
        for record in state.waiting.iter() {
            self.vector.unpin(record.partition, record.offset);
        }
    }

    fn drop_if_unheard(&mut self, room: RoomId) {
        if self.rooms.get(&room).is_some_and(|state| state.members.is_empty() && state.ticket.is_none()) {
            self.drop_room(room);
        }
    }

    /// This user has no live stream any more.
    pub(super) fn forget_member(&mut self, room: RoomId, user: &UserId) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.members.remove(user);
        // Not while it waits for a look-up: somebody may be about to join.
        self.drop_if_unheard(room);
    }

    /// What was sent in a room ahead of its records.
    pub(super) fn unlogged(&self, room: RoomId) -> impl Iterator<Item = Seq> + '_ {
        self.rooms.get(&room).into_iter().flat_map(|state| state.unlogged.iter().copied())
    }

    /// A stream of this user is about to be live: the room is taken up unless it is already, where its replay of the room ends, or
    /// where the log does as far as it is known here, or else at the mark. The mark may be of messages that the log does not have yet,
    /// and has after later ones. A message from before may be still to come, however often its readers have come back since.
    pub(super) fn take_up(&mut self, user: &UserId, room: &Room, replayed: Option<&Stretch>) {
        let logged = self.ring.newest(room.room_id).unwrap_or(room.last_seq);
        let state = self.rooms.entry(room.room_id).or_insert_with(|| match replayed {
            Some(Stretch { lowest, logged: Some(logged), unlogged, .. }) => {
                let mut state = RoomState::new(*logged, Seq(lowest.0 - 1), room.version, &self.waiting);
                state.unlogged = unlogged.range(..=*logged).copied().collect();
                state
            }
            _ => RoomState::new(logged, logged, room.version, &self.waiting),
        });
        state.seat(user, room.span, room.version);
        state.version = state.version.max(room.version);
        if let Some(known) = self.users.get_mut(user) {
            known.rooms.insert(room.room_id);
        }
    }
}
