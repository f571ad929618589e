//! Who hears what. Every record of `chat-event` and every reply passes through here: decoded once on Kafka's thread
//! ([`dispatch`]), given to each shard through a bounded queue, and by the shard ([`shard`]) to the streams that it owns. No lock
//! is shared between shards.

mod dispatch;
mod feed;
pub(super) mod hot;
mod lookup;
#[cfg(test)]
mod model;
mod plan;
mod record;
mod ring;
mod run;
mod scout;
mod shard;
mod traced;
mod vector;
mod wheel;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

pub(crate) use dispatch::Dispatcher;
use feed::Feed;
pub(crate) use lookup::{ConnId, OpenSession, SessionState};
pub(crate) use scout::{Scout, ScoutLimits};
pub(crate) use shard::{LINGER, Opening, Reason, ShardSettings, Wanted};
use traced::Traced;

use super::metrics::Metrics;
use crate::{ids::SessionKey, process::trace::Tracer};

/// What others have for a shard. The queue has no bound of its own, because it may not lose a word and a stream that is dropped
/// cannot wait; those who fill it are bounded.
/// - `Open` holds its stream's permit while it is queued: no more of them than `--max-streams`.
/// - `Identify` comes once for a stream and `Close` twice at most (from the route, and from its body's end), from a connection that
///   is still there. The queue is first in, first out: all that is behind its oldest entry is of streams that were there then
///   or were let in since, whose `Open` is queued too. So no more than three for each of `--max-streams` and `--max-connections`.
/// - `Found` comes once for a look-up: a stream has one under way for its rooms, one for its resume and one for its session, and a room one
///   (its records wait behind it); rooms are those of the streams.
/// - `Drain` comes once, `Streams` one at a time.
///
/// An entry has 200 bytes at most, what it carries is what the stream or the answer holds anyway.
#[derive(Debug)]
enum Control {
    Open(ConnId, Box<Opening>),
    Identify(ConnId, Option<OpenSession>),
    Close(ConnId, Reason),
    Found(lookup::Found),
    Drain(Duration),
    Streams(oneshot::Sender<usize>),
}

#[derive(Debug, Clone)]
struct ShardHandle {
    feed: feed::Feeder,
    control: mpsc::UnboundedSender<Control>,
}

/// The shards, seen from the rest of the gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    shards: Arc<[ShardHandle]>,
    next: Arc<AtomicU64>,
}

/// A registered stream. Whoever holds it says whose it is, or ends it.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    id: ConnId,
    control: mpsc::UnboundedSender<Control>,
}

impl Hub {
    /// Starts `count` shards.
    pub(crate) fn start(
        count: usize,
        settings: &ShardSettings,
        metrics: &Metrics,
        scout: &Scout,
        tracer: &Tracer,
    ) -> Self {
        let shards = (0..count.max(1)).map(|_| {
            let (feed, feeds) = feed::queue();
            let (control, controls) = mpsc::unbounded_channel();
            let shard = shard::Shard::new(settings.clone(), metrics.clone());
            tokio::spawn(run::run(shard, feeds, controls, control.clone(), scout.clone(), tracer.clone()));
            ShardHandle { feed, control }
        });
        Self { shards: shards.collect(), next: Arc::default() }
    }

    fn shard_of(&self, key: &SessionKey) -> &ShardHandle {
        // A hash already: its first bytes spread evenly.
        let n = key.0.iter().take(4).fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
        &self.shards[n % self.shards.len()]
    }

    /// Registers a stream.
    pub(crate) fn open(&self, opening: Opening) -> Stream {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let control = self.shard_of(&opening.key).control.clone();
        let stream = Stream { id, control };
        stream.tell(Control::Open(id, Box::new(opening)));
        stream
    }

    /// Has all streams leave within `window`.
    pub(crate) fn drain(&self, window: Duration) {
        for shard in self.shards.iter() {
            // A shard ends only with the hub.
            let _ = shard.control.send(Control::Drain(window));
        }
    }

    /// How many streams there are.
    pub(crate) async fn streams(&self) -> usize {
        let mut sum = 0;
        for shard in self.shards.iter() {
            let (ask, answer) = oneshot::channel();
            if shard.control.send(Control::Streams(ask)).is_ok() {
                sum += answer.await.unwrap_or(0);
            }
        }
        sum
    }
}

impl Stream {
    fn tell(&self, control: Control) {
        // A shard ends only with the hub, and the hub only with the process.
        let _ = self.control.send(control);
    }

    /// Says whose it is.
    pub(crate) fn identify(&self, session: Option<OpenSession>) {
        self.tell(Control::Identify(self.id, session));
    }

    /// Ends it.
    pub(crate) fn close(&self, reason: Reason) {
        self.tell(Control::Close(self.id, reason));
    }
}
