//! The consumer of every first example: one partition, one record at a time, its offset committed after it. No service reads
//! like this; the load generator measures what it costs.

use std::{fmt, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
};

use super::{Held, KafkaFailure, KafkaSettings, log::LogContext};

/// Reads one partition. Blocks its thread.
pub struct Simple {
    consumer: BaseConsumer<LogContext>,
    topic: String,
    partition: i32,
}

impl Simple {
    /// Reads from `offset` on; commits go to `group`, which has no members.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn start(
        kafka: &KafkaSettings,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Self, KafkaFailure> {
        let failed = |error: KafkaError| KafkaFailure(error.to_string());
        let mut config = kafka.client("parley-simple");
        config.set("group.id", group).set("enable.auto.commit", "false");
        let consumer: BaseConsumer<LogContext> = config.create_with_context(LogContext).map_err(failed)?;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
        consumer.assign(&place).map_err(failed)?;
        Ok(Self { consumer, topic: topic.to_owned(), partition })
    }

    /// The next record, when it comes in time.
    pub fn next(&self, at_most: Duration) -> Option<Held<'_>> {
        self.consumer.poll(at_most)?.ok().map(Held)
    }

    /// Commits everything up to this offset, itself included, and waits for the broker's answer.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub fn commit(&self, offset: i64) -> Result<(), KafkaFailure> {
        let failed = |error: KafkaError| KafkaFailure(error.to_string());
        let mut done = TopicPartitionList::new();
        done.add_partition_offset(&self.topic, self.partition, Offset::Offset(offset + 1)).map_err(failed)?;
        self.consumer.commit(&done, CommitMode::Sync).map_err(failed)
    }
}

impl fmt::Debug for Simple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simple")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
