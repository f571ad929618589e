//! What is told of a reconcile in events: one event a reason, naming the topics.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    apply::Done,
    context::Context,
    events::EventReason,
    plan::{Deed, Live, TopicPlan},
    sets::SetEntry,
    status::{self, TopicReport, Trouble, WorkerReport},
};
use crate::api::{ChatTopicSetStatus, ConditionType, Reason, TopicState, TopicStatus, WorkerStatus};

const CREATED: &str = "created";
const LOST: &str = "was deleted by somebody else and is created anew; its data is gone:";

/// One event per reason, naming the topics.
pub(crate) async fn deeds(ctx: &Context, entry: &SetEntry, plans: &[TopicPlan], done: &Done) {
    let (mut created, mut lost, mut grown, mut configured) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for plan in plans {
        for deed in &plan.deeds {
            if !done.did(&plan.name, deed) {
                continue;
            }
            match deed {
                Deed::Create(_) if plan.lost => lost.push(plan.name.clone()),
                Deed::Create(_) => created.push(plan.name.clone()),
                Deed::Grow(to) => grown.push(format!("{} to {to}", plan.name)),
                Deed::Configure(changes) => {
                    let keys: Vec<&str> = changes.iter().map(|change| change.key()).collect();
                    configured.push(format!("{} ({})", plan.name, keys.join(", ")));
                }
            }
        }
    }
    ctx.remember(&entry.key, |memo| memo.told_created.extend(created.iter().chain(&lost).cloned()));
    for (reason, what, names) in [
        (EventReason::TopicCreated, CREATED, created),
        (EventReason::TopicLost, LOST, lost),
        (EventReason::PartitionsIncreased, "partitions increased:", grown),
        (EventReason::ConfigChanged, "configuration changed:", configured),
    ] {
        if !names.is_empty() {
            let note = format!("{what} {}", names.join(", "));
            ctx.tell(entry, reason, &note).await;
        }
    }
}

/// Topics that we asked for without learning what came of it, and that are there now.
pub(crate) async fn created_after_all(
    ctx: &Context,
    entry: &SetEntry,
    memory: &BTreeMap<&str, &TopicStatus>,
    live: &BTreeMap<String, Live>,
) {
    let unheard = ctx.remember(&entry.key, |memo| {
        // Of no use once memory tells that the topic is there.
        memo.told_created.retain(|topic| memory.get(topic.as_str()).is_some_and(creating));
        unheard(memory, live, &memo.told_created)
    });
    for (reason, what, names) in
        [(EventReason::TopicCreated, CREATED, unheard.created), (EventReason::TopicLost, LOST, unheard.lost)]
    {
        if !names.is_empty() {
            let note = format!("{what} {}", names.join(", "));
            ctx.tell(entry, reason, &note).await;
            ctx.remember(&entry.key, |memo| memo.told_created.extend(names));
        }
    }
}

fn creating(topic: &&TopicStatus) -> bool {
    topic.state == TopicState::Creating
}

/// Topics of whose creation nothing was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unheard {
    created: Vec<String>,
    /// Those that had been there before.
    lost: Vec<String>,
}

/// Those of which memory says that they were about to be created, which are there, and of which nothing was told.
fn unheard(
    memory: &BTreeMap<&str, &TopicStatus>,
    live: &BTreeMap<String, Live>,
    told: &BTreeSet<String>,
) -> Unheard {
    let mut unheard = Unheard::default();
    let asked = memory.iter().filter(|(_, topic)| creating(topic));
    for (name, topic) in asked.filter(|(name, _)| !told.contains(**name)) {
        match (live.get(*name).and_then(Live::present), &topic.topic_id) {
            (Some(_), None) => unheard.created.push((*name).to_owned()),
            (Some(seen), Some(lost)) if seen.id != *lost => unheard.lost.push((*name).to_owned()),
            // Not there yet, or there all the time.
            _ => {}
        }
    }
    unheard
}

/// What was refused, by name; told apart from what only waits by its reason.
#[derive(Debug)]
pub(crate) struct Refused {
    topics: BTreeSet<String>,
    workers: BTreeSet<String>,
}

