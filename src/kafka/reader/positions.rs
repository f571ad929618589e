use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where one partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The offset of the record that will be handed over next.
    pub next: i64,
    /// The offset after the newest record, as last told by its leader (a few seconds old).
    pub end: i64,
}

impl Position {
    /// Records that wait to be read.
    pub fn lag(&self) -> i64 {
        (self.end - self.next).max(0)
    }
}

/// The positions of all partitions that are read, shared between the reader's parts and whoever measures. Cheap to clone.
/// The lock is held for a map access only; the polling thread takes it once a record, and hardly anybody else does.
#[derive(Debug, Clone, Default)]
pub struct Positions(Arc<Mutex<BTreeMap<(&'static str, i32), Position>>>);

impl Positions {
    fn map(&self) -> MutexGuard<'_, BTreeMap<(&'static str, i32), Position>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One partition's position; `None` when it is not read.
    pub fn get(&self, topic: &'static str, partition: i32) -> Option<Position> {
        self.map().get(&(topic, partition)).copied()
    }

    /// The sum of the lags of a topic's partitions.
    pub fn lag(&self, topic: &'static str) -> i64 {
        self.map().iter().filter(|((name, _), _)| *name == topic).map(|(_, position)| position.lag()).sum()
    }

    pub(super) fn all(&self) -> Vec<(&'static str, i32)> {
        self.map().keys().copied().collect()
    }

    pub(super) fn begin(&self, topic: &'static str, partition: i32, next: i64) {
        self.map().insert((topic, partition), Position { next, end: next });
    }

    pub(super) fn remove_topic(&self, topic: &'static str) {
        self.map().retain(|(name, _), _| *name != topic);
    }

    /// Moves on to the offset after `offset`; gives the offset that was expected.
    pub(super) fn advance(&self, topic: &'static str, partition: i32, offset: i64) -> Option<i64> {
        let mut map = self.map();
        let position = map.get_mut(&(topic, partition))?;
        let expected = position.next;
        position.next = offset + 1;
        position.end = position.end.max(position.next);
        Some(expected)
    }

    pub(super) fn set_end(&self, topic: &str, partition: i32, end: i64) {
        let mut map = self.map();
        let found = map.iter_mut().find(|((name, p), _)| *name == topic && *p == partition);
        if let Some((_, position)) = found {
            position.end = end.max(position.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_was_announced_and_not_yet_read() {
        let positions = Positions::default();
        positions.begin("t", 0, 5);
        positions.begin("t", 1, 0);
        positions.set_end("t", 0, 8);
        assert_eq!(positions.lag("t"), 3);
        assert_eq!(positions.advance("t", 0, 5), Some(5));
        assert_eq!(positions.advance("t", 0, 7), Some(6), "offset 6 is missing");
        assert_eq!(positions.get("t", 0), Some(Position { next: 8, end: 8 }));
        assert_eq!(positions.advance("other", 0, 1), None);
        positions.remove_topic("t");
        assert_eq!(positions.all(), []);
    }
}
