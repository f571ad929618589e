use std::collections::BTreeMap;

use bytes::Bytes;

use crate::gateway::sse::{self, Cursor, Epoch};

/// How far a shard has come in each partition, less what waits: the cursor of every live stream of the shard.
///
/// A record that waits (for a gap's repair, for a look-up of members) *pins* its partition: cursors carry the offset of the
/// oldest such record, so that others flow on and a resume repeats rather than skips.
#[derive(Debug)]
pub(crate) struct Vector {
    epoch: Epoch,
    next: Vec<i64>,
    /// Waiting offsets by partition, with how many wait at each.
    pins: BTreeMap<(usize, i64), u32>,
    /// Records that were sent, but not all that they bring about: they hold cursors back like those that wait.
    held: BTreeMap<(usize, i64), u32>,
    /// The newest broker timestamp handled, and those of the records that wait, for a cursor by time.
    newest: i64,
    /// The end of an event with the present cursor; made when first needed.
    line: Option<Bytes>,
}

impl Vector {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Epoch::none(),
            next: Vec::new(),
            pins: BTreeMap::new(),
            held: BTreeMap::new(),
            newest: 0,
            line: None,
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The next offset of each partition, whatever waits.
    pub(crate) fn next(&self) -> &[i64] {
        &self.next
    }

    /// A partition is read from this offset on. Gives `false` when it is of another topic than what was read so far: then
    /// everything else is forgotten.
    pub(crate) fn begin(&mut self, epoch: Epoch, partition: usize, offset: i64) -> bool {
        let same = self.epoch == epoch || self.next.is_empty();
        if !same {
            *self = Self::new();
        }
        self.epoch = epoch;
        if self.next.len() <= partition {
            self.next.resize(partition + 1, 0);
        }
        self.next[partition] = offset;
        self.line = None;
        same
    }

    pub(crate) fn advance(&mut self, partition: usize, offset: i64, stamped: i64) {
        if let Some(next) = self.next.get_mut(partition) {
            *next = offset + 1;
            self.newest = self.newest.max(stamped);
            self.line = None;
        }
    }

    pub(crate) fn pin(&mut self, partition: usize, offset: i64) {
        *self.pins.entry((partition, offset)).or_default() += 1;
        self.line = None;
    }

    pub(crate) fn unpin(&mut self, partition: usize, offset: i64) {
        release(&mut self.pins, partition, offset);
        self.line = None;
    }

    /// Whether this record waits.
    pub(crate) fn is_pinned(&self, partition: usize, offset: i64) -> bool {
        self.pins.contains_key(&(partition, offset))
    }

    /// A record was sent; cursors stay before it until it is let go.
    pub(crate) fn hold(&mut self, partition: usize, offset: i64) {
        *self.held.entry((partition, offset)).or_default() += 1;
        self.line = None;
    }

    pub(crate) fn let_go(&mut self, partition: usize, offset: i64) {
        release(&mut self.held, partition, offset);
        self.line = None;
    }

    /// What has been sent to live streams: the next offset of each partition, or the oldest that holds it back.
    pub(crate) fn sent(&self) -> Vec<i64> {
        let mut sent = self.next.clone();
        for (partition, offset) in self.pins.keys().chain(self.held.keys()) {
            if let Some(next) = sent.get_mut(*partition) {
                *next = (*next).min(*offset);
            }
        }
        sent
    }

    /// The end of an event with the cursor of live streams.
    pub(crate) fn line(&mut self) -> Bytes {
        if let Some(line) = &self.line {
            return line.clone();
        }
        let line = self.line_of(&self.sent());
        self.line = Some(line.clone());
        line
    }

    /// The end of an event with the cursor of these offsets.
    pub(crate) fn line_of(&self, offsets: &[i64]) -> Bytes {
        // While something waits, a time must lie before it; how long before is not kept, so the whole bound of a wait.
        let waits = !self.pins.is_empty() || !self.held.is_empty();
        let newest = if waits { self.newest - 60_000 } else { self.newest };
        sse::id_line(&Cursor::text(self.epoch, offsets, newest))
    }
}

