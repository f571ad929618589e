use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    batch::Strangers,
    hashing::Hashing,
    metrics::WorkerMetrics,
    settings::{KeyArgs, Settings},
};
use crate::{
    kafka::Producer,
    process::{
        Dependency, Exit,
        trace::{Span, Tracer},
    },
    store::{Clock, Database},
    wire::{Keyring, OpeningKeys},
};

/// What all partitions share.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) producer: Producer,
    pub(super) hashing: Hashing,
    pub(super) metrics: WorkerMetrics,
    pub(super) holds: Holds,
    pub(super) strangers: Strangers,
    pub(super) tracer: Tracer,
}

impl Parts {
    /// A stage of a batch that began at `start` is over.
    pub(super) fn stage(&self, batch: &Span, stage: &'static str, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.batch_duration_seconds.with_label_values(&[stage]).observe(seconds);
        batch.stage(stage, start);
    }
}

/// The keys of a worker.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) requests: Keyring,
    pub(super) replies: Keyring,
    pub(super) seals: OpeningKeys,
}

impl Keys {
    pub(super) fn load(args: &KeyArgs) -> Result<Self, Exit> {
        Ok(Self {
            requests: Keyring::load(&args.request_keys_file).map_err(Exit::settings)?,
            replies: Keyring::load(&args.reply_keys_file).map_err(Exit::settings)?,
            seals: match &args.seal_private_keys_file {
                Some(path) => OpeningKeys::load(path).map_err(Exit::settings)?,
                None => OpeningKeys::default(),
            },
        })
    }
}

/// Partitions that wait for something to come back, and whether the process is ready with that.
#[derive(Debug, Clone)]
pub(super) struct Holds {
    waiting: Arc<AtomicUsize>,
    dependency: Dependency,
}

/// One partition's hold. Given up when dropped.
#[derive(Debug)]
pub(super) struct Hold(Holds);

impl Holds {
    pub(super) fn new(dependency: Dependency) -> Self {
        dependency.ready();
        Self { waiting: Arc::default(), dependency }
    }

    /// A partition waits from now on.
    pub(super) fn hold(&self) -> Hold {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Hold(self.clone())
    }
}

impl Hold {
    /// Says why.
    pub(super) fn because(&self, reason: &str) {
        self.0.dependency.unready(reason);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.dependency.ready();
        }
    }
}
