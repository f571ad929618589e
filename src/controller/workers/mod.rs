//! The worker pools of a set: what their replica counts should be, and writing them.

mod lag;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    context::{Context, ReconcileError},
    events::EventReason,
    ownership::{Claim, target_owner},
    plan::{Live, Owner},
    scaling::{Decision, Pool, decide},
    sets::SetEntry,
    status::WorkerReport,
    targets::{Target, TargetKey},
    topics::{Topics, spec_settled},
};
use crate::api::{ChatTopicSet, Reason, ScalingMode, WorkerSpec, WorkerStatus, bounded_message};

/// What came of the workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(crate) reports: Vec<WorkerReport>,
    /// A count could not be written for a reason that another try may mend.
    pub(crate) failed: bool,
    /// When to look at the lag again, if at all.
    pub(crate) look_again: Option<Duration>,
}

/// What one reconcile has to tell of replica counts: one event each, however many workers it is about.
#[derive(Debug, Default)]
struct Notes {
    scaled: Vec<String>,
    contended: Vec<String>,
}

/// Scales every worker as far as it may be scaled.
pub(crate) async fn make_true(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    set: &ChatTopicSet,
    topics: &Topics,
) -> Result<Workers, ReconcileError> {
    let others = ctx.sets.others(&entry.key);
    let claims: Vec<&Claim> = others.iter().map(|other| &other.claim).collect();
    let mut workers = Workers::default();
    let mut notes = Notes::default();
    for spec in &set.spec.workers {
        let remembered = set.status.as_ref().and_then(|s| s.workers.iter().find(|w| w.name == spec.name));
        let worker = Worker {
            ctx,
            entry,
            set,
            spec,
            remembered: remembered.cloned().unwrap_or_default(),
            key: TargetKey::of(&entry.key.namespace, &spec.scale_target_ref),
            topics,
        };
        workers.look_again = workers.look_again.into_iter().chain(worker.look_every()).min();
        // A set that only observes takes nothing, so there is nothing to dispute.
        let owner = if entry.claim.observes {
            Owner::Me
        } else if ctx.sets.complete() {
            target_owner(&entry.claim, &claims, &spec.scale_target_ref)
        } else {
            Owner::Unknown
        };
        let (report, failed) = worker.make_true(&owner, &mut notes).await?;
        workers.reports.push(report);
        workers.failed |= failed;
    }
    for (reason, notes) in
        [(EventReason::Scaled, notes.scaled), (EventReason::ScaleContended, notes.contended)]
    {
        if !notes.is_empty() {
            ctx.tell(entry, reason, &notes.join("; ")).await;
        }
    }
    Ok(workers)
}

/// The partitions of all of a worker's topics as seen now; none when any of them is not known, or not yet led: one that
/// is not seen by all brokers yet must not be counted.
fn partitions(live: &BTreeMap<String, Live>, spec: &WorkerSpec) -> Option<i32> {
    spec.topics.iter().try_fold(0_i32, |sum, topic| {
        let topic = live.get(topic)?.present().filter(|t| t.led)?;
        sum.checked_add(topic.partitions)
    })
}

/// The topics of pools that have more partitions than their status tells, or may have others: the counts that every broker must know
/// before a pool follows them. Told by the status and not by what was done, for that outlives this process's leadership, and
/// partitions are added by others too.
pub(crate) fn followed_anew(set: &ChatTopicSet, live: &BTreeMap<String, Live>) -> BTreeMap<String, i32> {
    let status = set.status.as_ref();
    let settled = spec_settled(set);
    let mut anew = BTreeMap::new();
    for spec in &set.spec.workers {
        let told = status.and_then(|s| s.workers.iter().find(|w| w.name == spec.name)?.partitions);
        let topics =
            spec.topics.iter().filter_map(|name| Some((name, live.get(name)?.present()?.partitions)));
        let sum: i64 = topics.clone().map(|(_, partitions)| i64::from(partitions)).sum();
        if !settled || told.is_none_or(|told| sum > told.into()) {
            anew.extend(topics.map(|(name, partitions)| (name.clone(), partitions)));
        }
    }
    anew
}

