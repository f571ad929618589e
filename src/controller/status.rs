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
    /// The brokers make topics that somebody merely asks for.
    pub(crate) auto_create: bool,
}

/// What is said of brokers that make topics by themselves.
pub(crate) const AUTO_CREATE: &str = "the brokers make topics by themselves (auto.create.topics.enable is true): a \
    deleted or misspelt topic comes back with their defaults; set it to false";

/// The most that a status may hold, in bytes of JSON: under 256 KB, however a kilobyte is counted.
const STATUS_MAX: usize = 256_000;
/// A message of a topic that cannot have this many bytes is left out: the topic's state says as much.
const MESSAGE_MIN: usize = 24;
/// What a worker's message keeps in any case: there are few of them, and its first words are asked for again.
const WORKER_MIN: usize = 64;

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
    fitted(ChatTopicSetStatus {
        observed_generation: generation,
        conditions: conditions(old.map_or(&[], |s| &s.conditions), &verdicts, generation, now),
        cluster_id: findings.cluster_id,
        topics_ready: Some(format!("{ready}/{}", findings.topics.len())),
        partitions: Some(partitions),
        workers_ready: Some(format!("{running}/{wanted}")),
        topics,
        workers: findings.workers.into_iter().map(|w| w.status).collect(),
    })
}

/// Cuts messages, all alike, when the status is too long with them. Names and what must be remembered are never cut: with the longest names that leaves room for three keys of each of 500 topics; more of them take the messages' place
/// and then go on above the bound.
pub(crate) fn fitted(mut status: ChatTopicSetStatus) -> ChatTopicSetStatus {
    let whole = json_len(&status);
    if whole <= STATUS_MAX {
        return status;
    }
    let of_workers = status.workers.iter().filter_map(|w| w.message.as_deref());
    let messages: Vec<&str> =
        status.topics.iter().filter_map(|t| t.message.as_deref()).chain(of_workers).collect();
    // What a message takes beside its words.
    const FIELD: usize = r#","message":"""#.len();
    let words: usize = messages.iter().map(|message| escaped_len(message)).sum();
    let rest = whole - words - messages.len() * FIELD;
    let room = STATUS_MAX.saturating_sub(rest + status.workers.len() * WORKER_MIN);
    let each = (room / messages.len().max(1)).saturating_sub(FIELD);
    for topic in &mut status.topics {
        topic.message = topic.message.take().and_then(|message| cut(&message, each));
    }
    for worker in &mut status.workers {
        worker.message = worker.message.take().and_then(|message| cut(&message, each.max(WORKER_MIN)));
    }
    status
}

fn json_len(status: &ChatTopicSetStatus) -> usize {
    // A status that cannot be written as JSON is not written at all: who writes it says so.
    serde_json::to_vec(status).map_or(0, |json| json.len())
}

/// The bytes of a text in JSON, without its quotation marks.
fn escaped_len(text: &str) -> usize {
    text.chars().map(escaped).sum()
}

fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

/// The text in at most so many bytes of JSON, the last of them an ellipsis when it was cut; none when that is too few.
fn cut(text: &str, max: usize) -> Option<String> {
    if escaped_len(text) <= max {
        return Some(text.to_owned());
    }
    const ELLIPSIS: char = '…';
    let mut left = max.checked_sub(ELLIPSIS.len_utf8()).filter(|_| max >= MESSAGE_MIN)?;
    let fits = |c: &char| {
        let kept = left.checked_sub(escaped(*c));
        left = kept.unwrap_or(0);
        kept.is_some()
    };
    Some(text.chars().take_while(fits).chain(std::iter::once(ELLIPSIS)).collect())
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
            None if findings.auto_create => {
                (Some(true), Reason::Reconciled, format!("{total} topics as declared, but {AUTO_CREATE}"))
            }
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
        if total == 0 {
            return (Some(true), Reason::Reconciled, "no workers declared".to_owned());
        }
        // For instance how the next owner takes a count that was given up.
        let notes = findings.workers.iter().filter(|w| w.status.message.is_some());
        let message = std::iter::once(format!("{total} workers as wanted"))
            .chain(notes.map(|w| described(&w.status.name, w.status.message.as_deref())));
        return (Some(true), Reason::Reconciled, message.collect::<Vec<_>>().join("; "));
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
mod tests;
