//! A candidate without its IO: what was read and answered goes in, with the moment at which that was, and what to do comes out.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{
    LeaseSettings,
    evaluate::{Action, Observed, Record, evaluate},
    leadership::Leadership,
};

/// One candidate's knowledge of the lease.
#[derive(Debug)]
pub(super) struct Decider {
    settings: LeaseSettings,
    seen: Option<Observed>,
    /// The lease as we wrote it last.
    current: Option<Lease>,
    leadership: Leadership,
}

/// What follows from a look at the lease.
#[derive(Debug)]
pub(super) enum Step {
    /// It is somebody else's.
    Wait,
    /// To be written; it counts from this moment, which lies before the write.
    Create(Lease, Instant),
    Replace(Lease, Instant),
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Done,
    /// Somebody else has the lease, or wrote it meanwhile.
    Taken,
    /// There was no answer for as long as we lead.
    TimedOut,
    /// The API server could not do it.
    Failed,
}

impl Decider {
    pub(super) fn new(settings: LeaseSettings) -> Self {
        let leadership = Leadership::none(settings.margin());
        Self { settings, seen: None, current: None, leadership }
    }

    pub(super) fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// The lease was read, at `now`. `wall` is written down for people and never judged by.
    pub(super) fn read(&mut self, lease: Option<Lease>, now: Instant, wall: Timestamp) -> Step {
        self.seen = lease.as_ref().map(|lease| Observed::update(self.seen.take(), record(lease), now));
        match evaluate(self.seen.as_ref(), &self.settings.holder, now) {
            Action::Wait(_) => Step::Wait,
            Action::Create => Step::Create(self.lease(None, wall), now),
            Action::Take | Action::Renew => Step::Replace(self.lease(lease, wall), now),
        }
    }

    /// The lease was written, and is this now. `since` is the moment of the step that it came of: others count from when they see
    /// the write, which is later, so that we stop before they begin.
    pub(super) fn wrote(&mut self, lease: Lease, since: Instant) {
        self.current = Some(lease);
        self.leadership.extend(since + self.settings.valid_for());
    }

    /// How long a candidate waits between two looks: often enough to notice a released lease at once, rarely enough to cost nothing,
    /// a second of 7 s.
    pub(super) fn look_every(&self) -> Duration {
        self.settings.duration / 7
    }

    /// When a leader renews first.
    pub(super) fn first_renewal(&self, now: Instant) -> Instant {
        self.wake(now + self.settings.renew_every(), now)
    }

    /// When a leader renews next, after this; `None` when it leads no more.
    pub(super) fn renewed(&mut self, renewal: Renewal, now: Instant) -> Option<Instant> {
        if matches!(renewal, Renewal::Taken | Renewal::TimedOut) || self.leadership.left_at(now).is_zero() {
            self.leadership.end();
            return None;
        }
        // After a failure sooner than after a success.
        let pause = if self.leadership.left_at(now) > self.settings.renew_every() {
            self.settings.renew_every()
        } else {
            self.settings.duration / 14
        };
        Some(self.wake(now + pause, now))
    }

    /// Not later than the end of the leadership.
    fn wake(&self, at: Instant, now: Instant) -> Instant {
        at.min(now + self.leadership.left_at(now))
    }

    /// We lead no more. The lease to be written so that the next one need not wait; `None` when we never had it.
    pub(super) fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        self.leadership.end();
        let mut lease = self.current.take()?;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(wall));
        }
        Some(lease)
    }

    fn lease(&self, before: Option<Lease>, wall: Timestamp) -> Lease {
        let now = MicroTime(wall);
        let (metadata, spec) = before.map_or_else(Default::default, |lease| (lease.metadata, lease.spec));
        let spec = spec.unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(self.settings.holder.as_str());
        Lease {
            metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.holder.clone()),
                lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
                acquire_time: if mine { spec.acquire_time } else { Some(now.clone()) },
                lease_transitions: Some(spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!mine))),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity,
        duration: Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0)),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_ends_a_twentieth_before_the_term_does() {
        let duration = Duration::from_secs(7);
        let text = |name: &str| name.to_owned();
        let settings =
            LeaseSettings { namespace: text("ns"), name: text("lease"), holder: text("me"), duration };
        let mut decider = Decider::new(settings);
        let now = Instant::now() + duration;
        let Step::Create(lease, since) = decider.read(None, now, Timestamp::UNIX_EPOCH) else {
            panic!("there is no lease")
        };
        decider.wrote(lease, since);
        let left = decider.leadership().undisputed_at(now);
        assert!(left <= duration * 19 / 20 && left > duration * 9 / 10, "{left:?}");
    }
}
