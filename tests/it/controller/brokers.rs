//! What the brokers themselves are set to, and what they are busy with.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use parley::kafka::{KafkaSettings, admin::Admin};
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka, eventually};

/// Strimzi `shLogWarningIfAutoCreateTopicsIsEnabled` (ours: condition and event) and
/// `shNotDeleteTopicWhenTopicDeletionDisabledInKafka`, `testDeleteTopicEnableFalse`: said, waited for, and then done.
#[tokio::test]
async fn settings_that_matter_are_said() {
    let kafka = Kafka::own_with(1, "auto.create.topics.enable=true\ndelete.topic.enable=false");
    let rig = Rig::on(ApiServer::shared(), &kafka).await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"deletionPolicy": "Delete", "topics": [{"name": topic}]})).await;
    let says = |set: &Value, words: &str| set["status"]["conditions"].to_string().contains(words);
    eventually("the condition says that brokers make topics", || async {
        says(&rig.ready("s").await, "auto.create.topics.enable").then_some(())
    })
    .await;
    let notes = rig.events("Refused").await;
    assert_eq!(notes.iter().filter(|n| n.contains("auto.create.topics.enable")).count(), 1, "{notes:?}");
    rig.delete("s").await;
    let said = eventually("the set says why it waits", || async {
        let set = rig.sets().get_opt("s").await.ok()??;
        let said = set.data["status"].to_string();
        said.contains(&format!("Deleting {topic} failed")).then_some(said)
    })
    .await;
    assert!(said.contains("AuthorizationFailed"), "{said}");
    assert!(rig.describe(&topic).await.is_some());
    kafka.signal(0, "KILL");
    kafka.start_again();
    eventually("the set goes with its topic", || async {
        let described = rig.admin.describe_topics(vec![topic.clone()]).await.ok()?;
        let gone = described[0].1.as_ref().is_err_and(|error| error.is_unknown_topic());
        (gone && rig.sets().get_opt("s").await.ok()?.is_none()).then_some(())
    })
    .await;
}

