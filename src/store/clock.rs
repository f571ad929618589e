use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{Database, SILENCE, StoreError, answered};
use crate::ids::Timestamp;

/// How often PostgreSQL is asked for its time.
const INTERVAL: Duration = Duration::from_secs(10);
/// How wrong this machine's idea of a second may be, in parts of a million: ten times what the worst oscillators drift.
const DRIFT_PPM: u32 = 1_000;

/// PostgreSQL's time, as far as this process knows it: deadlines are stamped and judged by it. Counts from the last
/// answer on this machine's monotonic clock, so that nothing that happens to its wall clock matters. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<RwLock<Option<Mark>>>);

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    /// PostgreSQL's time at `at`.
    theirs: Timestamp,
    /// Half the round trip: how far `theirs` may be out.
    error: Duration,
}

impl Clock {
    /// PostgreSQL's time now. Before the first answer, this machine's.
    pub fn now(&self) -> Timestamp {
        self.mark().map_or_else(Timestamp::now, |mark| mark.theirs.after(mark.at.elapsed()))
    }

    /// How far [`now`](Self::now) may be out; `None` before the first answer.
    pub fn uncertainty(&self) -> Option<Duration> {
        self.mark().map(|mark| mark.error + mark.at.elapsed() * DRIFT_PPM / 1_000_000)
    }

    /// Seconds by which PostgreSQL's clock is ahead of this machine's.
    pub fn offset_seconds(&self) -> Option<f64> {
        self.mark()?;
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let micros = (self.now().as_micros() - Timestamp::now().as_micros()) as f64;
        Some(micros / 1e6)
    }

    fn mark(&self) -> Option<Mark> {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an answer that was asked for at `asked` and came at `came`.
    fn learn(&self, asked: Instant, came: Instant, theirs: Timestamp) {
        let error = came.duration_since(asked) / 2;
        let mark = Mark { at: asked + error, theirs, error };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }

    /// Asks once.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn measure(&self, database: &Database) -> Result<(), StoreError> {
        let measuring = async {
            // The connection is taken first: waiting for one is no part of the round trip.
            let mut connection = database.connection().await?;
            let asked = Instant::now();
            let theirs: Timestamp =
                sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *connection).await?;
            self.learn(asked, Instant::now(), theirs);
            Ok(())
        };
        answered(SILENCE, measuring).await
    }

    /// Asks every 10 s until the future is dropped, and tells `result` of each answer (or its absence, after which it asks
    /// again within a second).
    pub async fn keep(&self, database: &Database, mut result: impl FnMut(Result<(), StoreError>)) {
        loop {
            let measured = self.measure(database).await;
            let wait = if measured.is_ok() { INTERVAL } else { Duration::from_secs(1) };
            result(measured);
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_from_the_middle_of_the_round_trip() {
        let clock = Clock::default();
        assert_eq!(clock.uncertainty(), None);
        let came = Instant::now();
        let asked = came - Duration::from_secs(2);
        let theirs = Timestamp::from_micros(1_000_000_000);
        clock.learn(asked, came, theirs);
        let passed = clock.now().as_micros() - theirs.as_micros();
        // A slow test counts on for longer.
        let since = i64::try_from(came.elapsed().as_micros()).unwrap();
        assert!((1_000_000..1_100_000 + since).contains(&passed), "half of two seconds: {passed}");
        let uncertain = clock.uncertainty().unwrap();
        assert!(
            uncertain >= Duration::from_secs(1) && uncertain < Duration::from_millis(1_100),
            "{uncertain:?}"
        );
    }
}
