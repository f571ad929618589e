use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    http::{App, Shared, missing_page},
    hub::{Dispatcher, Hub, LINGER, Scout, ScoutLimits, ShardSettings},
    limits::Limits,
    metrics::Metrics,
    pending::Pending,
    sender::Sender,
    server::{self, ServerLimits},
    session::{Cookies, Sessions},
    settings::{LimitArgs, RunArgs},
    sse::OutboxLimits,
};
use crate::{
    kafka::{
        ProducerSettings,
        reader::{Reader, Replayer, Source, Start},
    },
    process::{Dependency, Exit, Process, Secret},
    store::{Clock, Database, StoreError, reads::Reads},
    wire::{CHAT_EVENT, Keyring, Kind, SealingKeys},
};

/// How far back replies are read at the start: as long as they are kept for streams that open late.
const BACK: Duration = Duration::from_secs(15);
/// The same for events.
const EVENTS_BACK: Duration = Duration::from_secs(60);
/// How often new partitions are looked for.
const REFRESH: Duration = Duration::from_secs(3);
/// After this long a request leaves the producer's queue, taken or not: the answer is due.
const PRODUCE_TIMEOUT: Duration = Duration::from_millis(1_800);
/// PostgreSQL's time must be known this well for deadlines to mean anything.
const UNCERTAINTY: Duration = Duration::from_secs(5);

/// Serves until asked to stop, and drains.
pub(super) async fn run(args: RunArgs, process: Process) -> Result<(), Exit> {
    // All at once: those that are known decide whether it is ready.
    let dependencies = Dependencies {
        kafka: process.health.required("kafka"),
        topics: process.health.optional("topics"),
        postgres: process.health.required("postgres"),
        serving: process.health.required("serving"),
    };
    args.check()?;
    let password = Secret::read("PARLEY_KAFKA_PASSWORD", args.kafka.kafka_password_file.as_deref())
        .map_err(Exit::settings)?;
    let kafka = args.kafka.check(password.as_ref().map(Secret::reveal)).map_err(Exit::settings)?;
    let database = args.database.open("parley-gateway").map_err(Exit::settings)?;
    let request_keys = Arc::new(Keyring::load(&args.request_keys_file).map_err(Exit::settings)?);
    let reply_keys = Arc::new(Keyring::load(&args.reply_keys_file).map_err(Exit::settings)?);
    let sealing = SealingKeys::load(&args.seal_public_keys_file).map_err(Exit::settings)?;
    check_page()?;

    let metrics = Metrics::register(&process.registry)?;
    let reads = Reads::new(database.clone());
    let sessions = Sessions::new(reads.clone());
    let pending = Pending::default();
    let clock = Clock::default();
    let replay = ScoutLimits {
        replay_records: args.limits.replay_records,
        replay_time: Duration::from_secs(args.limits.replay_seconds),
        replays: usize::try_from(args.limits.replays).unwrap_or(1),
    };
    let scout = Scout::new(
        reads.clone(),
        sessions.clone(),
        Replayer::new(kafka.clone()),
        Arc::clone(&reply_keys),
        replay,
        metrics.clone(),
    );
    let tracer = process.tracer.clone();
    let hub = Hub::start(shards(&args.limits), &shard_settings(&args.limits), &metrics, &scout, &tracer);
    let dispatcher = Dispatcher::new(
        hub.clone(),
        pending.clone(),
        sessions.clone(),
        Arc::clone(&reply_keys),
        metrics.clone(),
        tracer.clone(),
    );
    let reader = Reader::start(&kafka, sources(), REFRESH, dispatcher).map_err(Exit::failure)?;
    let produce = ProducerSettings { message_timeout: PRODUCE_TIMEOUT, linger: Duration::from_millis(1) };
    let sender = Arc::new(Sender::start(&kafka, produce).map_err(Exit::failure)?);

    let listener = server::listen(args.listen_addr)?;
    // Port 0 was asked for in tests and demos: say what it became.
    let addr = listener.local_addr().unwrap_or(args.listen_addr);
    tracing::info!(%addr, "serving");

    let Dependencies { kafka, topics, postgres, serving } = dependencies;
    let stands = Arc::new(AtomicBool::new(false));
    let background = [
        tokio::spawn(watch_kafka(reader.status(), kafka, topics, Arc::clone(&stands))),
        tokio::spawn(watch_postgres(database, clock.clone(), postgres)),
        tokio::spawn(measure(reader.positions(), metrics.clone())),
    ];
    let app = App::new(Shared {
        hub: hub.clone(),
        sessions,
        pending,
        reads,
        clock,
        sender: Arc::clone(&sender),
        request_keys,
        sealing,
        cookies: Cookies::new(args.insecure_cookie),
        outboxes: outboxes(&args.limits, &metrics),
        limits: Limits::new(&args.limits, &metrics),
        metrics: metrics.clone(),
        shutdown: process.shutdown.clone(),
        tracer,
        stands,
        drain: args.drain(),
    });
    serving.ready();
    let (stop, cut) = (process.shutdown.clone(), CancellationToken::new());
    // Readiness goes first: whoever asks is told before the first connection is refused.
    let leaving = || serving.unready("draining");
    let limits = server_limits(&args.limits);
    let tracker = server::serve(listener, app.router(), limits, stop, leaving, cut.clone()).await;

    drain(&hub, &metrics, &tracker, args.drain()).await;
    cut.cancel();
    for task in background {
        task.abort();
    }
    // What was accepted must have left before the process does.
    let flushed = tokio::task::spawn_blocking(move || sender.flush(PRODUCE_TIMEOUT)).await;
    if !flushed.unwrap_or(false) {
        tracing::warn!("requests were still on their way to Kafka");
    }
    // Joins the reader's thread, which may wait for a shard: not here.
    let _ = tokio::task::spawn_blocking(move || drop(reader)).await;
    Ok(())
}

