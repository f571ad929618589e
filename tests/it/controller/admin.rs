//! Each admin call against a real broker (Strimzi `KafkaHandlerIT`), and what happens when it cannot be made.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use parley::kafka::{
    KafkaSettings,
    admin::{Admin, ConfigChange, ConfigSource, GroupState, Keys, NewTopic, OffsetSpec},
};

use super::admin;
use crate::fixtures::{DEADLINE, Kafka, eventually, unique};

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replicas: Some(1),
        config: BTreeMap::new(),
    }
}

#[tokio::test]
async fn topics_and_their_configuration() {
    let kafka = Kafka::shared();
    let admin = admin(&kafka.bootstrap());
    let cluster = admin.describe_cluster().await.unwrap();
    assert_eq!((cluster.id.len(), cluster.brokers.len()), (22, 1));
    let broker = admin.describe_broker(cluster.brokers[0]).await.unwrap();
    let auto_create = broker.iter().find(|e| e.key == "auto.create.topics.enable").unwrap();
    assert_eq!(auto_create.value.as_deref(), Some("false"));
    assert!(admin.describe_broker(99).await.is_err(), "there is no such broker");
    let (name, twice) = (unique("admin"), unique("admin"));
    let made = admin.create_topics(vec![topic(&name, 2), topic(&twice, 1)], false).await.unwrap();
    assert!(made.iter().all(|(_, outcome)| outcome.is_ok()));
    let again = admin.create_topics(vec![topic(&twice, 1)], false).await.unwrap();
    assert!(
        again[0].1.as_ref().is_err_and(|error| error.is_topic_exists() && error.message.contains(&twice))
    );

    // The broker acknowledges a topic before every part of it knows the topic.
    let nothing = unique("nothing");
    let described = eventually("it is described", || async {
        let described = admin.describe_topics(vec![name.clone(), nothing.clone()]).await.ok()?;
        described.iter().any(|(n, topic)| n == &name && topic.is_ok()).then_some(described)
    })
    .await;
    let found = described.iter().find(|(n, _)| n == &name).unwrap().1.as_ref().unwrap();
    assert_eq!((found.partitions.len(), found.id.len()), (2, 22));
    assert!(found.partitions.iter().all(|p| p.has_leader && p.replicas == 1 && p.in_sync == 1));
    assert!(
        described.iter().any(|(_, outcome)| outcome.as_ref().is_err_and(|error| error.is_unknown_topic()))
    );

    let set = |key: &str, value: &str| ConfigChange::Set { key: key.into(), value: value.into() };
    let changes = vec![set("retention.ms", "5000"), set("cleanup.policy", "compact")];
    admin.alter_configs(vec![(name.clone(), changes)], false).await.unwrap()[0].1.clone().unwrap();
    let reset = vec![ConfigChange::Reset { key: "cleanup.policy".into() }];
    admin.alter_configs(vec![(name.clone(), reset)], false).await.unwrap()[0].1.clone().unwrap();
    // The broker acknowledges a change before every part of it shows what was changed.
    eventually("the one value that is left", || async {
        let configs = admin.describe_configs(vec![(name.clone(), Keys::default())]).await.ok()?;
        let entries = configs[0].1.as_ref().ok()?;
        let on_topic: Vec<_> = entries
            .iter()
            .filter(|entry| entry.source == ConfigSource::Topic)
            .map(|entry| (entry.key.as_str(), entry.value.as_deref()))
            .collect();
        (on_topic == [("retention.ms", Some("5000"))]).then_some(())
    })
    .await;
    // Of those that are asked for a broker tells the ones that it knows, whether or not they are set on the topic.
    let keys: Keys = Arc::new(["no.such", "retention.ms", "segment.ms"].map(str::to_owned).into());
    let configs = admin.describe_configs(vec![(name.clone(), keys)]).await.unwrap();
    let told: BTreeMap<_, _> =
        configs[0].1.as_ref().unwrap().iter().map(|entry| (entry.key.as_str(), entry.source)).collect();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), ["retention.ms", "segment.ms"]);
    assert_eq!(told["retention.ms"], ConfigSource::Topic);
    let bad = admin.alter_configs(vec![(name.clone(), vec![set("no.such", "1")])], false).await.unwrap();
    assert!(
        bad[0].1.as_ref().is_err_and(|error| error.is_invalid_request() && error.message.contains("no.such"))
    );

    // Asked only to validate, the broker does nothing.
    let grown = admin.create_partitions(vec![(name.clone(), 5)], true).await.unwrap();
    assert!(grown[0].1.is_ok());
    admin.create_partitions(vec![(name.clone(), 3)], false).await.unwrap()[0].1.clone().unwrap();
    eventually("three partitions", || async {
        let described = admin.describe_topics(vec![name.clone()]).await.ok()?;
        (described[0].1.as_ref().ok()?.partitions.len() == 3).then_some(())
    })
    .await;
    let fewer = admin.create_partitions(vec![(name.clone(), 1)], false).await.unwrap();
    assert!(fewer[0].1.as_ref().is_err_and(|error| error.is_invalid_request()), "{fewer:?}");
    admin.delete_topics(vec![name.clone()]).await.unwrap()[0].1.clone().unwrap();
    let gone = admin.delete_topics(vec![unique("nothing")]).await.unwrap();
    assert!(gone[0].1.as_ref().is_err_and(|error| error.is_unknown_topic()));
}

