//! What holds for every ChatTopicSet that is accepted, whatever is in Kafka. Tried by [`crate::fuzzing`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{
    desired::{self, DesiredTopic, is_throttle},
    lint::Linter,
    plan::{Contended, Deed, Live, LiveTopic, Owner, Policies, TopicPlan, plan_topic},
    scaling::{Decision, Pool, decide},
};
use crate::{
    api::{ChatTopicSetSpec, MESSAGE_MAX, TopicState, TopicStatus, WorkerSpec},
    kafka::admin::ConfigChange,
};

thread_local! {
    static LINTER: Linter = Linter::new();
}

/// What is there: the second document of an input.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct There {
    live: BTreeMap<String, Seen>,
    memory: Vec<TopicStatus>,
    /// The status speaks of this spec.
    settled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen {
    id: String,
    partitions: i32,
    replicas: i32,
    settling: bool,
    led: bool,
    config: BTreeMap<String, String>,
}

/// Every property of lint and plan. The input is a YAML document with a set, as a user writes it, and after `---` another one with
/// what is in Kafka and what is remembered. Gives whether the set is accepted.
pub(crate) fn plan(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (set, there) = text.split_once("\n---\n").unwrap_or((text, ""));
    let mut accepted = false;
    LINTER.with(|linter| {
        for document in &linter.documents(set).0 {
            let findings = linter.check(document);
            let lines = set.lines().count();
            assert!(
                findings.iter().all(|(line, _)| (1..=lines).contains(line)),
                "{findings:?} in {lines} lines"
            );
            let object = &document.object;
            if linter.structural(object).is_empty()
                && (findings.is_empty() || linter.rules(object).is_empty())
            {
                accepted = true;
                // What cannot be read is nothing at all.
                holds(object, &serde_yaml::from_str(there).unwrap_or_default());
            }
        }
    });
    accepted
}

fn holds(object: &Value, there: &There) {
    let spec = serde_json::from_value::<ChatTopicSetSpec>(object["spec"].clone());
    assert!(spec.is_ok(), "the API server takes what the controller cannot read: {spec:?}");
    let Ok(spec) = spec else { return };
    let policies = Policies {
        management: spec.management_policy,
        drift: spec.drift_policy,
        adoption: spec.adoption_policy,
        spec_settled: there.settled,
    };
    let wanted = desired::topics(&spec);
    assert!(wanted.is_sorted_by(|a, b| a.name < b.name), "topics out of order, or one of them twice");
    let mut after = BTreeMap::new();
    for topic in &wanted {
        let memory = there.memory.iter().find(|status| status.name == topic.name);
        let live = converges(topic, memory, &seen(there, &topic.name), &policies);
        after.insert(topic.name.as_str(), live);
    }
    for worker in &spec.workers {
        within_its_bounds(worker, &after);
    }
}

fn seen(there: &There, name: &str) -> Live {
    let Some(seen) = there.live.get(name) else { return Live::Absent };
    Live::Present(LiveTopic {
        id: seen.id.clone(),
        partitions: seen.partitions.clamp(1, 100_000),
        replicas: seen.replicas.max(1),
        settling: seen.settling,
        led: seen.led,
        config: Ok(seen.config.clone().into()),
    })
}

/// One round makes true all that can be made true, and a second finds nothing to do. Partitions never shrink, replicas stay, and no
/// key is touched that is not ours.
fn converges(
    wanted: &DesiredTopic,
    memory: Option<&TopicStatus>,
    before: &Live,
    policies: &Policies,
) -> Live {
    let plan = |memory: Option<&TopicStatus>, live: &Live| -> TopicPlan {
        plan_topic(wanted, memory, live, &Owner::Me, policies, &Contended::new())
    };
    let first = plan(memory, before);
    assert_eq!(first, plan(memory, before), "two plans for one state");
    let words = first.status.message.as_ref().map_or(0, |message| message.chars().count());
    assert!(words <= MESSAGE_MAX, "a message of {words} characters");
    assert!(policies.writes() || first.deeds.is_empty(), "a set that only looks does {:?}", first.deeds);
    let after = perform(before, &first.deeds);
    let second = plan(Some(&first.status), &after);
    assert_eq!(second.deeds, [], "after {first:?}");
    if let (Live::Present(was), Live::Present(is)) = (before, &after) {
        assert!(is.partitions >= was.partitions, "{} shrinks", wanted.name);
        assert_eq!(is.replicas, was.replicas, "the replicas of {}", wanted.name);
        only_our_keys_change(wanted, memory, was, is);
    }
    if second.status.state == TopicState::Ready {
        let live = after.present().map(|topic| topic.partitions);
        assert!(wanted.partitions.is_none_or(|n| Some(n) == live), "Ready with {live:?} partitions");
    }
    after
}

fn only_our_keys_change(
    wanted: &DesiredTopic,
    memory: Option<&TopicStatus>,
    was: &LiveTopic,
    is: &LiveTopic,
) {
    let (Ok(before), Ok(after)) = (&was.config, &is.config) else { return };
    let remembered =
        memory.filter(|m| m.topic_id.as_ref() == Some(&was.id) || m.state == TopicState::Creating);
    let mut ours: BTreeSet<&String> = remembered.iter().flat_map(|m| &m.owned_config).collect();
    ours.extend(wanted.config.iter().flat_map(BTreeMap::keys));
    for key in before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)) {
        assert!(ours.contains(key), "{key} of {} is somebody else's", wanted.name);
        assert!(!wanted.unmanaged.contains(key) && !is_throttle(key), "{key} is never touched");
    }
}

fn within_its_bounds(worker: &WorkerSpec, after: &BTreeMap<&str, Live>) {
    let of = |topic: &String| after.get(topic.as_str())?.present().map(|topic| topic.partitions);
    let partitions = worker.topics.iter().map(of).sum::<Option<i32>>();
    let Decision::Want(replicas) = decide(&worker.scaling, &Pool { partitions, current: None, ready: 0 })
    else {
        return;
    };
    let most = worker.scaling.max_replicas.unwrap_or(i32::MAX).min(partitions.unwrap_or(0));
    let least = worker.scaling.min_replicas.min(most);
    assert!((least..=most).contains(&replicas), "{replicas} replicas, not {least} to {most}");
}

/// Does to a simulated topic what Kafka would.
///
/// # Panics
/// When Kafka would refuse it.
pub(super) fn perform(live: &Live, deeds: &[Deed]) -> Live {
    let mut live = live.clone();
    for deed in deeds {
        match (deed, &mut live) {
            (Deed::Create(topic), live @ Live::Absent) => {
                *live = Live::Present(LiveTopic {
                    id: "made".to_owned(),
                    partitions: topic.partitions.unwrap_or(1),
                    replicas: topic.replicas.unwrap_or(1),
                    settling: false,
                    led: true,
                    config: Ok(topic.config.clone().into()),
                });
            }
            (Deed::Grow(to), Live::Present(topic)) => {
                assert!(*to > topic.partitions, "Kafka refuses anything but growth");
                topic.partitions = *to;
            }
            (Deed::Configure(changes), Live::Present(topic)) => {
                let Ok(config) = &mut topic.config else { unreachable!("configured blindly") };
                let config = std::sync::Arc::make_mut(config);
                for change in changes {
                    match change {
                        ConfigChange::Set { key, value } => drop(config.insert(key.clone(), value.clone())),
                        ConfigChange::Reset { key } => drop(config.remove(key)),
                    }
                }
            }
            (deed, live) => unreachable!("{deed:?} makes no sense for {live:?}"),
        }
    }
    live
}
