use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinError};

use super::{
    lookup::{ATTEMPTS, Found, Lookup, Missing, backoff},
    record::Record,
    shard::Ears,
};
use crate::{
    gateway::{metrics::Metrics, session::Sessions},
    ids::{RoomId, Seq, UserId},
    kafka::{
        RecordView,
        reader::{Range, ReplayBounds, ReplayError, Replayer},
    },
    store::{
        SILENCE, StoreError, answered,
        reads::{Interests, Message, Reads},
    },
    wire::{CHAT_EVENT, Keyring, open_event},
};

/// The most messages that one room's repair, or one replay's holes, reads at a time.
const PAGE: usize = 1_000;

/// What reading again from Kafka may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoutLimits {
    /// Records read for one replay, wanted or not.
    pub(crate) replay_records: usize,
    /// Time for one replay.
    pub(crate) replay_time: Duration,
    /// Replays at once; others wait as long as one may take, then they overflow.
    pub(crate) replays: usize,
}

/// Answers the shards' questions from PostgreSQL and Kafka. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Scout {
    reads: Reads,
    sessions: Sessions,
    replayer: Replayer,
    keys: Arc<Keyring>,
    limits: ScoutLimits,
    turns: Turns,
    metrics: Metrics,
}

impl Scout {
    pub(crate) fn new(
        reads: Reads,
        sessions: Sessions,
        replayer: Replayer,
        keys: Arc<Keyring>,
        limits: ScoutLimits,
        metrics: Metrics,
    ) -> Self {
        let turns = Turns::new(limits.replays, limits.replay_time);
        Self { reads, sessions, replayer, keys, limits, turns, metrics }
    }

    /// Answers one question.
    pub(super) async fn find(&self, lookup: Lookup) -> Found {
        match lookup {
            Lookup::Session { key } => {
                let mut state = self.sessions.fresh(&key).await;
                for attempt in 1..ATTEMPTS {
                    if state.is_ok() {
                        break;
                    }
                    tokio::time::sleep(backoff(attempt)).await;
                    state = self.sessions.fresh(&key).await;
                }
                Found::Session { key, state: state.map_err(missing) }
            }
            Lookup::Interests { conn, user } => {
                Found::Interests { conn, interests: read(self.reads.interests(&user)).await }
            }
            Lookup::Gap { room, ticket, after, before, attempt } => {
                tokio::time::sleep(backoff(attempt)).await;
                let messages = read(self.reads.messages_between(room, after, before, PAGE)).await;
                Found::Gap { room, ticket, attempt, messages }
            }
            Lookup::Members { room, ticket, users, attempt } => {
                tokio::time::sleep(backoff(attempt)).await;
                let members = read(self.reads.room_members(room, &users)).await;
                Found::Members { room, ticket, attempt, members }
            }
            Lookup::Holes { conn, holes } => Found::Holes { conn, messages: self.holes(holes).await },
            Lookup::Replay { conn, ranges, interests, user } => {
                let records = self.replay(ranges.clone(), user, interests).await;
                Found::Replay { conn, ranges, records }
            }
            Lookup::OffsetsAt { conn, partitions, millis } => {
                let time = self.limits.replay_time;
                let ask = move |replayer: Replayer| {
                    replayer.offsets_at(CHAT_EVENT, count(partitions), millis, time)
                };
                Found::OffsetsAt { conn, offsets: self.blocking(ask).await }
            }
            Lookup::Ends { conn, partitions } => {
                let time = self.limits.replay_time;
                let ask = move |replayer: Replayer| replayer.ends(CHAT_EVENT, count(partitions), time);
                Found::Ends { conn, ends: self.blocking(ask).await }
            }
        }
    }

    async fn holes(&self, holes: Vec<(RoomId, Seq, Seq)>) -> Result<Vec<Message>, Missing> {
        let mut all = Vec::new();
        for (room, after, before) in holes {
            all.extend(read(self.reads.messages_between(room, after, before, PAGE)).await?);
            if all.len() > PAGE * 10 {
                break;
            }
        }
        Ok(all)
    }

    async fn replay(
        &self,
        ranges: Vec<Range>,
        user: UserId,
        interests: Interests,
    ) -> Result<Vec<Record>, Missing> {
        let (keys, metrics) = (Arc::clone(&self.keys), self.metrics.clone());
        let bounds = ReplayBounds { records: self.limits.replay_records, time: self.limits.replay_time };
        self.blocking(move |replayer| {
            let ears = Ears::new(&user, &interests);
            let mut records = Vec::new();
            replayer.read(CHAT_EVENT, &ranges, bounds, |view| {
                let record = decode(&keys, &metrics, &view);
                if ears.hear(&record) {
                    records.push(record);
                }
            })?;
            Ok(records)
        })
        .await
    }

    /// Runs what blocks where it may, a bounded number at once.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Replayer) -> Result<T, ReplayError> + Send + 'static,
    ) -> Result<T, Missing> {
        let replayer = self.replayer.clone();
        match self.turns.take(move || ask(replayer)).await? {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(ReplayError::Expired)) => Err(Missing::Expired),
            Ok(Err(ReplayError::Overflow)) => Err(Missing::Overflow),
            Ok(Err(ReplayError::Unavailable(why))) => {
                tracing::warn!(%why, "cannot read chat-event again");
                Err(Missing::Unavailable)
            }
            Err(error) => {
                tracing::error!(%error, "a replay failed");
                Err(Missing::Unavailable)
            }
        }
    }
}

/// Work that blocks, so much of it at once. Cheap to clone.
#[derive(Debug, Clone)]
struct Turns {
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Turns {
    fn new(at_once: usize, patience: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), patience }
    }

    /// Does it when its turn comes.
    ///
    /// # Errors
    /// When its turn does not come in time.
    async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Result<T, JoinError>, Missing> {
        let waited = tokio::time::timeout(self.patience, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = waited else { return Err(Missing::Overflow) };
        Ok(tokio::task::spawn_blocking(work).await)
    }
}

/// A look-up in PostgreSQL. A stream waits for it, so it waits as long as there is hope, which is longer than who asks once.
async fn read<T>(reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Missing> {
    answered(SILENCE, reading).await.map_err(missing)
}

fn missing(error: StoreError) -> Missing {
    tracing::debug!(%error, "a look-up failed");
    Missing::Unavailable
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

/// Verifies and reads a record of `chat-event`; what cannot be believed is counted and concerns nobody.
pub(super) fn decode(keys: &Keyring, metrics: &Metrics, view: &RecordView<'_>) -> Record {
    let partition = usize::try_from(view.partition).unwrap_or(0);
    let stamped = view.timestamp.unwrap_or(0);
    match open_event(keys, &view.record) {
        Ok(opened) => Record::new(partition, view.offset, stamped, opened, view.record.value),
        Err(error) => {
            tracing::debug!(%error, partition, offset = view.offset, "dropped a record of chat-event");
            metrics.dropped_records_total.with_label_values(&[CHAT_EVENT]).inc();
            Record::nobody(partition, view.offset, stamped)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn no_more_work_is_done_at_once_and_who_waits_too_long_is_told() {
        let turns = Turns::new(1, Duration::from_millis(100));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, going) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let turns = turns.clone();
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    going.recv().unwrap();
                };
                turns.take(work).await
            }
        });
        begins.await.unwrap();
        assert_eq!(turns.take(|| ()).await.unwrap_err(), Missing::Overflow);
        go.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().is_ok());
        assert_eq!(turns.take(|| 7).await.unwrap().unwrap(), 7);
    }
}