/// Each broker is asked for what it knows itself.
#[tokio::test]
async fn every_broker_is_asked_by_itself() {
    let admin = admin(&Kafka::shared_three().bootstrap());
    let brokers = admin.describe_cluster().await.unwrap().brokers;
    assert_eq!(brokers.len(), 3);
    let name = unique("everywhere");
    admin.create_topics(vec![topic(&name, 2)], false).await.unwrap();
    for broker in brokers {
        eventually("every broker knows it", || async {
            let described = admin.describe_topics_by(broker, vec![name.clone()]).await.ok()?;
            (described[0].1.as_ref().ok()?.partitions.len() == 2).then_some(())
        })
        .await;
    }
    // Nobody is there to say so: it is waited for for as long as there is.
    let hasty = admin.within(Arc::new(|| Duration::from_secs(5)));
    let nobody = tokio::time::timeout(DEADLINE, hasty.describe_topics_by(99, vec![name]));
    assert!(nobody.await.expect("in time").is_err(), "there is no such broker");
}

/// Whichever broker metadata names takes what any broker may take, and one that hangs is named as well as another, until its session is
/// over: after a call that was not answered, who answers takes the next ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_takes_no_call_that_another_can_take() {
    let kafka = tokio::task::block_in_place(|| Kafka::own_with(3, "broker.session.timeout.ms=600000"));
    let admin = admin(&kafka.bootstrap());
    let name = unique("hang");
    eventually("three brokers", || async {
        (admin.describe_cluster().await.ok()?.brokers.len() == 3).then_some(())
    })
    .await;
    admin.create_topics(vec![topic(&name, 1)], false).await.unwrap()[0].1.as_ref().unwrap();
    kafka.signal(2, "STOP");
    let hasty = admin.clone().within(Arc::new(|| Duration::from_secs(1)));
    // When it was the one that leads Kafka's quorum, the others choose another first.
    eventually("Kafka to go on without it", || async {
        let made = admin.create_topics(vec![topic(&unique("goes-on"), 1)], false).await.ok()?;
        made[0].1.is_ok().then_some(())
    })
    .await;
    for partitions in 2..8 {
        assert!(hasty.describe_topics_by(2, vec![name.clone()]).await.is_err(), "it hangs");
        let grown = loop {
            let started = std::time::Instant::now();
            match admin.create_partitions(vec![(name.clone(), partitions)], false).await {
                // Looking for one that answers may have met the one that hangs.
                Err(error) if error.message.contains("no broker answers") => {}
                Err(error) => panic!("after {:?} and {partitions} partitions: {error}", started.elapsed()),
                Ok(grown) => break grown,
            }
        };
        assert!(grown[0].1.is_ok(), "{grown:?}");
    }
    kafka.signal(2, "CONT");
    eventually("the broker answers", || async { hasty.describe_topics_by(2, vec![name.clone()]).await.ok() })
        .await;
}

