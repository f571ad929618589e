//! The pipeline between Kafka and PostgreSQL as a small model, around the code that decides: two workers share two partitions whose
//! requests go to the same rooms; each step of a batch (poll, transaction, commit, each produce, acknowledgement, store, commit of
//! offsets) is a step of its own, in any order between the workers; a worker may die between any two, stand still for any time and go
//! on as if nothing were (a zombie), lose partitions with or without being told; answers of PostgreSQL and Kafka get lost after the
//! deed; requests come twice, with another body or a later deadline. The invariants, in words:
//!
//! 1. Every record is answered at least once, in the end.
//! 2. Every effect happens once: a request writes at most one message, and what was once refused (but for its deadline) writes none.
//! 3. A reply that is not marked `replayed` is the first one to its request: at most one such record is in the log. Late refusals are
//!    counted by record, for they give way; refusals of another body under a known id are not stored, so not counted.
//! 4. The numbers of a room are dense, in the order of the commits. Whoever reads the events, drops doubles and reads what is missing
//!    from PostgreSQL hears every message once, in that order: an event never tells what PostgreSQL does not have yet.
//! 5. A committed offset never passes a record whose reply and events are not acknowledged.

mod postgres;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Range,
};

use postgres::{Postgres, Row, Writes};
use proptest::prelude::*;

use super::{
    handlers::add_chat::{ask, decide},
    job::{Answer, Job, again},
    stored::outcome,
};
use crate::{
    ids::{RequestId, RoomId, Seq, SessionKey, Timestamp, UserId},
    store::{
        inbox::{LookUp, Stored},
        messages::Append,
    },
    wire::{self, ErrorCode, Event, Kind, Reply, RequestHeaders},
};

const PARTITIONS: usize = 2;
const WORKERS: usize = 2;
/// The third does not exist.
const ROOMS: [RoomId; 3] = [room(1), room(2), room(3)];
/// The second is a member now and then.
const WRITERS: [&str; 2] = ["bob", "eve"];

const fn room(n: u128) -> RoomId {
    RoomId(uuid::Uuid::from_u128(n))
}

/// A request record.
#[derive(Debug, Clone, Copy)]
struct Asked {
    id: u128,
    text: &'static str,
    deadline: i64,
}

impl Asked {
    fn job(self, at: usize) -> Job {
        let writer_id: UserId = WRITERS[usize::from(self.id % 4 == 3)].parse().unwrap();
        let headers = RequestHeaders {
            request_id: RequestId(uuid::Uuid::from_u128(self.id)),
            session_key: SessionKey([1; 32]),
            user_id: Some(writer_id.clone()),
            client_address: None,
            deadline: Timestamp::from_micros(self.deadline),
            traceparent: None,
        };
        let room_id = ROOMS[usize::try_from(self.id % 5).unwrap() / 2];
        let message = self.text.parse().unwrap();
        let chat = wire::AddChat { room_id, writer_id, message, client_message_id: None };
        Job::new(at, Kind::AddChat, headers, Ok(wire::Request::AddChat(chat)), b"")
    }
}

/// A record that a worker sends, with the offset of the request that it comes of.
#[derive(Debug, Clone)]
enum Out {
    Reply(usize, RequestId, Reply, bool),
    Event(Event),
}

#[derive(Debug, Clone)]
enum Stage {
    Waits,
    Polled(Range<usize>),
    InTransaction(Range<usize>, u64, Writes, Vec<Answer>),
    Sends(Range<usize>, VecDeque<Out>, Vec<Answer>),
    Acknowledged(Range<usize>),
}

/// A partition's task in one worker.
#[derive(Debug)]
struct Task {
    worker: usize,
    partition: usize,
    /// Where it polls next.
    next: usize,
    stage: Stage,
    /// It was told to end.
    ends: bool,
}

/// Replies to one request, as the log has them.
#[derive(Debug, Default)]
struct Heard {
    all: Vec<Reply>,
    unmarked: usize,
    /// By partition and offset of the request.
    unmarked_late: BTreeMap<(usize, usize), usize>,
}

