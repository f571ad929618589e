//! What the thread that polls and librdkafka's callbacks, which run on it, share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{GroupEvent, GroupSettings};
use crate::kafka::{log, partition::Partition};

/// How long one look at the brokers may block the thread. Far below the session timeout: heartbeats have their own thread anyway.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// What ends one partition's task and tells that it ended.
struct Owned {
    end: CancellationToken,
    /// Set once it is late: see [`Partition::store`].
    over: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

/// A partition by its topic and number.
type Key = (String, i32);

pub(in crate::kafka) struct Context {
    /// Why brokers do not let this client in, in librdkafka's words: a question that has run out of time does not know.
    refusal: Mutex<Option<String>>,
    pub(super) consumer: OnceLock<Weak<BaseConsumer<Self>>>,
    events: mpsc::UnboundedSender<GroupEvent>,
    owned: Mutex<HashMap<Key, Owned>>,
    /// Owners that did not end within the drain time. Whoever gets their partition next waits for them.
    late: Mutex<HashMap<Key, oneshot::Receiver<()>>>,
    /// Whether the group believed us dead since this was asked last.
    pub(super) lost: AtomicBool,
    /// Whether an offset was stored since the last commit.
    stored: AtomicBool,
    pub(super) drain: Duration,
    before_commit: fn(),
}

impl Context {
    pub(super) fn new(settings: &GroupSettings, events: mpsc::UnboundedSender<GroupEvent>) -> Self {
        Self {
            refusal: Mutex::default(),
            consumer: OnceLock::new(),
            events,
            owned: Mutex::default(),
            late: Mutex::default(),
            lost: AtomicBool::new(false),
            stored: AtomicBool::new(false),
            drain: settings.drain,
            before_commit: settings.before_commit,
        }
    }

    pub(super) fn tell(&self, event: GroupEvent) {
        // Nobody listens any more only at the very end.
        let _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> MutexGuard<'_, HashMap<Key, oneshot::Receiver<()>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An offset was stored: the next commit has something to do.
    pub(in crate::kafka) fn stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    pub(super) fn commit(&self, consumer: &BaseConsumer<Self>, mode: CommitMode) {
        if self.stored.swap(false, Ordering::AcqRel) {
            (self.before_commit)();
        }
        match consumer.commit_consumer_state(mode) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            // What is not committed now is committed with the next, or comes again to the next owner, who knows its outcome.
            Err(error) => tracing::debug!(%error, "offsets were not committed"),
        }
    }

    /// Asks for the ends of the partitions that are ours and tells how much lies before them. What librdkafka knows by itself
    /// stands still while a full queue holds its fetching back, which is just when somebody looks.
    pub(super) fn measure(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let mut lag: HashMap<String, i64> = HashMap::new();
        let assigned = consumer.assignment()?;
        if assigned.count() == 0 {
            self.tell(GroupEvent::Lag(lag));
            return Ok(());
        }
        let committed = consumer.committed_offsets(assigned, LOOK_TIMEOUT)?;
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let (low, high) = consumer.fetch_watermarks(topic, partition, LOOK_TIMEOUT)?;
            let done = if let Offset::Offset(offset) = element.offset() { offset.max(low) } else { low };
            *lag.entry(topic.to_owned()).or_default() += (high - done).max(0);
        }
        self.tell(GroupEvent::Lag(lag));
        Ok(())
    }

    /// Asks for every topic and tells what is there. How many are missing, when a broker answers.
    pub(super) fn look(&self, consumer: &BaseConsumer<Self>, topics: &[&'static str]) -> Option<usize> {
        let mut missing = Vec::new();
        for topic in topics {
            match consumer.fetch_metadata(Some(topic), LOOK_TIMEOUT) {
                Ok(metadata) => {
                    let there =
                        metadata.topics().iter().any(|t| t.error().is_none() && !t.partitions().is_empty());
                    if !there {
                        missing.push(*topic);
                    }
                }
                Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                    missing.push(*topic)
                }
                Err(error) => {
                    let code = || {
                        error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
                    };
                    let why = self.refusal().clone().unwrap_or_else(code);
                    self.tell(GroupEvent::Reach(Err(why)));
                    return None;
                }
            }
        }
        *self.refusal() = None;
        let count = missing.len();
        self.tell(GroupEvent::Reach(Ok(())));
        self.tell(GroupEvent::Missing(missing));
        Some(count)
    }

    fn assign(&self, partitions: &TopicPartitionList) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        for element in partitions.elements() {
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            let Some(queue) = consumer.split_partition_queue(&topic, partition) else {
                tracing::error!(topic, partition, "no queue for an assigned partition");
                continue;
            };
            let end = CancellationToken::new();
            let (done, ended) = oneshot::channel();
            let key = (topic.clone(), partition);
            let before = self.late().remove(&key);
            let over = Arc::new(AtomicBool::new(false));
            self.lock().insert(key, Owned { end: end.clone(), over: Arc::clone(&over), ended });
            self.tell(GroupEvent::Assigned(Partition::new(
                topic,
                partition,
                queue,
                Arc::clone(&consumer),
                (end, over),
                before,
                done,
            )));
        }
    }

    /// Tells the tasks of these partitions to end, and waits until they have, at most the drain time.
    fn end(&self, mut ending: Vec<(Key, Owned)>) {
        for (_, owned) in &ending {
            owned.end.cancel();
        }
        let deadline = Instant::now() + self.drain;
        ending.retain_mut(|(_, owned)| {
            loop {
                match owned.ended.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) if Instant::now() < deadline => {
                        thread::sleep(Duration::from_millis(2));
                    }
                    Err(oneshot::error::TryRecvError::Empty) => return true,
                    Ok(()) | Err(oneshot::error::TryRecvError::Closed) => return false,
                }
            }
        });
        if !ending.is_empty() {
            for (_, owned) in &ending {
                owned.over.store(true, Ordering::Release);
            }
            // Safe: whoever is late finds its records handled by the next owner, or is found by it.
            tracing::warn!(partitions = ending.len(), "batches did not end within the drain time");
            self.late().extend(ending.into_iter().map(|(key, owned)| (key, owned.ended)));
        }
    }

    pub(super) fn end_all(&self) {
        let all = self.lock().drain().collect();
        self.end(all);
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let going: Vec<(Key, Owned)> = {
            let mut owned = self.lock();
            let keys = partitions.elements().into_iter().map(|e| (e.topic().to_owned(), e.partition()));
            keys.filter_map(|key| owned.remove_entry(&key)).collect()
        };
        let lost = consumer.assignment_lost();
        self.lost.fetch_or(lost, Ordering::AcqRel);
        let count = partitions.count();
        self.end(going);
        if count > 0 {
            if !lost {
                self.commit(consumer, CommitMode::Sync);
            }
            self.tell(GroupEvent::Revoked(count, lost));
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let code = error.rdkafka_error_code();
        if matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) {
            // Kept until a broker answers: librdkafka says the same thing once in a while only.
            *self.refusal() = Some(reason.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.assign(partitions),
            Rebalance::Revoke(partitions) => self.revoke(consumer, partitions),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, _rebalance: &Rebalance<'_>) {
        self.tell(GroupEvent::Owned(self.lock().len()));
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed");
        }
    }
}
