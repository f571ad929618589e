use std::time::{Duration, Instant};

use crate::ids::Timestamp;

/// When each of some messages is due: fixed before the first is sent, so that nothing that happens later moves a due moment
/// (no coordinated omission).
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    /// The same moment on the wall clock.
    wall: Timestamp,
    rate: f64,
    /// Messages in all.
    pub(super) count: u32,
}

impl Schedule {
    /// `rate` a second, the first one after `lead`.
    pub(super) fn after(lead: Duration, rate: f64, count: u32) -> Self {
        Self { start: Instant::now() + lead, wall: Timestamp::now().after(lead), rate, count }
    }

    fn offset(&self, n: u32) -> Duration {
        Duration::from_secs_f64(f64::from(n) / self.rate)
    }

    /// When message `n` is due.
    pub(super) fn at(&self, n: u32) -> Instant {
        self.start + self.offset(n)
    }

    /// The same on the wall clock.
    pub(super) fn wall(&self, n: u32) -> Timestamp {
        self.wall.after(self.offset(n))
    }

    /// How many are due by `now`: message `n` is, when this is above `n`.
    pub(super) fn due_by(&self, now: Instant) -> u32 {
        let Some(passed) = now.checked_duration_since(self.start) else { return 0 };
        // Rounding may put it one too far, where the message would be due a microsecond later.
        let due = (passed.as_secs_f64() * self.rate) as u32;
        due.saturating_add(1).min(self.count)
    }

    /// Microseconds from the due moment of message `n` to `seen`: at least 1, for what is seen in the same moment.
    pub(super) fn late(&self, n: u32, seen: Instant) -> u64 {
        let micros = seen.saturating_duration_since(self.at(n)).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly_and_late_by_their_own_moment() {
        let schedule = Schedule::after(Duration::ZERO, 100.0, 10);
        let at = |ms| schedule.start + Duration::from_millis(ms);
        assert_eq!(schedule.due_by(schedule.start - Duration::from_millis(1)), 0);
        assert_eq!([at(0), at(9), at(10), at(95)].map(|now| schedule.due_by(now)), [1, 1, 2, 10]);
        assert_eq!(schedule.due_by(at(10_000)), 10, "never more than there are");
        // The sixth was due at 50 ms, whenever it was sent.
        assert_eq!(schedule.late(5, at(1_050)), 1_000_000);
        assert_eq!(schedule.late(5, at(50)), 1);
        assert_eq!(schedule.wall(5).as_micros() - schedule.wall(0).as_micros(), 50_000);
    }
}
