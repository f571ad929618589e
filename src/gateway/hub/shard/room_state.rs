use std::collections::{BTreeSet, HashMap, VecDeque};

use super::waiting::{InAll, Waiting};
use crate::{
    ids::{RequestId, Seq, UserId},
    store::reads::Span,
};

/// How many of the newest messages of a room are remembered by request id.
const REMEMBERED: usize = 64;

/// A member with a live stream here, present or past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) span: Span,
    /// The membership's version that the span is of: a change that is not newer says nothing about it. Kept for each member, since
    /// records and answers of PostgreSQL tell of some and not of others, in any order.
    pub(super) version: i64,
}

/// A room that somebody in this shard hears.
#[derive(Debug)]
pub(super) struct RoomState {
    pub(super) members: HashMap<UserId, Seat>,
    /// Every message up to this one was sent to the streams that were live then.
    pub(super) last: Seq,
    /// The mark when the room was taken up, or what lies before the replay that it was taken up with: a record with a number up to it
    /// that comes later was not sent here yet.
    pub(super) begin: Seq,
    /// The newest membership version that was sent, and the newest that is known.
    pub(super) shown: i64,
    pub(super) version: i64,
    /// The look-up that is under way; everything of the room waits for it.
    pub(super) ticket: Option<u64>,
    /// What is being read from PostgreSQL: the numbers between these.
    pub(super) asked: (Seq, Seq),
    pub(super) waiting: Waiting,
    /// Who joined just now and lacks messages that others have had.
    pub(super) newcomers: Vec<UserId>,
    /// The record that says so, partition and offset: cursors stay before it until the newcomers have what they lack.
    pub(super) held: Option<(usize, i64)>,
    recent: VecDeque<(Seq, RequestId)>,
    /// Messages that were sent from PostgreSQL before their records came: a stream that resumes meanwhile has had none of them.
    pub(super) unlogged: BTreeSet<Seq>,
}

impl RoomState {
    pub(super) fn new(last: Seq, begin: Seq, version: i64, in_all: &InAll) -> Self {
        Self {
            members: HashMap::new(),
            last,
            begin,
            shown: 0,
            version,
            ticket: None,
            asked: (last, last),
            waiting: Waiting::new(in_all),
            newcomers: Vec::new(),
            held: None,
            recent: VecDeque::new(),
            unlogged: BTreeSet::new(),
        }
    }

    /// What waits belongs to a topic that is gone.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.ticket = None;
        self.newcomers.clear();
        self.held = None;
    }

    /// Takes in which messages a member may see, unless something newer is known. Whether they were present before.
    pub(super) fn seat(&mut self, user: &UserId, span: Span, version: i64) -> bool {
        let seat = Seat { span, version };
        match self.members.get_mut(user) {
            Some(known) => {
                let before = known.span.present();
                if known.version <= version {
                    *known = seat;
                }
                before
            }
            None => {
                self.members.insert(user.clone(), seat);
                false
            }
        }
    }

    /// Takes in a change of which a record tells. Gives `true` when one of those who left may have left before and come back since what
    /// is known of them: then PostgreSQL must say what they may see.
    pub(super) fn change(&mut self, joined: &[UserId], left: &[UserId], seq: Seq, version: i64) -> bool {
        let mut unsure = false;
        for (user, seat) in &mut self.members {
            if seat.version >= version || joined.contains(user) {
                continue;
            }
            let leaves = left.contains(user);
            if seat.version + 1 < version {
                unsure |= leaves;
                continue;
            }
            if leaves {
                seat.span.left = seat.span.left.or(Some(seq));
            }
            seat.version = version;
        }
        unsure
    }

    /// These have left when `seq` was the newest message, unless something newer is known of them.
    pub(super) fn depart(&mut self, left: &[UserId], seq: Seq, version: i64) {
        for user in left {
            if let Some(seat) = self.members.get_mut(user).filter(|seat| seat.version < version) {
                seat.span.left = seat.span.left.or(Some(seq));
                seat.version = version;
            }
        }
    }

    /// Whether this user belongs to the room now.
    pub(super) fn is_present(&self, user: &UserId) -> bool {
        self.members.get(user).is_some_and(|seat| seat.span.present())
    }

    /// Whether somebody lacks messages, and others who are there do not.
    pub(super) fn serves_newcomers_beside_others(&self) -> bool {
        let is_other = |user: &UserId| self.is_present(user) && !self.newcomers.contains(user);
        !self.newcomers.is_empty() && self.members.keys().any(is_other)
    }

    /// Whether this user may see this message.
    pub(super) fn may_see(&self, user: &UserId, seq: Seq) -> bool {
        self.members.get(user).is_some_and(|seat| seat.span.covers(seq))
    }

    pub(super) fn remember(&mut self, seq: Seq, request: RequestId) {
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, request));
    }

    /// The request that a number is known to be of.
    pub(super) fn request_of(&self, seq: Seq) -> Option<RequestId> {
        self.recent.iter().rev().find(|(known, _)| *known == seq).map(|(_, request)| *request)
    }
}
