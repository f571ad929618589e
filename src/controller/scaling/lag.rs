//! Mode Lag: enough workers for what arrives and for what waits. Pure; the clock comes in.
//!
//! `ceil((arrival rate + lag / targetDrainSeconds) / rate per worker)`, in useful steps, over a lookback. The rate per
//! worker is given, or learnt while the workers are saturated (a pool that keeps up shows only how little there is to
//! do). Whatever is not known holds the count, and never lowers it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{Decision, Pool, bounded, snap_down, snap_up};
use crate::api::{Reason, Scaling};

/// Over how long rates are measured, and the least between two guesses while the rate per worker is unknown.
const LOOKBACK: Duration = Duration::from_secs(60);
/// A higher count must have been right for this long.
const UP_WINDOW: Duration = Duration::from_secs(20);
/// A partition whose position stands still for this long with records after it, while workers are ready, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// What is left of a learnt rate after each lookback: a fleet that got slower is noticed within some ten minutes.
const RATE_DECAY: f64 = 0.97;
/// The most samples kept: a lookback of one sample in two seconds.
const SAMPLES_MAX: usize = 32;

/// One partition of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionLag {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// One past the newest record.
    pub(crate) end: i64,
    /// Where the group goes on: what it committed, but never before the oldest record kept.
    pub(crate) position: i64,
}

impl PartitionLag {
    fn lag(&self) -> i64 {
        (self.end - self.position).max(0)
    }
}

/// What one look at a consumer group gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something could not be had.
    Failed(String),
    /// Members are joining or leaving: positions mean little.
    Rebalancing,
    /// Every partition.
    Seen {
        /// Whether the group has members.
        members: bool,
        partitions: Vec<PartitionLag>,
    },
}

#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    end: i64,
    lag: i64,
    position: i64,
    workers: i32,
}

/// What is remembered of one pool while this process leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct LagMemory {
    samples: VecDeque<Sample>,
    /// Records a second that one worker has done while saturated.
    rate: Option<f64>,
    rate_at: Option<Instant>,
    /// What was right, and when: the input of stabilisation.
    right: VecDeque<(Instant, i32)>,
    /// Since when the lag has been below the activation lag.
    idle_since: Option<Instant>,
    last_guess: Option<Instant>,
    /// Where each partition stood, and since when.
    stands: BTreeMap<(String, i32), (i64, Instant)>,
}

/// A decision with what else is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LagDecision {
    pub(crate) decision: Decision,
    /// Partitions that stand still with records after them.
    pub(crate) stuck: Vec<String>,
    /// Records that wait, when that is known.
    pub(crate) lag: Option<i64>,
}

impl LagMemory {
    /// Takes in one look and decides.
    pub(crate) fn decide(
        &mut self,
        scaling: &Scaling,
        pool: &Pool,
        look: &Look,
        now: Instant,
    ) -> LagDecision {
        let held = |decision| LagDecision { decision, stuck: Vec::new(), lag: None };
        let (members, partitions) = match look {
            Look::Failed(why) => {
                self.interrupted();
                return held(Decision::Hold {
                    reason: Reason::LagUnknown,
                    message: format!("the lag is not known: {why}"),
                });
            }
            Look::Rebalancing => {
                self.interrupted();
                return held(Decision::hold(
                    Reason::GroupRebalancing,
                    "the group is rebalancing; the count is held",
                ));
            }
            Look::Seen { members, partitions } => (*members, partitions),
        };
        let (Some(count), Some(current)) = (pool.partitions, pool.current) else {
            return held(Decision::hold(
                Reason::LagUnknown,
                "not all partitions are known; the count is held",
            ));
        };
        let stuck = self.stuck(partitions, pool.ready > 0 && members, now);
        // More workers do not move a partition that stands still: its records are no reason for any.
        let moving = || partitions.iter().filter(|p| !stuck.contains(&label(p)));
        let sample = Sample {
            at: now,
            end: partitions.iter().map(|p| p.end).sum(),
            position: partitions.iter().map(|p| p.position).sum(),
            lag: moving().map(PartitionLag::lag).sum(),
            workers: pool.ready,
        };
        let lag = partitions.iter().map(PartitionLag::lag).sum();
        self.learn(&sample);
        self.push(sample, scaling, now);
        let decision = self.recommend(scaling, count, current, members, now);
        LagDecision { decision, stuck, lag: Some(lag) }
    }

