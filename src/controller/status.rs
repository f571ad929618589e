//! The status of a set, from what was found and done. Pure; the clock comes in.

use k8s_openapi::jiff::Timestamp;

use crate::api::{
    ChatTopicSet, ChatTopicSetStatus, ConditionType, ManagementPolicy, Reason, TopicStatus, Verdict,
    WorkerStatus, conditions,
};

/// What is to be said of one topic of the spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicReport {
    pub(crate) status: TopicStatus,
    pub(crate) reason: Reason,
    pub(crate) drifted: bool,
}

/// What is to be said of one worker of the spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkerReport {
    pub(crate) status: WorkerStatus,
    pub(crate) ready: bool,
    pub(crate) reason: Reason,
}

/// Something that concerns the whole set: nothing could be found out about its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Everything that a status is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) cluster_id: Option<String>,
    /// The topics of the spec, in the order of their names.
    pub(crate) topics: Vec<TopicReport>,
    /// Topics that left the spec.
    pub(crate) released: Vec<TopicStatus>,
    pub(crate) workers: Vec<WorkerReport>,
    pub(crate) trouble: Option<Trouble>,
}

/// Makes the status. Unchanged findings give the very status that the set has.
pub(crate) fn build(set: &ChatTopicSet, findings: Findings, now: Timestamp) -> ChatTopicSetStatus {
    let old = set.status.as_ref();
    let generation = set.metadata.generation;
    let verdicts = verdicts(set.spec.management_policy, &findings);
    let ready = findings.topics.iter().filter(|t| t.status.state.is_ready()).count();
    let partitions = findings.topics.iter().filter_map(|t| t.status.partitions).map(i64::from).sum();
    let replicas = |n: fn(&WorkerStatus) -> Option<i32>| -> i64 {
        findings.workers.iter().filter_map(|w| n(&w.status)).map(i64::from).sum()
    };
    let (wanted, running) = (replicas(|w| w.desired_replicas.or(w.replicas)), replicas(|w| w.ready_replicas));
    let mut topics: Vec<TopicStatus> =
        findings.topics.iter().map(|t| t.status.clone()).chain(findings.released).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    ChatTopicSetStatus {
        observed_generation: generation,
        conditions: conditions(old.map_or(&[], |s| &s.conditions), &verdicts, generation, now),
        cluster_id: findings.cluster_id,
        topics_ready: Some(format!("{ready}/{}", findings.topics.len())),
        partitions: Some(partitions),
        workers_ready: Some(format!("{running}/{wanted}")),
        topics,
        workers: findings.workers.into_iter().map(|w| w.status).collect(),
    }
}

/// The status of a set at rest: everything remembered stays, every condition says why nothing is done.
pub(crate) fn paused(set: &ChatTopicSet, now: Timestamp) -> ChatTopicSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let message = "managementPolicy is Paused: nothing is looked at and nothing is written";
    let verdicts: Vec<Verdict> = ConditionType::ALL
        .into_iter()
        .map(|kind| {
            let status = match kind {
                ConditionType::Reconciling | ConditionType::Stalled => Some(false),
                _ => None,
            };
            Verdict { kind, status, reason: Reason::Paused, message: message.to_owned() }
        })
        .collect();
    let generation = set.metadata.generation;
    let conditions = conditions(&old.conditions, &verdicts, generation, now);
    ChatTopicSetStatus { observed_generation: generation, conditions, ..old }
}

