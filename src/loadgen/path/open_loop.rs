use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::mpsc, task};

use super::{
    Cost, Findings, Latency, PATIENCE, PathError, Place, audit::audit, ear::Ear, make::Maker, round,
    schedule::Schedule, streams::Streams,
};
use crate::{
    kafka::{Producer, Queued},
    loadgen::bench::{Quantiles, Stage},
};

/// Records that are made and queued before the schedule is looked at again.
const AT_ONCE: u32 = 500;
/// Seconds of messages before those that are measured: they fill caches and connections.
pub(super) const WARM: u32 = 2;
/// The shortest sleep between looks at the schedule: what is due meanwhile goes out together, late by less than this.
const NAP: Duration = Duration::from_micros(200);

/// How fast, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct SaveArgs {
    /// Messages a second, over all rooms in turn
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// How long messages are due and measured, in seconds; two more before that are not measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub message_bytes: u32,
    /// A gateway: one member of each room listens there
    #[arg(long)]
    pub gateway: Option<SocketAddr>,
}

/// How late replies and events are at a given rate.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SaveReport {
    /// Messages a second that were due.
    pub rate: f64,
    /// Messages that were due and measured.
    pub messages: u32,
    /// From the moment a message was due to its reply, acknowledged by the broker and read by a consumer, in milliseconds.
    pub reply_ms: Latency,
    /// The same to its event.
    pub event_ms: Latency,
    /// The same to its event on the stream of a member, where a gateway takes part.
    pub stream_ms: Option<Quantiles>,
    /// Messages that this member did not hear.
    pub stream_lost: u64,
    /// The latest that a message was queued after it was due, in milliseconds: the load generator's own part.
    pub queued_late_ms: f64,
    /// Batches of requests that the broker did not acknowledge.
    pub not_sent: u64,
    /// Replies and events that came more than once.
    pub repeats: u64,
    /// Processor time for each message, over all of the run.
    pub cost: Cost,
    /// What the audit found.
    pub findings: Findings,
}

/// Messages when they are due, whatever the system does.
///
/// # Errors
/// When Kafka or PostgreSQL cannot be reached.
pub async fn run_save(place: &Place, stage: &Stage, args: &SaveArgs) -> Result<SaveReport, PathError> {
    if !(args.rate > 0.0 && args.rate * f64::from(args.seconds + WARM) < 50e6) {
        return Err(PathError::Shape("--rate x --seconds must be above 0 and below 50 million"));
    }
    save(place, &Maker::new(place, stage, args.message_bytes)?, args).await
}

/// The same with messages of this maker.
pub(super) async fn save(place: &Place, maker: &Maker, args: &SaveArgs) -> Result<SaveReport, PathError> {
    let streams = match args.gateway {
        Some(gateway) => Some(Streams::open(maker, gateway).await?),
        None => None,
    };
    let listening = place.clone();
    let ear = task::spawn_blocking(move || Ear::open(&listening)).await??;
    let measured = (args.rate * f64::from(WARM)) as u32;
    let count = (args.rate * f64::from(args.seconds + WARM)) as u32;
    let before = place.processes.sample()?;
    let schedule = Schedule::after(Duration::from_millis(300), args.rate, count);
    let ids = maker.ids;
    let at_most = Duration::from_secs(u64::from(args.seconds + WARM)) + PATIENCE;
    let hearing = task::spawn_blocking(move || ear.hear(ids, &schedule, measured, at_most));
    let measuring = streams.as_ref().map(|streams| streams.measure_from(schedule.at(measured)));
    let (queue, mut queued) = mpsc::unbounded_channel::<Queued>();
    let pouring = {
        let (handle, producer, maker) = (Handle::current(), place.producer.clone(), maker.clone());
        thread::spawn(move || pour(&handle, &producer, &schedule, &maker, &queue))
    };
    let mut not_sent = 0;
    while let Some(batch) = queued.recv().await {
        not_sent += u64::from(batch.done().await.is_err());
    }
    let late = task::spawn_blocking(move || pouring.join()).await?.map_err(|_| PathError::Thread)??;
    let heard = hearing.await?;
    let stream = match streams {
        Some(streams) => Some(streams.heard(u64::from(count)).await),
        None => None,
    };
    drop(measuring);
    let cost = place.processes.sample()?.cost_since(&before, u64::from(count));
    Ok(SaveReport {
        rate: args.rate,
        messages: count - measured,
        reply_ms: Latency::from(&heard.replies.latency),
        event_ms: Latency::from(&heard.events.latency),
        stream_ms: stream.map(|(quantiles, _)| quantiles),
        stream_lost: stream.map_or(0, |(_, lost)| lost),
        queued_late_ms: round(late.as_secs_f64() * 1e3),
        not_sent,
        repeats: heard.replies.repeats + heard.events.repeats,
        cost,
        findings: audit(place, maker, count, schedule.wall(0)).await?.findings,
    })
}

/// Queues every message when it is due, in order, from a thread of its own. Gives the latest that one was queued after it was
/// due.
fn pour(
    handle: &Handle,
    producer: &Producer,
    schedule: &Schedule,
    maker: &Maker,
    queue: &mpsc::UnboundedSender<Queued>,
) -> Result<Duration, PathError> {
    let (mut next, mut latest) = (0, Duration::ZERO);
    while next < schedule.count {
        let now = Instant::now();
        let due = schedule.due_by(now).min(next + AT_ONCE);
        if due == next {
            thread::sleep(schedule.at(next).saturating_duration_since(now).max(NAP));
            continue;
        }
        let records: Result<Vec<_>, _> = (next..due).map(|n| maker.record(n, schedule.wall(n))).collect();
        let batch = handle.block_on(producer.queue_all(&records?))?;
        latest = latest.max(schedule.at(next).elapsed());
        // Whoever counts them listens until this thread ends.
        let _ = queue.send(batch);
        next = due;
    }
    Ok(latest)
}
