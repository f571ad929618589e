use std::sync::Arc;

use super::{ConnId, Shard, room_state::RoomState};
use crate::{
    gateway::hub::{
        plan::Stretch,
        record::{Record, Route},
    },
    ids::{RequestId, RoomId, Seq, UserId},
    store::reads::Room,
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
    pub(super) fn room_step(&mut self, room: RoomId, record: &Arc<Record>) {
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
    pub(super) fn show_membership(&mut self, room: RoomId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Route::Room { left, version, .. } = &record.route else { return };
        state.shown = state.shown.max(*version);
        let Some(state) = self.rooms.get(&room) else { return };
        let told = state.members.keys().filter(|user| state.is_present(user) || left.contains(*user));
        let to = self.streams_of(told);
        self.deliver(&to, record);
    }

    /// The streams that may see this message.
    pub(super) fn hearers(&self, room: RoomId, seq: Seq) -> Vec<ConnId> {
        let Some(state) = self.rooms.get(&room) else { return Vec::new() };
        let may = state.members.iter().filter(|(_, seat)| seat.span.covers(seq));
        let users = may.filter_map(|(user, _)| self.users.get(user));
        users.flat_map(|user| user.conns.iter().copied()).collect()
    }

    pub(super) fn drop_room(&mut self, room: RoomId) {
        let Some(state) = self.rooms.remove(&room) else { return };
        if let Some((partition, offset)) = state.held {
            self.vector.let_go(partition, offset);
        }
        for record in state.waiting.iter() {
            self.vector.unpin(record.partition, record.offset);
        }
    }

    pub(super) fn drop_if_unheard(&mut self, room: RoomId) {
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
