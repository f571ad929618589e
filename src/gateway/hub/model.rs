//! What a client that comes back with a cursor is sent. A topic, its partitions and two gateways that read them at their own pace as a
//! small model, against the shards, their memory and the cursors that they print; a client loses any part of what it was sent last and
//! comes back to either gateway with any cursor that it was ever given. Partitions are added, the oldest records are deleted, the topic
//! is made anew, gateways start over. The invariants, in words (what holds of positions alone stands with [`Vector`](super::vector)):
//!
//! 1. Within a stream no cursor lies before the one that it was resumed with, or before one that it carried: until a `resync`.
//! 2. What a client has up to a cursor and what it is sent from there on leaves nothing out, on any gateway. A cursor of a topic that was
//!    made anew is told so by a `resync`, and misread by nobody.
//! 3. In a topic whose records stand in the order of their numbers, and whose partitions stay the same, a resume repeats nothing that its
//!    cursor covers and that is still there: what was deleted before a gateway had read it is told from PostgreSQL, twice rather than never.
//!
//! Cursors by time, which stand for more partitions than fit, rest on the slack that they are given and are not part of this.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{
    lookup::{ConnId, Lookup, Missing, OpenSession},
    record::{
        Record,
        tests::{message, room, user},
    },
    shard::{Ears, Opening, Reason, Shard, ShardSettings, Wanted},
};
use crate::{
    gateway::{
        limits::tests::limits,
        metrics::Metrics,
        sse::{Cursor, Epoch, Outbox, outbox_tests as outbox},
    },
    ids::{RequestId, RoomId, Seq, SessionKey, Timestamp},
    kafka::reader::Range,
    store::reads::{Interests, Message, Room, Span},
};

const GATEWAYS: usize = 2;
const ROOMS: u128 = 3;

/// A message that stands, or will stand, in the topic: room and number.
type Said = (u128, i64);

struct Gateway {
    shard: Shard,
    /// The topic that it reads, and what it reads next of each of its partitions.
    topic: u32,
    next: Vec<i64>,
    lookups: Vec<Lookup>,
}

/// What the client was sent, in order.
#[derive(Debug, Clone)]
enum Sent {
    /// It read its state: the newest number of each room.
    Read(BTreeMap<u128, i64>),
    Message(Said),
    Other,
}

struct Client {
    /// With the cursor that each carried.
    history: Vec<(Sent, Option<Cursor>)>,
    /// Where its stream is, and what it carries; `None` when it has none.
    stream: Option<(usize, ConnId, Outbox)>,
    /// The position that its stream must not fall behind.
    position: Option<Cursor>,
    /// What the cursor covers with which the stream was resumed.
    covered: BTreeSet<Said>,
}

struct World {
    /// Whether numbers come in order and partitions stay as they are.
    orderly: bool,
    ring_bytes: usize,
    topic: u32,
    /// The records of each partition, and which of them are deleted.
    partitions: Vec<Vec<Said>>,
    low: Vec<i64>,
    said: BTreeMap<u128, i64>,
    waiting: Vec<Said>,
    gateways: Vec<Gateway>,
    client: Client,
    streams: ConnId,
}

fn epoch(topic: u32) -> Epoch {
    Epoch::new("cluster", &topic.to_string())
}

fn number(offset: usize) -> i64 {
    i64::try_from(offset).unwrap()
}

fn index(offset: i64) -> usize {
    usize::try_from(offset).unwrap()
}

fn stored((room_no, seq): Said) -> Message {
    Message {
        room_id: room(room_no),
        seq: Seq(seq),
        writer_id: user("amy"),
        message: String::new(),
        created_at: Timestamp::from_micros(0),
        request_id: RequestId(uuid::Uuid::from_u128(room_no << 64 | u128::try_from(seq).unwrap())),
    }
}

fn between(room_id: RoomId, after: Seq, before: Seq) -> impl Iterator<Item = Message> {
    (after.0 + 1..before.0).map(move |seq| stored((room_id.0.as_u128(), seq)))
}

impl World {
    fn new(orderly: bool, ring_bytes: usize) -> Self {
        let mut world = Self {
            orderly,
            ring_bytes,
            topic: 0,
            partitions: vec![Vec::new(); 2],
            low: vec![0; 2],
            said: (1..=ROOMS).map(|room| (room, 0)).collect(),
            waiting: Vec::new(),
            gateways: Vec::new(),
            client: Client { history: Vec::new(), stream: None, position: None, covered: BTreeSet::new() },
            streams: 0,
        };
        world.gateways = (0..GATEWAYS).map(|_| world.gateway()).collect();
        world
    }