struct Worker<'a> {
    ctx: &'a Context,
    entry: &'a SetEntry,
    set: &'a ChatTopicSet,
    spec: &'a WorkerSpec,
    remembered: WorkerStatus,
    key: TargetKey,
    topics: &'a Topics,
}

/// What is to be said of a count that was not written, or was.
struct Said {
    reason: Reason,
    message: String,
    failed: bool,
}

impl Worker<'_> {
    async fn make_true(
        &self,
        owner: &Owner,
        notes: &mut Notes,
    ) -> Result<(WorkerReport, bool), ReconcileError> {
        let partitions = partitions(&self.topics.live, self.spec);
        let target = self.ctx.targets.get(&self.key);
        let mut status = WorkerStatus {
            name: self.spec.name.clone(),
            partitions: partitions.or(self.remembered.partitions),
            replicas: target.as_ref().map(|t| t.replicas),
            ready_replicas: target.as_ref().map(|t| t.ready),
            desired_replicas: None,
            message: None,
            ..self.remembered.clone()
        };
        let refused = |reason, message: String| Said { reason, message, failed: false };
        let said = match (&target, owner) {
            (_, Owner::Unknown) => {
                Some(refused(Reason::Progressing, "waiting until all sets are known".to_owned()))
            }
            (_, Owner::Other(who)) => {
                Some(refused(Reason::OwnershipConflict, format!("its target follows {who}, which is older")))
            }
            (None, Owner::Me) => Some(self.not_found()),
            (Some(target), Owner::Me) => self.decide(target, partitions, &mut status, notes).await?,
        };
        let failed = said.as_ref().is_some_and(|s| s.failed);
        let ready = said.is_none() && self.is_ready(&status);
        let (reason, message) = match said {
            Some(said) => (said.reason, Some(said.message)),
            None if ready => {
                (Reason::Reconciled, self.idle(partitions).or_else(|| self.still_owned(&status)))
            }
            None => {
                let (ready, wanted) =
                    (status.ready_replicas.unwrap_or(0), status.desired_replicas.unwrap_or(0));
                (Reason::Progressing, Some(format!("{ready} of {wanted} replicas ready")))
            }
        };
        status.message = message.map(|m| bounded_message(&m));
        Ok((WorkerReport { status, ready, reason }, failed))
    }

    fn not_found(&self) -> Said {
        let target = &self.spec.scale_target_ref;
        let what = format!("{} {}", target.kind, target.name);
        let (reason, message) = if self.ctx.targets.resource(target).is_none() {
            let group = target.group();
            (
                Reason::TargetNotFound,
                format!("kind {} of group {group:?} is not watched (--scale-targets)", target.kind),
            )
        } else if self.ctx.targets.complete() {
            (Reason::TargetNotFound, format!("there is no {what} in namespace {}", self.key.namespace))
        } else {
            (Reason::Progressing, format!("{what} has not been seen yet"))
        };
        Said { reason, message, failed: false }
    }

    fn is_ready(&self, status: &WorkerStatus) -> bool {
        let wanted = status.desired_replicas.or(status.replicas).unwrap_or(0);
        status.ready_replicas.unwrap_or(0) >= wanted
    }

    /// Consumers without a partition have nothing to do.
    fn idle(&self, partitions: Option<i32>) -> Option<String> {
        let (min, partitions) = (self.spec.scaling.min_replicas, partitions?);
        (min > partitions)
            .then(|| format!("minReplicas {min} is above the {partitions} partitions: more would be idle"))
    }

    /// In mode External a count that we took before is still ours in the eyes of the API server, and giving it up by an
    /// apply would set it to 0: the next owner takes it.
    fn still_owned(&self, status: &WorkerStatus) -> Option<String> {
        let manager = &self.ctx.scale_manager;
        (self.spec.scaling.mode == ScalingMode::External && status.target_uid.is_some()).then(|| {
            format!("field manager {manager} still owns the count; take it with kubectl apply --server-side --force-conflicts")
        })
    }

    async fn decide(
        &self,
        target: &Target,
        partitions: Option<i32>,
        status: &mut WorkerStatus,
        notes: &mut Notes,
    ) -> Result<Option<Said>, ReconcileError> {
        let pool = Pool { partitions, current: target.wanted, ready: target.ready };
        let looked = self.lag(&pool).await;
        let (decision, stuck) = match (self.spec.scaling.mode, looked) {
            (ScalingMode::Lag, Some(looked)) => (looked.decision, looked.stuck),
            _ => (decide(&self.spec.scaling, &pool), Vec::new()),
        };
        let said = match decision {
            Decision::Want(wanted) => {
                status.desired_replicas = Some(wanted);
                self.write(target, wanted, partitions, status, notes).await?
            }
            Decision::Hold { reason, message } => {
                self.ctx.metrics.scale_suppressed_total.with_label_values(&[reason.as_str()]).inc();
                status.desired_replicas = target.wanted;
                Some(Said { reason, message, failed: false })
            }
            Decision::HandsOff => {
                status.desired_replicas = target.wanted;
                None
            }
        };
        if said.is_none() && !stuck.is_empty() {
            let message = format!(
                "{} stands still with records after it while workers are ready; more workers would not help",
                stuck.join(", ")
            );
            return Ok(Some(Said { reason: Reason::Stuck, message, failed: false }));
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::plan::LiveTopic, kafka::admin::ApiError};

    fn topic(partitions: i32, led: bool) -> Live {
        let config = Ok(Arc::default());
        let id = "id".to_owned();
        Live::Present(LiveTopic { id, partitions, replicas: 1, settling: false, led, config })
    }

    /// Partitions before workers: those that are not there, not known, or not led and seen everywhere yet count for nothing.
    #[test]
    fn a_pool_counts_only_what_all_brokers_know() {
        let spec = serde_json::json!({"name": "w", "scaleTargetRef": {"name": "w"}, "topics": ["a", "b"]});
        let spec: WorkerSpec = serde_json::from_value(spec).unwrap();
        let with = |b: Option<Live>| -> Option<i32> {
            let mut live =
                BTreeMap::from([("a".to_owned(), topic(2, true)), ("c".to_owned(), topic(9, true))]);
            live.extend(b.map(|b| ("b".to_owned(), b)));
            partitions(&live, &spec)
        };
        assert_eq!(with(Some(topic(3, true))), Some(5));
        for unknown in
            [None, Some(topic(3, false)), Some(Live::Absent), Some(Live::Unknown(ApiError::unseen("b")))]
        {
            assert_eq!(with(unknown), None);
        }
    }

    /// What the status told of a pool is known everywhere; everything beyond it is to be asked for, and everything anew with another spec.
    #[test]
    fn a_pool_follows_anew_what_its_status_does_not_tell() {
        let live = |partitions| {
            BTreeMap::from([
                ("a".to_owned(), topic(partitions, true)),
                ("idle".to_owned(), topic(partitions, true)),
                ("b".to_owned(), Live::Absent),
            ])
        };
        let set = |observed: i64, told: Option<i32>| {
            let spec = serde_json::json!({
                "topics": [{"name": "a"}, {"name": "b"}, {"name": "idle"}],
                "workers": [{"name": "w", "scaleTargetRef": {"name": "w"}, "topics": ["a", "b"]}],
            });
            let mut set = ChatTopicSet::new("s", serde_json::from_value(spec).unwrap());
            set.metadata.generation = Some(2);
            set.status = Some(crate::api::ChatTopicSetStatus {
                observed_generation: Some(observed),
                workers: vec![WorkerStatus {
                    name: "w".to_owned(),
                    partitions: told,
                    ..WorkerStatus::default()
                }],
                ..Default::default()
            });
            set
        };
        let four = BTreeMap::from([("a".to_owned(), 4)]);
        for (observed, told, anew) in [
            (2, Some(4), BTreeMap::new()),
            (2, Some(5), BTreeMap::new()),
            (2, Some(3), four.clone()),
            (2, None, four.clone()),
            (1, Some(4), four.clone()),
        ] {
            assert_eq!(followed_anew(&set(observed, told), &live(4)), anew, "{observed} {told:?}");
        }
        let fresh = ChatTopicSet { status: None, ..set(2, None) };
        assert_eq!(followed_anew(&fresh, &live(4)), four);
    }
}
