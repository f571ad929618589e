//! What every reconcile shares.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    clusters::Clusters,
    events::{EventReason, Recorder},
    fights::Fights,
    lag::PoolMemory,
    lease::Leadership,
    metrics::{Metrics, Pools},
    object::SetObject,
    ownership::SetKey,
    sets::{SetEntry, Sets},
    targets::Targets,
};
use crate::{
    api::{ChatTopicSet, ChatTopicSetStatus},
    kafka::admin::ApiError,
};

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// Kafka did not answer, or refused everything.
    #[error("Kafka: {0}")]
    Kafka(#[from] ApiError),
    /// The API server did not answer, or refused.
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
    /// The set has changed since it was read; it comes again by itself.
    #[error("the set has changed meanwhile")]
    Stale,
    /// Another process leads now.
    #[error("no longer the leader")]
    NotLeading,
    /// A status that cannot be written as JSON.
    #[error("the status cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl ReconcileError {
    /// A bounded label for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::Kube(_) => "kubernetes",
            Self::Stale => "stale",
            Self::NotLeading => "not_leading",
            Self::Json(_) => "status",
        }
    }
}

/// What is remembered of a set only while this process leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo {
    /// The object and the generation of its spec that were planned last. For another one, everything is looked at anew:
    /// what was seen some seconds ago may be a topic that has been deleted with an older set of this name.
    pub(crate) planned: Option<(String, Option<i64>)>,
    pub(crate) pools: Pools,
    /// When Kafka was last asked for a change: what was seen before is too old to plan on.
    pub(crate) last_deed: Option<Instant>,
    /// Topics whose last creation has been told, as long as memory says that they are about to be created.
    pub(crate) told_created: BTreeSet<String>,
    pub(crate) fights: Fights,
    /// Which object's deletion was first seen, and when.
    pub(crate) deleting: Option<(String, Instant)>,
    /// That brokers make topics by themselves has been said.
    pub(crate) said_auto_create: bool,
}

/// Shared by all reconciles of one leadership.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) sets: Sets,
    pub(crate) targets: Targets,
    pub(crate) clusters: Arc<Clusters>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Metrics,
    pub(crate) leadership: Leadership,
    /// When this leadership began.
    pub(crate) started: Instant,
    /// The field manager of `/scale` writes.
    pub(crate) scale_manager: String,
    /// Between two looks at a Kafka cluster, and at the Secrets of a set.
    pub(crate) poll_every: std::time::Duration,
    /// How long the deletion of a set may wait for its topics.
    pub(crate) finalizer_deadline: std::time::Duration,
    /// Topics of the sets that are worked on at this moment: see [`Context::room`].
    pub(crate) in_hand: Semaphore,
    pub(crate) memos: Mutex<BTreeMap<SetKey, Memo>>,
    /// What is remembered of the lag of each pool, by set and worker.
    pub(crate) pools: Mutex<BTreeMap<SetKey, BTreeMap<String, PoolMemory>>>,
}

/// Topics that are worked on at once, whatever the number of sets: each takes some kilobytes meanwhile, and thirty sets of two hundred
/// took more memory than all that is known of ten thousand topics. Two of the largest sets fit in.
pub(crate) const IN_HAND: u16 = 1_000;
/// Sets of so many topics are worked on beside these: with thirty-two at once, the default, no more than 1,600 topics of them.
const SMALL: usize = 50;

/// How to reach sets without losing what a set that does not parse holds.
pub(crate) fn set_resource() -> ApiResource {
    ApiResource::erase::<ChatTopicSet>(&())
}