struct World {
    now: i64,
    requests: [Vec<Asked>; PARTITIONS],
    committed: [usize; PARTITIONS],
    /// Whom the group believes to own each partition, and since which generation.
    owners: [Option<(usize, u64)>; PARTITIONS],
    /// What each worker believes to own, and what it has stored of it.
    assigned: BTreeMap<(usize, usize), (u64, Option<usize>)>,
    tasks: Vec<Task>,
    postgres: Postgres,
    /// Numbers transactions and generations.
    numbers: u64,
    answered: BTreeSet<(usize, usize)>,
    acknowledged: BTreeSet<(usize, usize)>,
    replies: BTreeMap<RequestId, Heard>,
    /// What a reader of the events has heard of each room.
    told: BTreeMap<RoomId, Vec<RequestId>>,
    events: BTreeSet<(RoomId, Seq)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: 1,
            requests: Default::default(),
            committed: [0; PARTITIONS],
            owners: [None; PARTITIONS],
            assigned: BTreeMap::new(),
            tasks: Vec::new(),
            postgres: Postgres::new(),
            numbers: 0,
            answered: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            replies: BTreeMap::new(),
            told: BTreeMap::new(),
            events: BTreeSet::new(),
        }
    }

    /// A task goes one step on. `fails`: the step is done, but its answer is lost; `most` records are polled.
    fn advance(&mut self, pick: usize, fails: bool, most: usize) -> Result<(), TestCaseError> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let pick = pick % self.tasks.len();
        let task = &self.tasks[pick];
        let (worker, partition) = (task.worker, task.partition);
        let stage = match task.stage.clone() {
            Stage::Waits if task.ends => {
                self.tasks.remove(pick);
                return Ok(());
            }
            Stage::Waits => {
                // A late owner of the same partition in the same worker goes first.
                let late = self.tasks[..pick].iter();
                if late.into_iter().any(|other| (other.worker, other.partition) == (worker, partition)) {
                    return Ok(());
                }
                let end = self.requests[partition].len().min(task.next + most);
                if task.next == end { Stage::Waits } else { Stage::Polled(task.next..end) }
            }
            // Between two attempts it may notice that it is to end.
            Stage::Polled(_) if task.ends && fails => {
                self.tasks.remove(pick);
                return Ok(());
            }
            Stage::Polled(range) => self.begin(partition, range),
            Stage::InTransaction(range, transaction, writes, answers) => {
                let done = self.postgres.commit(transaction, &writes);
                self.numbers_are_dense()?;
                if done.is_err() || fails {
                    Stage::Polled(range)
                } else {
                    Stage::Sends(range.clone(), self.outgoing(partition, &range, &answers), answers)
                }
            }
            Stage::Sends(range, mut queue, answers) => match queue.pop_front() {
                Some(out) => {
                    self.append(partition, out)?;
                    let queue =
                        if fails { self.outgoing(partition, &range, &again(&answers)) } else { queue };
                    Stage::Sends(range, queue, answers)
                }
                None => {
                    self.acknowledged.extend(range.clone().map(|offset| (partition, offset)));
                    Stage::Acknowledged(range)
                }
            },
            Stage::Acknowledged(range) => {
                // A late owner's mark would take back what the next one has done.
                if !task.ends {
                    self.store(worker, partition, range.end);
                }
                self.tasks[pick].next = range.end;
                Stage::Waits
            }
        };
        self.tasks[pick].stage = stage;
        Ok(())
    }

    /// Locks, looks up and decides, unless somebody else has a lock.
    fn begin(&mut self, partition: usize, range: Range<usize>) -> Stage {
        let jobs: Vec<Job> = self.requests[partition][range.clone()]
            .iter()
            .enumerate()
            .map(|(at, asked)| asked.job(at))
            .collect();
        let asks: Vec<Option<Append<'_>>> = jobs.iter().map(ask).collect();
        let named: BTreeSet<RoomId> = asks.iter().flatten().map(|ask| ask.room_id).collect();
        let postgres = &mut self.postgres;
        let locked: HashMap<RoomId, Seq> =
            named.iter().filter_map(|room| Some((*room, *postgres.last.get(room)?))).collect();
        if locked.keys().any(|room| postgres.locks.contains_key(room)) {
            return Stage::Polled(range);
        }
        self.numbers += 1;
        postgres.open.insert(self.numbers);
        postgres.locks.extend(locked.keys().map(|room| (*room, self.numbers)));
        let ids: Vec<RequestId> = jobs.iter().map(|job| job.headers.request_id).collect();
        let stored = ids.iter().filter_map(|id| Some((*id, postgres.inbox.get(id)?.clone()))).collect();
        let refused = LookUp { now: Timestamp::from_micros(self.now), stored };
        let known = asks.iter().flatten().map(|ask| postgres.known(ask)).collect();
        let decision = decide(&jobs, &asks, &locked, known, &refused);
        let row = |(ask, seq): &(Append<'_>, Seq)| Row {
            room: ask.room_id,
            seq: *seq,
            request: ask.request_id,
            writer: ask.writer_id.clone(),
            message: ask.message.to_owned(),
            at: refused.now,
        };
        let refusals = decision.refusals.iter().filter_map(|n| {
            let new = outcome(&jobs[*n], &decision.answers[*n])?;
            let stored = Stored {
                fingerprint: new.fingerprint.to_vec(),
                deadline: new.deadline,
                gives_way: new.gives_way,
                reply: new.reply.clone(),
                events: new.events.to_vec(),
            };
            Some((new.request_id, stored))
        });
        let writes = Writes {
            rows: decision.appends.iter().map(row).collect(),
            refusals: refusals.collect(),
            moved: decision.moved,
            superseded: decision.superseded,
        };
        Stage::InTransaction(range, self.numbers, writes, decision.answers)
    }

    fn outgoing(&self, partition: usize, range: &Range<usize>, answers: &[Answer]) -> VecDeque<Out> {
        let mut out = VecDeque::new();
        for (offset, answer) in range.clone().zip(answers) {
            let id = self.requests[partition][offset].job(0).headers.request_id;
            out.push_back(Out::Reply(offset, id, answer.reply.clone(), answer.replayed));
            out.extend(answer.events.iter().cloned().map(Out::Event));
        }
        out
    }

    /// A record stands in its topic.
    fn append(&mut self, partition: usize, out: Out) -> Result<(), TestCaseError> {
        match out {
            Out::Reply(offset, id, reply, replayed) => {
                self.answered.insert((partition, offset));
                let code = reply.result.as_ref().err().map(|failure| failure.code);
                if code == Some(ErrorCode::IdempotencyMismatch) {
                    return Ok(());
                }
                let heard = self.replies.entry(id).or_default();
                let late = code == Some(ErrorCode::DeadlineExceeded);
                let unmarked = match late {
                    true => heard.unmarked_late.entry((partition, offset)).or_default(),
                    false => &mut heard.unmarked,
                };
                *unmarked += usize::from(!replayed);
                prop_assert!(*unmarked <= 1, "{id} was answered twice as if for the first time: {reply:?}");
                if !late {
                    heard.all.push(reply);
                    prop_assert!(heard.all.iter().all(|one| *one == heard.all[0]), "{:?}", heard.all);
                }
            }
            Out::Event(event) => {
                let Event::Message { room_id, seq, request_id, message, .. } = event else {
                    return Err(TestCaseError::fail("AddChat tells of messages only"));
                };
                self.events.insert((room_id, seq));
                let told = self.told.entry(room_id).or_default();
                let count = usize::try_from(seq.0).unwrap();
                for number in told.len() + 1..=count {
                    let row = self
                        .postgres
                        .messages
                        .iter()
                        .find(|row| row.room == room_id && usize::try_from(row.seq.0) == Ok(number));
                    prop_assert!(row.is_some(), "{seq} of {room_id} is told, and {number} is not there yet");
                    told.extend(row.map(|row| row.request));
                }
                prop_assert_eq!(told[count - 1], request_id, "two requests claim {} ({})", seq, message);
            }
        }
        Ok(())
    }

    fn numbers_are_dense(&self) -> Result<(), TestCaseError> {
        let mut requests = BTreeSet::new();
        for row in &self.postgres.messages {
            prop_assert!(requests.insert(row.request), "{} wrote twice", row.request);
        }
        for (room, last) in &self.postgres.last {
            let numbers: Vec<i64> =
                self.postgres.messages.iter().filter(|row| row.room == *room).map(|row| row.seq.0).collect();
            prop_assert_eq!(numbers, (1..=last.0).collect::<Vec<_>>(), "of {}", room);
        }
        Ok(())
    }

    /// Marks a partition as done so far, in the worker's own memory. Refused when the worker knows that it lost it.
    fn store(&mut self, worker: usize, partition: usize, next: usize) {
        if let Some((_, stored)) = self.assigned.get_mut(&(worker, partition)) {
            *stored = Some(next);
        }
    }

    /// Commits what is stored. Refused when the group has given the partition away since.
    fn commit(&mut self, worker: usize, partition: usize) -> Result<(), TestCaseError> {
        let Some((generation, Some(stored))) = self.assigned.get(&(worker, partition)).copied() else {
            return Ok(());
        };
        if self.owners[partition] != Some((worker, generation)) {
            return Ok(());
        }
        self.committed[partition] = stored;
        for offset in 0..stored {
            prop_assert!(
                self.acknowledged.contains(&(partition, offset)),
                "{stored} of {partition} is committed, and {offset} is not acknowledged"
            );
        }
        Ok(())
    }

    /// The worker knows that it no longer owns this partition: its task ends when it can.
    fn let_go(&mut self, worker: usize, partition: usize) {
        self.assigned.remove(&(worker, partition));
        let of = |task: &&mut Task| (task.worker, task.partition) == (worker, partition);
        for task in self.tasks.iter_mut().filter(of) {
            task.ends = true;
        }
    }

    /// The group gives a partition to a worker. `told`: whoever had it has let it go before, and committed.
    fn rebalance(&mut self, partition: usize, to: usize, told: bool) -> Result<(), TestCaseError> {
        if let (Some((before, _)), true) = (self.owners[partition], told) {
            self.commit(before, partition)?;
            self.let_go(before, partition);
        }
        self.let_go(to, partition);
        self.numbers += 1;
        self.owners[partition] = Some((to, self.numbers));
        self.assigned.insert((to, partition), (self.numbers, None));
        let next = self.committed[partition];
        self.tasks.push(Task { worker: to, partition, next, stage: Stage::Waits, ends: false });
        Ok(())
    }

    /// A worker dies. What was on the wire may still arrive.
    fn die(&mut self, worker: usize, arrives: bool) -> Result<(), TestCaseError> {
        let (dead, others): (Vec<Task>, Vec<Task>) =
            std::mem::take(&mut self.tasks).into_iter().partition(|task| task.worker == worker);
        self.tasks = others;
        self.assigned.retain(|(of, _), _| *of != worker);
        for task in dead {
            match task.stage {
                Stage::InTransaction(_, transaction, writes, _) => {
                    if arrives {
                        // A conflict rolls it back as well.
                        let _ = self.postgres.commit(transaction, &writes);
                    }
                    self.postgres.roll_back(transaction);
                }
                Stage::Sends(_, mut queue, _) if arrives => {
                    if let Some(out) = queue.pop_front() {
                        self.append(task.partition, out)?;
                    }
                }
                _ => {}
            }
        }
        self.numbers_are_dense()
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask { partition, id, patience, other_body } => {
                let text = if other_body { "other" } else { "text" };
                self.requests[partition].push(Asked { id, text, deadline: self.now + patience });
            }
            Step::Pass(time) => self.now += time,
            Step::Advance { pick, fails, most } => self.advance(pick, fails, most)?,
            Step::Commit(worker, partition) => self.commit(worker, partition)?,
            Step::Rebalance { partition, to, told } => self.rebalance(partition, to, told)?,
            Step::Learn(worker, partition) => {
                if self.owners[partition].is_none_or(|(owner, _)| owner != worker) {
                    self.let_go(worker, partition);
                }
            }
            Step::Die { worker, arrives } => self.die(worker, arrives)?,
            // A transaction that stands still for too long is ended by PostgreSQL.
            Step::TimeOut(pick) => {
                let open: Vec<u64> = self.postgres.open.iter().copied().collect();
                if !open.is_empty() {
                    self.postgres.roll_back(open[pick % open.len()]);
                }
            }
            Step::JoinOrLeave => {
                if self.postgres.locks.is_empty() {
                    self.postgres.eve_belongs = !self.postgres.eve_belongs;
                }
            }
        }
        Ok(())
    }

    /// Whoever still runs finishes what it has in hand; then one worker has everything, and does it.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for (worker, partition) in (0..WORKERS).flat_map(|w| (0..PARTITIONS).map(move |p| (w, p))) {
            self.let_go(worker, partition);
        }
        for partition in 0..PARTITIONS {
            self.rebalance(partition, 0, false)?;
        }
        for _ in 0..2_000 {
            for pick in 0..self.tasks.len() {
                self.advance(pick, false, 3)?;
            }
            for partition in 0..PARTITIONS {
                self.commit(0, partition)?;
            }
            if (0..PARTITIONS).all(|n| self.committed[n] == self.requests[n].len()) {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it never comes to an end"))
    }

    fn complete(&self) -> Result<(), TestCaseError> {
        for (partition, requests) in self.requests.iter().enumerate() {
            for (offset, asked) in requests.iter().enumerate() {
                prop_assert!(self.answered.contains(&(partition, offset)), "{asked:?} was never answered");
            }
        }
        for row in &self.postgres.messages {
            prop_assert!(self.events.contains(&(row.room, row.seq)), "nobody was told of {row:?}");
            let heard = self.replies.get(&row.request).map(|heard| heard.all.as_slice()).unwrap_or_default();
            prop_assert!(heard.iter().all(|reply| reply.result.is_ok()), "{row:?} was refused: {heard:?}");
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Ask { partition: usize, id: u128, patience: i64, other_body: bool },
    Pass(i64),
    Advance { pick: usize, fails: bool, most: usize },
    Commit(usize, usize),
    Rebalance { partition: usize, to: usize, told: bool },
    Learn(usize, usize),
    Die { worker: usize, arrives: bool },
    TimeOut(usize),
    JoinOrLeave,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (partition, worker) = (0..PARTITIONS, 0..WORKERS);
    let rarely = || prop::bool::weighted(0.1);
    let step = prop_oneof![
        6 => (partition.clone(), 0_u128..20, 1_i64..30, rarely())
            .prop_map(|(partition, id, patience, other_body)| Step::Ask { partition, id, patience, other_body }),
        2 => (1_i64..5).prop_map(Step::Pass),
        30 => (0_usize..12, rarely(), 1_usize..4)
            .prop_map(|(pick, fails, most)| Step::Advance { pick, fails, most }),
        3 => (worker.clone(), partition.clone()).prop_map(|(worker, partition)| Step::Commit(worker, partition)),
        2 => (partition.clone(), worker.clone(), any::<bool>())
            .prop_map(|(partition, to, told)| Step::Rebalance { partition, to, told }),
        1 => (worker.clone(), partition).prop_map(|(worker, partition)| Step::Learn(worker, partition)),
        1 => (worker, any::<bool>()).prop_map(|(worker, arrives)| Step::Die { worker, arrives }),
        1 => (0_usize..4).prop_map(Step::TimeOut),
        1 => Just(Step::JoinOrLeave),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn effects_happen_once_and_answers_at_least_once(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        world.settle()?;
        world.complete()?;
    }
}

/// The partition comes back to a worker whose late batch still runs, and was done further meanwhile.
#[test]
fn a_late_owner_takes_nothing_back() {
    let mut world = World::new();
    let (ask, give) = (
        |id| Step::Ask { partition: 0, id, patience: 30, other_body: false },
        |to| Step::Rebalance { partition: 0, to, told: false },
    );
    let advance = |pick| Step::Advance { pick, fails: false, most: 3 };
    // The first worker holds one record, sent and not yet acknowledged, when the second does both and commits.
    let first = [give(0), ask(0), advance(0), advance(0), advance(0), ask(5), give(1)];
    let second = (0..9).map(|_| advance(1)).chain([Step::Commit(1, 0), give(0)]);
    for step in first.into_iter().chain(second) {
        world.take(step).unwrap();
    }
    assert_eq!(world.committed[0], 2);
    world.settle().unwrap();
    assert_eq!(world.committed[0], 2);
}

/// A produce whose acknowledgement was lost may have arrived.
#[test]
fn a_reply_that_is_sent_again_is_marked() {
    let mut world = World::new();
    let advance = |fails| Step::Advance { pick: 0, fails, most: 1 };
    let first = [
        Step::Rebalance { partition: 0, to: 0, told: false },
        Step::Ask { partition: 0, id: 0, patience: 30, other_body: false },
        advance(false),
        advance(false),
        advance(false),
        advance(true),
        advance(false),
    ];
    for step in first {
        world.take(step).unwrap();
    }
    let heard: Vec<(usize, usize)> =
        world.replies.values().map(|heard| (heard.all.len(), heard.unmarked)).collect();
    assert_eq!(heard, [(2, 1)]);
}
