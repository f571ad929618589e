use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::loadgen::{ClientError, Message, Stream};

/// What all listeners of a run heard together.
#[derive(Debug)]
pub(in crate::loadgen) struct Tally {
    /// Streams that hear everything at this moment.
    pub(super) live: AtomicUsize,
    /// Message events.
    pub(super) deliveries: AtomicU64,
    /// `resync` events: continuity was not proven.
    pub(super) resyncs: AtomicU64,
    /// When streams that had ended came back.
    pub(super) returns: Mutex<Vec<Instant>>,
    /// What went wrong, the first few of each run.
    pub(super) breaches: Mutex<Vec<String>>,
    /// A gateway is killed: its streams end anywhere.
    pub(super) killed: AtomicBool,
    /// Whether latencies are written down.
    pub(in crate::loadgen) measuring: AtomicBool,
    /// How late messages were.
    late: Mutex<Late>,
}

/// Latencies in microseconds.
#[derive(Debug)]
struct Late {
    /// From the moment a message was due.
    whole: Histogram<u64>,
    /// From the moment PostgreSQL stored it.
    stored: Histogram<u64>,
}

impl Late {
    fn new() -> Self {
        Self { whole: histogram(), stored: histogram() }
    }
}

/// What one listener heard of its room.
#[derive(Debug, Default)]
pub(super) struct Ear {
    pub(super) last: AtomicI64,
    pub(super) gaps: AtomicU64,
    pub(super) repeats: AtomicU64,
}

/// A distribution in milliseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// Half of all.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The worst.
    pub max: f64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants and legal: 1 µs to 5 min, three significant digits"
    )]
    Histogram::new_with_bounds(1, 300_000_000, 3).expect("legal bounds")
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            live: AtomicUsize::new(0),
            deliveries: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            returns: Mutex::default(),
            breaches: Mutex::default(),
            killed: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            late: Mutex::new(Late::new()),
        }
    }

    /// A message was heard: times in microseconds since 1970.
    pub(super) fn heard(&self, now: i64, due: i64, stored: i64) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        if self.measuring.load(Ordering::Relaxed) {
            let span = |since: i64| u64::try_from(now - since).unwrap_or(0).max(1);
            let mut late = lock(&self.late);
            late.whole.saturating_record(span(due));
            late.stored.saturating_record(span(stored));
        }
    }

    pub(super) fn breach(&self, what: String) {
        let mut breaches = lock(&self.breaches);
        if breaches.len() < 10 {
            breaches.push(what);
        }
    }

    /// A stream that had begun did not end as it must. That its connection was cut is no breach of a gateway that is killed.
    pub(super) fn broke(&self, error: &ClientError) {
        if error.is_breach() || (error.is_cut() && !self.killed.load(Ordering::Relaxed)) {
            self.breach(error.to_string());
        }
    }

    /// The next block of a stream that has begun; none when it has ended, well or not.
    pub(super) async fn next(&self, stream: &mut Stream) -> Option<Arc<Message>> {
        stream.next().await.unwrap_or_else(|error| {
            self.broke(&error);
            None
        })
    }

    pub(super) fn returned(&self) {
        lock(&self.returns).push(Instant::now());
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        lock(&self.breaches).clone()
    }

    pub(super) fn returns(&self) -> Vec<Instant> {
        lock(&self.returns).clone()
    }

    /// What was measured since the last call: from due, and from stored.
    pub(in crate::loadgen) fn take_latency(&self) -> (Quantiles, Quantiles) {
        let late = std::mem::replace(&mut *lock(&self.late), Late::new());
        (quantiles(&late.whole), quantiles(&late.stored))
    }
}

pub(super) fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
    let at = |quantile| (histogram.value_at_quantile(quantile) as f64 / 10.0).round() / 100.0;
    Quantiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
}

impl Ear {
    /// A message of the room was heard. The first one may have any number.
    pub(super) fn hear(&self, seq: i64) {
        let last = self.last.load(Ordering::Relaxed);
        if seq <= last {
            self.repeats.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if last > 0 && seq > last + 1 {
            self.gaps.fetch_add(u64::try_from(seq - last - 1).unwrap_or(0), Ordering::Relaxed);
        }
        self.last.store(seq, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ear_tells_gaps_from_repeats() {
        let ear = Ear::default();
        [5, 6, 6, 9, 7].into_iter().for_each(|seq| ear.hear(seq));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&ear.gaps), count(&ear.repeats), ear.last.load(Ordering::Relaxed)), (2, 2, 9));
    }

    #[test]
    fn a_cut_is_a_breach_unless_the_gateway_was_killed() {
        let tally = Tally::new();
        tally.broke(&ClientError::Cut);
        tally.killed.store(true, Ordering::Relaxed);
        tally.broke(&ClientError::Cut);
        tally.broke(&ClientError::NoHttp("framed wrongly"));
        let told = [ClientError::Cut, ClientError::NoHttp("framed wrongly")].map(|error| error.to_string());
        assert_eq!(tally.breaches(), told);
    }

    #[test]
    fn latencies_are_taken_once() {
        let tally = Tally::new();
        tally.heard(2_000, 1_000, 1_500);
        tally.measuring.store(true, Ordering::Relaxed);
        tally.heard(3_000_000, 1_000_000, 2_000_000);
        let (whole, stored) = tally.take_latency();
        assert!(
            (whole.p50 - 2_000.0).abs() < 5.0 && (stored.max - 1_000.0).abs() < 5.0,
            "{whole:?} {stored:?}"
        );
        assert!(tally.take_latency().0.max < 0.01, "taken");
        assert_eq!(tally.deliveries.load(Ordering::Relaxed), 2);
    }
}
