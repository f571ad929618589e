use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::gateway::hub::record::Record;

/// Records of one room that may wait for one look-up.
const MOST: usize = 5_000;
/// Their bytes: 500 messages of 16 KB, which is five times what a room may bring in a second.
const MOST_BYTES: usize = 8 << 20;
/// Bytes that may wait in all rooms of a shard together.
const MOST_IN_ALL: usize = 64 << 20;

/// Bytes that wait in all rooms of a shard. Cheap to clone; atomic only because a shard may move between threads.
pub(super) type InAll = Arc<AtomicUsize>;

/// Records of one room that wait for a look-up, in order.
#[derive(Debug)]
pub(super) struct Waiting {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    in_all: InAll,
}

impl Waiting {
    pub(super) fn new(in_all: &InAll) -> Self {
        Self { records: VecDeque::new(), bytes: 0, in_all: Arc::clone(in_all) }
    }

    /// A room that overtakes PostgreSQL by more has its streams closed, to resume.
    pub(super) fn is_too_much(&self) -> bool {
        self.records.len() > MOST || self.bytes > MOST_BYTES
    }

    /// Whether all rooms together do: then the one in which most waits has.
    pub(super) fn all_are_too_much(&self) -> bool {
        self.in_all.load(Ordering::Relaxed) > MOST_IN_ALL
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push_back(&mut self, record: Arc<Record>) {
        self.count(record.cost());
        self.records.push_back(record);
    }

    pub(super) fn push_front(&mut self, record: Arc<Record>) {
        self.count(record.cost());
        self.records.push_front(record);
    }

    pub(super) fn pop_front(&mut self) -> Option<Arc<Record>> {
        let record = self.records.pop_front()?;
        self.bytes -= record.cost();
        self.in_all.fetch_sub(record.cost(), Ordering::Relaxed);
        Some(record)
    }

    pub(super) fn front(&self) -> Option<&Arc<Record>> {
        self.records.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.iter()
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.in_all.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    fn count(&mut self, cost: usize) {
        self.bytes += cost;
        self.in_all.fetch_add(cost, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Lookup, Wanted,
            tests::{interests, live, open, put, session, shard},
        },
        *,
    };
    use crate::gateway::hub::record::tests::message;

    /// A megabyte.
    fn long(offset: i64, room_no: u128, seq: i64) -> Record {
        Record { head: bytes::Bytes::from(vec![b'x'; 1 << 20]), ..message(0, offset, room_no, seq) }
    }

    /// Regression: the room that brought the next record was given up, however small.
    #[test]
    fn when_all_wait_for_too_much_the_largest_room_pays() {
        let mut shard = shard();
        // Nine rooms of seven megabytes, and one of one; each has a stream of its own.
        for n in 1..=10_u8 {
            open(&mut shard, u64::from(n), Wanted::Nothing);
            shard.identify(u64::from(n), Some(session(&format!("user-{n}"))));
            shard.interests_found(u64::from(n), Ok(interests(&[(u128::from(n), 0, 5)])));
        }
        shard.take_lookups();
        let mut offset = 10;
        for room in 1..=9 {
            for n in 0..7 {
                put(&mut shard, long(offset, room, 7 + n));
                offset += 1;
            }
        }
        assert_eq!((shard.streams(), shard.waiting.load(Ordering::Relaxed) >> 20), (10, 63));
        put(&mut shard, long(offset, 10, 7));
        put(&mut shard, message(0, offset + 1, 10, 8));
        assert_eq!((shard.streams(), shard.waiting.load(Ordering::Relaxed) >> 20), (9, 57));
    }

    /// Message 6 is missing and being read from PostgreSQL, while long ones come.
    #[test]
    fn long_messages_that_wait_for_a_room_are_bounded_by_their_bytes() {
        let mut shard = shard();
        live(&mut shard, 1, Wanted::Nothing);
        for n in 0..7 {
            put(&mut shard, long(10 + n, 1, 7 + n));
        }
        assert!(matches!(shard.take_lookups()[..], [Lookup::Gap { .. }]));
        assert_eq!((shard.streams(), shard.waiting.load(Ordering::Relaxed) >> 20), (1, 7));
        put(&mut shard, long(17, 1, 14));
        assert_eq!(shard.streams(), 0, "it comes back, and is told then");
        assert_eq!(shard.waiting.load(Ordering::Relaxed), 0, "nothing is kept for it");
    }

    #[test]
    fn all_rooms_together_are_bounded_too() {
        let mut shard = shard();
        open(&mut shard, 1, Wanted::Nothing);
        shard.identify(1, Some(session("bob")));
        let rooms: Vec<_> = (1..=20).map(|room| (room, 0, 5)).collect();
        shard.interests_found(1, Ok(interests(&rooms)));
        let mut most = 0;
        for (offset, (room_no, n)) in (10..).zip((0..5).flat_map(|n| (1..=20).map(move |room| (room, n)))) {
            put(&mut shard, long(offset, room_no, 7 + n));
            most = most.max(shard.waiting.load(Ordering::Relaxed));
        }
        assert!((60 << 20..=65 << 20).contains(&most), "{} MB waited", most >> 20);
        assert_eq!(shard.streams(), 0, "it comes back, and is told then");
    }

    #[test]
    fn what_is_taken_out_or_dropped_counts_no_more() {
        let in_all = InAll::default();
        let mut waiting = Waiting::new(&in_all);
        let records = [1, 2, 3].map(|n| Arc::new(message(0, n, 1, n)));
        waiting.push_back(Arc::clone(&records[1]));
        waiting.push_back(Arc::clone(&records[2]));
        waiting.push_front(Arc::clone(&records[0]));
        assert_eq!(waiting.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 3]);
        let cost = in_all.load(Ordering::Relaxed);
        assert_eq!(waiting.pop_front().unwrap().offset, 1);
        assert_eq!(in_all.load(Ordering::Relaxed), cost / 3 * 2);
        drop(waiting);
        assert_eq!(in_all.load(Ordering::Relaxed), 0);
    }
}
