//! A plan as people and programs read it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    controller::{
        ownership::SetKey,
        plan::{Deed, Live, TopicPlan},
    },
    kafka::admin::ConfigChange,
};

/// What would change for one set.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetDiff {
    set: String,
    cluster_id: String,
    /// Why nothing is known of sets that exist; keys that leave a spec and topics of other sets are then not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_memory: Option<String>,
    pub(super) topics: Vec<TopicDiff>,
}

impl SetDiff {
    pub(super) fn new(key: &SetKey, cluster_id: &str, without_memory: Option<String>) -> Self {
        Self { set: key.to_string(), cluster_id: cluster_id.to_owned(), without_memory, topics: Vec::new() }
    }

    /// Whether anything would be asked of Kafka.
    pub(super) fn changes(&self) -> bool {
        self.topics.iter().any(|topic| matches!(topic.action, Action::Create | Action::Change))
    }
}

/// What would happen to one topic.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicDiff {
    name: String,
    action: Action,
    /// From what to what; `null` is the broker's default or nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    changes: BTreeMap<String, (Option<String>, Option<String>)>,
    /// What cannot be made true, or what the broker would refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Create,
    Change,
    None,
}

impl TopicDiff {
    pub(super) fn of(plan: &TopicPlan, live: Option<&Live>, refusal: Option<String>) -> Self {
        let live = live.and_then(Live::present);
        let set =
            |key: &str| live.and_then(|l| l.config.as_ref().ok()).and_then(|config| config.get(key).cloned());
        let mut action = Action::None;
        let mut changes = BTreeMap::new();
        for deed in &plan.deeds {
            match deed {
                Deed::Create(topic) => {
                    action = Action::Create;
                    let number = |n: Option<i32>| n.map(|n| n.to_string());
                    changes.insert("partitions".to_owned(), (None, number(topic.partitions)));
                    changes.insert("replicas".to_owned(), (None, number(topic.replicas)));
                    let config =
                        topic.config.iter().map(|(key, value)| (key.clone(), (None, Some(value.clone()))));
                    changes.extend(config);
                }
                Deed::Grow(to) => {
                    action = Action::Change;
                    let from = live.map(|l| l.partitions.to_string());
                    changes.insert("partitions".to_owned(), (from, Some(to.to_string())));
                }
                Deed::Configure(all) => {
                    action = Action::Change;
                    changes.extend(all.iter().map(|change| {
                        let to = match change {
                            ConfigChange::Set { value, .. } => Some(value.clone()),
                            ConfigChange::Reset { .. } => None,
                        };
                        (change.key().to_owned(), (set(change.key()), to))
                    }));
                }
            }
        }
        let said =
            plan.status.message.clone().filter(|_| !plan.status.state.is_ready() || plan.deeds.is_empty());
        let said = said.filter(|_| plan.reason != crate::api::Reason::Progressing);
        Self { name: plan.name.clone(), action, changes, problem: refusal.or(said) }
    }
}

impl fmt::Display for SetDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in Kafka cluster {}", self.set, self.cluster_id)?;
        if let Some(why) = &self.without_memory {
            writeln!(f, "  # the sets that exist are not known ({why}): resets and conflicts are not shown")?;
        }
        let mut unchanged = 0;
        for topic in &self.topics {
            match topic.action {
                Action::None if topic.problem.is_none() => unchanged += 1,
                Action::None => writeln!(f, "  ! {}", topic.name)?,
                Action::Create => writeln!(f, "  + {}", topic.name)?,
                Action::Change => writeln!(f, "  ~ {}", topic.name)?,
            }
            for (key, (from, to)) in &topic.changes {
                let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "(default)".to_owned());
                match topic.action {
                    Action::Create => writeln!(f, "      {key}: {}", word(to))?,
                    _ => writeln!(f, "      {key}: {} -> {}", word(from), word(to))?,
                }
            }
            if let Some(problem) = &topic.problem {
                writeln!(f, "      ! {problem}")?;
            }
        }
        let count = |action| self.topics.iter().filter(|t| t.action == action).count();
        let problems = self.topics.iter().filter(|t| t.problem.is_some()).count();
        writeln!(
            f,
            "  {} to create, {} to change, {unchanged} as declared, {problems} with problems",
            count(Action::Create),
            count(Action::Change)
        )
    }
}
