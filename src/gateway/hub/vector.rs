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
    /// The newest broker timestamp handled, and those of the records that wait, for a cursor by time.
    newest: i64,
    /// The end of an event with the present cursor; made when first needed.
    line: Option<Bytes>,
}

impl Vector {
    pub(crate) fn new() -> Self {
        Self { epoch: Epoch::none(), next: Vec::new(), pins: BTreeMap::new(), newest: 0, line: None }
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
        if let Some(count) = self.pins.get_mut(&(partition, offset)) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&(partition, offset));
            }
            self.line = None;
        }
    }

    pub(crate) fn is_pinned(&self, partition: usize, offset: i64) -> bool {
        self.pins.contains_key(&(partition, offset))
    }

    /// What has been sent to live streams: the next offset of each partition, or its oldest waiting one.
    pub(crate) fn sent(&self) -> Vec<i64> {
        let mut sent = self.next.clone();
        for (partition, offset) in self.pins.keys() {
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
        let newest = if self.pins.is_empty() { self.newest } else { self.newest - 60_000 };
        sse::id_line(&Cursor::text(self.epoch, offsets, newest))
    }
}

#[cfg(test)]
mod tests {
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
}