impl Context {
    fn memos(&self) -> MutexGuard<'_, BTreeMap<SetKey, Memo>> {
        self.memos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room to work on the topics of a set, in the order of asking. A small set waits for nobody: however many
    /// large ones stand before a broker that does not answer.
    pub(crate) async fn room(&self, key: &SetKey) -> Option<SemaphorePermit<'_>> {
        let topics = self.sets.get(key).map_or(0, |entry| entry.claim.topics.len());
        if topics <= SMALL {
            return None;
        }
        let topics = u16::try_from(topics).unwrap_or(IN_HAND).min(IN_HAND);
        self.in_hand.acquire_many(topics.into()).await.ok()
    }

    pub(crate) fn memo(&self, key: &SetKey) -> Memo {
        self.memos().get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn remember<R>(&self, key: &SetKey, change: impl FnOnce(&mut Memo) -> R) -> R {
        change(self.memos().entry(key.clone()).or_default())
    }

    /// What is remembered of a pool; given back by [`Context::keep_pool`].
    pub(crate) fn take_pool(&self, key: &SetKey, worker: &str) -> PoolMemory {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get_mut(key).and_then(|pools| pools.remove(worker)).unwrap_or_default()
    }

    pub(crate) fn keep_pool(&self, key: &SetKey, worker: &str, pool: PoolMemory) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(key.clone()).or_default().insert(worker.to_owned(), pool);
    }

    pub(crate) fn forget(&self, key: &SetKey) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(memo) = self.memos().remove(key) {
            self.metrics.forget(key, &memo.pools);
        }
        self.clusters.forget(key);
    }

    /// Nothing is sent by a process that no longer leads.
    pub(crate) fn check_leading(&self) -> Result<(), ReconcileError> {
        if self.leadership.holds() { Ok(()) } else { Err(ReconcileError::NotLeading) }
    }

    /// Tells something of a set in an event, as long as this process leads: who has been stopped for a while and wakes must
    /// not speak of what others have done since.
    pub(crate) async fn tell(&self, entry: &SetEntry, reason: EventReason, note: &str) {
        if self.leadership.holds() {
            self.recorder.send(&entry.key, &entry.uid, reason, note).await;
        } else {
            tracing::info!(set = %entry.key, reason = reason.as_str(), "not told, for somebody else leads by now: {note}");
        }
    }

    /// Writes a status when it differs from the one that the set has, on the very version of the set that was read.
    /// Returns the set as it is then.
    pub(crate) async fn write_status(
        &self,
        entry: &Arc<SetEntry>,
        old: Option<&ChatTopicSetStatus>,
        status: &ChatTopicSetStatus,
    ) -> Result<Arc<SetEntry>, ReconcileError> {
        if old == Some(status) {
            return Ok(Arc::clone(entry));
        }
        self.check_leading()?;
        let patch = json!({
            "metadata": {"resourceVersion": entry.resource_version(), "uid": entry.uid},
            "status": with_nulls(serde_json::to_value(status)?),
        });
        let api: Api<SetObject> = Api::namespaced(self.client.clone(), &entry.key.namespace);
        match api.patch_status(&entry.key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(object) => {
                self.sets.put(SetEntry::read(object));
                self.sets.get(&entry.key).ok_or(ReconcileError::Stale)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                Err(ReconcileError::Stale)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// In a merge patch a field that is left out stays: name those that are gone. Lists are replaced as a whole.
fn with_nulls(status: Value) -> Value {
    const FIELDS: [&str; 8] = [
        "observedGeneration",
        "conditions",
        "clusterId",
        "topicsReady",
        "partitions",
        "workersReady",
        "topics",
        "workers",
    ];
    let mut status = status;
    if let Value::Object(fields) = &mut status {
        for field in FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every optional field of the status is known to `with_nulls`.
    #[test]
    fn no_field_is_forgotten() {
        let schema = crate::api::schema();
        let fields = schema["properties"]["status"]["properties"].as_object().unwrap();
        let patched = with_nulls(json!({}));
        assert_eq!(patched.as_object().unwrap().keys().collect::<Vec<_>>().len(), fields.len());
        for field in fields.keys() {
            assert!(patched.get(field).is_some(), "{field}");
        }
    }
}
