use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    gateway::{
        hub::record::Record,
        limits::Permit,
        sse::{Cursor, Outbox},
    },
    ids::{RoomId, Seq, SessionKey, Timestamp, UserId},
    store::reads::{Interests, Message},
};

/// What a client brought as `Last-Event-ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing: it has no state yet.
    Nothing,
    /// A cursor that reads.
    Cursor(Cursor),
    /// Something that we cannot have sent.
    Unreadable,
}

/// A stream that is to be registered.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) key: SessionKey,
    pub(crate) wanted: Wanted,
    pub(crate) outbox: Outbox,
    /// Its right to be, counted by address, and by user once that is known.
    pub(crate) permit: Permit,
    /// Replies to this session's requests that came before its stream: already encoded.
    pub(crate) replies: Vec<(Bytes, i64)>,
    /// How long the browser is to wait before it comes back when the stream breaks.
    pub(crate) retry: Duration,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Registered; nobody has said yet whose it is.
    Opening,
    /// Its session is unknown: it hears its own replies only.
    Unknown,
    /// Its session is open; rooms and friends are being read, or its replay.
    Loading,
    /// It hears everything.
    Live,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) key: SessionKey,
    pub(super) outbox: Outbox,
    pub(super) permit: Permit,
    pub(super) phase: Phase,
    pub(super) user: Option<UserId>,
    pub(super) opened_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) wanted: Wanted,
    /// The end of events that are sent before it is live: the client's own cursor, or the shard's when it registered.
    pub(super) early: Bytes,
    /// The shard's offsets when it registered.
    pub(super) registered: Vec<i64>,
    /// The shard's offsets when its interests were asked for last: they show all that happened before.
    pub(super) read_from: Vec<i64>,
    /// Replies that came before `hello`, which comes first.
    pub(super) held: Vec<(Bytes, i64)>,
    /// The `hello` of a stream without a cursor, until its rooms are taken up: its client reads its state on `hello`, and a
    /// message that is committed after that read and lost on its way must be a gap to us.
    pub(super) hello: Option<Bytes>,
    /// Where its events begin: the shard's offsets when it registered, later those that it resumes from.
    pub(super) from: Vec<i64>,
    /// The reason of the `resync` that it is due.
    pub(super) resync: Option<&'static str>,
    /// Whether `from` is the client's own cursor.
    pub(super) resuming: bool,
    /// Offsets that the client has had already, from a gateway that was ahead of this one, or of what waits in it; `None` once this
    /// one has caught up.
    pub(super) ahead: Option<Vec<i64>>,
    pub(super) interests: Option<Interests>,
    /// Read again from Kafka, because memory does not reach back that far.
    pub(super) replayed: Vec<Arc<Record>>,
    /// Up to where, for each partition that was read so; where memory must begin at the latest.
    pub(super) replayed_to: HashMap<usize, i64>,
    /// Read from PostgreSQL for the holes in its replay.
    pub(super) filled: Vec<Message>,
    /// How far the partitions reach, when its cursor was ahead of us.
    pub(super) ends: Option<Vec<i64>>,
    /// How often its replay was gathered: it ends even when the world keeps moving.
    pub(super) rounds: u8,
    /// By room, the lowest number of its replay. What comes later with a lower one was not sent yet.
    pub(super) floors: HashMap<RoomId, Seq>,
    /// By room, messages that were sent to others ahead of their records, while it was away.
    pub(super) lacking: HashMap<RoomId, BTreeSet<Seq>>,
    pub(super) retry: Duration,
    pub(super) since: Instant,
    /// The tick at which it is looked at next: older entries of the wheel are void.
    pub(super) due: u64,
    /// The tick at which its next heartbeat is due.
    pub(super) beat: u64,
    /// When it is asked to come back elsewhere.
    pub(super) leave: Instant,
}
