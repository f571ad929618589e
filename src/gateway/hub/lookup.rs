use std::time::Duration;

use crate::{
    ids::{RoomId, Seq, SessionKey, Timestamp, UserId},
    kafka::reader::Range,
    store::reads::{Interests, Message, RoomMembers},
};

use super::record::Record;

/// Names a stream for the life of the process.
pub(crate) type ConnId = u64;

/// What a shard wants to know from outside. It never waits itself: the answer comes back as a [`Found`], at its own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// How a session stands now.
    Session { key: SessionKey },
    /// The rooms and friends of a stream's user.
    Interests { conn: ConnId, user: UserId },
    /// Messages of a room with `after < seq < before`. `ticket` tells an answer that is still wanted from one that is not.
    Gap { room: RoomId, ticket: u64, after: Seq, before: Seq, attempt: u32 },
    /// Which of these users belong to a room.
    Members { room: RoomId, ticket: u64, users: Vec<UserId>, attempt: u32 },
    /// Messages that are missing inside a replay.
    Holes { conn: ConnId, holes: Vec<(RoomId, Seq, Seq)> },
    /// Records that are no longer in memory; of them, those that this user hears of.
    Replay { conn: ConnId, ranges: Vec<Range>, interests: Interests, user: UserId },
    /// The offsets at a time, for a cursor that is one.
    OffsetsAt { conn: ConnId, partitions: usize, millis: i64 },
    /// How far the partitions reach, for a cursor that is ahead of this gateway.
    Ends { conn: ConnId, partitions: usize },
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// Nobody has logged in with it yet.
    Unknown,
    Open(OpenSession),
    Ended,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenSession {
    pub(crate) user: UserId,
    pub(crate) opened_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// PostgreSQL or Kafka is away.
    Unavailable,
    /// What was asked for is gone.
    Expired,
    /// It would cost too much.
    Overflow,
}

/// What came of a [`Lookup`].
#[derive(Debug)]
pub(crate) enum Found {
    Session { key: SessionKey, state: Result<SessionState, Missing> },
    Interests { conn: ConnId, interests: Result<Interests, Missing> },
    Gap { room: RoomId, ticket: u64, attempt: u32, messages: Result<Vec<Message>, Missing> },
    Members { room: RoomId, ticket: u64, attempt: u32, members: Result<Option<RoomMembers>, Missing> },
    Holes { conn: ConnId, messages: Result<Vec<Message>, Missing> },
    Replay { conn: ConnId, ranges: Vec<Range>, records: Result<Vec<Record>, Missing> },
    OffsetsAt { conn: ConnId, offsets: Result<Vec<i64>, Missing> },
    Ends { conn: ConnId, ends: Result<Vec<i64>, Missing> },
}

/// How often a room's look-up is tried before its streams are closed, to resume later: about 8 s in all.
pub(crate) const ATTEMPTS: u32 = 6;

/// How long to wait before a try: none before the first, then doubling from 250 ms.
pub(crate) fn backoff(attempt: u32) -> Duration {
    if attempt == 0 { Duration::ZERO } else { Duration::from_millis(125 << attempt.min(6)) }
}
