use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::Notify;

use super::{
    KafkaSettings,
    ffi::{Fate, fate},
    log,
};
use crate::wire::Outgoing;

/// How long a full queue is waited for before it is tried again. It empties within a round trip or two.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// What a producer is told beyond how to reach Kafka.
#[derive(Debug, Clone, Copy)]
pub struct ProducerSettings {
    /// After this long without an acknowledgement a record is given up, and leaves the queue (`message.timeout.ms`).
    pub message_timeout: Duration,
    /// How long a record waits for others to share a request with (`linger.ms`).
    pub linger: Duration,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// All in-sync replicas have it.
    Persisted,
    /// It is not in the log and will never be; why, for people.
    NotPersisted(String),
    /// It was sent, and whether it is in the log is not known.
    Unknown,
}

/// Why a batch was not acknowledged as a whole. Some of it may be in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    /// Kafka is away or refuses; the same may work later.
    #[error("Kafka: {0}")]
    Transient(String),
    /// A record is larger than the topic takes. It will never fit.
    #[error("Kafka: a record is larger than its topic allows")]
    TooLarge,
    /// The producer is broken for good; a fresh process is needed (`rd_kafka_fatal_error`).
    #[error("Kafka: the producer failed for good: {0}")]
    Fatal(String),
}

/// An idempotent producer that waits for all in-sync replicas. Cheap to clone. One thread serves its delivery reports.
#[derive(Clone)]
pub struct Producer(Arc<ThreadedProducer<Reports>>);

impl Producer {
    /// Makes one; connects in the background.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn start(
        kafka: &KafkaSettings,
        client_id: &str,
        settings: ProducerSettings,
    ) -> Result<Self, ProduceError> {
        let mut config = kafka.client(client_id);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", settings.message_timeout.as_millis().to_string())
            .set("linger.ms", settings.linger.as_millis().to_string())
            // The hash that Java's clients use, so that a record of theirs with the same key joins ours.
            .set("partitioner", "murmur2_random")
            // New partitions are used within seconds of their making.
            .set("topic.metadata.refresh.interval.ms", "5000")
            // Bounds what waits for a slow broker: 64 MiB. A full queue is backpressure, not an error.
            .set("queue.buffering.max.kbytes", "65536");
        let producer =
            config.create_with_context(Reports).map_err(|error| ProduceError::Fatal(error.to_string()))?;
        Ok(Self(Arc::new(producer)))
    }

    /// Sends one record and waits for its fate.
    pub async fn send(&self, record: &Outgoing) -> Delivery {
        let report = Arc::new(Report::for_records(1));
        match self.enqueue(record, &report) {
            Ok(()) => {}
            Err(Refused::Full) => return Delivery::NotPersisted("the queue to Kafka is full".into()),
            Err(Refused::Error(error)) => return Delivery::NotPersisted(error.to_string()),
        }
        report.done().await;
        report.take()
    }

    /// Sends all records, in order per partition, and returns when every one is acknowledged or given up.
    ///
    /// # Errors
    /// When one was not acknowledged: then all are to be sent again.
    pub async fn send_all(&self, records: &[Outgoing]) -> Result<(), ProduceError> {
        self.queue_all(records).await?.done().await
    }

    /// Queues all records, in order per partition, and gives what tells later whether all of them were acknowledged. Waits only
    /// while the queue is full.
    ///
    /// # Errors
    /// When one cannot be queued; those before it are on their way.
    pub async fn queue_all(&self, records: &[Outgoing]) -> Result<Queued, ProduceError> {
        let report = Arc::new(Report::for_records(records.len()));
        for record in records {
            loop {
                match self.enqueue(record, &report) {
                    Ok(()) => break,
                    // What is queued already leaves it by delivery or by its timeout, so this ends.
                    Err(Refused::Full) => tokio::time::sleep(QUEUE_FULL_WAIT).await,
                    Err(Refused::Error(error)) => return Err(self.reason(&error)),
                }
            }
        }
        Ok(Queued { producer: self.clone(), report })
    }

    /// Waits until nothing is queued or in flight, at most this long. Blocks the thread.
    pub fn flush(&self, at_most: Duration) -> bool {
        self.0.flush(at_most).is_ok()
    }

    /// Why it failed for good (`rd_kafka_fatal_error`), if it did: it will never take a record again.
    pub fn fatal(&self) -> Option<String> {
        self.0.client().fatal_error().map(|(_, why)| why)
    }

    /// Whether the two are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Has it fail for good, as a broker's word would.
    #[cfg(test)]
    pub(crate) fn break_for_good(&self) {
        super::ffi::break_for_good(self.0.client());
    }

    /// Whether the brokers answer now. Blocks the thread for at most `timeout`.
    ///
    /// # Errors
    /// When none does.
    pub fn ping(&self, timeout: Duration) -> Result<(), ProduceError> {
        let answered = self.0.client().fetch_cluster_id(timeout);
        answered.map(drop).ok_or_else(|| ProduceError::Transient("no broker answers".into()))
    }

    fn enqueue(&self, record: &Outgoing, report: &Arc<Report>) -> Result<(), Refused> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let sent = self.0.send(
            BaseRecord::with_opaque_to(record.topic, Arc::clone(report))
                .key(&record.key)
                .payload(&record.value)
                .headers(headers),
        );
        match sent {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(Refused::Full),
            Err((error, _)) => Err(Refused::Error(error)),
        }
    }

    fn reason(&self, error: &KafkaError) -> ProduceError {
        if let Some(why) = self.fatal() {
            return ProduceError::Fatal(why);
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => ProduceError::TooLarge,
            Some(code) => ProduceError::Transient(code.to_string()),
            None => ProduceError::Transient(error.to_string()),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.0.in_flight_count()).finish()
    }
}

