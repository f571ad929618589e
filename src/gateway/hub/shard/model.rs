//! A room, its log and PostgreSQL as a small model, against a shard: records come in any order, some twice and some very late, look-ups
//! are answered at any time, a page at a time or not at all, people join, leave and come back, streams open, break and resume. The
//! invariants, in words:
//!
//! 1. Nobody hears a message from outside the spans in which they belonged to the room; what was said between two spans is outside.
//! 2. Whoever belongs to it has heard, in the end, every message since they read their state (on `hello`, or on `resync`) or since
//!    they joined last.
//! 3. Whoever comes back with a cursor goes on from there: what they had and what they hear now leave nothing out.
//!
//! One order the log is given here, which Kafka alone does not give: a message that was said after somebody left does not stand before
//! the record of the departure. A gateway learns of a departure by that record and does not ask PostgreSQL at each message, so between
//! the commit and the record who left may still hear what is said. Everything else overtakes everything else.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    tests::{at, open, session, shard, stored},
    *,
};
use crate::{
    gateway::{
        hub::{
            lookup::{ATTEMPTS, Missing},
            record::tests::{message, room, user},
        },
        sse::{self, Cursor, Outbox, outbox_tests as outbox},
    },
    ids::Seq,
    store::reads::{Interests, Message, Room, RoomMembers, Span},
};

const ROOM: u128 = 1;
const PEOPLE: [&str; 2] = ["bob", "eve"];
/// Messages that PostgreSQL gives at a time.
const PAGE: usize = 2;

/// What waits to be produced.
#[derive(Debug, Clone)]
enum Waiting {
    Message(i64),
    Change { joined: Vec<UserId>, left: Vec<UserId>, seq: i64, version: i64 },
}

impl Waiting {
    fn is_departure(&self) -> bool {
        matches!(self, Self::Change { left, .. } if !left.is_empty())
    }
}

/// A client, over all of its streams: what it has heard since it last read its state.
#[derive(Debug, Default)]
struct Client {
    who: &'static str,
    outbox: Option<Outbox>,
    cursor: Option<Vec<i64>>,
    /// The room's newest message when it read its state.
    read: Option<i64>,
    heard: BTreeSet<i64>,
}

struct World {
    shard: Shard,
    offset: i64,
    said: i64,
    version: i64,
    spans: BTreeMap<&'static str, Vec<Span>>,
    waiting: Vec<Waiting>,
    /// Events whose worker died between commit and produce: another one produces them when it takes the partition over.
    late: Vec<Waiting>,
    lookups: Vec<Lookup>,
    clients: Vec<Client>,
    streams: ConnId,
    /// Which client each stream is of.
    of: BTreeMap<ConnId, &'static str>,
}

impl World {
    fn new() -> Self {
        Self {
            shard: shard(),
            offset: 10,
            said: 0,
            version: 1,
            spans: BTreeMap::new(),
            waiting: Vec::new(),
            late: Vec::new(),
            lookups: Vec::new(),
            clients: PEOPLE.map(|who| Client { who, ..Client::default() }).into(),
            streams: 0,
            of: BTreeMap::new(),
        }
    }

    fn span(&self, who: &str) -> Option<Span> {
        self.spans.get(who).and_then(|spans| spans.last()).copied()
    }

    fn say(&mut self) {
        self.said += 1;
        self.waiting.push(Waiting::Message(self.said));
    }

    /// Who does not belong joins, and who belongs leaves: as a worker's transaction does, the event follows.
    fn change(&mut self, who: &'static str) {
        let present = self.span(who).is_some_and(|span| span.present());
        let spans = self.spans.entry(who).or_default();
        self.version += 1;
        let mut change = (Vec::new(), Vec::new());
        if present {
            if let Some(span) = spans.last_mut() {
                span.left = Some(Seq(self.said));
            }
            change.1.push(user(who));
        } else {
            spans.push(Span { joined: Seq(self.said), left: None });
            change.0.push(user(who));
        }
        let (joined, left) = change;
        self.waiting.push(Waiting::Change { joined, left, seq: self.said, version: self.version });
    }

    /// One of what waits stands in the log now; `again`: and will once more.
    fn produce(&mut self, pick: usize, again: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let picked = pick % self.waiting.len();
        let before = self.waiting[..picked].iter().position(Waiting::is_departure);
        let index = match &self.waiting[picked] {
            Waiting::Message(_) => before.unwrap_or(picked),
            Waiting::Change { .. } => picked,
        };
        let what = if again { self.waiting[index].clone() } else { self.waiting.remove(index) };
        let record = match what {
            Waiting::Message(seq) => message(0, self.offset, ROOM, seq),
            Waiting::Change { joined, left, seq, version } => Record {
                partition: 0,
                offset: self.offset,
                stamped: 1_000 + self.offset,
                route: Route::Room { room: room(ROOM), joined, left, seq: Seq(seq), version },
                head: sse::event("room", b"{}"),
            },
        };
        self.offset += 1;
        self.shard.record(&Arc::new(record));
    }

