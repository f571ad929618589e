//! The replica count of a worker pool. Pure: what is known goes in, a decision comes out.

pub(crate) mod lag;
mod steps;

use self::steps::{div_ceil, snap_down, snap_up};
use crate::api::{Reason, Scaling, ScalingMode};

/// What is known of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// Partitions of all its topics as observed; none when any of them could not be.
    pub(crate) partitions: Option<i32>,
    /// The target's present replica count; none when there is no target.
    pub(crate) current: Option<i32>,
    /// How many of them are ready.
    pub(crate) ready: i32,
}

/// What to do about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// This many replicas are right.
    Want(i32),
    /// Leave the count as it is: something needed for a decision is not known.
    Hold { reason: Reason, message: String },
    /// Somebody else decides, or nobody for now: the count is only reported.
    HandsOff,
}

impl Decision {
    fn hold(reason: Reason, message: &str) -> Self {
        Self::Hold { reason, message: message.to_owned() }
    }
}

/// Decides, for every mode but Lag, which needs a memory: see [`lag::LagMemory::decide`].
pub(crate) fn decide(scaling: &Scaling, pool: &Pool) -> Decision {
    match scaling.mode {
        ScalingMode::External | ScalingMode::Paused => Decision::HandsOff,
        ScalingMode::PartitionCount => match pool.partitions {
            None => Decision::hold(Reason::Progressing, "not all partitions are known; the count is held"),
            Some(partitions) => Decision::Want(bounded(
                scaling,
                partitions,
                div_ceil(partitions, scaling.partitions_per_worker),
            )),
        },
        ScalingMode::Lag => {
            Decision::hold(Reason::LagUnknown, "the consumer group is not known; the count is held")
        }
    }
}

/// Clamps to the pool's bounds and to its partitions, in useful steps: up to the next one, or down where that would
/// pass a bound. A consumer without a partition is idle, so `minReplicas` above the partitions gives the partitions.
fn bounded(scaling: &Scaling, partitions: i32, wanted: i32) -> i32 {
    let max = scaling.max_replicas.unwrap_or(partitions).min(partitions);
    let min = scaling.min_replicas.min(max);
    let step = snap_up(wanted.clamp(min, max), partitions);
    if step <= max { step } else { snap_down(max, partitions).max(min) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaling(per_worker: i32, min: i32, max: Option<i32>) -> Scaling {
        Scaling {
            partitions_per_worker: per_worker,
            min_replicas: min,
            max_replicas: max,
            ..Scaling::default()
        }
    }

    fn pool(partitions: Option<i32>) -> Pool {
        Pool { partitions, current: Some(7), ready: 7 }
    }

    /// The cases of docs/scaling.md.
    #[test]
    fn partition_count_cases() {
        for (per_worker, min, max, partitions, want) in [
            // The shipped sample: 21 partitions, eleven a worker; 2 partitions, one a worker.
            (11, 1, Some(20), 21, 2),
            (1, 1, Some(20), 2, 2),
            (1, 1, Some(20), 4, 4),
            // Up to one worker a partition, never more.
            (1, 1, None, 23, 23),
            (1, 30, None, 23, 23),
            // Bounds: 6 to 9 workers of 10 partitions are no better than 5.
            (1, 1, Some(7), 10, 5),
            (1, 6, Some(7), 10, 6),
            (5, 3, None, 10, 3),
            (5, 6, None, 10, 10),
            (3, 1, None, 10, 4),
            (100, 1, None, 10, 1),
            (1, 0, None, 0, 0),
            (1, 1, None, 0, 0),
        ] {
            let got = decide(&scaling(per_worker, min, max), &pool(Some(partitions)));
            assert_eq!(
                got,
                Decision::Want(want),
                "{per_worker} a worker, {min}..{max:?}, {partitions} partitions"
            );
        }
    }

    /// The table of docs/scaling.md is this function's.
    #[test]
    fn the_documented_table_is_true() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scaling.md")).unwrap();
        let (_, table) = text.split_once("## PartitionCount").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let mut rows = 0;
        for row in table.lines().filter(|line| line.starts_with("| ") && !line.contains("replicas")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let number = |i: usize| cells[i].parse::<i32>().ok();
            let got = decide(&scaling(number(1).unwrap(), number(2).unwrap(), number(3)), &pool(number(4)));
            match number(5) {
                Some(want) => assert_eq!(got, Decision::Want(want), "{row}"),
                None => assert!(matches!(got, Decision::Hold { .. }), "{row}"),
            }
            rows += 1;
        }
        assert!(rows >= 8, "{rows} rows");
    }

    #[test]
    fn missing_knowledge_holds() {
        assert!(matches!(decide(&scaling(1, 1, None), &pool(None)), Decision::Hold { .. }));
    }

    #[test]
    fn others_decide() {
        for mode in [ScalingMode::External, ScalingMode::Paused] {
            let scaling = Scaling { mode, ..Scaling::default() };
            assert!(matches!(decide(&scaling, &pool(Some(3))), Decision::HandsOff));
        }
    }

    proptest! {
        #[test]
        fn within_all_bounds(per in 1..50_i32, min in 0..50_i32, extra in 0..50_i32, partitions in 0..500_i32) {
            let max = min.max(1) + extra;
            let Decision::Want(n) = decide(&scaling(per, min, Some(max)), &pool(Some(partitions))) else {
                return Err(TestCaseError::fail("no decision"));
            };
            prop_assert!(n <= max && n <= partitions && n >= min.min(partitions));
        }
    }
}
