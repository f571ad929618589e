//! The topics of a set, made true: what is seen, what is planned, what is remembered first and done then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    announce,
    apply::{self, Done},
    cluster::Cluster,
    context::{Context, Memo, ReconcileError},
    desired::{self, DesiredTopic},
    ownership::{Claim, topic_owner},
    plan::{Contended, Deed, Live, Owner, Policies, TopicPlan, plan_topic},
    sets::SetEntry,
    status::{self, TopicReport, Trouble},
    workers,
};
use crate::{
    api::{ChatTopicSet, Reason, TopicState, TopicStatus},
    kafka::admin::Admin,
};

/// What came of the topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub(crate) cluster_id: Option<String>,
    pub(crate) desired: Vec<DesiredTopic>,
    pub(crate) reports: Vec<TopicReport>,
    pub(crate) released: Vec<TopicStatus>,
    /// What was last seen; empty when nothing could be.
    pub(crate) live: BTreeMap<String, Live>,
    pub(crate) trouble: Option<Trouble>,
    /// The brokers make topics that somebody merely asks for.
    pub(crate) auto_create: bool,
    /// The way to the cluster; none when there is none.
    pub(crate) admin: Option<Admin>,
    /// How many topics were found changed by somebody else, whether or not that was set back.
    pub(crate) drifted: usize,
    /// Something was asked for and refused or not answered.
    pub(crate) failed: bool,
    /// Something is under way.
    pub(crate) waiting: bool,
}

impl Topics {
    /// Nothing could be found out: everything remembered stays as it is.
    pub(crate) fn unknown(entry: &SetEntry, trouble: Trouble) -> Self {
        let Ok(set) = &entry.object else { return Self::default() };
        let desired = desired::topics(&set.spec);
        let old = set.status.clone().unwrap_or_default();
        let names: BTreeSet<&str> = desired.iter().map(|d| d.name.as_str()).collect();
        let (known, released): (Vec<_>, Vec<_>) =
            old.topics.iter().cloned().partition(|t| names.contains(t.name.as_str()));
        let reports = desired
            .iter()
            .map(|topic| {
                let known = known.iter().find(|t| t.name == topic.name).cloned();
                let status = known
                    .unwrap_or_else(|| TopicStatus { name: topic.name.clone(), ..TopicStatus::default() });
                TopicReport { status, reason: trouble.reason, drifted: false }
            })
            .collect();
        Self {
            cluster_id: old.cluster_id,
            desired,
            reports,
            released,
            trouble: Some(trouble),
            ..Self::default()
        }
    }
}

/// Makes the topics true and says what came of it, with the set as it is after its memory was written.
pub(crate) async fn make_true(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    cluster: &Cluster,
    cluster_id: String,
) -> Result<(Arc<SetEntry>, Topics), ReconcileError> {
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale) };
    let desired = desired::topics(&set.spec);
    let names: BTreeSet<String> = desired.iter().map(|d| d.name.clone()).collect();

    let contended = ctx.memo(&entry.key).fights.contended(set.metadata.generation);
    let others = ctx.sets.others(&entry.key);
    let claims: Vec<&Claim> = others.iter().map(|other| &other.claim).collect();
    let owners = owners(ctx, entry, &cluster_id, &names, &claims);
    let scene =
        Scene { set, desired: &desired, owners: &owners, cluster_id: &cluster_id, contended: &contended };
    cluster.want(&entry.key, desired::wanted(&desired, &scene.memory()));
    let mut live = cluster.observe(&names, Some(look_since(ctx, entry, set))).await?;
    announce::created_after_all(ctx, entry, &scene.memory(), &live).await;
    let mut plans = scene.plan(&live);
    let busy = |plans: &[TopicPlan]| -> BTreeSet<String> {
        plans.iter().filter(|p| !p.deeds.is_empty()).map(|p| p.name.clone()).collect()
    };
    let mut touched = busy(&plans);
    if !touched.is_empty() {
        // What was seen some seconds ago is good enough to find nothing to do, not to do something.
        live.extend(cluster.observe(&touched, Some(Instant::now())).await?);
        plans = scene.plan(&live);
        touched = busy(&plans);
    }
    let mut entry = Arc::clone(entry);
    let mut done = Done::default();
    if !touched.is_empty() {
        entry = remember(ctx, &entry, &plans, &cluster_id).await?;
        ctx.check_leading()?;
        // What was told of an earlier creation is not told of this one.
        ctx.remember(&entry.key, |memo| {
            for plan in plans.iter().filter(|plan| plan.deeds.iter().any(|d| matches!(d, Deed::Create(_)))) {
                memo.told_created.remove(&plan.name);
            }
        });
        done = apply::apply(&cluster.admin, &plans).await;
        let generation = set.metadata.generation;
        let settled = spec_settled(set);
        ctx.remember(&entry.key, |memo| {
            memo.last_deed = Some(Instant::now());
            // The first time under a spec is the user's wish; every further one sets back what somebody else did.
            for (topic, key) in keys_set(&plans, &done).into_iter().filter(|_| settled) {
                memo.fights.reverted(generation, topic, key, Instant::now());
            }
        });
        // Who was faster without our having asked before has made it, and we have nothing to tell of it.
        let memory = scene.memory();
        let creating = |name: &str| memory.get(name).is_some_and(|m| m.state == TopicState::Creating);
        let theirs = |plan: &&TopicPlan| !plan.lost && !creating(&plan.name) && done.was_there(&plan.name);
        ctx.remember(&entry.key, |memo| {
            memo.told_created.extend(plans.iter().filter(theirs).map(|plan| plan.name.clone()));
        });
        announce::deeds(ctx, &entry, &plans, &done).await;
        live.extend(cluster.observe(&touched, Some(Instant::now())).await?);
    }
    let known = known_everywhere(set, cluster, &mut live).await;
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale) };
    let contended = ctx.memo(&entry.key).fights.contended(set.metadata.generation);
    let scene = Scene { set, contended: &contended, ..scene };
    // A call that was carried out and not answered: what it made is there already.
    announce::created_after_all(ctx, &entry, &scene.memory(), &live).await;
    let after = scene.plan(&live);
    // Of a topic with a graver finding (more partitions than declared) the reason tells that, and a broker may be behind all the same.
    let waiting = !known || after.iter().any(|p| !p.deeds.is_empty() || p.reason == Reason::Progressing);
    let drifted = plans.iter().filter(|p| p.drifted).count();
    let reports = after.into_iter().map(|plan| report(plan, &done)).collect();
    let topics = Topics {
        released: released(set, &names, &cluster_id, &claims),
        failed: done.failed(),
        drifted,
        waiting,
        cluster_id: Some(cluster_id.clone()),
        reports,
        live,
        trouble: None,
        auto_create: cluster.auto_creates(),
        admin: Some(cluster.admin.clone()),
        desired: Vec::new(),
    };
    Ok((Arc::clone(&entry), Topics { desired, ..topics }))
}