fn verdicts(policy: ManagementPolicy, findings: &Findings) -> Vec<Verdict> {
    let (topics, topics_reason, topics_message) = topics_verdict(findings);
    let (workers, workers_reason, workers_message) = workers_verdict(findings);
    let all: Vec<Reason> = findings
        .trouble
        .iter()
        .map(|t| t.reason)
        .chain(findings.topics.iter().filter(|t| !t.status.state.is_ready()).map(|t| t.reason))
        .chain(findings.workers.iter().filter(|w| !w.ready).map(|w| w.reason))
        .collect();
    let progressing = all.iter().any(|r| !r.needs_a_person() && *r != Reason::DriftReported);
    let stalled = all.iter().copied().filter(|r| r.needs_a_person()).min_by_key(|r| gravity(*r));
    let drifted: Vec<&str> =
        findings.topics.iter().filter(|t| t.drifted).map(|t| t.status.name.as_str()).collect();

    let ready = match (topics, workers) {
        (Some(true), Some(true)) => Some(true),
        (Some(false), _) | (_, Some(false)) => Some(false),
        _ => None,
    };
    let (reason, message) = match ready {
        Some(true) if policy == ManagementPolicy::Observe => {
            (Reason::Observing, format!("{topics_message}; {workers_message}; managementPolicy is Observe"))
        }
        Some(true) => (topics_reason, format!("{topics_message}; {workers_message}")),
        _ if topics != Some(true) => (topics_reason, topics_message.clone()),
        _ => (workers_reason, workers_message.clone()),
    };
    let say = |kind, status, reason, message: String| Verdict { kind, status, reason, message };
    vec![
        say(ConditionType::Ready, ready, reason, message.clone()),
        say(ConditionType::TopicsReady, topics, topics_reason, topics_message),
        say(ConditionType::WorkersReady, workers, workers_reason, workers_message),
        match (progressing, policy) {
            (true, _) => say(ConditionType::Reconciling, Some(true), Reason::Progressing, message.clone()),
            (false, ManagementPolicy::Observe) => {
                let message = "managementPolicy is Observe: nothing is written".to_owned();
                say(ConditionType::Reconciling, Some(false), Reason::Observing, message)
            }
            (false, _) => say(
                ConditionType::Reconciling,
                Some(false),
                Reason::Reconciled,
                "nothing is under way".to_owned(),
            ),
        },
        match stalled {
            Some(reason) => say(ConditionType::Stalled, Some(true), reason, message),
            None => say(
                ConditionType::Stalled,
                Some(false),
                Reason::Reconciled,
                "nothing waits for a person".to_owned(),
            ),
        },
        if findings.trouble.is_some() {
            say(ConditionType::Drifted, None, topics_reason, "the topics could not be looked at".to_owned())
        } else if drifted.is_empty() {
            say(
                ConditionType::Drifted,
                Some(false),
                Reason::Reconciled,
                "nobody else changed what is declared".to_owned(),
            )
        } else {
            say(
                ConditionType::Drifted,
                Some(true),
                Reason::DriftReported,
                format!("changed by somebody else: {}", drifted.join(", ")),
            )
        },
    ]
}

fn topics_verdict(findings: &Findings) -> (Option<bool>, Reason, String) {
    if let Some(trouble) = &findings.trouble {
        // What cannot be reached is unknown; what was refused is known not to be.
        let status = (trouble.reason != Reason::KafkaUnreachable).then_some(false);
        return (status, trouble.reason, trouble.message.clone());
    }
    let total = findings.topics.len();
    let mut bad: Vec<&TopicReport> = findings.topics.iter().filter(|t| !t.status.state.is_ready()).collect();
    bad.sort_by_key(|t| gravity(t.reason));
    let Some(worst) = bad.first() else {
        let above = findings.topics.iter().find(|t| t.reason == Reason::PartitionsAboveSpec);
        return match above {
            Some(topic) => (
                Some(true),
                Reason::PartitionsAboveSpec,
                format!(
                    "{total} topics serve; {}: {}",
                    topic.status.name,
                    topic.status.message.as_deref().unwrap_or("")
                ),
            ),
            None => (Some(true), Reason::Reconciled, format!("{total} topics as declared")),
        };
    };
    let words: Vec<String> =
        bad.iter().map(|t| described(&t.status.name, t.status.message.as_deref())).collect();
    (
        Some(false),
        worst.reason,
        format!("{} of {total} topics not as declared: {}", bad.len(), words.join("; ")),
    )
}

fn workers_verdict(findings: &Findings) -> (Option<bool>, Reason, String) {
    let total = findings.workers.len();
    let mut bad: Vec<&WorkerReport> = findings.workers.iter().filter(|w| !w.ready).collect();
    bad.sort_by_key(|w| gravity(w.reason));
    let Some(worst) = bad.first() else {
        let message =
            if total == 0 { "no workers declared".to_owned() } else { format!("{total} workers as wanted") };
        return (Some(true), Reason::Reconciled, message);
    };
    let words: Vec<String> =
        bad.iter().map(|w| described(&w.status.name, w.status.message.as_deref())).collect();
    (
        Some(false),
        worst.reason,
        format!("{} of {total} workers not as wanted: {}", bad.len(), words.join("; ")),
    )
}

fn described(name: &str, message: Option<&str>) -> String {
    message.map_or_else(|| name.to_owned(), |message| format!("{name}: {message}"))
}

