//! Lag scaling against a simulated pool: what arrives, what the workers do, and what is seen of it.

use super::*;
use crate::api::{LagScaling, ScalingMode};

const STEP: Duration = Duration::from_secs(10);

fn scaling(rate: Option<i64>, min: i32) -> Scaling {
    Scaling {
        mode: ScalingMode::Lag,
        min_replicas: min,
        lag: LagScaling { records_per_second_per_worker: rate, ..LagScaling::default() },
        scale_down_stabilization_seconds: 120,
        ..Scaling::default()
    }
}

/// A pool that does what is decided, at once.
struct World {
    scaling: Scaling,
    partitions: i32,
    replicas: i32,
    /// What one worker can really do in a second.
    rate: i64,
    ends: Vec<i64>,
    positions: Vec<i64>,
    now: Instant,
    memory: LagMemory,
    counts: Vec<i32>,
}

impl World {
    fn new(scaling: Scaling, partitions: i32, replicas: i32, rate: i64) -> Self {
        let zero = vec![0; usize::try_from(partitions).unwrap()];
        let (ends, positions) = (zero.clone(), zero);
        let now = Instant::now();
        Self {
            scaling,
            partitions,
            replicas,
            rate,
            ends,
            positions,
            now,
            memory: LagMemory::default(),
            counts: Vec::new(),
        }
    }

    fn look(&self) -> Look {
        let partitions =
            self.ends.iter().zip(&self.positions).enumerate().map(|(i, (end, position))| PartitionLag {
                topic: "t".to_owned(),
                partition: i32::try_from(i).unwrap(),
                end: *end,
                position: *position,
            });
        Look::Seen { members: self.replicas > 0, partitions: partitions.collect() }
    }

    /// One step in which so many records a second arrive.
    fn step(&mut self, arrival: i64) -> LagDecision {
        let look = self.advance(arrival);
        self.see(&look)
    }

    fn advance(&mut self, arrival: i64) -> Look {
        let n = i64::from(self.partitions);
        let seconds = i64::try_from(STEP.as_secs()).unwrap();
        let mut work = i64::from(self.replicas) * self.rate * seconds;
        for (end, position) in self.ends.iter_mut().zip(&mut self.positions) {
            *end += arrival * seconds / n;
            let done = (*end - *position).min(work);
            *position += done;
            work -= done;
        }
        self.now += STEP;
        self.look()
    }

    fn see(&mut self, look: &Look) -> LagDecision {
        let pool =
            Pool { partitions: Some(self.partitions), current: Some(self.replicas), ready: self.replicas };
        let decision = self.memory.decide(&self.scaling, &pool, look, self.now);
        if let Decision::Want(n) = decision.decision {
            self.replicas = n;
        }
        self.counts.push(self.replicas);
        decision
    }

    fn run(&mut self, steps: usize, arrival: i64) {
        for _ in 0..steps {
            self.step(arrival);
        }
    }

    fn lag(&self) -> i64 {
        self.ends.iter().zip(&self.positions).map(|(e, p)| e - p).sum()
    }
}

#[test]
fn a_known_rate_gives_what_is_needed() {
    let mut world = World::new(scaling(Some(100), 1), 12, 1, 100);
    world.run(40, 350);
    assert_eq!(world.replicas, 4, "{:?}", world.counts);
    assert_eq!(world.lag(), 0);
    world.run(40, 40);
    assert_eq!(world.replicas, 1, "{:?}", world.counts);
}

#[test]
fn down_only_after_the_whole_window() {
    let mut world = World::new(scaling(Some(100), 1), 12, 1, 100);
    world.run(40, 350);
    let before = world.counts.len();
    // A dip that, with the lookback through which it stays in view, is shorter than the window of 120 s changes nothing.
    world.run(5, 0);
    world.run(20, 350);
    assert!(world.counts[before..].iter().all(|n| *n == 4), "{:?}", world.counts);
}

#[test]
fn an_unknown_rate_is_learnt_and_found_out_by_steps() {
    let mut world = World::new(scaling(None, 1), 12, 1, 100);
    world.run(120, 550);
    assert_eq!(world.replicas, 6, "{:?}", world.counts);
    assert_eq!(world.lag(), 0);
    assert!(world.memory.rate.is_some_and(|rate| (50.0..=110.0).contains(&rate)), "{:?}", world.memory.rate);
}

#[test]
fn never_above_the_partitions() {
    let mut world = World::new(scaling(Some(10), 1), 4, 1, 10);
    world.run(30, 1_000);
    assert_eq!(world.replicas, 4);
}