    /// An event is not produced before everything else is.
    fn delay(&mut self, pick: usize) {
        let may = (0..self.waiting.len()).filter(|index| !self.waiting[*index].is_departure());
        let may: Vec<usize> = may.collect();
        if !may.is_empty() {
            self.late.push(self.waiting.remove(may[pick % may.len()]));
        }
    }

    fn reopen(&mut self, pick: usize) {
        let index = pick % self.clients.len();
        self.streams += 1;
        let client = &mut self.clients[index];
        let wanted = client.cursor.as_deref().map_or(Wanted::Nothing, at);
        if client.cursor.is_none() {
            (client.read, client.heard) = (None, BTreeSet::new());
        }
        let who = client.who;
        for (id, _) in self.of.iter().filter(|(_, whose)| **whose == who) {
            self.shard.close(*id, Reason::Gone);
        }
        self.of.retain(|_, whose| *whose != who);
        self.of.insert(self.streams, who);
        self.clients[index].outbox = Some(open(&mut self.shard, self.streams, wanted));
        self.shard.identify(self.streams, Some(session(who)));
    }

    fn stored(after: i64, before: i64) -> Vec<Message> {
        (after + 1..before).map(|seq| stored(ROOM, seq)).collect()
    }

    /// A look-up is answered, or PostgreSQL is away.
    fn answer(&mut self, pick: usize, there: bool) {
        self.lookups.extend(self.shard.take_lookups());
        if self.lookups.is_empty() {
            return;
        }
        let lookup = self.lookups.remove(pick % self.lookups.len());
        if !there {
            let away = Missing::Unavailable;
            return match lookup {
                Lookup::Interests { conn, .. } => self.shard.interests_found(conn, Err(away)),
                Lookup::Holes { conn, .. } => self.shard.holes_found(conn, Err(away)),
                Lookup::Gap { room, ticket, attempt, .. } => {
                    self.shard.gap_found(room, ticket, attempt, Err(away));
                }
                Lookup::Members { room, ticket, attempt, .. } => {
                    self.shard.members_found(room, ticket, attempt, Err(away));
                }
                other => panic!("nothing of this model asks for {other:?}"),
            };
        }
        match lookup {
            Lookup::Interests { conn, user: whose } => {
                let row = |span| Room {
                    room_id: room(ROOM),
                    span,
                    last_seq: Seq(self.said),
                    version: self.version,
                };
                let rooms = self.span(whose.as_str()).map(row).into_iter().collect();
                self.shard.interests_found(conn, Ok(Interests { rooms, friends: vec![] }));
            }
            Lookup::Gap { room, ticket, after, before, attempt } => {
                let mut found = Self::stored(after.0, before.0.min(self.said + 1));
                found.truncate(PAGE);
                self.shard.gap_found(room, ticket, attempt, Ok(found));
            }
            Lookup::Members { room, ticket, users, attempt } => {
                let spans =
                    users.into_iter().filter_map(|user| Some((user.clone(), self.span(user.as_str())?)));
                let members =
                    RoomMembers { last_seq: Seq(self.said), version: self.version, members: spans.collect() };
                self.shard.members_found(room, ticket, attempt, Ok(Some(members)));
            }
            Lookup::Holes { conn, holes } => {
                let found = holes.into_iter().flat_map(|(_, after, before)| Self::stored(after.0, before.0));
                self.shard.holes_found(conn, Ok(found.collect()));
            }
            other => panic!("nothing of this model asks for {other:?}"),
        }
    }

    /// PostgreSQL is away, once or for so long that nobody asks any more: what is asked again is asked last.
    fn fail(&mut self, pick: usize, for_long: bool) {
        self.answer(pick, false);
        for _ in 1..if for_long { ATTEMPTS } else { 1 } {
            self.lookups.extend(self.shard.take_lookups());
            self.answer(self.lookups.len().saturating_sub(1), false);
        }
    }

