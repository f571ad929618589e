//! `controller lint` and `controller plan`, as a person or a pipeline runs them.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Rig, admin};
use crate::fixtures::{Kafka, eventually, root, unique};

fn run(args: &[&str], kubeconfig: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(args).env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    command.output().expect("the controller runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn lint_names_file_and_line() {
    let sample = root().join("docs/samples/chat.yaml").display().to_string();
    let clean = run(&["lint", &sample], None);
    assert!(clean.status.success(), "{clean:?}");
    let file = std::env::temp_dir().join(unique("lint.yaml"));
    std::fs::write(&file, "apiVersion: parley.dev/v1alpha1\nkind: ChatTopicSet\nmetadata: {name: s}\nspec:\n  topics:\n    - name: __x\n")
        .unwrap();
    let bad = run(&["lint", &sample, &file.display().to_string()], None);
    assert_eq!(bad.status.code(), Some(1));
    let expected = format!("{}:6: spec.topics[0].name: a topic name holds only", file.display());
    assert!(printed(&bad).contains(&expected), "{}", printed(&bad));
    std::fs::remove_file(&file).unwrap();
}

fn write(spec: &Value) -> String {
    let file = std::env::temp_dir().join(unique("plan.yaml"));
    let set = json!({"apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": "s"}, "spec": spec});
    std::fs::write(&file, set.to_string()).unwrap();
    file.display().to_string()
}

/// The diff against a live cluster, without any API server, and with code 2 only when something would change.
#[tokio::test]
async fn plan_prints_a_diff_and_changes_nothing() {
    let bootstrap = Kafka::shared().bootstrap();
    let topic = unique("plan");
    let spec = |partitions: i32| json!({"topics": [{"name": topic, "partitions": partitions, "config": {"retention.ms": 5}}]});
    let kafka = ["--kafka-bootstrap-servers", &bootstrap];
    let plan = |partitions: i32, more: &[&str]| {
        let file = write(&spec(partitions));
        let mut args = vec!["plan", &file];
        args.extend(kafka);
        args.extend(more);
        run(&args, None)
    };
    let create = plan(2, &[]);
    assert_eq!(create.status.code(), Some(2), "{create:?}");
    assert!(printed(&create).contains(&format!("+ {topic}")), "{}", printed(&create));
    let admin = admin(&bootstrap);
    let described = admin.describe_topics(vec![topic.clone()]).await.unwrap();
    assert!(described[0].1.as_ref().is_err_and(|error| error.is_unknown_topic()), "nothing was made");
    let new = parley::kafka::admin::NewTopic {
        name: topic.clone(),
        partitions: Some(2),
        replicas: Some(1),
        config: [("retention.ms".to_owned(), "5".to_owned())].into(),
    };
    admin.create_topics(vec![new], false).await.unwrap();
    // The broker acknowledges a topic a moment before it shows it.
    eventually("the broker shows it", || async {
        let described = admin.describe_topics(vec![topic.clone()]).await.ok()?;
        described[0].1.is_ok().then_some(())
    })
    .await;
    let nothing = plan(2, &[]);
    assert_eq!(nothing.status.code(), Some(0), "{}", printed(&nothing));
    let grow = plan(3, &["-o", "json"]);
    assert_eq!(grow.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&grow.stdout).unwrap();
    assert_eq!(json[0]["topics"][0]["action"], "change");
    assert_eq!(json[0]["topics"][0]["changes"]["partitions"], json!(["2", "3"]));
    let refused = run(
        &["plan", &write(&json!({"topics": [{"name": unique("p"), "replicas": 9}]})), kafka[0], kafka[1]],
        None,
    );
    assert!(printed(&refused).to_lowercase().contains("replication factor"), "{}", printed(&refused));
}

/// With an API server it knows what an earlier spec set, and whose topics they are.
#[tokio::test]
async fn plan_knows_the_memory_of_a_set_that_exists() {
    let rig = Rig::start().await;
    let topic = rig.topic("t");
    rig.apply(
        "s",
        json!({"topics": [{"name": topic, "partitions": 1, "config": {"retention.ms": 1_000_000}}]}),
    )
    .await;
    rig.ready("s").await;
    let kubeconfig = rig.api.kubeconfig().display().to_string();
    let bootstrap = Kafka::shared().bootstrap();
    let file = write(&json!({"topics": [{"name": topic, "partitions": 1}]}));
    let reset = run(
        &["plan", &file, "-n", &rig.namespace, "--kafka-bootstrap-servers", &bootstrap],
        Some(&kubeconfig),
    );
    assert_eq!(reset.status.code(), Some(2), "{reset:?}");
    assert!(printed(&reset).contains("retention.ms: 1000000 -> (default)"), "{}", printed(&reset));
    let elsewhere =
        run(&["plan", &file, "-n", "default", "--kafka-bootstrap-servers", &bootstrap], Some(&kubeconfig));
    assert_eq!(elsewhere.status.code(), Some(0), "{elsewhere:?}");
    assert!(
        printed(&elsewhere).contains(&format!("owned by {}/s", rig.namespace)),
        "{}",
        printed(&elsewhere)
    );
}
