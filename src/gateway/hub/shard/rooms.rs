use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{ConnId, Reason, Shard};
use crate::{
    gateway::{
        hub::{
            lookup::{ATTEMPTS, Lookup, Missing},
            record::{Record, Route, message_head},
        },
        sse::Frame,
    },
    ids::{RequestId, RoomId, Seq, UserId},
    store::reads::{Message, Room, RoomMembers, Span},
};

/// Records of one room that may wait for one look-up. A room that overtakes PostgreSQL by more has its streams closed, to resume.
const MOST_WAITING: usize = 5_000;
/// How many of the newest messages of a room are remembered by request id.
const REMEMBERED: usize = 64;

/// A room that somebody in this shard hears.
#[derive(Debug)]
pub(super) struct RoomState {
    /// Members with a live stream here, present or past.
    members: HashMap<UserId, Span>,
    /// Every message up to this one was sent to the streams that were live then.
    last: Seq,
    /// The mark when the room was taken up: a record with a number up to it that comes later was not sent here yet.
    begin: Seq,
    /// The newest membership version that was sent, and the newest that `members` is of.
    shown: i64,
    version: i64,
    /// The look-up that is under way; everything of the room waits for it.
    ticket: Option<u64>,
    waiting: VecDeque<Arc<Record>>,
    /// Who joined just now and lacks messages that others have had.
    newcomers: Vec<UserId>,
    recent: VecDeque<(Seq, RequestId)>,
    /// Messages that were sent from PostgreSQL before their records came: a stream that resumes meanwhile has had none of them.
    unlogged: BTreeSet<Seq>,
}

impl RoomState {
    fn new(last: Seq, begin: Seq, version: i64) -> Self {
        Self {
            members: HashMap::new(),
            last,
            begin,
            shown: 0,
            version,
            ticket: None,
            waiting: VecDeque::new(),
            newcomers: Vec::new(),
            recent: VecDeque::new(),
            unlogged: BTreeSet::new(),
        }
    }

    /// What waits belongs to a topic that is gone.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.ticket = None;
        self.newcomers.clear();
    }

    fn remember(&mut self, seq: Seq, request: RequestId) {
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, request));
    }

    /// The request that a number is known to be of.
    fn request_of(&self, seq: Seq) -> Option<RequestId> {
        self.recent.iter().rev().find(|(known, _)| *known == seq).map(|(_, request)| *request)
    }
}