    /// What was measured before an interruption, or for another rule, cannot be joined to what comes after it.
    pub(crate) fn interrupted(&mut self) {
        self.samples.clear();
        self.right.clear();
        self.idle_since = None;
    }

    fn stuck(&mut self, partitions: &[PartitionLag], served: bool, now: Instant) -> Vec<String> {
        let mut stands = BTreeMap::new();
        let mut stuck = Vec::new();
        for partition in partitions {
            let key = (partition.topic.clone(), partition.partition);
            let since = match self.stands.get(&key) {
                Some((position, since))
                    if *position == partition.position && partition.lag() > 0 && served =>
                {
                    *since
                }
                _ => now,
            };
            if now.duration_since(since) >= STUCK_AFTER {
                stuck.push(label(partition));
            }
            stands.insert(key, (partition.position, since));
        }
        self.stands = stands;
        stuck
    }

    /// The rate per worker from the interval that ends now, if the workers had work all the time.
    fn learn(&mut self, now: &Sample) {
        let Some(before) = self.samples.back() else { return };
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let workers = before.workers.max(now.workers);
        if seconds <= 0.0 || before.lag == 0 || now.lag == 0 || before.workers.min(now.workers) == 0 {
            return;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate; records beyond 2^52 in one interval do not occur"
        )]
        let measured = (now.position - before.position) as f64 / seconds / f64::from(workers);
        let decayed = self.rate.zip(self.rate_at).map(|(rate, at)| {
            rate * RATE_DECAY.powf(now.at.duration_since(at).as_secs_f64() / LOOKBACK.as_secs_f64())
        });
        if measured > 0.0 {
            self.rate = Some(decayed.map_or(measured, |rate| rate.max(measured)));
            self.rate_at = Some(now.at);
        }
    }

    fn push(&mut self, sample: Sample, scaling: &Scaling, now: Instant) {
        if sample.lag < scaling.lag.activation_lag {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX
            || (self.samples.len() > 2
                && self.samples.get(1).is_some_and(|s| now.duration_since(s.at) >= LOOKBACK))
        {
            self.samples.pop_front();
        }
    }

    fn recommend(
        &mut self,
        scaling: &Scaling,
        partitions: i32,
        current: i32,
        members: bool,
        now: Instant,
    ) -> Decision {
        let Some(latest) = self.samples.back().cloned() else {
            return Decision::hold(Reason::LagUnknown, "the lag is not known yet");
        };
        let waiting = latest.lag >= scaling.lag.activation_lag;
        if current == 0 {
            // Nobody works, so nothing can be measured: something waits, or not.
            let wanted = if waiting { bounded(scaling, partitions, 1).max(1) } else { 0 };
            return Decision::Want(if scaling.min_replicas > 0 {
                bounded(scaling, partitions, 1)
            } else {
                wanted
            });
        }
        let oldest = self.samples.front().cloned().unwrap_or_else(|| latest.clone());
        let span = latest.at.duration_since(oldest.at).as_secs_f64();
        let wanted = match self.rate(scaling) {
            Some(rate) if span > 0.0 => {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a rate; half a record in 2^52 does not matter"
                )]
                let (arrived, lag) = ((latest.end - oldest.end).max(0) as f64, latest.lag as f64);
                let needed = (arrived / span + lag / f64::from(scaling.lag.target_drain_seconds)) / rate;
                #[expect(clippy::cast_possible_truncation, reason = "clamped to the partitions first")]
                let needed = needed.ceil().clamp(0.0, f64::from(partitions)) as i32;
                self.at_rest(scaling, now).unwrap_or_else(|| bounded(scaling, partitions, needed.max(1)))
            }
            Some(_) => return Decision::hold(Reason::LagUnknown, "measuring; the count is held"),
            None => match self.guess(scaling, partitions, current, now) {
                Some(wanted) => wanted,
                None if waiting => {
                    return Decision::hold(
                        Reason::LagUnknown,
                        "what one worker does is being learnt; the count is held",
                    );
                }
                None => current,
            },
        };
        self.stabilised(scaling, wanted, current, members, now)
    }

    /// Zero, when that is allowed and nothing has waited for long enough.
    fn at_rest(&self, scaling: &Scaling, now: Instant) -> Option<i32> {
        (scaling.min_replicas == 0 && self.idle_for(scaling, now)).then_some(0)
    }

    fn idle_for(&self, scaling: &Scaling, now: Instant) -> bool {
        self.idle_since.is_some_and(|since| now.duration_since(since) >= down_window(scaling))
    }

    fn rate(&self, scaling: &Scaling) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "bounded by the schema far below 2^52")]
        let given = scaling.lag.records_per_second_per_worker.map(|rate| rate as f64);
        given.or(self.rate).filter(|rate| *rate > 0.0)
    }

    /// While the rate is not known: one useful step up a lookback while the lag grows, one down after a whole window
    /// of rest.
    fn guess(&mut self, scaling: &Scaling, partitions: i32, current: i32, now: Instant) -> Option<i32> {
        let (oldest, latest) = (self.samples.front()?, self.samples.back()?);
        let rested = self.last_guess.is_none_or(|at| now.duration_since(at) >= LOOKBACK);
        let grown = latest.lag > oldest.lag && latest.lag >= scaling.lag.activation_lag;
        if grown && rested && latest.at.duration_since(oldest.at) >= UP_WINDOW {
            self.last_guess = Some(now);
            return Some(bounded(scaling, partitions, snap_up(current + 1, partitions)));
        }
        if rested && self.idle_for(scaling, now) {
            self.last_guess = Some(now);
            let lower = if current > 1 { snap_down(current - 1, partitions) } else { scaling.min_replicas };
            return Some(bounded(scaling, partitions, lower.max(scaling.min_replicas)).min(current));
        }
        None
    }

    /// Up only when it has been right for the up window, down only when it has been right for the down window.
    fn stabilised(
        &mut self,
        scaling: &Scaling,
        wanted: i32,
        current: i32,
        members: bool,
        now: Instant,
    ) -> Decision {
        let down = down_window(scaling);
        self.right.push_back((now, wanted));
        let keep = down.max(UP_WINDOW);
        while self.right.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= keep) {
            self.right.pop_front();
        }
        let since = |window: Duration| -> Option<Vec<i32>> {
            let first = self.right.front()?.0;
            (now.duration_since(first) >= window).then(|| {
                self.right
                    .iter()
                    .filter(|(at, _)| now.duration_since(*at) <= window)
                    .map(|(_, n)| *n)
                    .collect()
            })
        };
        // A guess has waited its time already.
        let guessed = self.last_guess == Some(now);
        if wanted > current {
            let up =
                if guessed { Some(wanted) } else { since(UP_WINDOW).and_then(|all| all.into_iter().min()) };
            return Decision::Want(up.unwrap_or(current).max(current));
        }
        if wanted < current && members {
            let down = if guessed { Some(wanted) } else { since(down).and_then(|all| all.into_iter().max()) };
            return Decision::Want(down.unwrap_or(current).min(current));
        }
        Decision::Want(current)
    }
}

fn down_window(scaling: &Scaling) -> Duration {
    Duration::from_secs(u64::try_from(scaling.scale_down_stabilization_seconds).unwrap_or(0))
}

fn label(partition: &PartitionLag) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}

#[cfg(test)]
mod tests;
