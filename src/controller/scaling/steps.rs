//! Useful replica counts: those that lower the share of the busiest worker.

/// With `partitions` partitions, the smallest useful count that is not below `wanted`: counts between two useful ones
/// leave the busiest worker as busy as before and only cost a rebalance. For 10 partitions the useful counts are
/// 1, 2, 3, 4, 5 and 10.
pub(crate) fn snap_up(wanted: i32, partitions: i32) -> i32 {
    if wanted <= 0 || partitions <= 0 {
        return 0;
    }
    if wanted >= partitions {
        return partitions;
    }
    // The busiest worker of `wanted` serves `share`; the fewest workers with that share are the useful step at or
    // below `wanted`. Unless it is `wanted` itself, the next share down gives the step above.
    let share = div_ceil(partitions, wanted);
    let step = div_ceil(partitions, share);
    if step == wanted { step } else { div_ceil(partitions, share - 1) }
}

/// The largest useful count that is not above `wanted`.
pub(crate) fn snap_down(wanted: i32, partitions: i32) -> i32 {
    if wanted <= 0 || partitions <= 0 {
        return 0;
    }
    if wanted >= partitions {
        return partitions;
    }
    div_ceil(partitions, div_ceil(partitions, wanted))
}

/// `a / b`, rounded up, for positive numbers.
pub(crate) fn div_ceil(a: i32, b: i32) -> i32 {
    let (a, b) = (i64::from(a), i64::from(b.max(1)));
    i32::try_from((a + b - 1) / b).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_partitions() {
        let up: Vec<_> = (0..=12).map(|n| snap_up(n, 10)).collect();
        assert_eq!(up, [0, 1, 2, 3, 4, 5, 10, 10, 10, 10, 10, 10, 10]);
        let down: Vec<_> = (0..=12).map(|n| snap_down(n, 10)).collect();
        assert_eq!(down, [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 10, 10, 10]);
    }

    proptest! {
        #[test]
        fn steps_are_the_useful_counts(partitions in 1..2_000_i32, wanted in 1..2_500_i32) {
            let useful: BTreeSet<i32> = (1..=partitions).map(|k| div_ceil(partitions, k)).collect();
            let (up, down) = (snap_up(wanted, partitions), snap_down(wanted, partitions));
            prop_assert_eq!(up, *useful.range(wanted.min(partitions)..).next().unwrap());
            prop_assert_eq!(down, *useful.range(..=wanted).next_back().unwrap());
        }
    }
}