    /// One that starts now: it reads from the end.
    fn gateway(&self) -> Gateway {
        let settings = ShardSettings {
            ring_bytes: self.ring_bytes,
            replay_events: 1_000,
            replay_bytes: 1 << 20,
            heartbeat: Duration::from_secs(15),
            life: Duration::from_secs(600),
            unknown_life: Duration::from_secs(30),
        };
        let metrics = Metrics::register(&crate::process::metrics::Registry::new()).unwrap();
        let mut shard = Shard::new(settings, metrics);
        let next: Vec<i64> = self.partitions.iter().map(|records| number(records.len())).collect();
        for (partition, offset) in next.iter().enumerate() {
            shard.begins(epoch(self.topic), partition, *offset);
        }
        Gateway { shard, topic: self.topic, next, lookups: Vec::new() }
    }

    fn say(&mut self, room: u128) {
        let said = self.said.entry(room).or_default();
        *said += 1;
        self.waiting.push((room, *said));
    }

    /// One of the messages that wait stands in the topic now.
    fn produce(&mut self, pick: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let pick = if self.orderly { 0 } else { pick % self.waiting.len() };
        let said = self.waiting.remove(pick);
        let partition = usize::try_from(said.0).unwrap() % self.partitions.len();
        self.partitions[partition].push(said);
    }

    fn record(&self, partition: usize, offset: i64) -> Record {
        let (room_no, seq) = self.partitions[partition][index(offset)];
        message(partition, offset, room_no, seq)
    }

    /// A gateway notices new partitions, and another topic.
    fn notice(&mut self, of: usize) {
        let gateway = &mut self.gateways[of];
        if gateway.topic != self.topic {
            gateway.topic = self.topic;
            gateway.next.clear();
        }
        for partition in gateway.next.len()..self.partitions.len() {
            gateway.next.push(0);
            gateway.shard.begins(epoch(self.topic), partition, 0);
        }
    }

    /// A gateway reads the next record of a partition.
    fn read(&mut self, of: usize, partition: usize) {
        if self.gateways[of].topic != self.topic || partition >= self.gateways[of].next.len() {
            return;
        }
        let (mut at, low) = (self.gateways[of].next[partition], self.low[partition]);
        if at < low {
            at = low;
            self.gateways[of].shard.lost(partition, low);
        }
        if index(at) < self.partitions[partition].len() {
            let record = Arc::new(self.record(partition, at));
            self.gateways[of].shard.record(&record);
            at += 1;
        }
        self.gateways[of].next[partition] = at;
    }

    fn answer(&mut self, of: usize, pick: usize) {
        let gateway = &mut self.gateways[of];
        gateway.lookups.extend(gateway.shard.take_lookups());
        if gateway.lookups.is_empty() {
            return;
        }
        let lookup = gateway.lookups.remove(pick % gateway.lookups.len());
        let ends = || self.partitions.iter().map(|records| number(records.len())).collect();
        match lookup {
            Lookup::Interests { conn, .. } => {
                let row = |(room_no, last): (&u128, &i64)| Room {
                    room_id: room(*room_no),
                    span: Span { joined: Seq(0), left: None },
                    last_seq: Seq(*last),
                    version: 1,
                };
                let rooms = self.said.iter().map(row).collect();
                gateway.shard.interests_found(conn, Ok(Interests { rooms, friends: vec![] }));
            }
            Lookup::Gap { room, ticket, after, before, attempt } => {
                gateway.shard.gap_found(room, ticket, attempt, Ok(between(room, after, before).collect()));
            }
            Lookup::Holes { conn, holes } => {
                let found = holes.into_iter().flat_map(|(room, after, before)| between(room, after, before));
                gateway.shard.holes_found(conn, Ok(found.collect()));
            }
            Lookup::Replay { conn, ranges, interests, user } => {
                // Read by the topic's name, whichever topic that is by now.
                let gone = |range: &Range| {
                    let partition = usize::try_from(range.partition).unwrap();
                    range.from < self.low[partition] || index(range.to) > self.partitions[partition].len()
                };
                let ears = Ears::new(&user, &interests);
                let records = if ranges.iter().any(gone) {
                    Err(Missing::Expired)
                } else {
                    let all = ranges.iter().flat_map(|range| {
                        let partition = usize::try_from(range.partition).unwrap();
                        (range.from..range.to).map(move |offset| (partition, offset))
                    });
                    let records = all.map(|(partition, offset)| {
                        let (room_no, seq) = self.partitions[partition][index(offset)];
                        message(partition, offset, room_no, seq)
                    });
                    Ok(records.filter(|record| ears.hear(record)).collect())
                };
                gateway.shard.replay_found(conn, &ranges, records);
            }
            Lookup::Ends { conn, .. } => gateway.shard.ends_found(conn, Ok(ends())),
            other => panic!("nothing of this model asks for {other:?}"),
        }
    }

