//! Reads all partitions of some topics by `assign()`: no consumer group, nothing committed, no rebalance.
//!
//! Two parts work together. A task, the *watcher*, asks the brokers again and again which partitions there are, decides where a
//! new one begins and says what is wrong; a thread polls and hands each record to the [`Handler`].

mod poll;
mod positions;
mod replay;
mod watch;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::watch as status;

pub use positions::{Position, Positions};
pub use replay::{Range, ReplayBounds, ReplayError, Replayer};

use super::{KafkaSettings, RecordView, admin::ApiError};

/// Where reading begins in a topic that was there when the reader started. Whatever comes later (a partition, a topic, a
/// topic of the same name made anew) begins at offset 0, so that nothing of it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the end: only what comes from now on.
    End,
    /// This long ago.
    Back(Duration),
}

/// One topic to read.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its name.
    pub topic: &'static str,
    /// Where reading begins.
    pub start: Start,
}

/// Which topic of that name it is: a topic that was deleted and made anew is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// The cluster's id.
    pub cluster: String,
    /// The topic's id.
    pub topic: String,
}

/// What becomes of the records. Called on the reader's own thread, one call at a time, in the order of each partition.
pub trait Handler: Send + 'static {
    /// A partition is read from here on. Comes before its first record, and again when the topic was made anew.
    fn begins(&mut self, topic: &'static str, incarnation: &Arc<Incarnation>, partition: i32, offset: i64);

    /// The topic is gone.
    fn gone(&mut self, topic: &'static str);

    /// Records of this partition were lost to retention or truncation: reading goes on at another offset than was next.
    fn lost(&mut self, topic: &'static str, partition: i32, offset: i64);

    /// The next record of its partition. May block: then nothing more is polled, and librdkafka's queue is bounded.
    fn record(&mut self, topic: &'static str, record: RecordView<'_>);
}

/// How the reader stands, for readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why the brokers do not answer; `None` when they do. Before the first answer: "not reached yet".
    pub unreachable: Option<String>,
    /// Topics that are not there.
    pub missing: Vec<&'static str>,
    /// Partitions that are not read yet because no position could be found for them.
    pub unresolved: usize,
    /// Partitions that no broker leads at present.
    pub leaderless: Vec<String>,
}

impl Status {
    /// Whether every partition of every topic that exists is being read from a known position.
    pub fn stands(&self) -> bool {
        self.unreachable.is_none() && self.unresolved == 0
    }
}

/// The running reader. Dropping it stops both parts.
#[derive(Debug)]
pub struct Reader {
    positions: Positions,
    status: status::Receiver<Status>,
    commands: mpsc::Sender<poll::Command>,
    watcher: tokio::task::JoinHandle<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reader {
    /// Starts reading. Connecting happens in the background: a Kafka that is away is no error here but stands in
    /// [`status`](Self::status).
    ///
    /// # Errors
    /// When librdkafka refuses the settings, or no thread can be started.
    pub fn start(
        settings: &KafkaSettings,
        sources: Vec<Source>,
        refresh: Duration,
        handler: impl Handler,
    ) -> Result<Self, ApiError> {
        let positions = Positions::default();
        let (commands, orders) = mpsc::channel();
        let (tell, status) = status::channel(Status {
            unreachable: Some("not reached yet".to_owned()),
            missing: Vec::new(),
            unresolved: 0,
            leaderless: Vec::new(),
        });
        let poller = poll::Poller::new(
            settings,
            sources.iter().map(|s| s.topic).collect(),
            positions.clone(),
            handler,
        )?;
        let thread = poller.spawn(orders)?;
        let watcher =
            watch::Watcher::new(settings, sources, refresh, positions.clone(), commands.clone(), tell)?;
        let watcher = tokio::spawn(watcher.run());
        Ok(Self { positions, status, commands, watcher, thread: Some(thread) })
    }

    /// Where each partition stands.
    pub fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// How it stands, now and whenever that changes.
    pub fn status(&self) -> status::Receiver<Status> {
        self.status.clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.watcher.abort();
        let _ = self.commands.send(poll::Command::Stop);
        // The thread looks at its commands ten times a second. It may sit in a handler that waits for a queue whose reader
        // has ended; such a send fails at once.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
