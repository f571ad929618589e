use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Traced, record::Record};
use crate::{gateway::sse::Epoch, ids::SessionKey};

/// What Kafka's thread has for a shard. The queue is bounded: a shard that is behind holds the thread up, and with it the reading.
#[derive(Debug, Clone)]
pub(super) enum Feed {
    Begins { epoch: Epoch, partition: usize, offset: i64 },
    Lost { partition: usize, offset: i64 },
    Record(Arc<Record>, Option<Traced>),
    Reply { key: SessionKey, head: Bytes, stamped: i64, login: bool, traced: Option<Traced> },
}

/// Records that wait for a shard: some tenths of a second of a busy system.
const MOST: usize = 4_096;
/// Their bytes. Long messages fill it before their number does: 1,000 of 16 KB. Shards wait for the same records, so together they
/// hold hardly more than one.
const MOST_BYTES: usize = 16 << 20;
/// How long Kafka's thread sleeps before it looks for room again.
const PAUSE: Duration = Duration::from_millis(1);

impl Feed {
    /// What it costs to let it wait, in bytes, roughly.
    fn cost(&self) -> usize {
        match self {
            Self::Record(record, _) => record.cost(),
            Self::Reply { head, .. } => head.len() + 256,
            Self::Begins { .. } | Self::Lost { .. } => 256,
        }
    }
}

/// The end of Kafka's thread. That one alone feeds.
#[derive(Debug, Clone)]
pub(super) struct Feeder {
    sender: mpsc::Sender<Feed>,
    waiting: Arc<AtomicUsize>,
}

/// The end of the shard.
#[derive(Debug)]
pub(super) struct Feeds {
    receiver: mpsc::Receiver<Feed>,
    waiting: Arc<AtomicUsize>,
}

/// A queue between Kafka's thread and one shard.
pub(super) fn queue() -> (Feeder, Feeds) {
    let (sender, receiver) = mpsc::channel(MOST);
    let waiting = Arc::<AtomicUsize>::default();
    (Feeder { sender, waiting: Arc::clone(&waiting) }, Feeds { receiver, waiting })
}

impl Feeder {
    /// Gives the shard this once there is room. Blocks. What alone is too large passes when nothing else waits.
    pub(super) fn give(&self, feed: Feed) {
        let cost = feed.cost();
        let full = |waiting: usize| waiting > 0 && waiting + cost > MOST_BYTES;
        while full(self.waiting.load(Ordering::Relaxed)) && !self.sender.is_closed() {
            std::thread::sleep(PAUSE);
        }
        self.waiting.fetch_add(cost, Ordering::Relaxed);
        // A shard that is gone ends the process soon; there is nobody to tell.
        let _ = self.sender.blocking_send(feed);
    }
}

impl Feeds {
    /// The next one; none when there will be no more. Safe to drop while it waits.
    pub(super) async fn recv(&mut self) -> Option<Feed> {
        let feed = self.receiver.recv().await?;
        Some(self.taken(feed))
    }

    /// The next one if it is there already.
    pub(super) fn try_recv(&mut self) -> Option<Feed> {
        let feed = self.receiver.try_recv().ok()?;
        Some(self.taken(feed))
    }

    fn taken(&self, feed: Feed) -> Feed {
        self.waiting.fetch_sub(feed.cost(), Ordering::Relaxed);
        feed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(n: i64, bytes: usize) -> Feed {
        let head = Bytes::from(vec![b'x'; bytes]);
        Feed::Reply { key: SessionKey([0; 32]), head, stamped: n, login: false, traced: None }
    }

    fn number(feed: &Feed) -> i64 {
        match feed {
            Feed::Reply { stamped, .. } => *stamped,
            _ => -1,
        }
    }

    #[tokio::test]
    async fn long_records_fill_the_queue_by_their_bytes_and_all_arrive_in_order() {
        let (feeder, mut feeds) = queue();
        let thread = std::thread::spawn(move || {
            (0..40).for_each(|n| feeder.give(reply(n, 1 << 20)));
            // One that no queue holds.
            feeder.give(reply(40, MOST_BYTES * 2));
        });
        while feeds.waiting.load(Ordering::Relaxed) + (1 << 20) < MOST_BYTES {
            tokio::task::yield_now().await;
        }
        for n in 0..=40 {
            assert!(feeds.receiver.len() <= MOST_BYTES >> 20, "{} MB wait", feeds.receiver.len());
            assert_eq!(number(&feeds.recv().await.unwrap()), n);
        }
        thread.join().unwrap();
        assert!(feeds.recv().await.is_none());
        assert_eq!(feeds.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_feeds_a_shard_that_is_gone_does_not_wait() {
        let (feeder, feeds) = queue();
        drop(feeds);
        let thread = std::thread::spawn(move || (0..40).for_each(|n| feeder.give(reply(n, 1 << 20))));
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    }
}