/// What to speak of first: what needs a person before what passes by itself, the more fundamental first.
fn gravity(reason: Reason) -> u8 {
    match reason {
        Reason::ClusterIdMismatch => 0,
        Reason::AuthorizationFailed => 1,
        Reason::OwnershipConflict => 2,
        Reason::InvalidConfig => 3,
        Reason::AdoptionRefused => 4,
        Reason::ReplicationFactorDiffers => 5,
        Reason::ReplicasContended => 6,
        Reason::Stuck => 7,
        Reason::FinalizerTimedOut => 8,
        Reason::KafkaUnreachable => 9,
        Reason::TargetNotFound => 10,
        Reason::DriftReported => 11,
        Reason::LagUnknown => 12,
        Reason::GroupRebalancing => 13,
        Reason::PartitionsAboveSpec => 14,
        Reason::Progressing => 15,
        Reason::Paused | Reason::Observing => 16,
        Reason::Reconciled => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ChatTopicSetSpec, TopicState};

    fn topic(name: &str, state: TopicState, reason: Reason) -> TopicReport {
        let message = (!state.is_ready()).then(|| "why".to_owned());
        let status = TopicStatus {
            name: name.to_owned(),
            state,
            message,
            partitions: Some(2),
            ..TopicStatus::default()
        };
        TopicReport { status, reason, drifted: false }
    }

    fn set() -> ChatTopicSet {
        let mut set = ChatTopicSet::new("s", ChatTopicSetSpec::default());
        set.metadata.generation = Some(7);
        set
    }

    fn condition<'a>(status: &'a ChatTopicSetStatus, kind: &str) -> (&'a str, &'a str) {
        let found = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        assert_eq!(found.observed_generation, Some(7));
        (found.status.as_str(), found.reason.as_str())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn all_six_conditions_and_the_columns() {
        let findings = Findings {
            topics: vec![
                topic("a", TopicState::Ready, Reason::Reconciled),
                topic("b", TopicState::Ready, Reason::Reconciled),
            ],
            ..Findings::default()
        };
        let status = build(&set(), findings, at(1));
        let kinds: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(kinds, ConditionType::ALL.map(ConditionType::as_str));
        assert_eq!(condition(&status, "Ready"), ("True", "Reconciled"));
        assert_eq!(condition(&status, "Stalled"), ("False", "Reconciled"));
        assert_eq!((status.topics_ready.as_deref(), status.partitions), (Some("2/2"), Some(4)));
    }

    #[test]
    fn unchanged_findings_give_the_same_status() {
        let findings = || Findings {
            topics: vec![topic("a", TopicState::Invalid, Reason::InvalidConfig)],
            ..Findings::default()
        };
        let mut set = set();
        let first = build(&set, findings(), at(1));
        set.status = Some(first.clone());
        assert_eq!(build(&set, findings(), at(2)), first);
    }

    #[test]
    fn the_gravest_reason_speaks() {
        let findings = Findings {
            topics: vec![
                topic("a", TopicState::Creating, Reason::Progressing),
                topic("b", TopicState::Conflict, Reason::OwnershipConflict),
            ],
            ..Findings::default()
        };
        let status = build(&set(), findings, at(1));
        assert_eq!(condition(&status, "Ready"), ("False", "OwnershipConflict"));
        assert_eq!(condition(&status, "Stalled"), ("True", "OwnershipConflict"));
        assert_eq!(condition(&status, "Reconciling"), ("True", "Progressing"));
    }

    #[test]
    fn what_cannot_be_reached_is_unknown() {
        let trouble = Trouble { reason: Reason::KafkaUnreachable, message: "timed out".to_owned() };
        let status = build(&set(), Findings { trouble: Some(trouble), ..Findings::default() }, at(1));
        assert_eq!(condition(&status, "Ready"), ("Unknown", "KafkaUnreachable"));
        assert_eq!(condition(&status, "Reconciling"), ("True", "Progressing"));
        assert_eq!(condition(&status, "Drifted"), ("Unknown", "KafkaUnreachable"));
    }

    #[test]
    fn more_partitions_than_declared_serve() {
        let findings = Findings {
            topics: vec![topic("a", TopicState::PartitionsAboveSpec, Reason::PartitionsAboveSpec)],
            ..Findings::default()
        };
        let status = build(&set(), findings, at(1));
        assert_eq!(condition(&status, "Ready"), ("True", "PartitionsAboveSpec"));
        assert_eq!(condition(&status, "Stalled"), ("False", "Reconciled"));
    }

    #[test]
    fn a_paused_set_keeps_its_memory() {
        let mut set = set();
        let findings = Findings {
            cluster_id: Some("c".to_owned()),
            topics: vec![topic("a", TopicState::Ready, Reason::Reconciled)],
            ..Findings::default()
        };
        set.status = Some(build(&set, findings, at(1)));
        let status = paused(&set, at(2));
        assert_eq!(status.topics.len(), 1);
        assert_eq!(status.cluster_id.as_deref(), Some("c"));
        assert_eq!(condition(&status, "Ready"), ("Unknown", "Paused"));
    }
}
