use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Whether we lead right now: looked at before every write.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    origin: Instant,
    /// Milliseconds after `origin` until which we lead; 0 when we do not.
    until: Arc<AtomicU64>,
    /// How long after that the lease is still ours in everybody's eyes.
    margin: Duration,
}

impl Leadership {
    pub(super) fn none(margin: Duration) -> Self {
        Self { origin: Instant::now(), until: Arc::default(), margin }
    }

    pub(super) fn extend(&self, until: Instant) {
        let millis = until.saturating_duration_since(self.origin).as_millis();
        self.until.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// What is left of it; zero after it has ended. The clock also runs while the process is stopped.
    pub(crate) fn left(&self) -> Duration {
        self.left_at(Instant::now())
    }

    pub(super) fn left_at(&self, now: Instant) -> Duration {
        let until = self.origin + Duration::from_millis(self.until.load(Ordering::Acquire));
        until.saturating_duration_since(now)
    }

    /// How long it is until anybody else may take over; zero once we do not lead. What is sent may be under way for so
    /// long and no longer.
    pub(crate) fn undisputed(&self) -> Duration {
        self.undisputed_at(Instant::now())
    }

    pub(super) fn undisputed_at(&self, now: Instant) -> Duration {
        match self.until.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            millis => {
                (self.origin + Duration::from_millis(millis) + self.margin).saturating_duration_since(now)
            }
        }
    }

    /// Whether a write may still be sent.
    pub(crate) fn holds(&self) -> bool {
        !self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No call may outlive the moment at which another process may begin to work.
    #[test]
    fn what_is_left_shrinks_to_nothing() {
        let leadership = Leadership::none(Duration::from_secs(2));
        let at = |second| leadership.origin + Duration::from_secs(second);
        assert!(!leadership.holds());
        assert_eq!(leadership.undisputed_at(at(0)), Duration::ZERO);
        leadership.extend(at(4));
        assert_eq!(leadership.left_at(at(3)), Duration::from_secs(1));
        assert_eq!(leadership.undisputed_at(at(0)), Duration::from_secs(6));
        assert_eq!(leadership.undisputed_at(at(5)), Duration::from_secs(1), "ours, but not for new work");
        assert_eq!(leadership.undisputed_at(at(7)), Duration::ZERO);
        leadership.end();
        assert_eq!(leadership.undisputed_at(at(0)), Duration::ZERO);
    }
}
