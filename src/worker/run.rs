use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    batch::Strangers,
    fault,
    hashing::Hashing,
    metrics::WorkerMetrics,
    parts::{Holds, Keys, Parts},
    pipeline,
    settings::{GroupProtocol, RunArgs},
};
use crate::{
    kafka::{Group, GroupEvent, GroupSettings, KafkaSettings, Producer, ProducerSettings},
    process::{Dependency, Exit, Process, Secret},
    store::{
        Clock, Database, SILENCE, StoreError, answered,
        cleanup::{self, Expiring},
        missing_migrations,
    },
};

/// A record of a worker's that is not acknowledged for this long is sent again. Its batch holds the partition meanwhile.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often old rows are removed.
const CLEAN_EVERY: Duration = Duration::from_secs(10 * 60);
/// When they are removed for the first time, at the latest: workers that never live for ten minutes clean too.
const FIRST_CLEAN: Duration = Duration::from_secs(30);
/// How long leaving the group may take beyond the drain time.
const LEAVE: Duration = Duration::from_secs(3);
/// Beyond this the process does not know PostgreSQL's time well enough to judge deadlines.
const MOST_UNCERTAINTY: Duration = Duration::from_secs(5);

/// Serves until the process is asked to stop and has drained.
///
/// # Errors
/// When the settings cannot be used, or the producer is broken for good.
pub async fn run(args: RunArgs, process: Process) -> Result<(), Exit> {
    // Before anything that takes time: who asks meanwhile is told what is missing.
    let dependencies = Dependencies::of(&process);
    let batches = process.health.required("batches");
    let settings = args.check()?;
    if let Some(text) = &args.fault {
        fault::arm(text).map_err(Exit::settings)?;
    }
    let keys = Keys::load(&args.keys)?;
    let password = Secret::read("PARLEY_KAFKA_PASSWORD", args.kafka.kafka_password_file.as_deref());
    let password = password.map_err(Exit::settings)?;
    let kafka = args.kafka.check(password.as_ref().map(Secret::reveal)).map_err(Exit::settings)?;
    let database = args.database.open("parley-worker").map_err(Exit::settings)?;
    let metrics = WorkerMetrics::register(&process.registry)?;
    let hashing = Hashing::start(settings.hash_threads, metrics.clone())
        .map_err(|error| Exit::failure(format!("cannot start the hashing threads: {error}")))?;
    let producer = Producer::start(
        &kafka,
        "parley-worker",
        ProducerSettings { message_timeout: MESSAGE_TIMEOUT, linger: Duration::from_millis(1) },
    )
    .map_err(Exit::failure)?;
    let group = GroupSettings {
        group: args.consumer_group.clone(),
        topics: settings.kinds.iter().map(|kind| kind.request_topic()).collect(),
        session_timeout: Duration::from_secs(u64::from(args.session_timeout_seconds)),
        drain: settings.drain,
        consumer_protocol: args.group_protocol == GroupProtocol::Consumer,
        before_commit: fault::before_commit,
    };
    let clock = Clock::default();
    let parts = Arc::new(Parts {
        settings,
        keys,
        database,
        clock,
        producer,
        hashing,
        metrics,
        // Ready from here on, and said so: what stops a start before is the one line that it prints.
        holds: Holds::new(batches),
        strangers: Strangers::new(),
        tracer: process.tracer.clone(),
    });
    let keeping = tokio::spawn(keep_time(Arc::clone(&parts), dependencies.clone()));
    let cleaning = tokio::spawn(clean(Arc::clone(&parts)));
    let schema_is_there = tokio::select! {
        () = schema(&parts.database, &dependencies.schema, parts.settings.drain) => true,
        () = process.shutdown.wait() => false,
    };
    let result =
        if schema_is_there { serve(&kafka, &group, &parts, &dependencies, &process).await } else { Ok(()) };
    keeping.abort();
    cleaning.abort();
    parts.database.close().await;
    result
}

/// What `/readyz` names, beside the batches.
#[derive(Debug, Clone)]
struct Dependencies {
    postgres: Dependency,
    schema: Dependency,
    clock: Dependency,
    kafka: Dependency,
    /// Named, but none that the process waits for: topics come when somebody declares them.
    topics: Dependency,
}

