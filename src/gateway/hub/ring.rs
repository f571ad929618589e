use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::record::{Record, Route};
use crate::ids::{RoomId, Seq};

/// Records of one room that are looked at for its highest number: the log may have them out of order, but not by more.
const LOOKED_AT: usize = 1_000;

/// The newest records of every partition, for streams that come back soon. Bounded in bytes over all partitions together; the
/// oldest go first. Each shard has its own list of references to records that all shards share, so that no lock is needed.
#[derive(Debug)]
pub(crate) struct Ring {
    partitions: Vec<Part>,
    /// Which partition each kept record is of, oldest first.
    order: VecDeque<usize>,
    bytes: usize,
    limit: usize,
    /// Where the kept messages of each room stand, oldest first.
    rooms: HashMap<RoomId, VecDeque<Place>>,
}

/// Where the log has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    partition: usize,
    offset: i64,
    seq: Seq,
}

#[derive(Debug, Default)]
struct Part {
    /// Every record with at least this offset that was seen is kept.
    start: i64,
    records: VecDeque<Arc<Record>>,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { partitions: Vec::new(), order: VecDeque::new(), bytes: 0, limit, rooms: HashMap::new() }
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
        self.rooms.retain(|_, places| {
            places.retain(|place| place.partition != partition);
            !places.is_empty()
        });
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Keeps a record. Its partition must have begun.
    pub(crate) fn push(&mut self, record: &Arc<Record>) {
        let Some(part) = self.partitions.get_mut(record.partition) else { return };
        part.records.push_back(Arc::clone(record));
        self.order.push_back(record.partition);
        if let Route::Message { room, seq, .. } = record.route {
            let place = Place { partition: record.partition, offset: record.offset, seq };
            self.rooms.entry(room).or_default().push_back(place);
        }
        self.bytes += record.cost();
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else { return };
            let part = &mut self.partitions[oldest];
            if let Some(gone) = part.records.pop_front() {
                part.start = gone.offset + 1;
                self.bytes -= gone.cost();
                self.forget(&gone);
            }
        }
    }

    fn forget(&mut self, gone: &Record) {
        let Route::Message { room, .. } = gone.route else { return };
        let Some(places) = self.rooms.get_mut(&room) else { return };
        // The first one, but for a room that has moved to another partition.
        let is_it = |place: &Place| (place.partition, place.offset) == (gone.partition, gone.offset);
        if let Some(at) = places.iter().position(is_it) {
            places.remove(at);
        }
        if places.is_empty() {
            self.rooms.remove(&room);
        }
    }

    /// The highest number of a room's messages that the log is known to have before these offsets. Whoever has had everything
    /// up to there has had it, and all below it.
    pub(crate) fn newest_before(&self, room: RoomId, offsets: &[i64]) -> Option<Seq> {
        let before = |place: &&Place| offsets.get(place.partition).is_some_and(|next| place.offset < *next);
        let places = self.rooms.get(&room)?;
        places.iter().rev().filter(before).take(LOOKED_AT).map(|place| place.seq).max()
    }

    /// The highest number of a room's messages that is kept here.
    pub(crate) fn newest(&self, room: RoomId) -> Option<Seq> {
        self.rooms.get(&room)?.iter().rev().take(LOOKED_AT).map(|place| place.seq).max()
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
    use super::{
        super::record::tests::{message, room},
        *,
    };

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
    fn a_rooms_numbers_are_known_as_long_as_they_are_kept() {
        let mut ring = Ring::new(message(0, 0, 1, 1).cost() * 4);
        ring.begin(0, 0);
        ring.begin(1, 0);
        let (one, two) = (room(1), room(2));
        for (partition, offset, in_room, seq) in [(0, 1, 1, 7), (0, 2, 1, 9), (1, 0, 2, 3), (0, 3, 1, 8)] {
            ring.push(&Arc::new(message(partition, offset, in_room, seq)));
        }
        assert_eq!((ring.newest(one), ring.newest(two)), (Some(Seq(9)), Some(Seq(3))));
        assert_eq!(ring.newest_before(one, &[4, 0]), Some(Seq(9)));
        assert_eq!(ring.newest_before(one, &[2, 0]), Some(Seq(7)));
        assert_eq!((ring.newest_before(one, &[1, 0]), ring.newest_before(two, &[4, 0])), (None, None));
        // The oldest two go.
        ring.push(&Arc::new(message(1, 1, 2, 4)));
        ring.push(&Arc::new(message(1, 2, 2, 5)));
        assert_eq!((ring.newest(one), ring.newest_before(one, &[3, 0])), (Some(Seq(8)), None));
        ring.begin(1, 9);
        assert_eq!((ring.newest(one), ring.newest(two)), (Some(Seq(8)), None));
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
