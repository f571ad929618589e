//! Candidates, a lease object and a network between them as a small model, around the code that decides: calls and answers are late or
//! lost, also those of writes that were done; processes are stopped for any time, killed and started anew, give the lease back; their
//! clocks run at rates of their own, and their wall clocks jump. The invariants, in words:
//!
//! 1. Never two that may act: at no moment may two processes begin something, and what one has begun is over before another may begin.
//! 2. A lease is led again: once every process runs and every call is answered, somebody leads within [`ROUNDS`] rounds, and goes on.
//! 3. Who was stopped for longer than its term begins nothing when it goes on, whatever answers were waiting for it, before it has read
//!    the lease again.
//!
//! Assumed: monotonic clocks run while a process is stopped (not so while a whole machine is), at rates that differ by less than the
//! twentieth that the margin leaves; nobody deletes the object; a client ends its calls at their deadlines, and all of them before it
//! gives the lease back, and what the network does later with bytes that it took is not ours.

use std::time::Duration;

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    LeaseSettings,
    decide::{Decider, Renewal, Step as Write},
};

const DURATION: Duration = Duration::from_secs(7);
/// As the controller's admin calls.
const CALL: Duration = Duration::from_millis(4_200);
/// A round of the fair end.
const ROUND: Duration = Duration::from_millis(250);
/// The term of whoever led last, and two waits of a candidate: one until it sees that, one until it sees that it is over.
const ROUNDS: u32 = 30 + 2 * 5;

/// What a process waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// The moment of its next look.
    Sleeps(Instant),
    /// The answer to this step's call.
    Waits(u64),
}

struct Process {
    decider: Decider,
    doing: Doing,
    /// Whether it believes that it leads: the shell's `hold` runs, not `acquire`.
    leads: bool,
    /// Seconds on its monotonic clock per second.
    rate: f64,
    /// How far its wall clock is off, in seconds.
    wall: i64,
    stopped: bool,
    /// When it was stopped, until it has read the lease again.
    unread_since: Option<Instant>,
    /// When what it has begun is over at the latest.
    call: Option<Instant>,
}

enum Call {
    Get,
    Create(Lease, Instant),
    Replace(Lease, Instant),
    Release(Lease),
}

enum Answer {
    Read(Option<Lease>),
    Wrote(Lease, Instant),
    Released,
    Conflict,
    Failed,
}

struct World {
    base: Instant,
    /// Since then, by a perfect clock.
    now: Duration,
    processes: Vec<Process>,
    names: u32,
    steps: u64,
    lease: Option<Lease>,
    version: u64,
    /// How often somebody began to lead.
    terms: u32,
    calls: Vec<(usize, u64, Call)>,
    answers: Vec<(usize, u64, Answer)>,
}

fn decider(name: u32) -> Decider {
    Decider::new(LeaseSettings {
        namespace: "ns".to_owned(),
        name: "lease".to_owned(),
        holder: format!("process-{name}"),
        duration: DURATION,
    })
}

