//! What is due for a reconcile: each set at most once, failures with exponential back-off and jitter, a bounded number
//! at once. Its size is bounded by the number of sets.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::RngExt as _;
use tokio::{sync::Notify, time::Instant};

use super::ownership::SetKey;

/// The first wait after a failure; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Done; look again after so long, if at all.
    Done(Option<Duration>),
    /// Something is under way elsewhere: look again soon, later each time, but it is no failure.
    Waiting,
    /// The same, and it has come further since the last time: look again soon, as often as that is so.
    Progressing,
    /// It failed.
    Failed,
}

#[derive(Debug, Default)]
struct Item {
    due: Option<Instant>,
    running: bool,
    /// Asked for again while it ran.
    again: bool,
    tries: u32,
    failing: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: Mutex<BTreeMap<SetKey, Item>>,
    changed: Notify,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SetKey, Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that concerns the set has changed: look at it now. A wait after a failure is cut short, but its length
    /// is remembered, so that a change that does not help leads back to it.
    pub(crate) fn push(&self, key: &SetKey) {
        self.push_at(key, Instant::now());
    }

    fn push_at(&self, key: &SetKey, now: Instant) {
        let mut items = self.lock();
        let item = items.entry(key.clone()).or_default();
        if item.running {
            item.again = true;
        } else {
            item.due = Some(now);
        }
        drop(items);
        self.changed.notify_one();
    }

    /// Waits for a set that is due and takes it. The caller says by [`Queue::ended`] how it went.
    pub(crate) async fn next(&self) -> SetKey {
        loop {
            match self.take(Instant::now()) {
                Ok(key) => return key,
                Err(Some(due)) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
                Err(None) => self.changed.notified().await,
            }
        }
    }

    /// Takes the set that has been due the longest, or says when the next one will be.
    fn take(&self, now: Instant) -> Result<SetKey, Option<Instant>> {
        let mut items = self.lock();
        let waiting = items.iter_mut().filter(|(_, item)| !item.running);
        let next =
            waiting.filter_map(|(key, item)| Some((item.due?, key, item))).min_by_key(|(due, _, _)| *due);
        match next {
            Some((due, key, item)) if due <= now => {
                item.running = true;
                item.due = None;
                Ok(key.clone())
            }
            other => Err(other.map(|(due, _, _)| due)),
        }
    }

    /// Puts a set back after its reconcile.
    pub(crate) fn ended(&self, key: &SetKey, ended: Ended) {
        self.ended_at(key, ended, Instant::now());
    }

    fn ended_at(&self, key: &SetKey, ended: Ended, now: Instant) {
        let mut items = self.lock();
        let Some(item) = items.get_mut(key) else { return };
        item.running = false;
        item.failing = ended == Ended::Failed;
        let wait = match ended {
            Ended::Done(after) => {
                item.tries = 0;
                after
            }
            Ended::Progressing => {
                item.tries = 1;
                Some(backoff(item.tries))
            }
            Ended::Waiting | Ended::Failed => {
                item.tries = item.tries.saturating_add(1);
                Some(backoff(item.tries))
            }
        };
        let again = std::mem::take(&mut item.again);
        item.due = if again { Some(now) } else { wait.map(|wait| now + wait) };
        drop(items);
        self.changed.notify_one();
    }

    /// The set is gone. What was asked for meanwhile is still due: the round that finds no set takes away all that is known of it.
    pub(crate) fn forget(&self, key: &SetKey) {
        let mut items = self.lock();
        if items.get(key).is_some_and(|item| !item.running && item.due.is_none()) {
            items.remove(key);
        }
    }

    /// How many sets wait after a failure.
    pub(crate) fn failing(&self) -> usize {
        self.lock().values().filter(|item| item.failing).count()
    }
}

/// Half of the exponential wait is certain, half is chance.
fn backoff(tries: u32) -> Duration {
    let full =
        BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16))).min(BACKOFF_MAX);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SetKey {
        SetKey { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn each_set_runs_alone_and_again_when_asked_meanwhile() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.push_at(&key("a"), now);
        queue.push_at(&key("a"), now);
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.push_at(&key("a"), now);
        assert_eq!(queue.take(now), Err(None), "it is running");
        queue.ended_at(&key("a"), Ended::Done(None), now);
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.ended_at(&key("a"), Ended::Done(None), now);
        assert_eq!(queue.take(now), Err(None));
    }

    /// Regression: who was deleted while a round of its own ran was forgotten with the round that would have taken its series away
    /// and ended the looks at its topics.
    #[test]
    fn who_goes_while_it_runs_is_looked_at_once_more() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.push_at(&key("a"), now);
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.push_at(&key("a"), now);
        queue.ended_at(&key("a"), Ended::Done(Some(Duration::from_secs(600))), now);
        queue.forget(&key("a"));
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.ended_at(&key("a"), Ended::Done(None), now);
        queue.forget(&key("a"));
        assert!(queue.lock().is_empty());
    }

    #[test]
    fn the_longest_due_goes_first() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.push_at(&key("b"), now);
        queue.push_at(&key("a"), now + Duration::from_secs(1));
        let later = now + Duration::from_secs(2);
        assert_eq!(queue.take(later), Ok(key("b")));
        assert_eq!(queue.take(later), Ok(key("a")));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_bound() {
        let (queue, mut now) = (Queue::default(), Instant::now());
        queue.push_at(&key("a"), now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.take(now), Ok(key("a")));
            queue.ended_at(&key("a"), Ended::Failed, now);
            let due = queue.take(now).unwrap_err().unwrap();
            waits.push(due - now);
            now = due;
        }
        assert_eq!(queue.failing(), 1);
        // A slow broker that gets on is not waited for any longer than at first.
        for _ in 0..3 {
            assert_eq!(queue.take(now), Ok(key("a")));
            queue.ended_at(&key("a"), Ended::Progressing, now);
            let due = queue.take(now).unwrap_err().unwrap();
            assert!(due - now <= BACKOFF_FIRST);
            now = due;
        }
        assert!(waits[0] >= BACKOFF_FIRST / 2 && waits[0] <= BACKOFF_FIRST, "{waits:?}");
        assert!(waits[11] >= BACKOFF_MAX / 2 && waits[11] <= BACKOFF_MAX, "{waits:?}");
        queue.push_at(&key("a"), now - Duration::from_secs(1));
        assert_eq!(queue.take(now), Ok(key("a")), "a change cuts the wait short");
        queue.ended_at(&key("a"), Ended::Done(Some(Duration::from_secs(30))), now);
        assert_eq!(queue.failing(), 0);
        assert_eq!(queue.take(now), Err(Some(now + Duration::from_secs(30))));
    }
}
