use std::{sync::Arc, sync::mpsc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    types::RDKafkaErrorCode,
};
use tokio::sync::oneshot;

use super::{Handler, Incarnation, Positions};
use crate::kafka::{KafkaSettings, RecordView, admin::ApiError, log::LogContext};

/// How long a poll waits for a record, and so how late a command is seen.
const POLL: Duration = Duration::from_millis(100);

impl ConsumerContext for LogContext {}

pub(super) enum Command {
    /// Read these partitions too, from these offsets. Answered when it is so, or dropped when it cannot be.
    Assign {
        topic: &'static str,
        incarnation: Arc<Incarnation>,
        partitions: Vec<(i32, i64)>,
        done: oneshot::Sender<()>,
    },
    /// Stop reading this topic.
    Forget(&'static str),
    Stop,
}

/// The thread's side: polls, and hands over.
pub(super) struct Poller<H> {
    topics: Vec<&'static str>,
    consumer: BaseConsumer<LogContext>,
    positions: Positions,
    handler: H,
}

/// A consumer that joins no group. librdkafka wants a group's name even so; nothing is committed under it.
pub(super) fn consumer(
    settings: &KafkaSettings,
    reset: &str,
    extra: &[(&str, &str)],
) -> Result<BaseConsumer<LogContext>, ApiError> {
    let mut config = settings.client("parley-gateway");
    config
        .set("group.id", "parley-gateway")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", reset)
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.error.backoff.ms", "200")
        // A move of leadership is noticed by an error at once; this is for what makes none.
        .set("topic.metadata.refresh.interval.ms", "10000");
    for (name, value) in extra {
        config.set(*name, *value);
    }
    config
        .create_with_context(LogContext)
        .map_err(|error| ApiError::new(RDKafkaErrorCode::InvalidArgument, error.to_string()))
}

impl<H: Handler> Poller<H> {
    pub(super) fn new(
        settings: &KafkaSettings,
        topics: Vec<&'static str>,
        positions: Positions,
        handler: H,
    ) -> Result<Self, ApiError> {
        // What waits inside librdkafka while the handler is busy: 16 MB are some seconds of a busy system.
        let extra = [("queued.max.messages.kbytes", "16384")];
        Ok(Self { topics, consumer: consumer(settings, "earliest", &extra)?, positions, handler })
    }

    pub(super) fn spawn(
        mut self,
        orders: mpsc::Receiver<Command>,
    ) -> Result<std::thread::JoinHandle<()>, ApiError> {
        std::thread::Builder::new()
            .name("kafka-reader".into())
            .spawn(move || self.run(&orders))
            .map_err(|error| ApiError::new(RDKafkaErrorCode::Fail, format!("cannot start a thread: {error}")))
    }

    fn run(&mut self, orders: &mpsc::Receiver<Command>) {
        loop {
            match orders.try_recv() {
                Ok(Command::Assign { topic, incarnation, partitions, done }) => {
                    if self.assign(topic, &incarnation, &partitions) {
                        // A watcher that is gone needs no answer.
                        let _ = done.send(());
                    }
                }
                Ok(Command::Forget(topic)) => self.forget(topic),
                Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) => self.poll(),
            }
        }
    }

    fn poll(&mut self) {
        match self.consumer.poll(POLL) {
            None => {}
            Some(Err(error)) => tracing::debug!(%error, "reading"),
            Some(Ok(message)) => {
                let record = RecordView::of(&message);
                let named = self.topics.iter().find(|topic| **topic == record.record.topic);
                let Some(topic) = named.copied() else { return };
                let (partition, offset) = (record.partition, record.offset);
                let Some(expected) = self.positions.advance(topic, partition, offset) else { return };
                if expected != offset {
                    tracing::warn!(
                        topic,
                        partition,
                        expected,
                        offset,
                        "records were lost: reading goes on elsewhere"
                    );
                    self.handler.lost(topic, partition, offset);
                }
                self.handler.record(topic, record);
            }
        }
    }

    /// Tells the handler, then begins to read.
    fn assign(
        &mut self,
        topic: &'static str,
        incarnation: &Arc<Incarnation>,
        partitions: &[(i32, i64)],
    ) -> bool {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            // Numeric offsets are always accepted here.
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            self.positions.begin(topic, *partition, *offset);
            self.handler.begins(topic, incarnation, *partition, *offset);
        }
        match self.consumer.incremental_assign(&list) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(topic, %error, "cannot read new partitions; trying again");
                false
            }
        }
    }

    fn forget(&mut self, topic: &'static str) {
        let mut list = TopicPartitionList::new();
        for (_, partition) in self.positions.all().into_iter().filter(|(name, _)| *name == topic) {
            list.add_partition(topic, partition);
        }
        if list.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(&list)
        {
            tracing::debug!(topic, %error, "unassigning");
        }
        self.positions.remove_topic(topic);
        self.handler.gone(topic);
    }
}
