use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::{BenchError, Stage, Talk, Target, crowd::Crowd, fanout::missing, idle::round, usage::resident};

/// How a gateway leaves.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainReport {
    /// Streams that it had.
    pub streams: usize,
    /// Streams that came to the other gateway.
    pub returned: usize,
    /// Seconds between the first and the last of them.
    pub over_seconds: f64,
    /// How many came a second on average.
    pub mean_per_second: f64,
    /// How many came in the busiest second.
    pub peak_per_second: usize,
    /// The second by the first.
    pub peak_to_mean: f64,
    /// Seconds from the signal to the end of the process.
    pub ended_after_seconds: f64,
    /// The drain time that it had, in seconds.
    pub drain_seconds: u64,
    /// Messages accepted during the run.
    pub accepted: u64,
    /// Messages refused.
    pub refused: u64,
    /// Messages that a member did not hear, counted per member.
    pub lost: u64,
    /// Messages heard twice.
    pub repeated: u64,
    /// Streams that had to read their state anew.
    pub resyncs: u64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

/// How a gateway goes, and where its browsers come back.
#[derive(Debug, Clone, clap::Args)]
pub struct Leaving {
    /// The address of the gateway that stays
    #[arg(long)]
    pub other: SocketAddr,
    /// The drain time that the gateway was started with, in seconds
    #[arg(long, default_value_t = 20)]
    pub drain_seconds: u64,
    /// The gateway is killed instead of asked to stop: all of its browsers come back at once
    #[arg(long)]
    pub kill: bool,
}

/// What a drained gateway may need beyond its drain time: to hand Kafka what it has accepted, and to end. The chart's grace period
/// leaves twenty.
const AFTER: f64 = 5.0;

impl DrainReport {
    /// What was promised and is not so.
    pub fn failings(&self, leaving: &Leaving) -> Vec<String> {
        let mut failings = self.breaches.clone();
        if self.lost > 0 {
            failings.push(format!("{} messages were lost", self.lost));
        }
        // Nobody can spread those out whose gateway was killed but they themselves.
        if !leaving.kill && self.peak_to_mean > 2.0 {
            failings.push(format!("browsers came back in a crowd, {} times the mean", self.peak_to_mean));
        }
        let (ended, drain) = (self.ended_after_seconds, self.drain_seconds);
        if !leaving.kill && ended > drain as f64 + AFTER {
            failings.push(format!("the process ended after {ended} s, with a drain time of {drain} s"));
        }
        failings
    }
}

/// A stream for each user of the stage at the target, which is then asked to stop (or killed) while messages go on; browsers come
/// back to the other one.
///
/// # Errors
/// When the streams cannot be opened, or the process cannot be stopped.
pub async fn run_drain(
    stage: &Stage,
    target: &Target,
    leaving: &Leaving,
    talk: &Talk,
) -> Result<DrainReport, BenchError> {
    let other = leaving.other;
    let signal = if leaving.kill { Signal::KILL } else { Signal::TERM };
    let crowd = Crowd::gather(stage, 0..stage.users, &[target.gateway, other]).await?;
    let streams = crowd.live();
    sleep(Duration::from_secs(1)).await;
    let stop = async {
        sleep(Duration::from_secs(3)).await;
        let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| std::io::Error::other("--pid is no process"))?;
        crowd.tally.killed.store(leaving.kill, Ordering::Relaxed);
        kill_process(pid, signal).map_err(std::io::Error::from)?;
        let asked = Instant::now();
        while resident(target.pid).is_ok() {
            if asked.elapsed() > Duration::from_secs(120) {
                return Err(BenchError::NoEnd);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(asked.elapsed())
    };
    let (talked, ended) = tokio::join!(talk.run(stage, other), stop);
    let ended = ended?;
    // Those that were sent away last are still on their way.
    let start = Instant::now();
    while crowd.live() < streams && start.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(100)).await;
    }
    crowd.hears(talked.deliveries(stage, 1)).await;
    let returns = crowd.tally.returns();
    let (lost, repeated) = missing(stage, &crowd, &[&talked]);
    let (over, peak) = spread(&returns);
    let mean = returns.len() as f64 / over.max(1.0);
    Ok(DrainReport {
        streams,
        returned: returns.len(),
        over_seconds: round(over),
        mean_per_second: round(mean),
        peak_per_second: peak,
        peak_to_mean: round(peak as f64 / mean.max(0.001)),
        ended_after_seconds: round(ended.as_secs_f64()),
        drain_seconds: leaving.drain_seconds,
        accepted: talked.total(),
        refused: talked.refused,
        lost,
        repeated,
        resyncs: crowd.tally.resyncs.load(Ordering::Relaxed),
        breaches: crowd.tally.breaches(),
    })
}

/// The span of these moments, and the most of them within one second from any of them on.
fn spread(moments: &[Instant]) -> (f64, usize) {
    let mut sorted = moments.to_vec();
    sorted.sort_unstable();
    let span = match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) => (*last - *first).as_secs_f64(),
        _ => 0.0,
    };
    let within = |(n, from): (usize, &Instant)| {
        sorted.partition_point(|moment| *moment < *from + Duration::from_secs(1)) - n
    };
    (span, sorted.iter().enumerate().map(within).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_crowds_loses_or_lingers_is_told() {
        let report = |lost, peak_to_mean, ended_after_seconds| DrainReport {
            streams: 5_000,
            returned: 5_000,
            over_seconds: 27.0,
            mean_per_second: 185.0,
            peak_per_second: 200,
            peak_to_mean,
            ended_after_seconds,
            drain_seconds: 30,
            accepted: 100,
            refused: 0,
            lost,
            repeated: 0,
            resyncs: 0,
            breaches: Vec::new(),
        };
        let leaving = |kill| Leaving { other: ([127, 0, 0, 1], 1).into(), drain_seconds: 30, kill };
        assert_eq!(report(0, 1.2, 28.0).failings(&leaving(false)), [""; 0]);
        assert_eq!(report(0, 9.0, 60.0).failings(&leaving(true)), [""; 0], "it was killed");
        for bad in [report(1, 1.2, 28.0), report(0, 2.1, 28.0), report(0, 1.2, 36.0)] {
            assert_eq!(bad.failings(&leaving(false)).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn the_busiest_second_may_begin_anywhere() {
        let start = Instant::now();
        let at = |millis: &[u64]| {
            let moments: Vec<_> = millis.iter().map(|ms| start + Duration::from_millis(*ms)).collect();
            spread(&moments)
        };
        assert_eq!(at(&[]), (0.0, 0));
        assert_eq!(at(&[2_000, 0, 900, 1_100, 1_200]), (2.0, 3));
    }
}
