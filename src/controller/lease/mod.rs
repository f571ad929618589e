//! One lease decides who works; the others stand by. `coordination.k8s.io/v1`.
//!
//! Writes carry the resourceVersion that was read, so of two candidates one wins. A leader renews at a third of the
//! duration and stops by itself at two thirds without a renewal, before anybody else may take over.

mod decide;
mod evaluate;
mod leadership;
#[cfg(test)]
mod model;

use std::time::Duration;

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

use decide::{Decider, Renewal, Step};
pub(crate) use leadership::Leadership;

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

    /// How long what it sent at the very end may still be under way. A twentieth of the duration is left over, for clocks that run
    /// faster than ours.
    fn margin(&self) -> Duration {
        (self.duration * 19 / 20).saturating_sub(self.valid_for())
    }
}

/// A candidate for the lease, which may become its holder again and again.
#[derive(Debug)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    decider: Decider,
}

impl Candidate {
    pub(crate) fn new(client: Client, settings: LeaseSettings) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, name: settings.name.clone(), decider: Decider::new(settings) }
    }

    pub(crate) fn leadership(&self) -> Leadership {
        self.decider.leadership().clone()
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
            tokio::time::sleep(self.decider.look_every()).await;
        }
    }

    /// Renews the lease until that has failed for too long or somebody else has it.
    pub(crate) async fn hold(&mut self, trouble: impl Fn(Option<&kube::Error>)) {
        let mut next = Some(self.decider.first_renewal(Instant::now()));
        while let Some(at) = next {
            tokio::time::sleep_until(at).await;
            let left = self.decider.leadership().left();
            if left.is_zero() {
                return;
            }
            let renewal = match tokio::time::timeout(left, self.step()).await {
                Ok(Ok(true)) => {
                    trouble(None);
                    Renewal::Done
                }
                Ok(Ok(false)) => Renewal::Taken,
                Ok(Err(error)) => {
                    trouble(Some(&error));
                    Renewal::Failed
                }
                Err(_) => Renewal::TimedOut,
            };
            next = self.decider.renewed(renewal, Instant::now());
        }
    }

    /// Gives the lease back, so that the next one need not wait.
    pub(crate) async fn release(&mut self) -> Result<(), kube::Error> {
        let Some(lease) = self.decider.release(Timestamp::now()) else { return Ok(()) };
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(|_| ())
    }

    /// One look at the lease and what follows from it. Whether it is ours afterwards.
    async fn step(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let how = PostParams::default();
        let (write, since) = match self.decider.read(lease, Instant::now(), Timestamp::now()) {
            Step::Wait => return Ok(false),
            Step::Create(lease, since) => (self.api.create(&how, &lease).await, since),
            Step::Replace(lease, since) => (self.api.replace(&self.name, &how, &lease).await, since),
        };
        match write {
            Ok(lease) => {
                self.decider.wrote(lease, since);
                Ok(true)
            }
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}
