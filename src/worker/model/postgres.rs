//! As much of PostgreSQL as AddChat needs: its rows, their uniqueness, locks of rooms, transactions that end late.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ROOMS, WRITERS};
use crate::{
    ids::{RequestId, RoomId, Seq, Timestamp, UserId},
    store::{
        inbox::Stored,
        messages::{Append, Known},
    },
};

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) room: RoomId,
    pub(super) seq: Seq,
    pub(super) request: RequestId,
    pub(super) writer: UserId,
    pub(super) message: String,
    pub(super) at: Timestamp,
}

/// What a transaction writes when it commits.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    pub(super) rows: Vec<Row>,
    pub(super) moved: Vec<(RoomId, Seq)>,
    pub(super) refusals: Vec<(RequestId, Stored)>,
    pub(super) superseded: Vec<RequestId>,
}

/// Somebody else stored an outcome first.
#[derive(Debug)]
pub(super) struct Conflict;

pub(super) struct Postgres {
    pub(super) last: HashMap<RoomId, Seq>,
    pub(super) messages: Vec<Row>,
    pub(super) inbox: HashMap<RequestId, Stored>,
    pub(super) eve_belongs: bool,
    /// Which transaction has locked a room.
    pub(super) locks: BTreeMap<RoomId, u64>,
    pub(super) open: BTreeSet<u64>,
}

impl Postgres {
    pub(super) fn new() -> Self {
        Self {
            last: ROOMS[..2].iter().map(|room| (*room, Seq(0))).collect(),
            messages: Vec::new(),
            inbox: HashMap::new(),
            eve_belongs: false,
            locks: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    pub(super) fn known(&self, ask: &Append<'_>) -> Known {
        let row = self.messages.iter().find(|row| (row.request, row.room) == (ask.request_id, ask.room_id));
        Known {
            member: ask.writer_id.as_str() == WRITERS[0] || self.eve_belongs,
            seq: row.map(|row| row.seq),
            writer_id: row.map(|row| row.writer.clone()),
            message: row.map(|row| row.message.clone()),
            client_message_id: None,
            created_at: row.map(|row| row.at),
        }
    }

    pub(super) fn roll_back(&mut self, transaction: u64) {
        self.open.remove(&transaction);
        self.locks.retain(|_, by| *by != transaction);
    }

    /// As the statements of the store do it.
    pub(super) fn commit(&mut self, transaction: u64, writes: &Writes) -> Result<(), Conflict> {
        let stands = self.open.contains(&transaction);
        self.roll_back(transaction);
        let unique = |row: &Row| {
            let same = |other: &Row| {
                other.room == row.room && (other.request == row.request || other.seq == row.seq)
            };
            !self.messages.iter().any(same)
        };
        let may_store = |(id, new): &(RequestId, Stored)| {
            self.inbox.get(id).is_none_or(|old| {
                old.gives_way && old.deadline < new.deadline && old.fingerprint == new.fingerprint
            })
        };
        if !stands || !writes.rows.iter().all(unique) || !writes.refusals.iter().all(may_store) {
            return Err(Conflict);
        }
        self.messages.extend(writes.rows.iter().cloned());
        self.last.extend(writes.moved.iter().copied());
        self.inbox.extend(writes.refusals.iter().cloned());
        for id in &writes.superseded {
            if self.inbox.get(id).is_some_and(|stored| stored.gives_way) {
                self.inbox.remove(id);
            }
        }
        Ok(())
    }
}
