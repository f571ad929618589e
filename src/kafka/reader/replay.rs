use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaError, types::RDKafkaErrorCode,
};

use super::poll;
use crate::kafka::{KafkaSettings, RecordView};

/// A stretch of one partition: from `from` up to, not including, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// What one replay may cost.
#[derive(Debug, Clone, Copy)]
pub struct ReplayBounds {
    /// Records read, wanted or not.
    pub records: usize,
    /// Time.
    pub time: Duration,
}

/// Why a stretch could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Retention has taken the beginning.
    #[error("the records are no longer there")]
    Expired,
    /// It would cost more than the bounds allow.
    #[error("too many records to read again")]
    Overflow,
    /// Kafka does not answer.
    #[error("cannot read again: {0}")]
    Unavailable(String),
}

/// Reads stretches of a topic again, on demand.
#[derive(Debug, Clone)]
pub struct Replayer {
    settings: KafkaSettings,
}

impl Replayer {
    /// Nothing is connected until something is read.
    pub fn new(settings: KafkaSettings) -> Self {
        Self { settings }
    }

    /// Reads the ranges and gives each record to `take`, in the order of each partition. Blocks: run it where blocking is
    /// allowed. Makes a consumer of its own, some tens of milliseconds, so that it disturbs no other reading.
    ///
    /// # Errors
    /// When the beginning is gone, the bounds are passed, or Kafka does not answer.
    pub fn read(
        &self,
        topic: &str,
        ranges: &[Range],
        bounds: ReplayBounds,
        mut take: impl FnMut(RecordView<'_>),
    ) -> Result<(), ReplayError> {
        let wanted: i64 = ranges.iter().map(|range| (range.to - range.from).max(0)).sum();
        if wanted > i64::try_from(bounds.records).unwrap_or(i64::MAX) {
            return Err(ReplayError::Overflow);
        }
        let mut open: Vec<Range> = ranges.iter().copied().filter(|range| range.from < range.to).collect();
        if open.is_empty() {
            return Ok(());
        }
        let unavailable = |error: &dyn std::fmt::Display| ReplayError::Unavailable(error.to_string());
        let consumer = poll::consumer(&self.settings, "error", &[]).map_err(|error| unavailable(&error))?;
        let mut list = TopicPartitionList::new();
        for range in &open {
            list.add_partition_offset(topic, range.partition, Offset::Offset(range.from))
                .map_err(|error| unavailable(&error))?;
        }
        consumer.assign(&list).map_err(|error| unavailable(&error))?;
        let started = Instant::now();
        while !open.is_empty() {
            let left = bounds.time.checked_sub(started.elapsed()).ok_or(ReplayError::Overflow)?;
            match consumer.poll(left) {
                None => return Err(ReplayError::Overflow),
                Some(Err(KafkaError::MessageConsumption(code))) => match code {
                    RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                        return Err(ReplayError::Expired);
                    }
                    // Brokers come and go; the time bound ends it.
                    other => tracing::debug!(%other, "reading again"),
                },
                Some(Err(error)) => return Err(unavailable(&error)),
                Some(Ok(message)) => {
                    let record = RecordView::of(&message);
                    let Some(at) = open.iter().position(|range| range.partition == record.partition) else {
                        continue;
                    };
                    let (offset, to) = (record.offset, open[at].to);
                    if offset < to {
                        take(record);
                    }
                    if offset + 1 >= to {
                        open.swap_remove(at);
                    }
                }
            }
        }
        Ok(())
    }

    /// The offset after the newest record of each partition; fewer when there are fewer partitions. Blocks.
    ///
    /// # Errors
    /// When Kafka does not answer in time.
    pub fn ends(&self, topic: &str, partitions: i32, time: Duration) -> Result<Vec<i64>, ReplayError> {
        let unavailable = |error: &dyn std::fmt::Display| ReplayError::Unavailable(error.to_string());
        let consumer = poll::consumer(&self.settings, "error", &[]).map_err(|error| unavailable(&error))?;
        let metadata = consumer.fetch_metadata(Some(topic), time).map_err(|error| unavailable(&error))?;
        let there = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let there = i32::try_from(there).unwrap_or(i32::MAX);
        let end = |partition| {
            let marks = consumer.fetch_watermarks(topic, partition, time);
            marks.map(|(_, end)| end).map_err(|error| unavailable(&error))
        };
        (0..partitions.min(there)).map(end).collect()
    }

    /// The first offset of each partition whose record's timestamp is at least `since` (milliseconds since 1970), or the end.
    /// Blocks.
    ///
    /// # Errors
    /// When Kafka does not answer in time.
    pub fn offsets_at(
        &self,
        topic: &str,
        partitions: i32,
        since: i64,
        time: Duration,
    ) -> Result<Vec<i64>, ReplayError> {
        let unavailable = |error: &dyn std::fmt::Display| ReplayError::Unavailable(error.to_string());
        let consumer = poll::consumer(&self.settings, "error", &[]).map_err(|error| unavailable(&error))?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Offset(since))
                .map_err(|error| unavailable(&error))?;
        }
        let found = consumer.offsets_for_times(list, time).map_err(|error| unavailable(&error))?;
        let mut offsets = Vec::new();
        for partition in 0..partitions {
            let offset = found.find_partition(topic, partition).map(|element| element.offset());
            offsets.push(match offset {
                Some(Offset::Offset(offset)) => offset,
                _ => {
                    consumer.fetch_watermarks(topic, partition, time).map_err(|error| unavailable(&error))?.1
                }
            });
        }
        Ok(offsets)
    }
}