#[tokio::test]
async fn groups_and_offsets() {
    let kafka = Kafka::shared();
    let admin = admin(&kafka.bootstrap());
    let name = unique("offsets");
    admin.create_topics(vec![topic(&name, 1)], false).await.unwrap();
    let partition = || vec![(name.clone(), 0)];
    // A coordinator that has only just come up may still be loading.
    let none = eventually("a coordinator", || async {
        admin.group_offsets(unique("nobody"), partition()).await.ok()
    });
    assert_eq!(none.await[0].2, Ok(None), "nothing committed");
    let unknown = admin.describe_groups(vec![unique("nobody")]).await.unwrap();
    assert!(
        unknown[0]
            .1
            .as_ref()
            .map_or_else(|error| error.is_unknown_group(), |group| group.state == GroupState::Dead),
        "{unknown:?}"
    );
    kafka.tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", &name], &"record\n".repeat(7));
    let consumed = ["--topic", &name, "--group", &name, "--from-beginning", "--max-messages", "5"];
    kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &consumed, "");
    let committed = admin.group_offsets(name.clone(), partition()).await.unwrap();
    assert_eq!(committed, [(name.clone(), 0, Ok(Some(5)))]);
    let ends = admin.list_offsets(OffsetSpec::Latest, partition()).await.unwrap();
    assert_eq!(ends, [(name.clone(), 0, Ok(Some(7)))]);
    let starts = admin.list_offsets(OffsetSpec::Earliest, partition()).await.unwrap();
    assert_eq!(starts, [(name.clone(), 0, Ok(Some(0)))]);
    let group = admin.describe_groups(vec![name.clone()]).await.unwrap();
    let group = group[0].1.clone().unwrap();
    assert_eq!((group.state, group.members), (GroupState::Empty, 0));
    let missing = admin.list_offsets(OffsetSpec::Latest, vec![(unique("nothing"), 0)]).await;
    assert!(missing.is_err() || missing.unwrap()[0].2.is_err());
}

/// Regression: an answer "not the coordinator" must be an error. librdkafka follows a null pointer on it in a client that
/// is no consumer; a broker that is just coming up gives that answer.
#[tokio::test]
async fn a_coordinator_that_comes_up_is_waited_for() {
    let kafka = Kafka::own(1);
    let admin = admin(&kafka.bootstrap());
    let (name, group) = (unique("offsets"), unique("group"));
    admin.create_topics(vec![topic(&name, 1)], false).await.unwrap();
    for _ in 0..2 {
        eventually("offsets", || async {
            admin.group_offsets(group.clone(), vec![(name.clone(), 0)]).await.ok()
        })
        .await;
        let killed = std::process::Command::new("kill").args(["-KILL", &kafka.pid(0).to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        kafka.start_again();
    }
    eventually("offsets", || async {
        admin.group_offsets(group.clone(), vec![(name.clone(), 0)]).await.ok()
    })
    .await;
}

/// More topics than fit into one call.
#[tokio::test]
async fn large_questions_are_asked_in_parts() {
    let admin = admin(&Kafka::shared().bootstrap());
    let names: Vec<String> = (0..2_500).map(|i| format!("nothing-{i}")).collect();
    let described = admin.describe_topics(names.clone()).await.unwrap();
    assert_eq!(described.len(), names.len());
}

/// Strimzi `InterruptedExceptionsIT`: a client that is closed ends every call at once, with an error.
#[tokio::test]
async fn a_closed_client_ends_what_waits() {
    let settings = KafkaSettings::plaintext("127.0.0.1:1");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let observer =
        Arc::new(move |api: &'static str, _: Duration, error: Option<&parley::kafka::admin::ApiError>| {
            noted.lock().unwrap().push((api, error.map(|e| e.name())));
        });
    let admin = Admin::new(&settings, Duration::from_secs(60), observer).unwrap();
    let waits = {
        let admin = admin.clone();
        tokio::spawn(async move { admin.describe_cluster().await })
    };
    eventually("the call is under way", || async {
        tokio::task::yield_now().await;
        Some(())
    })
    .await;
    admin.close();
    // Under a memory checker nothing is at once.
    let at_once =
        |seconds| if std::env::var_os("SLOWED").is_some() { DEADLINE } else { Duration::from_secs(seconds) };
    let ended = tokio::time::timeout(at_once(10), waits).await.expect("at once").unwrap();
    assert!(ended.is_err());
    // Nor does the next one look for a broker first, which takes five seconds, though the last was not answered.
    assert!(tokio::time::timeout(at_once(4), admin.describe_cluster()).await.is_ok_and(|call| call.is_err()));
    assert!(seen.lock().unwrap().iter().all(|(api, error)| *api == "DescribeCluster" && error.is_some()));
}

/// What cannot be said to C is refused here, and a broker that is away is an error in time with its reason.
#[tokio::test]
async fn bad_names_and_absent_brokers() {
    let admin = admin(&Kafka::shared().bootstrap());
    assert!(admin.create_topics(vec![topic("nul\0", 1)], false).await.is_err());
    assert!(admin.describe_topics(vec!["nul\0".to_owned()]).await.is_err());
    let settings = KafkaSettings::plaintext("127.0.0.1:1");
    let away = Admin::new(&settings, Duration::from_secs(60), Arc::new(|_, _, _| {})).unwrap();
    let error = away.describe_cluster().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert!(error.message.contains("refused"), "{error:?}");
}