/// The further of two positions in each partition. Where only one knows a partition, that one's: what a position does not know
/// begins after it.
pub(crate) fn further(mut one: Vec<i64>, other: &[i64]) -> Vec<i64> {
    one.resize(one.len().max(other.len()), 0);
    for (mine, theirs) in one.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
    one
}

fn release(counts: &mut BTreeMap<(usize, i64), u32>, partition: usize, offset: i64) {
    if let Some(count) = counts.get_mut(&(partition, offset)) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&(partition, offset));
        }
    }
}

/// In words: merging positions is commutative, associative and idempotent, knows every partition that one of them knows, and never
/// goes back. What a shard's position has passed once stays passed, whatever waits and whatever is let go; it passes nothing that waits.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_waits_holds_its_own_partition_back_and_no_other() {
        let epoch = Epoch::new("c", "t");
        let mut vector = Vector::new();
        assert!(vector.begin(epoch, 0, 5));
        assert!(vector.begin(epoch, 1, 0));
        vector.advance(0, 5, 1);
        vector.pin(0, 5);
        vector.advance(0, 6, 2);
        vector.pin(0, 6);
        vector.advance(1, 0, 3);
        assert_eq!((vector.next(), vector.sent()), ([7, 1].as_slice(), vec![5, 1]));
        vector.unpin(0, 5);
        assert_eq!(vector.sent(), [6, 1]);
        let line = vector.line();
        vector.unpin(0, 6);
        assert_ne!(vector.line(), line);
        assert!(!vector.begin(Epoch::new("c", "other"), 0, 0), "another topic");
        assert_eq!(vector.next(), [0]);
    }

    fn position() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(0_i64..100, 0..5)
    }

    proptest! {
        #[test]
        fn positions_merge_in_any_order_and_never_go_back(one in position(), two in position(), three in position()) {
            let merged = further(one.clone(), &two);
            prop_assert_eq!(&merged, &further(two.clone(), &one));
            prop_assert_eq!(further(merged.clone(), &three), further(one.clone(), &further(two.clone(), &three)));
            prop_assert_eq!(&further(merged.clone(), &one), &merged);
            prop_assert_eq!(further(one.clone(), &one), one.clone());
            prop_assert_eq!(merged.len(), one.len().max(two.len()));
            for from in [&one, &two] {
                prop_assert!(from.iter().zip(&merged).all(|(before, after)| before <= after));
            }
        }

        #[test]
        fn a_position_stays_where_it_is_or_goes_on(steps in prop::collection::vec((0_usize..3, 0_u8..5, any::<usize>()), 1..60)) {
            let mut vector = Vector::new();
            let mut waits: Vec<(bool, usize, i64)> = Vec::new();
            for partition in 0..3 {
                vector.begin(Epoch::new("c", "t"), partition, 5);
            }
            let mut before = vector.sent();
            for (partition, what, pick) in steps {
                let offset = vector.next()[partition];
                if what < 4 || waits.is_empty() {
                    vector.advance(partition, offset, 0);
                }
                match what {
                    0 => vector.pin(partition, offset),
                    1 => vector.hold(partition, offset),
                    4 if !waits.is_empty() => match waits.remove(pick % waits.len()) {
                        (true, partition, offset) => vector.unpin(partition, offset),
                        (false, partition, offset) => vector.let_go(partition, offset),
                    },
                    _ => {}
                }
                if what < 2 {
                    waits.push((what == 0, partition, offset));
                }
                let sent = vector.sent();
                prop_assert_eq!(&further(before, &sent), &sent);
                prop_assert!(waits.iter().all(|(_, partition, offset)| sent[*partition] <= *offset));
                prop_assert!(sent.iter().zip(vector.next()).all(|(sent, next)| sent <= next));
                before = sent;
            }
            for (waited, partition, offset) in waits {
                if waited { vector.unpin(partition, offset) } else { vector.let_go(partition, offset) }
            }
            prop_assert_eq!(vector.sent(), vector.next());
        }
    }
}