impl Shard {
    /// A record of a room: waits when the room does, else is sent.
    pub(super) fn room_record(&mut self, room: RoomId, record: &Arc<Record>) {
        match self.rooms.get_mut(&room) {
            Some(state) if state.ticket.is_some() => {
                state.waiting.push_back(Arc::clone(record));
                let full = state.waiting.len() > MOST_WAITING;
                self.vector.pin(record.partition, record.offset);
                if full {
                    self.give_up(room);
                }
            }
            Some(_) => self.room_step(room, record),
            None => {
                // A room that nobody here hears yet; somebody may have just joined.
                if let Route::Room { joined, seq, .. } = &record.route
                    && joined.iter().any(|user| self.users.contains_key(user))
                {
                    self.rooms.insert(room, RoomState::new(*seq, *seq, 0));
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
        if version <= state.shown {
            return;
        }
        let new_here: Vec<UserId> = joined
            .iter()
            .filter(|user| {
                self.users.contains_key(*user) && !state.members.get(*user).is_some_and(Span::present)
            })
            .cloned()
            .collect();
        let missed_one = version > state.version + 1 && state.version > 0;
        if new_here.is_empty() && !missed_one {
            state.version = state.version.max(version);
            for user in left {
                if let Some(span) = state.members.get_mut(user) {
                    span.left = span.left.or(Some(seq));
                }
            }
            self.show_membership(room, record);
            return;
        }
        let mut users: Vec<UserId> = state.members.keys().cloned().collect();
        users.extend(new_here);
        self.wait(room, record);
        self.ask_members(room, users, 0);
    }

    /// Sends a membership event to members, and to those who have just left.
    fn show_membership(&mut self, room: RoomId, record: &Arc<Record>) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Route::Room { left, version, .. } = &record.route else { return };
        state.shown = state.shown.max(*version);
        let Some(state) = self.rooms.get(&room) else { return };
        let told = state.members.iter().filter(|(user, span)| span.present() || left.contains(*user));
        let to = self.streams_of(told.map(|(user, _)| user));
        self.deliver(&to, record);
    }

    /// The streams that may see this message.
    fn hearers(&self, room: RoomId, seq: Seq) -> Vec<ConnId> {
        let Some(state) = self.rooms.get(&room) else { return Vec::new() };
        let may = state.members.iter().filter(|(_, span)| span.covers(seq));
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
        let Some(ticket) = self.next_ticket(room) else { return };
        self.lookups.push(Lookup::Gap { room, ticket, after, before, attempt: 0 });
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
        let Ok(messages) = messages else {
            self.retry_gap(room, attempt + 1);
            return;
        };
        let found = messages.len();
        for message in messages {
            let Some(state) = self.rooms.get_mut(&room) else { return };
            let mut to = Vec::new();
            if message.seq == state.last.next() {
                state.last = message.seq;
                state.unlogged.insert(message.seq);
                state.remember(message.seq, message.request_id);
                to = self.hearers(room, message.seq);
                self.metrics.gaps_repaired_total.inc();
            } else if let Some(state) = self.rooms.get(&room).filter(|state| message.seq <= state.last) {
                let may =
                    |user: &&UserId| state.members.get(*user).is_some_and(|span| span.covers(message.seq));
                to = self.streams_of(state.newcomers.iter().filter(may));
            }
            let (head, tail) = (message_head(&message), self.vector.line());
            for id in to {
                self.push_frame(id, Frame { head: head.clone(), tail: tail.clone(), stamped: 0 }, "message");
            }
        }
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.newcomers.clear();
        let next = state.waiting.iter().find_map(|record| match record.route {
            Route::Message { seq, .. } if seq > state.last => Some(seq),
            _ => None,
        });
        let last = state.last;
        match next {
            // A page at a time.
            Some(seq) if seq > last.next() && found > 0 => self.repair(room, last, seq),
            // PostgreSQL does not have it yet: a replica that lags.
            Some(seq) if seq > last.next() => self.retry_gap(room, attempt + 1),
            _ => self.release(room),
        }
    }

    fn retry_gap(&mut self, room: RoomId, attempt: u32) {
        let Some(state) = self.rooms.get(&room) else { return };
        let (after, next) = (
            state.last,
            state.waiting.iter().find_map(|record| match record.route {
                Route::Message { seq, .. } if seq > state.last => Some(seq),
                _ => None,
            }),
        );
        let (Some(before), true) = (next, attempt < ATTEMPTS) else { return self.give_up(room) };
        if let Some(ticket) = self.next_ticket(room) {
            self.lookups.push(Lookup::Gap { room, ticket, after, before, attempt });
        }
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
        let Ok(members) = members else {
            if attempt + 1 >= ATTEMPTS {
                return self.give_up(room);
            }
            let record = state.waiting.front().cloned();
            let mut users: Vec<UserId> = state.members.keys().cloned().collect();
            if let Some(Route::Room { joined, .. }) = record.as_deref().map(|record| &record.route) {
                users.extend(joined.iter().filter(|user| self.users.contains_key(*user)).cloned());
            }
            return self.ask_members(room, users, attempt + 1);
        };
        let Some(found) = members else { return self.release(room) };
        state.version = state.version.max(found.version);
        let mut lowest: Option<Seq> = None;
        for (user, span) in found.members {
            let Some(known) = self.users.get_mut(&user) else { continue };
            known.rooms.insert(room);
            let new = !state.members.insert(user.clone(), span).is_some_and(|old| old.present());
            if new && span.present() {
                state.newcomers.push(user);
                lowest = Some(lowest.map_or(span.joined, |lowest| lowest.min(span.joined)));
            }
        }
        // The event that was waited for goes first, then what its newcomers lack.
        let record = state.waiting.front().cloned();
        let (last, mark) = (state.last, found.last_seq);
        if let Some(record) = record
            && matches!(record.route, Route::Room { .. })
        {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.waiting.pop_front();
            }
            self.show_membership(room, &record);
            self.vector.unpin(record.partition, record.offset);
        }
        let until = mark.max(last).next();
        match lowest {
            Some(joined) if joined.min(last).next() < until => self.repair(room, joined.min(last), until),
            _ => self.release(room),
        }
    }

    /// The look-up is done: what waited goes on, until something waits again.
    fn release(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.ticket = None;
        state.newcomers.clear();
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
        if let Some(Route::Room { joined, .. }) = state.waiting.front().map(|record| &record.route) {
            streams.extend(self.streams_of(joined.iter()));
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
        for record in state.waiting {
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

    /// A stream of this user is about to be live: the room is taken up unless it is already. `sent` is the highest number of the
    /// stream's replay in it.
    pub(super) fn take_up(&mut self, user: &UserId, room: &Room, sent: Option<Seq>) {
        let state = self.rooms.entry(room.room_id).or_insert_with(|| match sent {
            Some(sent) => RoomState::new(sent, Seq(0), room.version),
            None => RoomState::new(room.last_seq, room.last_seq, room.version),
        });
        if state.version <= room.version || !state.members.contains_key(user) {
            state.members.insert(user.clone(), room.span);
            state.version = state.version.max(room.version);
        }
        if let Some(known) = self.users.get_mut(user) {
            known.rooms.insert(room.room_id);
        }
    }
}
