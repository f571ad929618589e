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
