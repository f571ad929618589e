use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer as _, base_consumer::PartitionQueue},
    message::{BorrowedMessage, Message as _},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{RecordView, group::Context};

/// An assigned partition: its records in order, and the offset up to which they are done. When it is dropped, the group
/// knows that its owner has ended.
pub struct Partition {
    topic: String,
    partition: i32,
    arrived: Arc<Notify>,
    end: CancellationToken,
    /// Its time to end is over: another owner answers for it now, who may be in this process.
    over: Arc<AtomicBool>,
    /// The end of the task that had this partition here before, when it was late.
    before: Option<oneshot::Receiver<()>>,
    // Dropped in this order: the end of `_done` lets the rebalance go on.
    queue: PartitionQueue<Context>,
    consumer: Arc<BaseConsumer<Context>>,
    let_go: Option<mpsc::Sender<()>>,
    _done: oneshot::Sender<()>,
}

/// A record that librdkafka holds; nothing of it was copied.
pub struct Held<'a>(pub(super) BorrowedMessage<'a>);

impl Held<'_> {
    /// The record as the wire sees it.
    pub fn view(&self) -> RecordView<'_> {
        RecordView::of(&self.0)
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("offset", &self.offset()).finish_non_exhaustive()
    }
}

impl Partition {
    pub(super) fn new(
        topic: String,
        partition: i32,
        queue: PartitionQueue<Context>,
        consumer: Arc<BaseConsumer<Context>>,
        (end, over): (CancellationToken, Arc<AtomicBool>),
        before: Option<oneshot::Receiver<()>>,
        done: oneshot::Sender<()>,
    ) -> Self {
        let arrived = Arc::new(Notify::new());
        Self { topic, partition, arrived, end, over, before, queue, consumer, let_go: None, _done: done }
    }

    /// To be called before the first [`fill`](Self::fill). Waits for a late owner of the same partition in this process: both hold
    /// the same queue of librdkafka's, and the one that is dropped takes the other's wake-up call away.
    pub async fn begin(&mut self) {
        if let Some(before) = self.before.take() {
            // An error is its end too.
            let _ = before.await;
        }
        let wake = Arc::clone(&self.arrived);
        self.queue.set_nonempty_callback(move || wake.notify_one());
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.partition
    }

    /// Cancelled when the partition is to be let go, soon.
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// The next records: as many as are there, up to `most`, waiting for the first and then at most `wait` for more. Empty
    /// when the partition is to be let go.
    pub async fn fill(&self, most: usize, wait: Duration) -> Vec<Held<'_>> {
        let mut batch = Vec::new();
        let mut full_at: Option<Instant> = None;
        while !self.end.is_cancelled() {
            take(&mut batch, most, || Some(self.queue.poll(Duration::ZERO)?.map(Held)));
            // A timer, even one of no time, is a millisecond.
            if batch.len() >= most || (wait.is_zero() && !batch.is_empty()) {
                break;
            }
            if !batch.is_empty() {
                full_at.get_or_insert_with(|| Instant::now() + wait);
            }
            let late = async {
                match full_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.end.cancelled() => return Vec::new(),
                () = late => break,
                // A notification that came before this wait is kept, so no record is slept over.
                () = self.arrived.notified() => {}
            }
        }
        batch
    }

    /// Marks everything up to this offset, itself included, as done. Committed with the next commit.
    pub fn store(&self, offset: i64) {
        // A late owner's mark would take back what the next one has done, when the partition has come back here meanwhile.
        if self.over.load(Ordering::Acquire) {
            return;
        }
        match self.consumer.store_offset(&self.topic, self.partition, offset) {
            Ok(()) => self.consumer.context().stored(),
            // Only for a partition that is ours no more: then the next owner answers for it.
            Err(error) => {
                tracing::debug!(topic = self.topic, partition = self.partition, %error, "offset not stored");
            }
        }
    }
}

/// Takes what is there, up to `most` in all. The queue wakes nobody before it has been empty: whoever stops sooner sleeps over the rest.
fn take<T, E>(batch: &mut Vec<T>, most: usize, mut poll: impl FnMut() -> Option<Result<T, E>>) {
    while batch.len() < most {
        match poll() {
            Some(Ok(message)) => batch.push(message),
            // A word of an error, as a fetch that failed: the group's thread tells of it, and what comes behind it is no less there.
            Some(Err(_)) => {}
            None => return,
        }
    }
}

impl Drop for Partition {
    /// Who is late may hold the last reference to a client that has been closed. Its end waits for the client's threads, which may
    /// take long, and no task of ours may wait with it: what stands in this thread's queue could keep the process from ending.
    fn drop(&mut self) {
        if !self.over.load(Ordering::Acquire) {
            return;
        }
        let (let_go, gone) = mpsc::channel::<()>();
        let consumer = Arc::clone(&self.consumer);
        let last = move || {
            // Until this partition's own reference is gone.
            let _ = gone.recv();
            drop(consumer);
        };
        if thread::Builder::new().name("kafka-late".to_owned()).spawn(last).is_ok() {
            self.let_go = Some(let_go);
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a word of an error ended the taking, and the records behind it waited for ever, for the queue was not empty.
    #[test]
    fn an_error_in_the_queue_hides_nothing_behind_it() {
        let taken = |most: usize| {
            let mut queue = [Ok(1), Err("away"), Ok(2), Err("away"), Ok(3)].into_iter();
            let mut batch = Vec::new();
            take(&mut batch, most, || queue.next());
            (batch, queue.len())
        };
        assert_eq!(taken(9), (vec![1, 2, 3], 0));
        assert_eq!(taken(2), (vec![1, 2], 2));
    }
}
