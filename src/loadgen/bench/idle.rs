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