impl Dependencies {
    fn of(process: &Process) -> Self {
        let health = &process.health;
        Self {
            postgres: health.required("postgres"),
            schema: health.required("schema"),
            clock: health.required("clock"),
            kafka: health.required("kafka"),
            topics: health.optional("topics"),
        }
    }
}

/// Joins the group and serves every partition that comes, until the process is asked to stop.
async fn serve(
    kafka: &KafkaSettings,
    group: &GroupSettings,
    parts: &Arc<Parts>,
    dependencies: &Dependencies,
    process: &Process,
) -> Result<(), Exit> {
    let (member, mut events) = Group::join(kafka, "parley-worker", group).map_err(Exit::settings)?;
    let mut partitions: JoinSet<Result<(), String>> = JoinSet::new();
    let mut watch = Watch { parts, dependencies, reached: false, joined: false, known: false, warned: false };
    let result = loop {
        tokio::select! {
            () = process.shutdown.wait() => break Ok(()),
            Some(event) = events.recv() => match event {
                GroupEvent::Assigned(partition) => {
                    tracing::info!(topic = partition.topic(), partition = partition.number(), "assigned");
                    partitions.spawn(pipeline::serve(partition, Arc::clone(parts)));
                }
                other => watch.take(other),
            },
            Some(ended) = partitions.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(why)) => break Err(Exit::failure(why)),
                // The partition would stand still for ever: better a fresh process.
                Err(error) => break Err(Exit::failure(format!("a partition's task failed: {error}"))),
            },
        }
    };
    dependencies.kafka.unready("leaving the group");
    // The group ends the partitions itself, within the drain time, and commits.
    if tokio::time::timeout(group.drain + LEAVE, member.leave()).await.is_err() {
        tracing::warn!("the group was not left in time; its session runs out instead");
    }
    drop(collect(&mut events));
    while tokio::time::timeout(LEAVE, partitions.join_next()).await.is_ok_and(|ended| ended.is_some()) {}
    result
}

/// Partitions that were assigned after the end was decided: dropping them lets the group go on.
fn collect(events: &mut mpsc::UnboundedReceiver<GroupEvent>) -> Vec<GroupEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// What the group tells, into readiness and metrics.
struct Watch<'a> {
    parts: &'a Parts,
    dependencies: &'a Dependencies,
    reached: bool,
    joined: bool,
    /// Whether it has been a member before.
    known: bool,
    /// Whether it was said that there are more partitions than connections.
    warned: bool,
}

impl Watch<'_> {
    /// Each partition has at most one transaction at a time, and the clock, the clean-up and the look at the next passwords need a
    /// connection now and then.
    fn warn_of_few_connections(&mut self, partitions: usize) {
        let connections = self.parts.database.state().max;
        if !self.warned && u32::try_from(partitions).is_ok_and(|count| count > connections) {
            self.warned = true;
            tracing::warn!(
                "{partitions} partitions share {connections} connections to PostgreSQL, so that batches wait for each other: \
                 raise --database-max-connections, or add workers"
            );
        }
    }

    fn ready_when_joined(&mut self) {
        self.known |= self.joined;
        match (self.reached, self.joined) {
            (true, true) => self.dependencies.kafka.ready(),
            (true, false) => self.dependencies.kafka.unready("joining the consumer group"),
            (false, _) => {}
        }
    }

    fn take(&mut self, event: GroupEvent) {
        let metrics = &self.parts.metrics;
        match event {
            // Served before it comes here.
            GroupEvent::Assigned(_) => {}
            GroupEvent::Owned(count) => {
                metrics.assigned_partitions.set(i64::try_from(count).unwrap_or(i64::MAX));
                metrics.rebalances_total.inc();
                self.warn_of_few_connections(count);
                // The first round of a cooperative rebalance gives a newcomer nothing yet: others must let go first.
                self.joined |= count > 0 || self.known;
                self.reached = true;
                self.ready_when_joined();
            }
            GroupEvent::Joined => {
                self.joined = true;
                self.ready_when_joined();
            }
            GroupEvent::Revoked(count, lost) => {
                tracing::info!(partitions = count, lost, "revoked");
                if lost {
                    (self.joined, self.known) = (false, false);
                    self.dependencies.kafka.unready("the group believed this member dead; joining again");
                }
            }
            GroupEvent::Lag(lag) => {
                // Of a topic whose partitions went to others they tell; a last value here would stand for ever.
                let topics = self.parts.settings.kinds.iter().map(|kind| kind.request_topic());
                for gone in topics.filter(|topic| !lag.contains_key(*topic)) {
                    // An error says that there was none.
                    let _ = metrics.consumer_lag.remove_label_values(&[gone]);
                }
                for (topic, records) in lag {
                    metrics.consumer_lag.with_label_values(&[topic.as_str()]).set(records);
                }
            }
            GroupEvent::Reach(Ok(())) => {
                self.reached = true;
                self.ready_when_joined();
            }
            GroupEvent::Reach(Err(why)) => {
                self.reached = false;
                self.dependencies.kafka.unready(why);
            }
            GroupEvent::Missing(topics) if topics.is_empty() => self.dependencies.topics.ready(),
            GroupEvent::Missing(topics) => {
                let names = topics.join(", ");
                self.dependencies.topics.unready(format!("these topics do not exist yet: {names}"));
            }
        }
    }
}

