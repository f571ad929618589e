use std::{collections::VecDeque, sync::Arc};

use super::record::Record;

/// The newest records of every partition, for streams that come back soon. Bounded in bytes over all partitions together; the
/// oldest go first. Each shard has its own list of references to records that all shards share, so that no lock is needed.
#[derive(Debug)]
pub(crate) struct Ring {
    partitions: Vec<Part>,
    /// Which partition each kept record is of, oldest first.
    order: VecDeque<usize>,
    bytes: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Part {
    /// Every record with at least this offset that was seen is kept.
    start: i64,
    records: VecDeque<Arc<Record>>,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { partitions: Vec::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    /// A partition is read from `offset` on: what was kept of it before does not connect to that.
    pub(crate) fn begin(&mut self, partition: usize, offset: i64) {
        if self.partitions.len() <= partition {
            self.partitions.resize_with(partition + 1, Part::default);
        }
        let part = &mut self.partitions[partition];
        self.bytes -= part.records.iter().map(|record| record.cost()).sum::<usize>();
        *part = Part { start: offset, records: VecDeque::new() };
        self.order.retain(|kept| *kept != partition);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Keeps a record. Its partition must have begun.
    pub(crate) fn push(&mut self, record: &Arc<Record>) {
        let Some(part) = self.partitions.get_mut(record.partition) else { return };
        part.records.push_back(Arc::clone(record));
        self.order.push_back(record.partition);
        self.bytes += record.cost();
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else { return };
            let part = &mut self.partitions[oldest];
            if let Some(gone) = part.records.pop_front() {
                part.start = gone.offset + 1;
                self.bytes -= gone.cost();
            }
        }
    }

    /// From which offset on everything of a partition is here.
    pub(crate) fn start(&self, partition: usize) -> i64 {
        self.partitions.get(partition).map_or(0, |part| part.start)
    }

    /// The kept records of a partition from this offset on, in order.
    pub(crate) fn from(&self, partition: usize, offset: i64) -> impl Iterator<Item = &Arc<Record>> {
        let records = self.partitions.get(partition).map(|part| &part.records);
        let first = records.map_or(0, |records| records.partition_point(|record| record.offset < offset));
        records.into_iter().flat_map(move |records| records.range(first..))
    }

    /// The first kept offset of each partition whose record is at least this old; `None` when a partition may have had an
    /// older one that is no longer here.
    pub(crate) fn offsets_at(&self, next: &[i64], millis: i64) -> Option<Vec<i64>> {
        let mut offsets = Vec::with_capacity(next.len());
        for (partition, end) in next.iter().enumerate() {
            let part = self.partitions.get(partition)?;
            let at = part.records.partition_point(|record| record.stamped < millis);
            if at == 0 && part.start > 0 {
                return None;
            }
            offsets.push(part.records.get(at).map_or(*end, |record| record.offset));
        }
        Some(offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::tests::message, *};

    fn offsets(ring: &Ring, partition: usize, from: i64) -> Vec<i64> {
        ring.from(partition, from).map(|record| record.offset).collect()
    }

    #[test]
    fn the_oldest_of_all_partitions_go_first() {
        let mut ring = Ring::new(message(0, 5, 1, 1).cost() * 3);
        ring.begin(0, 5);
        ring.begin(1, 0);
        for (partition, offset) in [(0, 5), (1, 0), (0, 7)] {
            ring.push(&Arc::new(message(partition, offset, 1, 1)));
        }
        assert_eq!((ring.start(0), offsets(&ring, 0, 0)), (5, vec![5, 7]));
        assert_eq!(offsets(&ring, 0, 6), [7]);
        ring.push(&Arc::new(message(1, 1, 1, 1)));
        assert_eq!((ring.start(0), ring.start(1)), (6, 0), "offset 5 of partition 0 was the oldest");
        ring.begin(1, 9);
        assert_eq!((ring.start(1), offsets(&ring, 1, 0)), (9, vec![]));
        assert_eq!(ring.from(7, 0).count(), 0);
    }

    #[test]
    fn times_lead_to_offsets_while_the_past_is_here() {
        let mut ring = Ring::new(1 << 20);
        ring.begin(0, 0);
        ring.begin(1, 3);
        for (partition, offset) in [(0, 0), (0, 1), (1, 3), (1, 4)] {
            ring.push(&Arc::new(message(partition, offset, 1, 1)));
        }
        assert_eq!(ring.offsets_at(&[2, 5], 1_004), Some(vec![2, 4]));
        assert_eq!(ring.offsets_at(&[2, 5], 1_000), None, "partition 1 had older ones");
    }
}
