//! One lease decides who works; the others stand by. `coordination.k8s.io/v1`.
//!
//! Writes carry the resourceVersion that was read, so of two candidates one wins. A leader renews at a third of the
//! duration and stops by itself at two thirds without a renewal, before anybody else may take over.

mod evaluate;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use evaluate::{Action, Observed, Record, evaluate};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;

/// How a lease is held.
#[derive(Clone, Debug)]
pub(crate) struct LeaseSettings {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Our name in it, another one for every process.
    pub(crate) holder: String,
    /// How long after its last renewal a holder counts as gone.
    pub(crate) duration: Duration,
}

impl LeaseSettings {
    /// Between two renewals.
    fn renew_every(&self) -> Duration {
        self.duration / 3
    }

    /// How long a leader may work after its last renewal.
    fn valid_for(&self) -> Duration {
        self.duration * 2 / 3
    }
}

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
    fn none(margin: Duration) -> Self {
        Self { origin: Instant::now(), until: Arc::default(), margin }
    }

    fn extend(&self, until: Instant) {
        let millis = until.saturating_duration_since(self.origin).as_millis();
        self.until.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// What is left of it; zero after it has ended. The clock also runs while the process is stopped.
    pub(crate) fn left(&self) -> Duration {
        let until = self.origin + Duration::from_millis(self.until.load(Ordering::Acquire));
        until.saturating_duration_since(Instant::now())
    }

    /// How long it is until anybody else may take over; zero once we do not lead. What is sent may be under way for so
    /// long and no longer.
    pub(crate) fn undisputed(&self) -> Duration {
        self.undisputed_at(Instant::now())
    }

    fn undisputed_at(&self, now: Instant) -> Duration {
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

/// A candidate for the lease, which may become its holder again and again.
#[derive(Debug)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    settings: LeaseSettings,
    seen: Option<Observed>,
    current: Option<Lease>,
    leadership: Leadership,
}

impl Candidate {
    pub(crate) fn new(client: Client, settings: LeaseSettings) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        let leadership = Leadership::none(settings.duration.saturating_sub(settings.valid_for()));
        Self { api, settings, seen: None, current: None, leadership }
    }

    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until the lease is ours. Errors of the API server are given to `trouble` and tried again.
    pub(crate) async fn acquire(&mut self, trouble: impl Fn(Option<&kube::Error>)) {
        loop {
            match self.step().await {
                Ok(true) => {
                    trouble(None);
                    return;
                }
                Ok(false) => trouble(None),
                Err(error) => trouble(Some(&error)),
            }
            // Often enough to notice a released lease at once, rarely enough to cost nothing: a seventh of 7 s.
            tokio::time::sleep(self.settings.duration / 7).await;
        }
    }

    /// Renews the lease until that has failed for too long or somebody else has it.
    pub(crate) async fn hold(&mut self, trouble: impl Fn(Option<&kube::Error>)) {
        let mut next = Instant::now() + self.settings.renew_every();
        loop {
            let end = Instant::now() + self.leadership.left();
            tokio::time::sleep_until(next.min(end)).await;
            if !self.leadership.holds() {
                return;
            }
            let renewal = tokio::time::timeout(self.leadership.left(), self.step()).await;
            match renewal {
                Ok(Ok(true)) => trouble(None),
                Ok(Ok(false)) | Err(_) => {
                    self.leadership.end();
                    return;
                }
                Ok(Err(error)) => trouble(Some(&error)),
            }
            // After a failure sooner than after a success.
            let pause = if self.leadership.left() > self.settings.renew_every() {
                self.settings.renew_every()
            } else {
                self.settings.duration / 14
            };
            next = Instant::now() + pause;
        }
    }

    /// Gives the lease back, so that the next one need not wait.
    pub(crate) async fn release(&mut self) -> Result<(), kube::Error> {
        self.leadership.end();
        let Some(mut lease) = self.current.take() else { return Ok(()) };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        self.api.replace(&self.settings.name, &PostParams::default(), &lease).await.map(|_| ())
    }

    /// One look at the lease and what follows from it. Whether it is ours afterwards.
    async fn step(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.settings.name).await?;
        // The validity counts from before the write, so that it ends before anybody else may count it as over.
        let now = Instant::now();
        self.seen = lease.as_ref().map(|lease| Observed::update(self.seen.take(), record(lease), now));
        let write = match evaluate(self.seen.as_ref(), &self.settings.holder, now) {
            Action::Wait(_) => return Ok(false),
            Action::Create => self.api.create(&PostParams::default(), &self.lease(None)).await,
            Action::Take | Action::Renew => {
                let lease = self.lease(lease);
                self.api.replace(&self.settings.name, &PostParams::default(), &lease).await
            }
        };
        match write {
            Ok(lease) => {
                self.current = Some(lease);
                self.leadership.extend(now + self.settings.valid_for());
                Ok(true)
            }
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lease(&self, before: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
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

    /// No call may outlive the moment at which another process may begin to work.
    #[test]
    fn what_is_left_shrinks_to_nothing() {
        let leadership = Leadership::none(Duration::from_secs(2));
        let at = |second| leadership.origin + Duration::from_secs(second);
        assert!(!leadership.holds());
        assert_eq!(leadership.undisputed_at(at(0)), Duration::ZERO);
        leadership.extend(at(4));
        assert_eq!(leadership.undisputed_at(at(0)), Duration::from_secs(6));
        assert_eq!(leadership.undisputed_at(at(5)), Duration::from_secs(1), "ours, but not for new work");
        assert_eq!(leadership.undisputed_at(at(7)), Duration::ZERO);
        leadership.end();
        assert_eq!(leadership.undisputed_at(at(0)), Duration::ZERO);
    }
}
