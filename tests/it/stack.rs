//! The fixtures themselves: what they start is real and answers.

use crate::fixtures::{ApiServer, Kafka};

#[test]
fn a_real_broker_makes_a_topic() {
    let kafka = Kafka::shared();
    let name = crate::fixtures::unique("topic");
    kafka.tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--create", "--topic", &name, "--partitions", "3"],
        "",
    );
    let described = kafka.tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &name], "");
    assert!(described.contains("PartitionCount: 3"), "{described}");
}

#[test]
fn a_real_api_server_knows_our_resource() {
    let api = ApiServer::shared();
    let explained = api.kubectl(&["explain", "cts.spec.topics"]);
    assert!(explained.contains("FIELDS"), "{explained}");
    let namespace = api.namespace();
    let none = api.kubectl(&["get", "cts", "-n", &namespace]);
    assert_eq!(none.trim(), "");
}

/// PostgreSQL refuses to start beside a thousand open files, and a test's process has that many.
#[test]
fn a_server_inherits_nothing_but_its_three_streams() {
    let run = std::env::temp_dir().join(crate::fixtures::unique("parley-inherits"));
    let script = r#"exec 42</dev/null 1200</dev/null; . hack/lib/base.sh; . hack/lib/process.sh; RUN=$1
        start probe ls /proc/self/fd; while alive probe; do sleep 0.05; done; cat "$RUN/log/probe.log""#;
    let output = std::process::Command::new("bash")
        .args(["-euc", script, "bash"])
        .arg(&run)
        .current_dir(crate::fixtures::root())
        .output()
        .expect("bash runs");
    let open = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    // 3 is the folder that ls reads.
    assert_eq!(open, "0 1 2 3", "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(run).expect("the folder goes");
}
