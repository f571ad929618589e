//! What is said of what was found.

use super::*;
use crate::api::{ChatTopicSetSpec, TopicState};

fn topic(name: &str, state: TopicState, reason: Reason) -> TopicReport {
    let message = (!state.is_ready()).then(|| "why".to_owned());
    let status =
        TopicStatus { name: name.to_owned(), state, message, partitions: Some(2), ..TopicStatus::default() };
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

fn of_500_topics(name: usize, keys: usize, message: &str) -> (usize, ChatTopicSetStatus) {
    let topics = (0..500).map(|i| {
        let name = format!("{i:03}.{}", "n".repeat(name - 4));
        let mut report = topic(&name, TopicState::ReplicationFactorDiffers, Reason::InvalidConfig);
        report.status.message = Some(crate::api::bounded_message(message));
        report.status.topic_id = Some("u".repeat(22));
        report.status.partitions = Some(100_000);
        report.status.replicas = Some(10);
        report.status.origin = Some(crate::api::TopicOrigin::Created);
        report.status.owned_config = (0..keys).map(|key| format!("some.config.of.a.topic{key:02}")).collect();
        report
    });
    let worker = |name: String| WorkerReport {
        status: WorkerStatus {
            name,
            target_uid: Some("u".repeat(36)),
            message: Some(crate::api::bounded_message(message)),
            ..WorkerStatus::default()
        },
        ready: false,
        reason: Reason::Stuck,
    };
    let workers = (0..20).map(|i| worker(format!("{i:02}-{}", "w".repeat(60)))).collect();
    let findings = Findings { topics: topics.collect(), workers, ..Findings::default() };
    let status = build(&set(), findings, at(1));
    (serde_json::to_vec(&status).unwrap().len(), status)
}

/// The largest set that is allowed, with something to say of every topic, fits where a client puts it: in bytes, with the
/// longest names that Kafka takes, and whatever the words consist of.
#[test]
fn five_hundred_topics_stay_under_256_kb() {
    for words in ["a", "ä", "€", "😀", "\"", "\\", "\n", "\u{1}"] {
        let message = words.repeat(256);
        for (name, keys, told) in [(80, 3, 100), (80, 9, 0), (249, 0, 60), (249, 3, 0)] {
            let (size, status) = of_500_topics(name, keys, &message);
            assert!(size < 256_000, "{size} bytes with names of {name} and {keys} keys, {words:?}");
            let shortest = status.topics.iter().map(|t| t.message.as_deref().map_or(0, escaped_len)).min();
            assert!(shortest >= Some(told), "{shortest:?} with names of {name} and {keys} keys, {words:?}");
        }
    }
    // What is remembered is never cut: then it is larger, and says nothing topic by topic.
    let (size, status) = of_500_topics(249, 30, "a");
    assert!(
        size > 256_000 && status.topics.iter().all(|t| t.message.is_none() && t.owned_config.len() == 30)
    );
    // Who has room is left as it is.
    let (_, status) = of_500_topics(20, 1, &"a".repeat(256));
    assert!(status.topics.iter().all(|t| t.message.as_ref().is_some_and(|m| m.len() == 256)));
}

/// A text is cut at a character, by what it takes in JSON.
#[test]
fn messages_are_cut_by_their_bytes_in_json() {
    for text in
        ["plain words, more of them than there is room for", "äöü €uro 😀 \"quoted\" \\ and\ttabs\u{1}\u{7f}"]
    {
        assert_eq!(escaped_len(text), serde_json::to_string(text).unwrap().len() - 2);
        for max in 0..60 {
            let Some(cut) = cut(text, max) else {
                assert!(max < MESSAGE_MIN, "{max}");
                continue;
            };
            assert!(escaped_len(&cut) <= max, "{cut:?} in {max}");
            assert!(cut == text || text.starts_with(cut.strip_suffix('…').unwrap()), "{cut:?}");
        }
    }
}

#[test]
fn brokers_that_make_topics_are_named_and_do_not_make_it_unready() {
    let findings = Findings {
        topics: vec![topic("a", TopicState::Ready, Reason::Reconciled)],
        auto_create: true,
        ..Findings::default()
    };
    let status = build(&set(), findings, at(1));
    assert_eq!(condition(&status, "Ready"), ("True", "Reconciled"));
    assert!(status.conditions[0].message.contains("auto.create.topics.enable"));
}

/// The way to take a count that was given up stands in the condition of a set that is ready.
#[test]
fn a_ready_worker_may_have_something_to_say() {
    let worker = |name: &str, message: Option<&str>| WorkerReport {
        status: WorkerStatus {
            name: name.to_owned(),
            message: message.map(str::to_owned),
            ..WorkerStatus::default()
        },
        ready: true,
        reason: Reason::Reconciled,
    };
    let workers = vec![worker("a", None), worker("b", Some("take it so"))];
    let status = build(&set(), Findings { workers, ..Findings::default() }, at(1));
    let said = status.conditions.iter().find(|c| c.type_ == "WorkersReady").unwrap();
    assert_eq!((said.status.as_str(), said.message.as_str()), ("True", "2 workers as wanted; b: take it so"));
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