/// From when on what was seen of the topics is recent enough to find nothing to do. Notes that this spec was planned.
fn look_since(ctx: &Context, entry: &SetEntry, set: &ChatTopicSet) -> Instant {
    let planned = Some((entry.uid.clone(), set.metadata.generation));
    let mut since = Instant::now();
    ctx.remember(&entry.key, |memo| {
        if memo.planned.as_ref().is_some_and(|(uid, _)| uid != &entry.uid) {
            *memo = Memo { pools: std::mem::take(&mut memo.pools), ..Memo::default() };
        }
        if memo.planned == planned {
            since = memo.last_deed.unwrap_or(ctx.started);
        } else {
            memo.last_deed = Some(since);
        }
        memo.planned = planned;
    });
    since
}

/// Everything that the plan of a set rests on, but for what is seen.
struct Scene<'a> {
    set: &'a ChatTopicSet,
    desired: &'a [DesiredTopic],
    owners: &'a BTreeMap<String, Owner>,
    cluster_id: &'a str,
    contended: &'a Contended,
}

impl Scene<'_> {
    fn plan(&self, live: &BTreeMap<String, Live>) -> Vec<TopicPlan> {
        let spec = &self.set.spec;
        let policies = Policies {
            management: spec.management_policy,
            drift: spec.drift_policy,
            adoption: spec.adoption_policy,
            spec_settled: spec_settled(self.set),
        };
        let memory = self.memory();
        self.desired
            .iter()
            .map(|topic| {
                let unseen = Live::Unknown(crate::kafka::admin::ApiError::unseen(&topic.name));
                let live = live.get(&topic.name).unwrap_or(&unseen);
                let owner = self.owners.get(&topic.name).unwrap_or(&Owner::Unknown);
                plan_topic(
                    topic,
                    memory.get(topic.name.as_str()).copied(),
                    live,
                    owner,
                    &policies,
                    self.contended,
                )
            })
            .collect()
    }

    /// What is remembered holds only for the cluster that it was written for.
    fn memory(&self) -> BTreeMap<&str, &TopicStatus> {
        let status = self.set.status.as_ref().filter(|s| s.cluster_id.as_deref() == Some(self.cluster_id));
        status.map(|s| s.topics.iter().map(|t| (t.name.as_str(), t)).collect()).unwrap_or_default()
    }
}

fn owners(
    ctx: &Context,
    entry: &SetEntry,
    cluster_id: &str,
    names: &BTreeSet<String>,
    others: &[&Claim],
) -> BTreeMap<String, Owner> {
    if entry.claim.observes {
        // It takes nothing, so there is nothing to dispute.
        return names.iter().map(|name| (name.clone(), Owner::Me)).collect();
    }
    if !ctx.sets.complete() {
        return BTreeMap::new();
    }
    let mine = Claim { cluster_id: Some(cluster_id.to_owned()), ..entry.claim.clone() };
    names.iter().map(|name| (name.clone(), topic_owner(&mine, others, name))).collect()
}

