//! Deleting a set: which of its topics go with it, and the finalizer that gives the time for it.
//!
//! `Retain` carries no finalizer, so no namespace can hang for it. The others delete only topics whose id is remembered,
//! is still the live one, and which no other set names; after a deadline the object goes even when the topics could not.

use std::{collections::BTreeSet, sync::Arc};

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    context::{Context, ReconcileError},
    events::EventReason,
    object::SetObject,
    ownership::{Claim, named_elsewhere},
    plan::Live,
    queue::Ended,
    reconcile::bind,
    sets::SetEntry,
    status::{self, Findings, Trouble},
    topics::Topics,
};
use crate::{
    api::{
        ChatTopicSet, DeletionPolicy, FINALIZER, ManagementPolicy, Reason, TopicOrigin, TopicState,
        TopicStatus,
    },
    kafka::admin::CHANGES_AT_ONCE,
};

/// Gives the set the finalizer that its policy needs, or takes it away. Returns the set as it is then.
pub(crate) async fn arrange_finalizer(
    ctx: &Context,
    entry: &Arc<SetEntry>,
) -> Result<Arc<SetEntry>, ReconcileError> {
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale) };
    let wanted = set.spec.deletion_policy.deletes();
    // A set that only observes is written nowhere.
    if set.spec.management_policy != ManagementPolicy::Managed || has_finalizer(entry) == wanted {
        return Ok(Arc::clone(entry));
    }
    let finalizers: Vec<String> =
        others_finalizers(entry).chain(wanted.then(|| FINALIZER.to_owned())).collect();
    write_finalizers(ctx, entry, &finalizers).await?.ok_or(ReconcileError::Stale)
}

fn has_finalizer(entry: &SetEntry) -> bool {
    entry.finalizers.iter().any(|f| f == FINALIZER)
}

fn others_finalizers(entry: &SetEntry) -> impl Iterator<Item = String> {
    entry.finalizers.iter().filter(|f| *f != FINALIZER).cloned()
}

