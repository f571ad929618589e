use std::time::Duration;

use tokio::time::sleep;

use super::{
    BenchError, Cores, Stage, Target,
    crowd::Crowd,
    usage::{Usage, background, resident},
};

/// What streams cost that hear nothing.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdleReport {
    /// Streams.
    pub streams: usize,
    /// Resident memory without them, in MiB.
    pub before_mib: f64,
    /// Resident memory with them, after some heartbeats.
    pub after_mib: f64,
    /// The difference for each of them, in KiB.
    pub kib_per_stream: f64,
    /// Cores in use while heartbeats are all there is.
    pub cores: Cores,
    /// Cores that others used before.
    pub background: f64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

/// What an idle stream may cost at most, in KiB.
const MOST_KIB: f64 = 12.0;

impl IdleReport {
    /// What was promised and is not so.
    pub fn failings(&self, stage: &Stage) -> Vec<String> {
        let mut failings = self.breaches.clone();
        if self.streams < stage.users as usize {
            failings.push(format!("{} of {} streams were left", self.streams, stage.users));
        }
        if self.kib_per_stream > MOST_KIB {
            failings.push(format!("{} KiB for each stream, above {MOST_KIB}", self.kib_per_stream));
        }
        failings
    }
}

/// Opens a stream for each user of the stage and lets them be for `settle`.
///
/// # Errors
/// When the streams cannot be opened or the process cannot be looked at.
pub async fn run_idle(stage: &Stage, target: &Target, settle: Duration) -> Result<IdleReport, BenchError> {
    let background = background(target.pid).await?;
    let before = resident(target.pid)?;
    let crowd = Crowd::gather(stage, 0..stage.users, &[target.gateway]).await?;
    let usage = Usage::now(target.pid)?;
    sleep(settle).await;
    let after = resident(target.pid)?;
    let mib = |bytes: u64| round(bytes as f64 / f64::from(1 << 20));
    Ok(IdleReport {
        streams: crowd.live(),
        before_mib: mib(before),
        after_mib: mib(after),
        kib_per_stream: round((after as f64 - before as f64) / 1024.0 / f64::from(stage.users)),
        cores: Usage::now(target.pid)?.cores_since(&usage),
        background,
        breaches: crowd.tally.breaches(),
    })
}

pub(super) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_costs_too_much_or_is_gone_is_told() {
        let stage = Stage { seed: "x".into(), users: 100, room_size: 10 };
        let report = |streams, kib_per_stream, breaches: &[&str]| IdleReport {
            streams,
            before_mib: 30.0,
            after_mib: 40.0,
            kib_per_stream,
            cores: Cores { gateway: 0.0, loadgen: 0.0, others: 0.0 },
            background: 0.0,
            breaches: breaches.iter().map(|breach| (*breach).to_owned()).collect(),
        };
        assert_eq!(report(100, 12.0, &[]).failings(&stage), [""; 0]);
        for bad in [report(100, 12.01, &[]), report(99, 8.0, &[]), report(100, 8.0, &["torn"])] {
            assert_eq!(bad.failings(&stage).len(), 1, "{bad:?}");
        }
    }
}