    /// Every client reads what its stream has for it.
    fn listen(&mut self) -> Result<(), TestCaseError> {
        for client in &mut self.clients {
            let Some(outbox) = &client.outbox else { continue };
            let (text, ended) = outbox::drain(outbox);
            for block in text.split("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                match field("event").as_deref() {
                    Some("hello") if client.read.is_none() => client.read = Some(self.said),
                    Some("resync") => (client.read, client.heard) = (Some(self.said), BTreeSet::new()),
                    Some("message") => {
                        let data = field("data").unwrap_or_default();
                        let seq = match serde_json::from_str::<serde_json::Value>(&data) {
                            Ok(json) => json["seq"].as_i64(),
                            Err(_) => data.split_once(':').and_then(|(_, seq)| seq.parse().ok()),
                        };
                        let seq = seq.expect("a number");
                        let spans = self.spans.get(client.who).map(Vec::as_slice).unwrap_or_default();
                        prop_assert!(
                            spans.iter().any(|span| span.covers(Seq(seq))),
                            "{} heard {seq}, and belonged to {spans:?}",
                            client.who
                        );
                        client.heard.insert(seq);
                    }
                    _ => {}
                }
                if let Some(Cursor::Offsets { next, .. }) = field("id").and_then(|id| Cursor::parse(&id)) {
                    client.cursor = Some(next);
                }
            }
            if ended {
                client.outbox = None;
            }
        }
        Ok(())
    }

    /// All that waits is produced, and all that is asked is answered.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1_000 {
            self.produce(0, false);
            self.answer(0, true);
            self.listen()?;
            self.lookups.extend(self.shard.take_lookups());
            if self.waiting.is_empty() && self.lookups.is_empty() {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it never comes to rest"))
    }

    /// Whoever is not there comes back.
    fn all_come_back(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].outbox.is_none() {
                self.reopen(index);
            }
        }
    }

    fn complete(&self) -> Result<(), TestCaseError> {
        for client in &self.clients {
            prop_assert!(client.outbox.is_some(), "{} is not there", client.who);
            let (Some(span), Some(read)) = (self.span(client.who).filter(Span::present), client.read) else {
                continue;
            };
            let from = read.max(span.joined.0);
            let lacks: Vec<i64> = (from + 1..=self.said).filter(|seq| !client.heard.contains(seq)).collect();
            prop_assert!(lacks.is_empty(), "{} lacks {lacks:?}; read at {read}, {span:?}", client.who);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Say,
    Change(&'static str),
    /// Leaves and comes back, and so much is said in between.
    Absent(&'static str, usize),
    Produce(usize),
    ProduceTwice(usize),
    Delay(usize),
    Reopen(usize),
    Answer(usize),
    Fail(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = 0_usize..60;
    let step = prop_oneof![
        5 => Just(Step::Say),
        2 => prop::sample::select(&PEOPLE[..]).prop_map(Step::Change),
        2 => (prop::sample::select(&PEOPLE[..]), 1_usize..4).prop_map(|(who, messages)| Step::Absent(who, messages)),
        5 => pick.clone().prop_map(Step::Produce),
        1 => pick.clone().prop_map(Step::ProduceTwice),
        1 => pick.clone().prop_map(Step::Delay),
        2 => pick.clone().prop_map(Step::Reopen),
        5 => pick.clone().prop_map(Step::Answer),
        1 => (pick, any::<bool>()).prop_map(|(pick, for_long)| Step::Fail(pick, for_long)),
    ];
    prop::collection::vec(step, 1..60)
}

/// Takes the steps, lets everything come to rest, and sees whether the invariants hold.
fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    world.change("bob");
    for step in steps {
        match step {
            Step::Say => world.say(),
            Step::Change(who) => world.change(who),
            Step::Absent(who, messages) => {
                world.change(who);
                (0..messages).for_each(|_| world.say());
                world.change(who);
            }
            Step::Produce(pick) => world.produce(pick, false),
            Step::ProduceTwice(pick) => world.produce(pick, true),
            Step::Delay(pick) => world.delay(pick),
            Step::Reopen(pick) => world.reopen(pick),
            Step::Answer(pick) => world.answer(pick, true),
            Step::Fail(pick, for_long) => world.fail(pick, for_long),
        }
        world.listen()?;
    }
    world.settle()?;
    world.waiting = std::mem::take(&mut world.late);
    world.settle()?;
    world.all_come_back();
    world.settle()?;
    world.complete()
}

/// Bob left after the second message. The first stands in the log only after others that were said since, so his cursor is beyond
/// these: nothing of them is missing in what he comes back to.
#[test]
fn who_left_is_not_kept_out_by_what_was_said_since() {
    use Step::{Absent, Answer, Change, Produce, Reopen, Say};
    let mut steps =
        vec![Say, Say, Produce(0), Change("bob"), Say, Produce(0), Say, Say, Say, Absent("eve", 3)];
    steps.extend([Say, Say, Produce(7), Produce(2), Reopen(8), Answer(0), Reopen(20)]);
    run(steps).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_belongs_hears_all_and_nobody_else_hears_anything(steps in steps()) {
        run(steps)?;
    }
}