/// What readiness is made of.
struct Dependencies {
    kafka: Dependency,
    topics: Dependency,
    postgres: Dependency,
    serving: Dependency,
}

fn check_page() -> Result<(), Exit> {
    if !missing_page() {
        return Ok(());
    }
    if cfg!(debug_assertions) {
        tracing::warn!("the web client is not built: GET / says so; run `make web`");
        return Ok(());
    }
    Err(Exit::failure("this program was built without the web client: run `make web` before the build"))
}

fn sources() -> Vec<Source> {
    let replies = Kind::ALL.map(|kind| Source { topic: kind.response_topic(), start: Start::Back(BACK) });
    let mut sources = replies.to_vec();
    // So that memory knows what the streams that come back to a fresh gateway have had last.
    sources.push(Source { topic: CHAT_EVENT, start: Start::Back(EVENTS_BACK) });
    sources
}

fn shards(limits: &LimitArgs) -> usize {
    match limits.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        shards => shards,
    }
}

fn shard_settings(limits: &LimitArgs) -> ShardSettings {
    ShardSettings {
        ring_bytes: usize::try_from(limits.ring_mib << 20).unwrap_or(usize::MAX),
        replay_events: limits.replay_events,
        // A client that is behind by more is better off reading its state anew.
        replay_bytes: 16 << 20,
        heartbeat: Duration::from_secs(limits.heartbeat_seconds),
        life: Duration::from_secs(limits.stream_life_seconds),
        unknown_life: Duration::from_secs(30),
    }
}

fn server_limits(limits: &LimitArgs) -> ServerLimits {
    // A client that merely reads slowly is told so first: after the age of its queue and the time that it has to read that.
    let unconfirmed = Duration::from_secs(limits.stream_queue_seconds) + LINGER + Duration::from_secs(5);
    ServerLimits { connections: limits.max_connections, unconfirmed }
}

fn outboxes(limits: &LimitArgs, metrics: &Metrics) -> OutboxLimits {
    OutboxLimits {
        bytes: usize::try_from(limits.stream_queue_kib << 10).unwrap_or(usize::MAX),
        age: Duration::from_secs(limits.stream_queue_seconds),
        queued: metrics.sse_queue_bytes.clone(),
        latency: metrics.delivery_latency_seconds.clone(),
    }
}

/// Streams are sent away over the drain time, calls finish; what is left after it is cut.
async fn drain(hub: &Hub, metrics: &Metrics, tracker: &tokio_util::task::TaskTracker, time: Duration) {
    hub.drain(time.mul_f64(0.9));
    let ended = async {
        loop {
            let left = hub.streams().await;
            metrics.drain_remaining.set(i64::try_from(left).unwrap_or(i64::MAX));
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tracker.wait().await;
    };
    if tokio::time::timeout(time, ended).await.is_err() {
        tracing::warn!(left = tracker.len(), "connections are cut: they did not end in the drain time");
    }
}

/// Readiness: Kafka is there once every position stands, and while its brokers answer; the topics may come later.
async fn watch_kafka(
    mut status: tokio::sync::watch::Receiver<crate::kafka::reader::Status>,
    kafka: Dependency,
    topics: Dependency,
    stands: Arc<AtomicBool>,
) {
    loop {
        let now = status.borrow_and_update().clone();
        match &now.unreachable {
            Some(why) => kafka.unready(why.clone()),
            None if now.unresolved > 0 => {
                kafka.unready(format!("{} partitions have no position yet", now.unresolved));
            }
            None => {
                stands.store(true, Ordering::Release);
                kafka.ready();
            }
        }
        tell_topics(&topics, &now);
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn tell_topics(topics: &Dependency, status: &crate::kafka::reader::Status) {
    if status.unreachable.is_some() {
        return;
    }
    if !status.missing.is_empty() {
        topics.unready(format!("not there yet: {}", status.missing.join(", ")));
    } else if !status.leaderless.is_empty() {
        topics.unready(format!("without a leader: {}", status.leaderless.join(", ")));
    } else {
        topics.ready();
    }
}

/// Readiness: PostgreSQL answers, and its time is known well enough.
async fn watch_postgres(database: Database, clock: Clock, postgres: Dependency) {
    let judge = |result: Result<(), StoreError>| match result {
        Ok(()) if clock.uncertainty().is_some_and(|error| error <= UNCERTAINTY) => postgres.ready(),
        Ok(()) => postgres.unready("its time is known to no better than 5 s"),
        Err(error) => postgres.unready(error.to_string()),
    };
    clock.keep(&database, judge).await;
}

async fn measure(positions: crate::kafka::reader::Positions, metrics: Metrics) {
    loop {
        for source in sources() {
            let lag = positions.lag(source.topic);
            metrics.kafka_position_lag.with_label_values(&[source.topic]).set(lag);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
