//! The main promise: two people chat while the chat topic grows under them, the pool follows, and nothing is lost or doubled.

use parley::loadgen::{ChatArgs, run_chat};
use serde_json::Value;

use crate::{
    browser::TwoUsers,
    cluster::{eventually, gateway, kubectl, sql},
};

/// Sets the partitions of one topic in the set, as a person with an editor would.
fn set_partitions(topic: &str, partitions: u32) {
    let set: Value = serde_json::from_str(&kubectl(&["get", "cts", "chat", "-o", "json"])).expect("JSON");
    let topics = set["spec"]["topics"].as_array().expect("topics");
    let at = topics.iter().position(|entry| entry["name"] == topic).expect("the topic is in the set");
    let patch = format!(r#"[{{"op":"add","path":"/spec/topics/{at}/partitions","value":{partitions}}}]"#);
    kubectl(&["patch", "cts", "chat", "--type=json", "-p", &patch]);
}

fn workers_ready(pool: &str) -> String {
    kubectl(&[
        "get",
        "deployment",
        &format!("parley-worker-{pool}"),
        "-o",
        "jsonpath={.spec.replicas}/{.status.readyReplicas}",
    ])
}

/// How many messages of the load PostgreSQL has: other tests talk meanwhile too.
fn messages_of_the_load() -> u64 {
    let count = sql("parley", "SELECT count(*) FROM messages WHERE writer_id LIKE 'load-%'");
    count.parse().expect("a number")
}

/// How many partitions the status says that Kafka has.
fn observed() -> String {
    kubectl(&[
        "get",
        "cts",
        "chat",
        "-o",
        "jsonpath={.status.topics[?(@.name==\"user-add-chat-request\")].partitions}",
    ])
}

/// Each message once on each page, and both pages agree on its number.
fn check_chat(step: &Value, first_seq: i64) {
    for (n, message) in step["messages"].as_array().expect("messages").iter().enumerate() {
        let seq = first_seq + i64::try_from(n).expect("small");
        assert_eq!(message["at"], seq, "{message}");
        assert_eq!(message["own"], seq, "{message}");
        assert_eq!(message["times"], serde_json::json!([1, 1]), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_topic_grows_under_load_and_the_pool_follows() {
    eventually("the two chat workers of the sample", || async {
        (workers_ready("chat") == "2/2").then_some(())
    })
    .await;
    let mut people = TwoUsers::start();
    check_chat(&people.step("chatted").await, 1);

    let args = ChatArgs { gateways: vec![gateway()], rooms: 4, members: 2, rate: 20.0, seconds: 90 };
    let before = messages_of_the_load();
    let load = tokio::spawn(async move { run_chat(&args).await });
    // Its people sign up, make friends and open rooms first: the topic grows while messages are under way, not before.
    eventually("the load to be under way", || async { (messages_of_the_load() > before + 20).then_some(()) })
        .await;

    set_partitions("user-add-chat-request", 4);
    eventually("four partitions in Kafka", || async { (observed() == "4").then_some(()) }).await;
    assert!(!load.is_finished(), "Kafka added the partitions under the load");
    eventually("four ready chat workers", || async { (workers_ready("chat") == "4/4").then_some(()) }).await;
    kubectl(&["wait", "cts/chat", "--for=condition=Ready", "--timeout=240s"]);

    people.go_on().await;
    check_chat(&people.step("chatted-again").await, 3);
    let reloaded = people.step("reloaded").await;
    for (n, message) in reloaded["messages"].as_array().expect("messages").iter().enumerate() {
        assert_eq!(
            (message["at"].as_u64(), message["times"].as_u64()),
            (Some(n as u64 + 1), Some(1)),
            "{message}"
        );
    }
    assert_eq!(reloaded["problems"], serde_json::json!([]), "the pages report no error");
    people.finish().await;

    let report = load.await.expect("the load ends").expect("the stage was set");
    eprintln!("load while the topic grew: {report:?}");
    assert_eq!((report.due, report.accepted, report.given_up), (1_800, 1_800, 0));
    assert!(report.findings.clean(), "{:?}", report.findings);
}