impl World {
    fn new(rates: &[f64]) -> Self {
        let base = Instant::now() + Duration::from_secs(1_000);
        let process = |(name, rate): (u32, &f64)| Process {
            decider: decider(name),
            doing: Doing::Sleeps(base),
            leads: false,
            rate: *rate,
            wall: 0,
            stopped: false,
            unread_since: None,
            call: None,
        };
        Self {
            base,
            now: Duration::ZERO,
            processes: (0..).zip(rates).map(process).collect(),
            names: 100,
            steps: 0,
            lease: None,
            version: 0,
            terms: 0,
            calls: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn local(&self, of: usize) -> Instant {
        self.base + self.now.mul_f64(self.processes[of].rate)
    }

    fn holds(&self, of: usize) -> bool {
        !self.processes[of].decider.leadership().left_at(self.local(of)).is_zero()
    }

    fn send(&mut self, from: usize, call: Call) {
        self.steps += 1;
        self.processes[from].doing = Doing::Waits(self.steps);
        self.calls.push((from, self.steps, call));
    }

    /// The process gets the processor.
    fn run(&mut self, of: usize) {
        let (now, holds) = (self.local(of), self.holds(of));
        let process = &mut self.processes[of];
        if process.stopped {
            return;
        }
        match process.doing {
            Doing::Sleeps(at) if now >= at => {
                if process.leads && !holds {
                    process.leads = false;
                }
                self.send(of, Call::Get);
            }
            // The wait for a renewal ends with the leadership.
            Doing::Waits(_) if process.leads && !holds => self.ended(of, Renewal::TimedOut),
            _ => {}
        }
    }

    fn ended(&mut self, of: usize, renewal: Renewal) {
        let now = self.local(of);
        let process = &mut self.processes[of];
        let next = if process.leads {
            process.decider.renewed(renewal, now)
        } else if renewal == Renewal::Done {
            process.leads = true;
            self.terms += 1;
            Some(process.decider.first_renewal(now))
        } else {
            Some(now + process.decider.look_every())
        };
        process.leads &= next.is_some();
        process.doing = Doing::Sleeps(next.unwrap_or(now));
    }

    /// The API server carries a call out; its answer is on the way.
    fn carry_out(&mut self, pick: usize) {
        if self.calls.is_empty() {
            return;
        }
        let (from, step, call) = self.calls.remove(pick % self.calls.len());
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let current = self.lease.as_ref().map(version);
        let answer = match call {
            Call::Get => Answer::Read(self.lease.clone()),
            Call::Create(lease, since) if current.is_none() => Answer::Wrote(self.store(lease), since),
            Call::Replace(lease, since) if current == Some(version(&lease)) => {
                Answer::Wrote(self.store(lease), since)
            }
            Call::Release(lease) if current == Some(version(&lease)) => {
                self.store(lease);
                Answer::Released
            }
            _ => Answer::Conflict,
        };
        self.answers.push((from, step, answer));
    }

    fn store(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }

    /// A call never comes there.
    fn lose_call(&mut self, pick: usize) {
        if !self.calls.is_empty() {
            let (from, step, _) = self.calls.remove(pick % self.calls.len());
            self.answers.push((from, step, Answer::Failed));
        }
    }

    /// A process gets an answer, or an error in its place.
    fn answer(&mut self, pick: usize, lost: bool) {
        if self.answers.is_empty() {
            return;
        }
        let pick = pick % self.answers.len();
        let of = self.answers[pick].0;
        if self.processes[of].stopped {
            return;
        }
        let (_, step, answer) = self.answers.remove(pick);
        let (now, process) = (self.local(of), &mut self.processes[of]);
        if process.doing != Doing::Waits(step) {
            return;
        }
        let wall = Timestamp::from_second(process.wall).unwrap_or_default();
        let answer = if lost { Answer::Failed } else { answer };
        match answer {
            Answer::Read(lease) => {
                process.unread_since = None;
                match process.decider.read(lease, now, wall) {
                    Write::Wait => self.ended(of, Renewal::Taken),
                    Write::Create(lease, since) => self.send(of, Call::Create(lease, since)),
                    Write::Replace(lease, since) => self.send(of, Call::Replace(lease, since)),
                }
            }
            Answer::Wrote(lease, since) => {
                process.decider.wrote(lease, since);
                self.ended(of, Renewal::Done);
            }
            Answer::Conflict => self.ended(of, Renewal::Taken),
            Answer::Released | Answer::Failed => self.ended(of, Renewal::Failed),
        }
    }

    /// A whole look of one process, a read and a write, without delay.
    fn look(&mut self, of: usize) {
        self.run(of);
        for _ in 0..2 {
            let Doing::Waits(step) = self.processes[of].doing else { return };
            self.deliver(step, true);
        }
    }

    /// It looks whether it leads, and begins something.
    fn begin(&mut self, of: usize) -> Result<(), TestCaseError> {
        let (now, holds) = (self.local(of), self.holds(of));
        let process = &mut self.processes[of];
        if process.stopped || !holds {
            return Ok(());
        }
        let term = DURATION * 2 / 3;
        prop_assert!(
            process.unread_since.is_none_or(|stopped| now < stopped + term),
            "process {of} goes on after its term"
        );
        process.call = Some(now + process.decider.leadership().undisputed_at(now).min(CALL));
        Ok(())
    }

    fn release(&mut self, of: usize) {
        let process = &mut self.processes[of];
        if process.stopped || !process.leads {
            return;
        }
        (process.leads, process.call) = (false, None);
        match process.decider.release(Timestamp::UNIX_EPOCH) {
            Some(lease) => self.send(of, Call::Release(lease)),
            None => self.ended(of, Renewal::Failed),
        }
    }

    fn restart(&mut self, of: usize) {
        self.names += 1;
        let (now, process) = (self.local(of), &mut self.processes[of]);
        process.decider = decider(self.names);
        process.doing = Doing::Sleeps(now);
        (process.leads, process.stopped, process.unread_since, process.call) = (false, false, None, None);
    }

    fn stop(&mut self, of: usize) {
        let (now, process) = (self.local(of), &mut self.processes[of]);
        process.stopped = true;
        process.unread_since.get_or_insert(now);
    }

    /// A leader begins something at the last moment and is stopped, perhaps with the answer to a renewal on its way; others look as
    /// often as they can, until one of them leads, or nobody does. Then it goes on.
    fn vanish(&mut self, of: usize, renews: bool, watched: bool) -> Result<(), TestCaseError> {
        const SOON: Duration = Duration::from_millis(20);
        if !self.holds(of) || self.processes[of].stopped {
            return Ok(());
        }
        if renews {
            self.look_now(of, false);
        }
        while self.holds(of) {
            self.begin(of)?;
            self.now += SOON;
        }
        self.stop(of);
        let others: Vec<usize> = (0..self.processes.len()).filter(|other| *other != of).collect();
        for _ in 0..400 {
            self.now += SOON;
            for other in others.iter().filter(|_| watched) {
                self.look_now(*other, true);
                self.never_two()?;
            }
            if others.iter().any(|other| self.holds(*other)) {
                break;
            }
        }
        self.processes[of].stopped = false;
        while let Some(pick) = self.answers.iter().position(|(to, ..)| *to == of) {
            self.answer(pick, false);
            self.begin(of)?;
            self.never_two()?;
        }
        self.begin(of)
    }

    /// It looks now, not when it would; a write is carried out, and answered if `answered`.
    fn look_now(&mut self, of: usize, answered: bool) {
        let now = self.local(of);
        if let Doing::Sleeps(at) = &mut self.processes[of].doing {
            *at = (*at).min(now);
        }
        self.run(of);
        for answered in [true, answered] {
            let Doing::Waits(step) = self.processes[of].doing else { return };
            self.deliver(step, answered);
        }
    }

    /// A call is carried out, and answered if `answered`.
    fn deliver(&mut self, step: u64, answered: bool) {
        if let Some(pick) = self.calls.iter().position(|(_, id, _)| *id == step) {
            self.carry_out(pick);
        }
        if let Some(pick) = self.answers.iter().position(|(_, id, _)| answered && *id == step) {
            self.answer(pick, false);
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pass(millis) => self.now += Duration::from_millis(millis),
            Step::Run(of) => self.run(of),
            Step::Look(of) => self.look(of),
            Step::CarryOut(pick) => self.carry_out(pick),
            Step::LoseCall(pick) => self.lose_call(pick),
            Step::Answer(pick) => self.answer(pick, false),
            Step::LoseAnswer(pick) => self.answer(pick, true),
            Step::Begin(of) => self.begin(of)?,
            Step::Vanish { of, renews, watched } => self.vanish(of, renews, watched)?,
            Step::Stop(of) => self.stop(of),
            Step::GoOn(of) => self.processes[of].stopped = false,
            Step::Release(of) => self.release(of),
            Step::Restart(of) => self.restart(of),
            Step::JumpWall(of, seconds) => self.processes[of].wall = seconds,
        }
        self.never_two()
    }

    fn never_two(&self) -> Result<(), TestCaseError> {
        let all = 0..self.processes.len();
        let acting: Vec<usize> = all.clone().filter(|of| self.holds(*of)).collect();
        prop_assert!(acting.len() <= 1, "{acting:?} lead at {:?}", self.now);
        for of in acting {
            for other in all.clone().filter(|other| *other != of) {
                let left =
                    self.processes[other].call.map(|end| end.saturating_duration_since(self.local(other)));
                prop_assert!(
                    left.is_none_or(|left| left.is_zero()),
                    "{of} leads while a call of {other} has {left:?} left"
                );
            }
        }
        Ok(())
    }

    /// Everything runs and is answered.
    fn round(&mut self) -> Result<(), TestCaseError> {
        self.now += ROUND;
        for of in 0..self.processes.len() {
            self.processes[of].stopped = false;
            self.run(of);
        }
        while !self.calls.is_empty() || !self.answers.is_empty() {
            self.carry_out(0);
            self.answer(0, false);
            self.never_two()?;
        }
        for of in 0..self.processes.len() {
            self.begin(of)?;
        }
        self.never_two()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u64),
    Run(usize),
    Look(usize),
    CarryOut(usize),
    LoseCall(usize),
    Answer(usize),
    LoseAnswer(usize),
    Begin(usize),
    Vanish { of: usize, renews: bool, watched: bool },
    Stop(usize),
    GoOn(usize),
    Release(usize),
    Restart(usize),
    JumpWall(usize, i64),
}

fn steps(processes: usize) -> impl Strategy<Value = Vec<Step>> {
    let (of, pick) = (0..processes, 0_usize..6);
    let step = prop_oneof![
        6 => (1_u64..3_000).prop_map(Step::Pass),
        4 => of.clone().prop_map(Step::Run),
        4 => of.clone().prop_map(Step::Look),
        4 => pick.clone().prop_map(Step::CarryOut),
        1 => pick.clone().prop_map(Step::LoseCall),
        4 => pick.clone().prop_map(Step::Answer),
        1 => pick.prop_map(Step::LoseAnswer),
        4 => of.clone().prop_map(Step::Begin),
        1 => (of.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(of, renews, watched)| Step::Vanish { of, renews, watched }),
        1 => of.clone().prop_map(Step::Stop),
        2 => of.clone().prop_map(Step::GoOn),
        1 => of.clone().prop_map(Step::Release),
        1 => of.clone().prop_map(Step::Restart),
        1 => (of, -1_000_000_i64..1_000_000).prop_map(|(of, seconds)| Step::JumpWall(of, seconds)),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn never_two_lead_and_soon_one_does(
        (rates, steps) in (2_usize..=3).prop_flat_map(|n| (prop::collection::vec(0.98..1.02, n), steps(n)))
    ) {
        let mut world = World::new(&rates);
        for step in steps {
            world.take(step)?;
        }
        let led = |world: &World| (0..rates.len()).any(|of| world.holds(of));
        for _ in 0..ROUNDS {
            world.round()?;
        }
        prop_assert!(led(&world), "nobody leads");
        let terms = world.terms;
        for _ in 0..2 * ROUNDS {
            world.round()?;
            prop_assert!(led(&world) && world.terms == terms, "it was led, and whoever did does not go on");
        }
    }
}
