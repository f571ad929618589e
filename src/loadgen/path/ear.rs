use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{Place, ids::Ids, latency::histogram, schedule::Schedule};
use crate::{
    kafka::{
        KafkaFailure, RecordView,
        scan::{From, Scan},
    },
    wire::{CHAT_EVENT, HeaderName, Kind},
};

/// Reads replies and events as they come, and notes how late each is. Reads no more of a record than its request's id: the audit
/// reads the rest later.
#[derive(Debug)]
pub(super) struct Ear(Scan);

/// What was heard of one sort of record.
#[derive(Debug)]
pub(super) struct Side {
    seen: Vec<bool>,
    left: usize,
    /// Records of a message that had been heard of before.
    pub(super) repeats: u64,
    /// From the due moment, in microseconds; of those that never came, their wait until the listening ended.
    pub(super) latency: Histogram<u64>,
}

/// What was heard.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) replies: Side,
    pub(super) events: Side,
}

impl Ear {
    /// Listens from here on. Blocks.
    pub(super) fn open(place: &Place) -> Result<Self, KafkaFailure> {
        Scan::start(&place.kafka, &[Kind::AddChat.response_topic(), CHAT_EVENT], From::End).map(Self)
    }

    /// Listens until everything of the schedule came, at most this long. Messages before `measured` are heard, not measured.
    /// Blocks.
    pub(super) fn hear(&self, ids: Ids, schedule: &Schedule, measured: u32, at_most: Duration) -> Heard {
        let mut heard = Heard { replies: Side::of(schedule), events: Side::of(schedule) };
        self.0.follow(at_most, |view| {
            let now = Instant::now();
            if let Some(n) = number(ids, view) {
                let side =
                    if view.record.topic == CHAT_EVENT { &mut heard.events } else { &mut heard.replies };
                side.take(n, now, schedule, measured);
            }
            if heard.replies.left + heard.events.left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let end = Instant::now();
        heard.replies.give_up(end, schedule, measured);
        heard.events.give_up(end, schedule, measured);
        heard
    }
}

/// Which message of the run a record is about.
pub(super) fn number(ids: Ids, view: &RecordView<'_>) -> Option<u32> {
    let id = std::str::from_utf8(view.record.raw(HeaderName::RequestId)?).ok()?;
    ids.number(id.parse().ok()?)
}

impl Side {
    fn of(schedule: &Schedule) -> Self {
        let count = schedule.count as usize;
        Self { seen: vec![false; count], left: count, repeats: 0, latency: histogram() }
    }

    fn take(&mut self, n: u32, now: Instant, schedule: &Schedule, measured: u32) {
        match self.seen.get_mut(n as usize) {
            Some(seen) if !*seen => {
                *seen = true;
                self.left -= 1;
                if n >= measured {
                    self.latency.saturating_record(schedule.late(n, now));
                }
            }
            Some(_) => self.repeats += 1,
            None => {}
        }
    }

    /// What did not come took at least until now: leaving it out would make the rest look better.
    fn give_up(&mut self, now: Instant, schedule: &Schedule, measured: u32) {
        for (n, _) in (0..).zip(&self.seen).filter(|(n, seen)| *n >= measured && !**seen) {
            self.latency.saturating_record(schedule.late(n, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_counts_with_its_wait() {
        let schedule = Schedule::after(Duration::ZERO, 1_000.0, 4);
        let mut side = Side::of(&schedule);
        let at = |ms| schedule.at(0) + Duration::from_millis(ms);
        side.take(0, at(500), &schedule, 1);
        side.take(1, at(11), &schedule, 1);
        side.take(1, at(12), &schedule, 1);
        side.take(2, at(12), &schedule, 1);
        side.take(9, at(12), &schedule, 1);
        assert_eq!((side.left, side.repeats), (1, 1));
        assert_eq!((side.latency.len(), side.latency.max() / 100), (2, 100), "the first is not measured");
        side.give_up(at(2_003), &schedule, 1);
        assert_eq!((side.latency.len(), side.latency.max() / 100_000), (3, 20));
    }
}
