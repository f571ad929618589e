//! Reading what stands in topics now, once, from a place to the end: for people's tools, not for services.

use std::{
    collections::HashMap,
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use super::{KafkaFailure, KafkaSettings, RecordView, log::LogContext};

/// How long one question to the brokers may take.
const ASK: Duration = Duration::from_secs(10);
/// How long the next record may take while there are some before the end.
const NEXT: Duration = Duration::from_secs(30);

/// A reader of topics: no group, nothing committed. Blocks its thread.
pub struct Scan {
    consumer: BaseConsumer<LogContext>,
    /// First offset and end of every partition, as they were at the start.
    ranges: HashMap<(String, i32), (i64, i64)>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the oldest record.
    Beginning,
    /// At the first record of this time, milliseconds since 1970, or later.
    Time(i64),
    /// Behind the newest record: only what comes from now on.
    End,
}

impl Scan {
    /// Looks at these topics and stands at the place where reading begins. Topics that do not exist are left out.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn start(kafka: &KafkaSettings, topics: &[&str], from: From) -> Result<Self, KafkaFailure> {
        let failed = |error: KafkaError| KafkaFailure(error.to_string());
        let mut config = kafka.client("parley-tool");
        // Never joined, never committed: librdkafka wants a name all the same.
        config.set("group.id", "parley-tool").set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "false").set("fetch.wait.max.ms", "50");
        let consumer: BaseConsumer<LogContext> = config.create_with_context(LogContext).map_err(failed)?;
        let mut ranges = HashMap::new();
        let mut places = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), ASK).map_err(failed)?;
            let found = metadata.topics().iter().filter(|found| found.error().is_none());
            for partition in found.flat_map(|topic| topic.partitions()) {
                let (low, high) = watermarks(&consumer, topic, partition.id())?;
                ranges.insert(((*topic).to_owned(), partition.id()), (low, high));
                let place = if from == From::End { high } else { low };
                places.add_partition_offset(topic, partition.id(), Offset::Offset(place)).map_err(failed)?;
            }
        }
        if let From::Time(since) = from {
            let mut asked = TopicPartitionList::new();
            for (topic, partition) in ranges.keys() {
                asked.add_partition_offset(topic, *partition, Offset::Offset(since)).map_err(failed)?;
            }
            let found = consumer.offsets_for_times(asked, ASK).map_err(failed)?;
            places = TopicPartitionList::new();
            for element in found.elements() {
                let key = (element.topic().to_owned(), element.partition());
                let Some(range) = ranges.get_mut(&key) else { continue };
                // No record of that time or later: the end.
                let place = if let Offset::Offset(offset) = element.offset() { offset } else { range.1 };
                range.0 = place;
                places.add_partition_offset(&key.0, key.1, Offset::Offset(place)).map_err(failed)?;
            }
        }
        consumer.assign(&places).map_err(failed)?;
        Ok(Self { consumer, ranges })
    }

    /// Gives every record up to the ends as they were at the start, in order per partition, until `each` has enough.
    ///
    /// # Errors
    /// When the brokers stop to answer.
    pub fn to_end(
        &self,
        mut each: impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaFailure> {
        let mut open: HashMap<(String, i32), i64> = self
            .ranges
            .iter()
            .filter(|(_, (low, high))| low < high)
            .map(|(key, (_, high))| (key.clone(), *high))
            .collect();
        let mut last = Instant::now();
        while !open.is_empty() {
            let Some(record) = self.consumer.poll(Duration::from_millis(200)) else {
                // The last offsets of a partition can be gone, or no records at all (compaction, markers): its place tells.
                self.drop_finished(&mut open);
                if last.elapsed() > NEXT {
                    return Err(KafkaFailure("the brokers stopped sending records".to_owned()));
                }
                continue;
            };
            let Ok(record) = record else { continue };
            last = Instant::now();
            let key = (record.topic().to_owned(), record.partition());
            let Some(end) = open.get(&key).copied() else { continue };
            if record.offset() < end && each(&RecordView::of(&record)).is_break() {
                return Ok(());
            }
            if record.offset() + 1 >= end {
                open.remove(&key);
            }
        }
        Ok(())
    }

    fn drop_finished(&self, open: &mut HashMap<(String, i32), i64>) {
        let Ok(positions) = self.consumer.position() else { return };
        for element in positions.elements() {
            let key = (element.topic().to_owned(), element.partition());
            if let (Offset::Offset(offset), Some(end)) = (element.offset(), open.get(&key))
                && offset >= *end
            {
                open.remove(&key);
            }
        }
    }

    /// Gives every record that comes, until `each` has enough or the time is over. Whether it had enough.
    pub fn follow(
        &self,
        at_most: Duration,
        mut each: impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> bool {
        let start = Instant::now();
        while start.elapsed() < at_most {
            if let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(100))
                && each(&RecordView::of(&record)).is_break()
            {
                return true;
            }
        }
        false
    }
}

/// First offset and end of a partition. Tried again for a while: a fresh topic's brokers agree on its leaders a moment later.
fn watermarks(
    consumer: &BaseConsumer<LogContext>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaFailure> {
    let start = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, ASK) {
            Ok(range) => return Ok(range),
            Err(error) if start.elapsed() > ASK => return Err(KafkaFailure(error.to_string())),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("partitions", &self.ranges.len()).finish_non_exhaustive()
    }
}