/// Waits until the migrations of this release are applied, and warns of settings that could lose a commit or hold others up.
async fn schema(database: &Database, dependency: &Dependency, drain: Duration) {
    loop {
        match missing_migrations(database).await {
            Ok(missing) if missing.is_empty() => break,
            Ok(missing) => dependency.unready(format!(
                "the database lacks {} migrations of this release (from {}): run worker migrate",
                missing.len(),
                missing.first().copied().unwrap_or_default()
            )),
            Err(error) => dependency.unready(error.to_string()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    dependency.ready();
    match answered(SILENCE, database.warnings(drain)).await {
        Ok(lines) => lines.iter().for_each(|line| tracing::warn!("{line}")),
        Err(error) => tracing::warn!(%error, "PostgreSQL's settings could not be read"),
    }
}

/// Keeps PostgreSQL's time, and with it the knowledge whether PostgreSQL is there.
async fn keep_time(parts: Arc<Parts>, dependencies: Dependencies) {
    let result = |measured: Result<(), StoreError>| {
        match measured {
            Ok(()) => dependencies.postgres.ready(),
            Err(error) => dependencies.postgres.unready(error.to_string()),
        }
        let uncertainty = parts.clock.uncertainty();
        match uncertainty {
            Some(uncertain) if uncertain <= MOST_UNCERTAINTY => dependencies.clock.ready(),
            Some(uncertain) => dependencies.clock.unready(format!(
                "PostgreSQL's time is known to {:.1} s only, and 5 s are the most",
                uncertain.as_secs_f64()
            )),
            None => {}
        }
        parts.metrics.clock_uncertainty_seconds.set(uncertainty.unwrap_or_default().as_secs_f64());
        parts.metrics.clock_offset_seconds.set(parts.clock.offset_seconds().unwrap_or_default());
        let state = parts.database.state();
        for (name, count) in [("idle", state.idle), ("busy", state.busy), ("max", state.max)] {
            parts.metrics.db_pool_connections.with_label_values(&[name]).set(i64::from(count));
        }
    };
    parts.clock.keep(&parts.database, result).await;
}

/// Removes what nobody will ask for again, a few times an hour, at another moment in each worker.
async fn clean(parts: Arc<Parts>) {
    let mut wait = FIRST_CLEAN.mul_f64(rand::random_range(0.1..1.0));
    loop {
        tokio::time::sleep(wait).await;
        wait = CLEAN_EVERY.mul_f64(rand::random_range(0.5..1.5));
        while counted(&parts, "sessions ended", cleanup::end_idle(&parts.database).await) {}
        for what in Expiring::ALL {
            while counted(&parts, what.table(), cleanup::remove(&parts.database, what).await) {}
        }
    }
}

/// Counts a batch of a clean-up. Whether there may be more.
fn counted(parts: &Parts, what: &str, batch: Result<(u64, bool), StoreError>) -> bool {
    match batch {
        Ok((rows, more)) => {
            parts.metrics.cleaned_rows_total.with_label_values(&[what]).inc_by(rows);
            more
        }
        // Whoever looks after PostgreSQL's readiness tells; the rows are there the next time.
        Err(error) => {
            tracing::debug!(what, %error, "not cleaned");
            false
        }
    }
}