impl Refused {
    pub(crate) fn of(topics: &[TopicReport], workers: &[WorkerReport]) -> Self {
        let topics = topics.iter().filter(|t| t.reason.needs_a_person());
        // A contended count has an event of its own; what stands still was not asked for by anybody.
        let workers = workers
            .iter()
            .filter(|w| matches!(w.reason, Reason::OwnershipConflict | Reason::AuthorizationFailed));
        Self {
            topics: topics.map(|t| t.status.name.clone()).collect(),
            workers: workers.map(|w| w.status.name.clone()).collect(),
        }
    }
}

/// One event for what is newly refused: the whole set, or some of its topics and workers.
pub(crate) async fn refusals(
    ctx: &Context,
    entry: &SetEntry,
    trouble: Option<&Trouble>,
    refused: &Refused,
    new: &ChatTopicSetStatus,
) {
    let old = entry.object.as_ref().ok().and_then(|set| set.status.as_ref());
    let mut notes = Vec::new();
    if let Some(trouble) = trouble.filter(|t| t.reason.needs_a_person()) {
        let kind = ConditionType::TopicsReady.as_str();
        let known = old.is_some_and(|old| {
            old.conditions.iter().any(|c| c.type_ == kind && c.reason == trouble.reason.as_str())
        });
        notes.extend((!known).then(|| trouble.message.clone()));
    } else {
        let known = |topic: &TopicStatus| {
            old.is_some_and(|old| {
                let same = |t: &TopicStatus| {
                    t.name == topic.name && t.state == topic.state && t.message == topic.message
                };
                old.topics.iter().any(same)
            })
        };
        let fresh = new.topics.iter().filter(|t| refused.topics.contains(&t.name) && !known(t));
        notes.extend(fresh.map(|t| format!("{}: {}", t.name, t.message.as_deref().unwrap_or("refused"))));
    }
    let known = |worker: &WorkerStatus| {
        old.is_some_and(|old| {
            old.workers.iter().any(|w| w.name == worker.name && w.message == worker.message)
        })
    };
    let fresh = new.workers.iter().filter(|w| refused.workers.contains(&w.name) && !known(w));
    notes.extend(fresh.map(|w| format!("worker {}: {}", w.name, w.message.as_deref().unwrap_or("refused"))));
    if !notes.is_empty() {
        ctx.tell(entry, EventReason::Refused, &notes.join("; ")).await;
    }
}

/// Said once a leadership: a topic that is deleted or misspelt comes back with the brokers' defaults.
pub(crate) async fn auto_create(ctx: &Context, entry: &SetEntry) {
    if !ctx.memo(&entry.key).said_auto_create {
        ctx.tell(entry, EventReason::Refused, status::AUTO_CREATE).await;
        ctx.remember(&entry.key, |memo| memo.said_auto_create = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::plan::LiveTopic, kafka::admin::ApiError};

    /// A CreateTopics that was carried out and never answered is told once the topic is seen, and only once.
    #[test]
    fn a_creation_that_was_not_answered_is_told_when_it_is_seen() {
        let status = |state, id: Option<&str>| TopicStatus {
            state,
            topic_id: id.map(str::to_owned),
            ..TopicStatus::default()
        };
        let creating = status(TopicState::Creating, None);
        let ready = status(TopicState::Ready, Some("id"));
        let anew = status(TopicState::Creating, Some("the one that was lost"));
        let still = status(TopicState::Creating, Some("id"));
        let memory = BTreeMap::from([
            ("a", &creating),
            ("b", &creating),
            ("c", &creating),
            ("d", &ready),
            ("e", &anew),
            ("f", &still),
            ("g", &anew),
        ]);
        let there = LiveTopic {
            id: "id".to_owned(),
            partitions: 1,
            replicas: 1,
            settling: false,
            led: true,
            config: Ok(std::sync::Arc::default()),
        };
        let live = BTreeMap::from([
            ("a".to_owned(), Live::Present(there.clone())),
            ("b".to_owned(), Live::Absent),
            ("c".to_owned(), Live::Unknown(ApiError::unseen("c"))),
            ("d".to_owned(), Live::Present(there.clone())),
            ("e".to_owned(), Live::Present(there.clone())),
            ("f".to_owned(), Live::Present(there)),
            ("g".to_owned(), Live::Absent),
        ]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let nothing = BTreeSet::new();
        let all = Unheard { created: names(&["a"]), lost: names(&["e"]) };
        assert_eq!(unheard(&memory, &live, &nothing), all, "the loss is told as one");
        let told = BTreeSet::from(["a".to_owned(), "e".to_owned()]);
        assert_eq!(unheard(&memory, &live, &told), Unheard::default());
    }
}
