//! One round of one set: observe → plan → apply → status. Only the ends do IO.

use std::{sync::Arc, time::Duration};

use super::{
    announce::{self, Refused},
    cluster::Cluster,
    clusters::ConnectionError,
    context::{Context, ReconcileError},
    deletion,
    events::EventReason,
    ownership::SetKey,
    queue::Ended,
    sets::SetEntry,
    status::{self, Findings, Trouble},
    topics::{self, Topics},
    workers,
};
use crate::{
    api::{ChatTopicSet, ManagementPolicy, Reason},
    kafka::admin::ApiError,
};

/// A set that nothing reminds of is looked at this often all the same.
const RESYNC: Duration = Duration::from_secs(600);

/// Reconciles one set and says when to look at it again.
pub(crate) async fn reconcile(ctx: &Context, key: &SetKey) -> Ended {
    let started = std::time::Instant::now();
    let _room = ctx.room(key).await;
    let (ended, outcome) = match round(ctx, key).await {
        Ok((ended, changed)) => (
            ended,
            match ended {
                Ended::Done(_) if changed => "changed",
                Ended::Done(_) => "unchanged",
                Ended::Waiting | Ended::Progressing => "waiting",
                Ended::Failed => "failed",
            },
        ),
        // The newer set is on its way or here already; it brings itself.
        Err(ReconcileError::Stale) => (Ended::Waiting, "waiting"),
        Err(error) => {
            ctx.metrics.reconcile_errors_total.with_label_values(&[error.label()]).inc();
            tracing::warn!(set = %key, %error, "a reconcile failed");
            (Ended::Failed, "failed")
        }
    };
    ctx.metrics.reconcile_total.with_label_values(&[outcome]).inc();
    ctx.metrics
        .reconcile_duration_seconds
        .with_label_values(&[outcome])
        .observe(started.elapsed().as_secs_f64());
    ended
}

/// The round itself: how it ended, and whether anything was written.
async fn round(ctx: &Context, key: &SetKey) -> Result<(Ended, bool), ReconcileError> {
    let Some(entry) = ctx.sets.get(key) else {
        ctx.forget(key);
        return Ok((Ended::Done(None), false));
    };
    let set = match &entry.object {
        Ok(set) => set,
        Err(why) if entry.deleting => {
            return Ok((deletion::delete_unreadable(ctx, &entry, why).await?, true));
        }
        Err(why) => {
            let note =
                format!("cannot be read as a ChatTopicSet and is left alone; its topics stay claimed: {why}");
            ctx.tell(&entry, EventReason::Refused, &note).await;
            return Ok((Ended::Done(None), false));
        }
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Ok((deletion::delete(ctx, &entry, set).await?, true));
    }
    if set.spec.management_policy == ManagementPolicy::Paused {
        let status = status::paused(set, ctx.now());
        ctx.clusters.forget(key);
        let after = ctx.write_status(&entry, set.status.as_ref(), &status).await?;
        return Ok((Ended::Done(None), !Arc::ptr_eq(&after, &entry)));
    }
    let version = entry.resource_version().to_owned();
    let entry = deletion::arrange_finalizer(ctx, &entry).await?;
    let looked = look(ctx, &entry).await;
    let (entry, topics) = match looked {
        Ok(looked) => looked,
        Err(Failed::Trouble(trouble)) => (Arc::clone(&entry), Topics::unknown(&entry, trouble)),
        Err(Failed::Error(error)) => return Err(error),
    };
    finish(ctx, entry, topics, &version).await
}

enum Failed {
    Trouble(Trouble),
    Error(ReconcileError),
}

impl From<ReconcileError> for Failed {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Kafka(error) => Self::Trouble(unreachable(&error)),
            other => Self::Error(other),
        }
    }
}

pub(crate) fn unreachable(error: &ApiError) -> Trouble {
    let (reason, what) = if error.is_authentication() {
        (Reason::AuthorizationFailed, "Kafka refuses the credentials")
    } else if error.is_authorization() {
        (Reason::AuthorizationFailed, "Kafka refuses the request")
    } else {
        (Reason::KafkaUnreachable, "Kafka cannot be reached")
    };
    Trouble { reason, message: format!("{what}: {error}") }
}

/// Finds the cluster and makes the topics true.
async fn look(ctx: &Context, entry: &Arc<SetEntry>) -> Result<(Arc<SetEntry>, Topics), Failed> {
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale.into()) };
    let cluster = bind(ctx, &entry.key, set).await.map_err(|trouble| match trouble {
        Ok(trouble) => Failed::Trouble(trouble),
        Err(error) => Failed::Error(error),
    })?;
    let cluster_id = cluster_id(&cluster, set).await?;
    Ok(topics::make_true(ctx, entry, &cluster, cluster_id).await?)
}