    /// Whether its record is in the topic and was not deleted.
    fn stands(&self, said: Said) -> bool {
        self.partitions
            .iter()
            .zip(&self.low)
            .any(|(records, low)| records.iter().skip(index(*low)).any(|record| *record == said))
    }

    /// The client takes what its stream has for it.
    fn listen(&mut self) -> Result<(), TestCaseError> {
        let Some((_, _, outbox)) = &self.client.stream else { return Ok(()) };
        let (text, ended) = outbox::drain(outbox);
        for block in text.split("\n\n") {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
            };
            let cursor = field("id").and_then(|id| Cursor::parse(&id));
            let fresh = self.client.history.is_empty();
            let sent = match field("event").as_deref() {
                Some("hello") if fresh => Sent::Read(self.said.clone()),
                Some("resync") => {
                    self.client.covered.clear();
                    self.client.position = None;
                    Sent::Read(self.said.clone())
                }
                Some("message") => Sent::Message(said(&field("data").unwrap_or_default())),
                _ => Sent::Other,
            };
            if let Sent::Message(said) = &sent {
                let repeated = self.orderly && self.client.covered.contains(said) && self.stands(*said);
                prop_assert!(!repeated, "{said:?} is repeated");
            }
            if let Some(cursor) = &cursor {
                let before = self.client.position.replace(cursor.clone());
                prop_assert!(before.is_none_or(|before| is_past(cursor, &before)), "the cursor goes back");
            }
            if cursor.is_some() || !matches!(sent, Sent::Other) {
                self.client.history.push((sent, cursor));
            }
        }
        if ended {
            self.client.stream = None;
        }
        Ok(())
    }

    /// The client loses its stream, and what it was sent last with it: all after the `keep`th cursor from the end.
    fn cut(&mut self, keep: usize) {
        if let Some((of, id, _)) = self.client.stream.take() {
            self.gateways[of].shard.close(id, Reason::Gone);
        }
        let marks: Vec<usize> =
            (0..self.client.history.len()).filter(|n| self.client.history[*n].1.is_some()).collect();
        let last = marks.len().checked_sub(1 + keep).map_or(0, |n| marks[n] + 1);
        self.client.history.truncate(last);
    }

    fn open(&mut self, of: usize) {
        if self.client.stream.is_some() {
            self.cut(0);
        }
        self.streams += 1;
        let id = self.streams;
        let cursor = self.client.history.last().and_then(|(_, cursor)| cursor.clone());
        self.client.position.clone_from(&cursor);
        self.client.covered = match &cursor {
            Some(Cursor::Offsets { epoch: of, next }) if *of == epoch(self.topic) => self.before(next),
            _ => BTreeSet::new(),
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&id.to_be_bytes());
        let key = SessionKey(key);
        let outbox = Outbox::new(outbox::limits(1 << 20), CancellationToken::new());
        let opening = Opening {
            key,
            wanted: cursor.map_or(Wanted::Nothing, Wanted::Cursor),
            outbox: outbox.clone(),
            permit: limits(&[]).stream([127, 0, 0, 1].into(), key).unwrap(),
            replies: Vec::new(),
            retry: Duration::from_secs(1),
        };
        let session = OpenSession {
            user: user("bob"),
            opened_at: Timestamp::from_micros(0),
            expires_at: Timestamp::now().after(Duration::from_secs(3_600)),
        };
        self.gateways[of].shard.open(id, opening);
        self.gateways[of].shard.identify(id, Some(session));
        self.client.stream = Some((of, id, outbox));
    }

    /// What stands before these offsets.
    fn before(&self, next: &[i64]) -> BTreeSet<Said> {
        let parts = self.partitions.iter().zip(next);
        parts.flat_map(|(records, next)| records.iter().take(index(*next)).copied()).collect()
    }

    /// A gateway starts over: its streams break.
    fn restart(&mut self, of: usize) {
        self.gateways[of] = self.gateway();
        if self.client.stream.as_ref().is_some_and(|(at, ..)| *at == of) {
            self.client.stream = None;
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Say(room) => self.say(room),
            Step::Produce(pick) => self.produce(pick),
            Step::Read(of, partition) => self.read(of, partition),
            Step::Answer(of, pick) => self.answer(of, pick),
            Step::Cut(keep) => self.cut(keep),
            Step::Open(of) => self.open(of),
            Step::Notice(of) => self.notice(of),
            Step::Restart(of) => self.restart(of),
            Step::Grow => {
                if !self.orderly && self.partitions.len() < 4 {
                    self.partitions.push(Vec::new());
                    self.low.push(0);
                }
            }
            Step::Delete(partition, records) => {
                if let Some(low) = self.low.get_mut(partition) {
                    *low = (*low + records).min(number(self.partitions[partition].len()));
                }
            }
            Step::MakeAnew => {
                self.topic += 1;
                self.partitions.iter_mut().for_each(Vec::clear);
                self.low.fill(0);
            }
        }
        self.listen()
    }

    /// Everything is produced, read and answered, and the client is there.
    fn settle(&mut self, at: usize) -> Result<(), TestCaseError> {
        for _ in 0..1_000 {
            self.produce(0);
            for of in 0..GATEWAYS {
                self.notice(of);
                for partition in 0..self.partitions.len() {
                    self.read(of, partition);
                }
                self.answer(of, 0);
            }
            self.listen()?;
            let open = self.client.stream.is_some();
            if !open {
                self.open(at);
            }
            let busy = self.gateways.iter_mut().any(|gateway| {
                gateway.lookups.extend(gateway.shard.take_lookups());
                let ends = self.partitions.iter().map(|records| number(records.len()));
                !gateway.lookups.is_empty() || !gateway.next.iter().copied().eq(ends)
            });
            if open && !busy && self.waiting.is_empty() {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it never comes to rest"))
    }

    fn complete(&self) -> Result<(), TestCaseError> {
        let (mut read, mut heard) = (None, BTreeSet::new());
        for (sent, _) in &self.client.history {
            match sent {
                Sent::Read(state) => (read, heard) = (Some(state), BTreeSet::new()),
                Sent::Message(said) => {
                    heard.insert(*said);
                }
                Sent::Other => {}
            }
        }
        let Some(read) = read else { return Err(TestCaseError::fail("it never read its state")) };
        for (room, last) in &self.said {
            let lacks: Vec<i64> =
                (read[room] + 1..=*last).filter(|seq| !heard.contains(&(*room, *seq))).collect();
            prop_assert!(lacks.is_empty(), "of room {room} {lacks:?} are missing");
        }
        Ok(())
    }
}

/// The message that an event tells of: as a record wrote it, or as it was read from PostgreSQL.
fn said(data: &str) -> Said {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(data) {
        let room: uuid::Uuid = json["roomId"].as_str().unwrap().parse().unwrap();
        return (room.as_u128(), json["seq"].as_i64().unwrap());
    }
    let (room, seq) = data.split_once(':').unwrap();
    (room.parse().unwrap(), seq.parse().unwrap())
}

/// Whether a cursor does not lie before another one of the same topic; those of two topics do not compare.
fn is_past(cursor: &Cursor, before: &Cursor) -> bool {
    let (Cursor::Offsets { epoch, next }, Cursor::Offsets { epoch: other, next: before }) = (cursor, before)
    else {
        return false;
    };
    let of = |partition: usize| next.get(partition).copied().unwrap_or(0);
    epoch != other || before.iter().enumerate().all(|(partition, before)| of(partition) >= *before)
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Say(u128),
    Produce(usize),
    Read(usize, usize),
    Answer(usize, usize),
    Cut(usize),
    Open(usize),
    Notice(usize),
    Restart(usize),
    Grow,
    Delete(usize, i64),
    MakeAnew,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (of, partition, pick) = (0..GATEWAYS, 0_usize..4, 0_usize..8);
    let step = prop_oneof![
        60 => (1..=ROOMS).prop_map(Step::Say),
        60 => pick.clone().prop_map(Step::Produce),
        100 => (of.clone(), partition.clone()).prop_map(|(of, partition)| Step::Read(of, partition)),
        80 => (of.clone(), pick.clone()).prop_map(|(of, pick)| Step::Answer(of, pick)),
        15 => pick.prop_map(Step::Cut),
        35 => of.clone().prop_map(Step::Open),
        10 => of.clone().prop_map(Step::Notice),
        4 => of.prop_map(Step::Restart),
        10 => Just(Step::Grow),
        6 => (partition, 1_i64..6).prop_map(|(partition, records)| Step::Delete(partition, records)),
        2 => Just(Step::MakeAnew),
    ];
    prop::collection::vec(step, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_cursor_leaves_nothing_out_wherever_it_is_brought(
        orderly in any::<bool>(),
        small in any::<bool>(),
        steps in steps(),
        picks in prop::collection::vec((0_usize..6, 0..GATEWAYS), 4),
    ) {
        let mut world = World::new(orderly, if small { 1_200 } else { 1 << 20 });
        world.open(0);
        for step in steps {
            world.take(step)?;
        }
        world.settle(0)?;
        world.complete()?;
        for (keep, at) in picks {
            world.cut(keep);
            world.open(at);
            world.settle(at)?;
            world.complete()?;
        }
    }
}