/// Writes what must be remembered before Kafka is asked: topics about to be created, keys about to be set.
async fn remember(
    ctx: &Context,
    entry: &Arc<SetEntry>,
    plans: &[TopicPlan],
    cluster_id: &str,
) -> Result<Arc<SetEntry>, ReconcileError> {
    let Ok(set) = &entry.object else { return Err(ReconcileError::Stale) };
    let mut status = set.status.clone().unwrap_or_default();
    if status.cluster_id.as_deref() != Some(cluster_id) {
        status.topics.clear();
        status.cluster_id = Some(cluster_id.to_owned());
    }
    let mut topics: BTreeMap<String, TopicStatus> =
        status.topics.into_iter().map(|t| (t.name.clone(), t)).collect();
    for plan in plans.iter().filter(|p| !p.deeds.is_empty()) {
        let before = topics.get(&plan.name);
        if before.is_some_and(|before| remembers(before, &plan.status)) {
            continue;
        }
        topics.insert(plan.name.clone(), plan.status.clone());
    }
    status.topics = topics.into_values().collect();
    ctx.write_status(entry, set.status.as_ref(), &status::fitted(status)).await
}

/// Whether everything that matters of `now` stands in `before` already.
fn remembers(before: &TopicStatus, now: &TopicStatus) -> bool {
    let creating = |t: &TopicStatus| t.state == TopicState::Creating;
    before.topic_id == now.topic_id
        && before.origin == now.origin
        && creating(before) == creating(now)
        && now.owned_config.iter().all(|key| before.owned_config.contains(key))
}

/// Topics that left the list are remembered until they come back or another set takes them.
fn released(
    set: &ChatTopicSet,
    names: &BTreeSet<String>,
    cluster_id: &str,
    others: &[&Claim],
) -> Vec<TopicStatus> {
    let memory = set.status.iter().filter(|s| s.cluster_id.as_deref() == Some(cluster_id));
    let taken = |topic: &str| {
        others.iter().any(|other| {
            !other.observes && other.cluster_id.as_deref() == Some(cluster_id) && other.topics.contains(topic)
        })
    };
    memory
        .flat_map(|s| &s.topics)
        .filter(|t| !names.contains(&t.name) && t.topic_id.is_some() && t.origin.is_some() && !taken(&t.name))
        .map(|t| TopicStatus {
            state: TopicState::Released,
            message: Some("left the spec; not touched".to_owned()),
            ..t.clone()
        })
        .collect()
}

fn report(plan: TopicPlan, done: &Done) -> TopicReport {
    let drifted = plan.drifted;
    let Some((state, reason, message)) = done.error(&plan.name) else {
        return TopicReport { status: plan.status, reason: plan.reason, drifted };
    };
    // What was about to be created may have been: it stays so in memory until it is seen.
    let state = if plan.status.state == TopicState::Creating { TopicState::Creating } else { state };
    let status = TopicStatus { state, message: Some(crate::api::bounded_message(&message)), ..plan.status };
    TopicReport { status, reason, drifted }
}

/// What a pool is about to follow counts as under way until every broker knows all its partitions: a worker that asks one which
/// does not would find nothing to do. Returns whether they all do.
async fn known_everywhere(set: &ChatTopicSet, cluster: &Cluster, live: &mut BTreeMap<String, Live>) -> bool {
    let mut unknown = workers::followed_anew(set, live);
    if unknown.is_empty() {
        return true;
    }
    match cluster.known_everywhere(&unknown).await {
        Ok(known) => unknown.retain(|topic, _| !known.contains(topic)),
        Err(error) => tracing::debug!(%error, "not every broker can be asked"),
    }
    for topic in unknown.keys() {
        if let Some(Live::Present(topic)) = live.get_mut(topic) {
            topic.led = false;
        }
    }
    unknown.is_empty()
}

/// The keys that were just given their declared value.
fn keys_set<'a>(plans: &'a [TopicPlan], done: &Done) -> Vec<(&'a str, &'a str)> {
    let mut all = Vec::new();
    for plan in plans {
        for deed in plan.deeds.iter().filter(|deed| done.did(&plan.name, deed)) {
            if let Deed::Configure(changes) = deed {
                all.extend(changes.iter().map(|change| (plan.name.as_str(), change.key())));
            }
        }
    }
    all
}

/// Whether the status speaks of the present spec.
pub(crate) fn spec_settled(set: &ChatTopicSet) -> bool {
    set.status.as_ref().is_some_and(|s| s.observed_generation == set.metadata.generation)
}
