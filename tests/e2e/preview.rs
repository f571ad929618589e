//! A set whose topics go with it, in a namespace of its own, which can then go too.

use crate::cluster::{eventually, kafka_tool, kubectl};

const NAMESPACE: &str = "preview";

fn topics() -> Vec<String> {
    let all = kafka_tool("org.apache.kafka.tools.TopicCommand", &["--list"], "");
    all.lines().filter(|topic| topic.starts_with("preview-")).map(str::to_owned).collect()
}

/// One of the set's topics gets another retention behind the controller's back.
fn meddle() {
    let change =
        ["--alter", "--entity-type", "topics", "--entity-name", "preview-42.replies", "--add-config"];
    kafka_tool("kafka.admin.ConfigCommand", &[&change[..], &["retention.ms=5"]].concat(), "");
}

fn drifts() -> usize {
    let lines = kubectl(&[
        "get",
        "events.events.k8s.io",
        "-n",
        NAMESPACE,
        "--field-selector=reason=ConfigChanged",
        "-o",
        "jsonpath={range .items[*]}{.reason}={.series.count}{\"\\n\"}{end}",
    ]);
    // A series counts from its second event on.
    lines.lines().filter_map(|line| Some(line.split_once('=')?.1.parse().unwrap_or(1))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_deletes_its_topics_takes_them_along_and_its_namespace_can_go() {
    kubectl(&["create", "namespace", NAMESPACE]);
    // Sets outside of the release's namespace name their Kafka themselves.
    let sample =
        std::fs::read_to_string(crate::cluster::root().join("docs/samples/delete.yaml")).expect("a sample");
    let own = "spec:\n  kafka: {bootstrapServers: \"10.244.0.1:9092\"}\n";
    let file = tempfile("preview.yaml", &sample.replace("spec:\n", own));
    kubectl(&["apply", "-n", NAMESPACE, "--server-side", "-f", &file]);
    kubectl(&["wait", "-n", NAMESPACE, "cts/preview", "--for=condition=Ready", "--timeout=120s"]);
    assert_eq!(topics().len(), 2);

    for times in 1..=2 {
        meddle();
        eventually("the drift to be set back, with an event", || async { (drifts() >= times).then_some(()) })
            .await;
    }
    kubectl(&["delete", "namespace", NAMESPACE, "--timeout=150s"]);
    assert_eq!(topics(), Vec::<String>::new(), "the topics went with their set");
}

/// A file in the folder of temporary files, for kubectl.
fn tempfile(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("parley-e2e-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a file can be written");
    path.display().to_string()
}