/// Writes the list on the very version that was read; none when the object is gone by it.
async fn write_finalizers(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    finalizers: &[String],
) -> Result<Option<Arc<SetEntry>>, ReconcileError> {
    ctx.check_leading()?;
    let patch = json!({"metadata": {"resourceVersion": entry.resource_version(), "finalizers": finalizers}});
    let api: Api<SetObject> = Api::namespaced(ctx.client.clone(), &entry.key.namespace);
    match api.patch(&entry.key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(object) if object.metadata.deletion_timestamp.is_some() && finalizers.is_empty() => Ok(None),
        Ok(object) => {
            ctx.sets.put(SetEntry::read(object));
            Ok(ctx.sets.get(&entry.key))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(ReconcileError::Stale),
        Err(error) => Err(error.into()),
    }
}

/// What came of trying to delete the topics.
enum Outcome {
    /// Nothing is left to do; these notes say what was left alone and why.
    Done { kept: Vec<String> },
    /// Another try may help.
    Again(Trouble),
}

/// A set that is being deleted.
pub(crate) async fn delete(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    set: &ChatTopicSet,
) -> Result<Ended, ReconcileError> {
    if !has_finalizer(entry) {
        return Ok(Ended::Done(None));
    }
    let late = overdue(ctx, entry);
    let protected =
        set.spec.management_policy != ManagementPolicy::Managed || !set.spec.deletion_policy.deletes();
    let outcome = if protected {
        Outcome::Done { kept: Vec::new() }
    } else if ctx.sets.complete() {
        delete_topics(ctx, entry, set).await?
    } else if late {
        let message = "not all watched namespaces can be listed, so nobody knows who else names them";
        Outcome::Again(Trouble { reason: Reason::Progressing, message: message.to_owned() })
    } else {
        return Ok(Ended::Waiting);
    };
    match outcome {
        Outcome::Done { kept } => {
            if !kept.is_empty() {
                ctx.tell(entry, EventReason::Refused, &kept.join("; ")).await;
            }
        }
        Outcome::Again(trouble) if !late => {
            let ended = if trouble.reason == Reason::Progressing { Ended::Waiting } else { Ended::Failed };
            report(ctx, entry, set, trouble).await?;
            return Ok(ended);
        }
        Outcome::Again(trouble) => {
            let note = format!(
                "deleted without its topics, which could not be deleted in time: {}",
                trouble.message
            );
            let overdue = Trouble { reason: Reason::FinalizerTimedOut, message: note.clone() };
            // Neither of these may hold the object: a terminating namespace refuses events.
            ctx.tell(entry, EventReason::Refused, &note).await;
            return match report(ctx, entry, set, overdue).await {
                Ok(entry) => release(ctx, &entry).await,
                Err(ReconcileError::Stale) => Err(ReconcileError::Stale),
                Err(_) => release(ctx, entry).await,
            };
        }
    }
    release(ctx, entry).await
}

async fn release(ctx: &Context, entry: &Arc<SetEntry>) -> Result<Ended, ReconcileError> {
    let others: Vec<String> = others_finalizers(entry).collect();
    write_finalizers(ctx, entry, &others).await?;
    Ok(Ended::Done(None))
}

/// A set that is being deleted and cannot be read: nobody can say which topics are its own, so they stay, and it goes
/// after the deadline (until then a newer controller, which can read it, may take over).
pub(crate) async fn delete_unreadable(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    why: &str,
) -> Result<Ended, ReconcileError> {
    if !has_finalizer(entry) {
        return Ok(Ended::Done(None));
    }
    if !overdue(ctx, entry) {
        return Ok(Ended::Waiting);
    }
    let note = format!("deleted without its topics: it cannot be read as a ChatTopicSet: {why}");
    ctx.tell(entry, EventReason::Refused, &note).await;
    release(ctx, entry).await
}

/// Whether the deletion has taken longer than it may. Counted on our own clock from when this leader first saw it, so
/// that a deletion asked for while no controller ran gets its whole time.
fn overdue(ctx: &Context, entry: &SetEntry) -> bool {
    let now = Instant::now();
    let mut since = now;
    ctx.remember(&entry.key, |memo| match &memo.deleting {
        Some((uid, seen)) if *uid == entry.uid => since = *seen,
        _ => memo.deleting = Some((entry.uid.clone(), now)),
    });
    now.duration_since(since) > ctx.finalizer_deadline
}

async fn report(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    set: &ChatTopicSet,
    trouble: Trouble,
) -> Result<Arc<SetEntry>, ReconcileError> {
    let topics = Topics::unknown(entry, trouble);
    let findings = Findings {
        cluster_id: topics.cluster_id,
        topics: topics.reports,
        released: topics.released,
        workers: Vec::new(),
        trouble: topics.trouble,
        auto_create: false,
    };
    let status = status::build(set, findings, ctx.now());
    ctx.write_status(entry, set.status.as_ref(), &status).await
}

async fn delete_topics(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    set: &ChatTopicSet,
) -> Result<Outcome, ReconcileError> {
    let Some(status) = set.status.as_ref() else { return Ok(Outcome::Done { kept: Vec::new() }) };
    let Some(cluster_id) = &status.cluster_id else { return Ok(Outcome::Done { kept: Vec::new() }) };
    let ours: Vec<&TopicStatus> =
        status.topics.iter().filter(|t| goes(set.spec.deletion_policy, t)).collect();
    if ours.is_empty() {
        return Ok(Outcome::Done { kept: Vec::new() });
    }
    let cluster = match bind(ctx, &entry.key, set).await {
        Ok(cluster) => cluster,
        Err(trouble) => return Ok(Outcome::Again(trouble?)),
    };
    let id = match cluster.id().await {
        Ok(id) => id,
        Err(error) => return Ok(Outcome::Again(super::reconcile::unreachable(&error))),
    };
    if &id != cluster_id {
        let note = format!("topics not deleted: this Kafka cluster is {id}, they were made in {cluster_id}");
        return Ok(Outcome::Done { kept: vec![note] });
    }
    let mine = Claim { cluster_id: Some(id), ..entry.claim.clone() };
    let others = ctx.sets.others(&entry.key);
    let claims: Vec<&Claim> = others.iter().map(|other| &other.claim).collect();
    let names: BTreeSet<String> = ours.iter().map(|t| t.name.clone()).collect();
    let live = match cluster.observe(&names, Some(Instant::now())).await {
        Ok(live) => live,
        Err(error) => return Ok(Outcome::Again(super::reconcile::unreachable(&error))),
    };
    let (mut delete, mut kept, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    let mut unauthorized = false;
    for topic in ours {
        if let Some(other) = named_elsewhere(&mine, &claims, &topic.name) {
            kept.push(format!("{} stays: {other} names it too", topic.name));
            continue;
        }
        match live.get(&topic.name) {
            Some(Live::Absent) => {}
            // Of one that was about to be made anew the new id is not known yet, and it is ours.
            Some(Live::Present(seen))
                if Some(&seen.id) == topic.topic_id.as_ref() || topic.state == TopicState::Creating =>
            {
                delete.push(topic.name.clone())
            }
            Some(Live::Present(_)) => kept.push(format!("{} stays: somebody made it anew", topic.name)),
            Some(Live::Unknown(error)) => {
                unauthorized |= error.is_authorization();
                unclear.push(format!("{}: {error}", topic.name));
            }
            None => unclear.push(format!("{}: nothing is known of it", topic.name)),
        }
    }
    let (mut deleted, mut away) = (Vec::new(), None);
    for some in delete.chunks(CHANGES_AT_ONCE) {
        ctx.check_leading()?;
        match cluster.admin.delete_topics(some.to_vec()).await {
            Ok(outcomes) => {
                for (name, outcome) in outcomes {
                    match outcome {
                        Ok(()) => deleted.push(name),
                        Err(error) if error.is_unknown_topic() => {}
                        Err(error) => {
                            // Also where nobody may (delete.topic.enable=false), which has two answers.
                            unauthorized |= error.is_authorization()
                                || error.is_deletion_disabled()
                                || error.is_invalid_request();
                            unclear.push(format!("Deleting {name} failed: {error}"));
                        }
                    }
                }
            }
            Err(error) => {
                // What is deleted already is told all the same.
                away = Some(super::reconcile::unreachable(&error));
                break;
            }
        }
    }
    if !deleted.is_empty() {
        let note = format!("deleted {}", deleted.join(", "));
        ctx.tell(entry, EventReason::TopicDeleted, &note).await;
    }
    if let Some(trouble) = away {
        return Ok(Outcome::Again(trouble));
    }
    if unclear.is_empty() {
        return Ok(Outcome::Done { kept });
    }
    let reason = if unauthorized { Reason::AuthorizationFailed } else { Reason::KafkaUnreachable };
    Ok(Outcome::Again(Trouble { reason, message: unclear.join("; ") }))
}

/// Whether a topic goes with its set, as far as its memory says.
fn goes(policy: DeletionPolicy, topic: &TopicStatus) -> bool {
    let origin = match policy {
        DeletionPolicy::Retain => false,
        DeletionPolicy::Delete => topic.origin == Some(TopicOrigin::Created),
        DeletionPolicy::DeleteAdopted => topic.origin.is_some(),
    };
    origin && topic.topic_id.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_remembered_as_ours_goes() {
        let topic = |id: Option<&str>, origin| TopicStatus {
            topic_id: id.map(str::to_owned),
            origin,
            ..TopicStatus::default()
        };
        let (created, adopted) = (Some(TopicOrigin::Created), Some(TopicOrigin::Adopted));
        for (policy, id, origin, expected) in [
            (DeletionPolicy::Retain, Some("x"), created, false),
            (DeletionPolicy::Delete, Some("x"), created, true),
            (DeletionPolicy::Delete, Some("x"), adopted, false),
            (DeletionPolicy::Delete, None, created, false),
            (DeletionPolicy::DeleteAdopted, Some("x"), adopted, true),
            (DeletionPolicy::DeleteAdopted, Some("x"), created, true),
            (DeletionPolicy::DeleteAdopted, Some("x"), None, false),
        ] {
            assert_eq!(goes(policy, &topic(id, origin)), expected, "{policy:?} {id:?} {origin:?}");
        }
    }
}