/// The cluster that a set is about, or what to say of it: trouble that stands in the status, or an error of the API
/// server.
pub(crate) async fn bind(
    ctx: &Context,
    key: &SetKey,
    set: &ChatTopicSet,
) -> Result<Arc<Cluster>, Result<Trouble, ReconcileError>> {
    ctx.clusters.bind(key, set.spec.kafka.as_ref()).await.map_err(|error| match error {
        ConnectionError::Api(_, error) => Err(error.into()),
        error => {
            let reason = match error {
                ConnectionError::Forbidden(_) => Reason::AuthorizationFailed,
                _ => Reason::KafkaUnreachable,
            };
            Ok(Trouble { reason, message: error.to_string() })
        }
    })
}

/// The cluster's id, if it is the one that the set is about.
async fn cluster_id(cluster: &Cluster, set: &ChatTopicSet) -> Result<String, Failed> {
    // A cluster that did not answer the poller is not asked again by every set.
    if let Some(error) = cluster.error() {
        return Err(Failed::Trouble(unreachable(&error)));
    }
    let id = cluster.id().await.map_err(ReconcileError::from)?;
    let demanded = set.spec.kafka.as_ref().and_then(|k| k.required_cluster_id());
    let status = set.status.as_ref();
    let remembered =
        status.and_then(|s| s.cluster_id.as_deref()).filter(|_| status.is_some_and(|s| !s.topics.is_empty()));
    let expected = demanded.or(remembered);
    match expected {
        Some(expected) if expected != id => {
            let way = match (demanded, &set.spec.kafka) {
                (Some(_), _) => "",
                (None, Some(_)) => "; set spec.kafka.clusterId to the new id if it is meant so",
                // The controller's own connection leads elsewhere now, and there is no field to say so.
                (None, None) => "; if it is meant so, delete the set and apply it again",
            };
            let message = format!("this Kafka cluster is {id}, but the set is about {expected}{way}");
            Err(Failed::Trouble(Trouble { reason: Reason::ClusterIdMismatch, message }))
        }
        _ => Ok(id),
    }
}

/// Scales the workers and writes the status.
async fn finish(
    ctx: &Context,
    entry: Arc<SetEntry>,
    topics: Topics,
    version: &str,
) -> Result<(Ended, bool), ReconcileError> {
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale) };
    let workers = workers::make_true(ctx, &entry, set, &topics).await?;
    let failed = topics.failed || topics.trouble.is_some() || workers.failed;
    let waiting = topics.waiting;
    let desired: Vec<(String, Option<i32>)> =
        topics.desired.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
    let drifted = topics.drifted;
    let trouble = topics.trouble.clone();
    let refused = Refused::of(&topics.reports, &workers.reports);
    let findings = Findings {
        cluster_id: topics.cluster_id,
        topics: topics.reports,
        released: topics.released,
        workers: workers.reports,
        trouble: topics.trouble,
        auto_create: topics.auto_create,
    };
    let status = status::build(set, findings, ctx.now());
    announce::refusals(ctx, &entry, trouble.as_ref(), &refused, &status).await;
    if topics.auto_create {
        announce::auto_create(ctx, &entry).await;
    }
    let after = ctx.write_status(&entry, set.status.as_ref(), &status).await?;

    let pools = ctx.metrics.export(&entry.key, &status, &desired, &ctx.memo(&entry.key).pools);
    ctx.remember(&entry.key, |memo| memo.pools = pools);
    if drifted > 0 {
        let labels = [entry.key.namespace.as_str(), entry.key.name.as_str()];
        ctx.metrics.topic_drift_total.with_label_values(&labels).inc_by(u64::try_from(drifted).unwrap_or(0));
    }
    let resync = if set.spec.kafka.as_ref().is_some_and(|k| k.tls.is_some() || k.sasl.is_some()) {
        // So that a rotated Secret is noticed.
        ctx.poll_every
    } else {
        RESYNC
    };
    let changed = after.resource_version() != version;
    let ended = match (failed, waiting) {
        (true, _) => Ended::Failed,
        (false, true) if changed => Ended::Progressing,
        (false, true) => Ended::Waiting,
        (false, false) => Ended::Done(Some(workers.look_again.map_or(resync, |look| look.min(resync)))),
    };
    Ok((ended, changed))
}
