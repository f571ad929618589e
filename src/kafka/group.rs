//! The group consumer: a queue per assigned partition, cooperative rebalancing, offsets stored by hand.
//!
//! One thread polls the client. It serves rebalances: a new partition is split off into a queue of its own before fetching
//! begins, and handed out as a [`Partition`]; a revoked one is told to end, and the rebalance waits for that, within the
//! drain time, before the offsets are committed and the partition is let go. The same thread commits what was stored, a few
//! times a second.

mod context;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, CommitMode, Consumer as _, RebalanceProtocol},
    error::KafkaError,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use context::Context;

use super::{KafkaSettings, partition::Partition};

/// How often stored offsets are committed. A crash repeats at most what was handled since.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
/// How long one poll of the client's own queue blocks.
const POLL: Duration = Duration::from_millis(100);
/// How often broker and topics are looked at while all is well, and while something is missing.
const LOOK_WELL: Duration = Duration::from_secs(15);
const LOOK_ILL: Duration = Duration::from_secs(2);
/// How often the lag is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// A newcomer that was given nothing for this long, beyond the time that others may take to let go, gets nothing.
const NOTHING_FOR_ME: Duration = Duration::from_secs(3);

/// How a worker joins its group.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// `group.id`.
    pub group: String,
    /// Topics to share with the group's other members. They may come later.
    pub topics: Vec<&'static str>,
    /// Without a heartbeat for this long the member is dead (classic protocol; with KIP-848 the broker's setting holds).
    pub session_timeout: Duration,
    /// How long a revoked partition may finish its batch.
    pub drain: Duration,
    /// Whether to use the consumer protocol of KIP-848 (brokers 4.0 and later) instead of the classic one.
    pub consumer_protocol: bool,
    /// Called before each commit of offsets that were stored since the one before.
    pub before_commit: fn(),
}

/// What the group tells its owner.
#[derive(Debug)]
pub enum GroupEvent {
    /// A partition is ours now.
    Assigned(Partition),
    /// Partitions went: how many, and whether without being asked (`true`: the group believed us dead).
    Revoked(usize, bool),
    /// A rebalance ended; this many partitions are ours.
    Owned(usize),
    /// We are a member, whether or not we were given anything.
    Joined,
    /// Records between what is stored and the end, by topic of which partitions are ours; every few seconds.
    Lag(HashMap<String, i64>),
    /// Whether a broker answers, and why not.
    Reach(Result<(), String>),
    /// The subscribed topics that do not exist (yet).
    Missing(Vec<&'static str>),
}

/// A member of a consumer group.
pub struct Group {
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Group {
    /// Joins, on a thread of its own. What happens comes through the channel, which is bounded by what the thread does: a
    /// partition is assigned at most once before it is revoked.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn join(
        kafka: &KafkaSettings,
        client_id: &str,
        settings: &GroupSettings,
    ) -> Result<(Self, mpsc::UnboundedReceiver<GroupEvent>), KafkaFailure> {
        let mut config = kafka.client(client_id);
        config
            .set("group.id", &settings.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A partition without a committed offset is a new one: what was written before we noticed it must not be skipped.
            .set("auto.offset.reset", "earliest")
            .set("topic.metadata.refresh.interval.ms", "3000")
            .set("allow.auto.create.topics", "false")
            // Per partition, since each has its own queue: 4 MiB or 4,000 records wait at most, and a queue that has room
            // again is filled within 50 ms.
            .set("queued.max.messages.kbytes", "4096")
            .set("queued.min.messages", "4000")
            .set("fetch.queue.backoff.ms", "50")
            .set("fetch.wait.max.ms", "100");
        if settings.consumer_protocol {
            config.set("group.protocol", "consumer");
        } else {
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
                // A rebalance is heard of with the next heartbeat, and a partition must not stand still for long.
                .set("heartbeat.interval.ms", "500");
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let context = Context::new(settings, events);
        let failed = |error: KafkaError| KafkaFailure(error.to_string());
        let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(failed)?;
        let consumer = Arc::new(consumer);
        // Set once, right here, before the first poll: no callback ran yet.
        let _ = consumer.context().consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&settings.topics).map_err(failed)?;
        let stop = CancellationToken::new();
        let (polled, topics) = (stop.clone(), settings.topics.clone());
        let thread = thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || poll(consumer, &topics, &polled))
            .map_err(|error| KafkaFailure(error.to_string()))?;
        Ok((Self { stop, thread: Some(thread) }, receiver))
    }

    /// Ends all partitions, commits, and leaves the group. Returns when that is done: the drain time and a little more.
    pub async fn leave(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // The thread always ends, and a panic in it has been printed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

/// Why a Kafka client could not be made: one line for people.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Kafka: {0}")]
pub struct KafkaFailure(pub String);

/// The thread: serves the client until it is to stop, then lets everything go, offsets first.
fn poll(consumer: Arc<BaseConsumer<Context>>, topics: &[&'static str], stop: &CancellationToken) {
    let context = Arc::clone(consumer.context());
    let mut committed = Instant::now();
    let mut looked: Option<(Instant, bool)> = None;
    let mut measured = Instant::now();
    let mut joined: Option<Instant> = None;
    let (mut told, mut no_topics) = (false, false);
    while !stop.is_cancelled() {
        match consumer.poll(POLL) {
            // Every partition has its own queue, split off before fetching began; nothing comes here.
            Some(Ok(record)) => tracing::error!(offset = record.offset(), "a record outside of its queue"),
            Some(Err(error)) => {
                tracing::debug!(%error, "consumer");
                // Worth a look now, but not with every line of a broker that is away.
                looked = looked.map(|(at, _)| (at, false));
            }
            None => {}
        }
        if committed.elapsed() >= COMMIT_EVERY {
            committed = Instant::now();
            context.commit(&consumer, CommitMode::Async);
        }
        if looked.is_none_or(|(at, well)| at.elapsed() >= if well { LOOK_WELL } else { LOOK_ILL }) {
            let missing = context.look(&consumer, topics);
            no_topics = missing == Some(topics.len());
            looked = Some((Instant::now(), missing == Some(0)));
        }
        if measured.elapsed() >= MEASURE_EVERY {
            if let Err(error) = context.measure(&consumer) {
                tracing::debug!(%error, "the lag is not known");
            }
            measured = Instant::now();
        }
        if context.lost.swap(false, Ordering::AcqRel) {
            (joined, told) = (None, false);
        }
        // Without any topic there is nothing to join for. A member that gets nothing is not told so, and the protocol is known
        // before the first assignment: so a newcomer waits for as long as others may drain.
        if !matches!(consumer.rebalance_protocol(), RebalanceProtocol::None) {
            joined.get_or_insert_with(Instant::now);
        }
        let waited = joined.is_some_and(|since| since.elapsed() >= context.drain + NOTHING_FOR_ME);
        if !told && (no_topics || waited) {
            told = true;
            context.tell(GroupEvent::Joined);
        }
    }
    context.end_all();
    context.commit(&consumer, CommitMode::Sync);
    // Dropping the last reference leaves the group. A batch that did not end in time holds another one: leave for it.
    if let Err(consumer) = Arc::try_unwrap(consumer)
        && consumer.close_queue().is_ok()
    {
        while !consumer.closed() {
            let _ = consumer.poll(POLL);
        }
    }
}