#[test]
fn to_zero_only_when_allowed_and_awake_at_the_first_record() {
    let mut world = World::new(scaling(Some(100), 0), 4, 2, 100);
    world.run(30, 0);
    assert_eq!(world.replicas, 0, "{:?}", world.counts);
    let first_zero = world.counts.iter().position(|n| *n == 0).unwrap();
    assert!(first_zero >= 12, "not before 120 s of rest: {first_zero}");
    world.step(4);
    assert_eq!(world.replicas, 1, "one record wakes");
    let mut kept = World::new(scaling(Some(100), 1), 4, 2, 100);
    kept.run(60, 0);
    assert_eq!(kept.replicas, 1);
}

#[test]
fn a_group_without_offsets_wakes() {
    let mut world = World::new(scaling(Some(100), 0), 2, 0, 100);
    world.ends = vec![5, 0];
    let look = Look::Seen {
        members: false,
        partitions: vec![
            PartitionLag { topic: "t".to_owned(), partition: 0, end: 5, position: 0 },
            PartitionLag { topic: "t".to_owned(), partition: 1, end: 0, position: 0 },
        ],
    };
    assert_eq!(world.see(&look).decision, Decision::Want(1));
}

#[test]
fn never_down_on_missing_knowledge() {
    for missing in [Look::Failed("timed out".to_owned()), Look::Rebalancing] {
        let mut world = World::new(scaling(Some(100), 1), 12, 1, 100);
        world.run(40, 550);
        assert_eq!(world.replicas, 6);
        for _ in 0..60 {
            world.advance(0);
            let decision = world.see(&missing);
            assert!(matches!(decision.decision, Decision::Hold { .. }), "{decision:?}");
        }
        assert_eq!(world.replicas, 6);
        // Knowledge that comes back must be complete for the whole window again.
        world.run(11, 0);
        assert_eq!(world.replicas, 6, "{:?}", world.counts);
    }
    // A group that has lost its members says nothing about too many workers.
    let mut world = World::new(scaling(Some(100), 1), 12, 1, 100);
    world.run(40, 550);
    for _ in 0..60 {
        let Look::Seen { partitions, .. } = world.advance(0) else { panic!() };
        world.see(&Look::Seen { members: false, partitions });
    }
    assert_eq!(world.replicas, 6);
}

#[test]
fn a_partition_that_stands_still_is_stuck_and_no_reason_for_more() {
    let mut world = World::new(scaling(Some(100), 1), 4, 2, 100);
    let mut stuck = Vec::new();
    for _ in 0..60 {
        let Look::Seen { members, mut partitions } = world.advance(0) else { panic!() };
        // A record that no worker gets past, with more arriving behind it.
        partitions[2].end += 50_000;
        stuck = world.see(&Look::Seen { members, partitions }).stuck;
    }
    assert_eq!(stuck, ["t/2"]);
    assert_eq!(world.replicas, 1, "{:?}", world.counts);
}

#[test]
fn a_steady_load_does_not_flap() {
    let mut world = World::new(scaling(None, 1), 12, 1, 100);
    world.run(120, 430);
    let settled = world.counts.len();
    world.run(200, 430);
    let mut later = world.counts[settled..].to_vec();
    later.dedup();
    assert!(later.len() <= 2, "{later:?}");
    assert!(world.lag() < 4_300, "{}", world.lag());
}

/// The table of docs/scaling.md is this function's: each row is a load that stays the same for long enough.
#[test]
fn the_documented_table_is_true() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scaling.md")).unwrap();
    let (_, table) = text.split_once("\n## Lag\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.split('|').count() == 12) {
        let cells: Vec<Option<i64>> = row.split('|').map(|cell| cell.trim().parse().ok()).collect();
        let Some(partitions) = cells[1] else { continue }; // the heading
        let number = |i: usize| i32::try_from(cells[i].unwrap()).unwrap();
        let (arrivals, lag) = (cells[2].unwrap(), cells[3].unwrap());
        let scaling = Scaling {
            max_replicas: cells[7].map(|max| i32::try_from(max).unwrap()),
            lag: LagScaling {
                target_drain_seconds: number(4),
                records_per_second_per_worker: cells[5],
                ..LagScaling::default()
            },
            ..scaling(None, number(6))
        };
        let now = number(8);
        let pool =
            Pool { partitions: Some(i32::try_from(partitions).unwrap()), current: Some(now), ready: now };
        let (mut memory, start) = (LagMemory::default(), Instant::now());
        let mut last = None;
        for step in 0..30_u32 {
            let end = 10_000 + arrivals * i64::from(step) * i64::try_from(STEP.as_secs()).unwrap();
            let seen = PartitionLag { topic: "t".to_owned(), partition: 0, end, position: end - lag };
            let look = Look::Seen { members: now > 0, partitions: vec![seen] };
            last = Some(memory.decide(&scaling, &pool, &look, start + STEP * step).decision);
        }
        assert_eq!(last, Some(Decision::Want(number(9))), "{row}");
        rows += 1;
    }
    assert!(rows >= 10, "{rows} rows");
}