/// Records of one call that are on their way.
pub struct Queued {
    producer: Producer,
    report: Arc<Report>,
}

impl Queued {
    /// Waits until every one of them is acknowledged or given up.
    ///
    /// # Errors
    /// When one was not acknowledged: then all are to be sent again.
    pub async fn done(self) -> Result<(), ProduceError> {
        self.report.done().await;
        match self.report.failure() {
            None => Ok(()),
            Some(error) => Err(self.producer.reason(&error)),
        }
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").field("left", &self.report.left).finish_non_exhaustive()
    }
}

/// Why a record was not taken into the queue.
enum Refused {
    Full,
    Error(KafkaError),
}

/// What the delivery reports of the records of one call add up to.
struct Report {
    left: AtomicUsize,
    /// The first failure, and whether that record may be in the log after all.
    failed: Mutex<Option<(KafkaError, Fate)>>,
    done: Notify,
}

impl Report {
    fn for_records(count: usize) -> Self {
        Self { left: AtomicUsize::new(count), failed: Mutex::default(), done: Notify::new() }
    }

    fn add(&self, failed: Option<(KafkaError, Fate)>) {
        if let Some(failed) = failed {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn done(&self) {
        // A notification before the wait is kept, so none is lost; the loop is for the one that a future release may add.
        while self.left.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }

    fn failure(&self) -> Option<KafkaError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(error, _)| error.clone())
    }

    fn take(&self) -> Delivery {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Delivery::Persisted,
            Some((error, Fate::NotPersisted)) => Delivery::NotPersisted(error.to_string()),
            Some((_, Fate::PossiblyPersisted | Fate::Persisted)) => Delivery::Unknown,
        }
    }
}

/// Takes the delivery reports on the producer's own thread.
struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Arc<Report>) {
        report.add(match result {
            Ok(_) => None,
            Err((error, message)) => Some((error.clone(), fate(message))),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Event, Keyring, event_record};

    fn settings(timeout: u64) -> ProducerSettings {
        ProducerSettings { message_timeout: Duration::from_millis(timeout), linger: Duration::ZERO }
    }

    fn record() -> Outgoing {
        let event = Event::Status { user_id: "bob".parse().unwrap(), status: "away".into(), version: 2 };
        event_record(&Keyring::for_tests("k", [1; 32]), &event, None, None, None)
    }

    #[tokio::test]
    async fn a_record_that_no_broker_took_is_not_persisted() {
        // Port 9 is discard: nobody listens there.
        let producer =
            Producer::start(&KafkaSettings::plaintext("127.0.0.1:9"), "test", settings(300)).unwrap();
        assert!(matches!(producer.send(&record()).await, Delivery::NotPersisted(_)));
        let error = producer.send_all(&[record(), record()]).await.unwrap_err();
        assert!(matches!(error, ProduceError::Transient(_)), "{error}");
    }

    #[tokio::test]
    async fn the_last_report_ends_the_wait_and_the_first_failure_is_kept() {
        let report = Arc::new(Report::for_records(2));
        report.add(Some((
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut),
            Fate::PossiblyPersisted,
        )));
        report.add(None);
        report.done().await;
        assert_eq!(report.take(), Delivery::Unknown);
        assert!(report.failure().is_some());
    }
}