/// Strimzi `shAccountForReassigningPartitions{NoRfChange,IncreasingRf}`: while a tool moves replicas, throttled, the set
/// stays as declared, nobody touches the throttles, and the end of the move is seen.
#[tokio::test]
async fn a_running_reassignment_is_left_alone() {
    let kafka = Kafka::shared_three();
    let rig = Rig::on(ApiServer::shared(), kafka).await;
    let topic = rig.topic("moved");
    let spec = |replicas: i32| json!({"topics": [{"name": topic, "partitions": 1, "replicas": replicas}]});
    rig.apply("s", spec(1)).await;
    rig.ready("s").await;
    // Something to move: half a megabyte, at a rate that makes it last for a while.
    let record = format!("{}\n", "x".repeat(1_000));
    kafka.tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", &topic], &record.repeat(500));
    let plan = |replicas: Value| {
        let file = std::env::temp_dir().join(crate::fixtures::unique("reassign.json"));
        let plan =
            json!({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": replicas}]});
        std::fs::write(&file, plan.to_string()).unwrap();
        file
    };
    let reassign = |file: &std::path::Path, more: &[&str]| {
        let file = file.display().to_string();
        let args = [&["--reassignment-json-file", &file][..], more].concat();
        kafka.tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", &args, "")
    };
    let three = plan(json!([0, 1, 2]));
    reassign(&three, &["--execute", "--throttle", "2000"]);
    let throttled = async || rig.config(&topic).await.keys().any(|key| key.contains("throttled"));
    // Any of the brokers is asked, and may hear of it last.
    eventually("it is under way, with the tool's throttles", || async {
        let begun = rig.describe(&topic).await?.partitions[0];
        (begun.in_sync < begun.replicas && throttled().await).then_some(())
    })
    .await;
    for _ in 0..3 {
        rig.touch("s").await;
        let set = rig.ready("s").await;
        assert_eq!(set["status"]["topics"][0]["state"], "Ready");
    }
    let during = rig.describe(&topic).await.unwrap().partitions[0];
    assert!(during.in_sync < during.replicas, "it is still under way: {during:?}");
    assert!(throttled().await, "they are not touched");
    // Let go, it ends: then, and only then, the replicas differ, and the spec that names them heals it.
    reassign(&three, &["--execute", "--additional", "--throttle", "100000000"]);
    rig.condition("s", "Ready", "False", "ReplicationFactorDiffers").await;
    reassign(&three, &["--verify"]);
    rig.apply("s", spec(3)).await;
    rig.ready("s").await;
    std::fs::remove_file(&three).unwrap();
}

/// Lets a process run only a fifth of the time, until it is dropped.
struct Slowed(std::process::Child, String);

impl Slowed {
    fn new(pid: u32) -> Self {
        let script = "while kill -STOP $1; do sleep 0.8; kill -CONT $1; sleep 0.2; done 2>/dev/null";
        let pid = pid.to_string();
        let child = std::process::Command::new("bash").args(["-c", script, "slow", &pid]).spawn();
        Self(child.expect("bash runs"), pid)
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::process::Command::new("kill").args(["-CONT", &self.1]).status();
    }
}

/// A broker that runs only a fifth of the time: everything takes longer and nothing fails for good, exits or spins.
#[tokio::test]
async fn a_slow_broker_slows_things_down() {
    let kafka = Kafka::own(1);
    let rig = Rig::on(ApiServer::shared(), &kafka).await;
    let topics: Vec<Value> =
        (0..20).map(|i| json!({"name": rig.topic(&format!("t{i}")), "partitions": 1})).collect();
    let asked =
        async || rig.controller.metric("parley_kafka_admin_request_duration_seconds_count", &[]).await;
    let before = asked().await;
    let started = std::time::Instant::now();
    let slowed = Slowed::new(kafka.pid(0));
    rig.apply("s", json!({ "topics": topics })).await;
    rig.ready("s").await;
    drop(slowed);
    let calls = asked().await - before;
    // The poller's three calls a second at the very most, and what the set itself needs.
    let most = started.elapsed().as_secs_f64() * 4.0 + 50.0;
    assert!(calls < most, "{calls} calls in {:?}", started.elapsed());
    assert_eq!(rig.describe(topics[19]["name"].as_str().unwrap()).await.unwrap().partitions.len(), 1);
}

/// The broker that takes a client's admin requests is away, and then all are: the client turns to another one long before its
/// metadata is due, and nothing hammers at the closed ports meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_for_admin_requests_may_go_away() {
    let kafka = Kafka::own(3);
    let settings = KafkaSettings::plaintext(&kafka.bootstrap());
    // Each is told one of three brokers, by chance: some get the one that goes.
    let made =
        (0..12).map(|_| Admin::new(&settings, Duration::from_secs(5), Arc::new(|_, _, _| {})).unwrap());
    let admins: Vec<Admin> = made.collect();
    let all_answer = async || {
        let asked = admins.iter().map(Admin::describe_cluster);
        join_all(asked).await.iter().all(Result::is_ok)
    };
    eventually("all answer", || async { all_answer().await.then_some(()) }).await;
    kafka.signal(2, "KILL");
    let started = std::time::Instant::now();
    eventually("all answer again", || async { all_answer().await.then_some(()) }).await;
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());

    kafka.signal(0, "KILL");
    kafka.signal(1, "KILL");
    for admin in &admins {
        let error = admin.describe_cluster().await.expect_err("nobody is there");
        assert!(error.is_unreachable(), "{error}");
    }
    // Where the first broker was, somebody counts who knocks, and closes the door.
    let port: u16 = kafka.bootstrap().split([':', ',']).nth(1).unwrap().parse().unwrap();
    let door = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let knocks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&knocks);
    let counting = tokio::spawn(async move {
        while door.accept().await.is_ok() {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let asked = join_all(admins.iter().map(Admin::describe_cluster)).await;
    assert!(asked.iter().all(Result::is_err));
    counting.abort();
    let knocks = knocks.load(std::sync::atomic::Ordering::Relaxed);
    assert!(knocks < 600, "{knocks} connections by 12 clients within five seconds");
}

/// A group's coordinator is away for longer than anybody waits for its answer, and comes back: librdkafka would touch again what
/// it had freed, and abort (its issue 4605).
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_may_be_away_for_longer_than_anybody_waits() {
    let kafka = Kafka::own(1);
    let settings = KafkaSettings::plaintext(&kafka.bootstrap());
    // Under valgrind a second is too little to connect.
    let patience = Duration::from_secs(if std::env::var_os("SLOWED").is_some() { 5 } else { 1 });
    let admin = Admin::new(&settings, patience, Arc::new(|_, _, _| {})).unwrap();
    let state = async || {
        let described = admin.describe_groups(vec!["some".to_owned()]).await?;
        match described.into_iter().next().expect("one group").1 {
            Err(error) if !error.is_unknown_group() => Err(error),
            _ => Ok(()),
        }
    };
    let committed = async || admin.group_offsets("some".to_owned(), vec![("t".to_owned(), 0)]).await;
    eventually("its state", || async { state().await.ok() }).await;
    eventually("what it committed", || async { committed().await.ok() }).await;
    kafka.signal(0, "KILL");
    for _ in 0..3 {
        let error = state().await.expect_err("nobody is there");
        assert!(error.is_unreachable(), "{error}");
        let error = committed().await.expect_err("nobody is there");
        assert!(error.is_unreachable(), "{error}");
    }
    tokio::task::block_in_place(|| kafka.start_again());
    eventually("its state again", || async { state().await.ok() }).await;
    eventually("what it committed again", || async { committed().await.ok() }).await;
}
