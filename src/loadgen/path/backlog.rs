use std::{
    io,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::{Cost, Findings, PATIENCE, PathError, Place, audit::audit, make::Maker, place::written, round};
use crate::{
    ids::Timestamp,
    kafka::admin::Admin,
    loadgen::bench::Stage,
    wire::{CHAT_EVENT, Kind},
};

/// Messages that are saved first: they fill caches and connections.
const WARM: u32 = 2_000;
/// Records that are made and queued at once.
const AT_ONCE: u32 = 1_000;
/// How long the worker may stand still: well below its session timeout of 20 s, after which the group gives its partitions away.
const STILL: Duration = Duration::from_secs(15);

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub struct BacklogArgs {
    /// Messages that wait for the worker
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub messages: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub message_bytes: u32,
}

/// How many the worker saves when it never waits.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BacklogReport {
    /// Messages that waited.
    pub messages: u32,
    /// From the moment the worker went on until the broker had the last reply and the last event.
    pub seconds: f64,
    /// Messages a second.
    pub per_second: f64,
    /// Seconds in which the load generator wrote the backlog.
    pub written_in_seconds: f64,
    /// Processor time for each message.
    pub cost: Cost,
    /// What the audit found.
    pub findings: Findings,
}

/// The workers' processes, stopped; they go on when this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn stop(pids: &[u32]) -> io::Result<Self> {
        let mut stopped = Self(Vec::new());
        for pid in pids {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::other("--worker-pid is no process"))?;
            kill_process(pid, Signal::STOP)?;
            stopped.0.push(pid);
        }
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // It fails only for a process that has ended.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

/// Writes messages while the workers stand still (SIGSTOP), lets them go on, and waits for the end. The load generator does nothing
/// meanwhile but ask now and then how much the broker has.
///
/// # Errors
/// When Kafka or PostgreSQL cannot be reached, or the worker does not come to an end.
pub async fn run_backlog(
    place: &Place,
    stage: &Stage,
    args: &BacklogArgs,
) -> Result<BacklogReport, PathError> {
    let workers = &place.processes.worker_pids;
    if workers.is_empty() {
        return Err(PathError::Shape("--worker-pid is needed: the workers are stopped and go on"));
    }
    let maker = Maker::new(place, stage, args.message_bytes)?;
    let admin = place.admin()?;
    let begun = Timestamp::now();
    let before = told(&admin).await?;
    write(place, &maker, 0, WARM).await?;
    wait(&admin, before, WARM).await?;
    let before = told(&admin).await?;
    let stopped = Stopped::stop(workers)?;
    let writing = Instant::now();
    write(place, &maker, WARM, WARM + args.messages).await?;
    let written = writing.elapsed();
    if written > STILL {
        return Err(PathError::Shape(
            "writing the backlog took so long that the group believes the worker dead: take fewer --messages",
        ));
    }
    let usage = place.processes.sample()?;
    let start = Timestamp::now();
    drop(stopped);
    wait(&admin, before, args.messages).await?;
    let cost = place.processes.sample()?.cost_since(&usage, u64::from(args.messages));
    let audited = audit(place, &maker, WARM + args.messages, begun).await?;
    let (_, last) = audited.taken.ok_or(PathError::Shape("no reply can be read"))?;
    let seconds = ((last * 1_000 - start.as_micros()) as f64 / 1e6).max(0.001);
    Ok(BacklogReport {
        messages: args.messages,
        seconds: round(seconds),
        per_second: (f64::from(args.messages) / seconds).round(),
        written_in_seconds: round(written.as_secs_f64()),
        cost,
        findings: audited.findings,
    })
}

/// Queues messages `from..to` in order and waits until the broker has them all.
async fn write(place: &Place, maker: &Maker, from: u32, to: u32) -> Result<(), PathError> {
    let mut queued = Vec::new();
    for start in (from..to).step_by(AT_ONCE as usize) {
        let now = Timestamp::now();
        let records: Result<Vec<_>, _> =
            (start..to.min(start + AT_ONCE)).map(|n| maker.record(n, now)).collect();
        queued.push(place.producer.queue_all(&records?).await?);
    }
    for batch in queued {
        batch.done().await?;
    }
    Ok(())
}

/// Replies and events that the broker has.
async fn told(admin: &Admin) -> Result<[i64; 2], PathError> {
    Ok([written(admin, Kind::AddChat.response_topic()).await?, written(admin, CHAT_EVENT).await?])
}

/// Waits until there are so many more of both.
async fn wait(admin: &Admin, before: [i64; 2], more: u32) -> Result<(), PathError> {
    let start = Instant::now();
    loop {
        let now = told(admin).await?;
        let there = now.iter().zip(before).map(|(now, before)| now - before).min().unwrap_or(0);
        if there >= i64::from(more) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(PathError::Late { what: "replies and events", there, wanted: i64::from(more) });
        }
        sleep(Duration::from_millis(25)).await;
    }
}
