//! What tools that wait for a set make of it: kstatus (Flux) and the health check for Argo CD that docs/gitops.md shows.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::root;

/// Runs a program of this clone and gives what it prints for this input.
fn told(program: &str, args: &[&str], input: &str) -> String {
    let mut child = std::process::Command::new(program)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} runs: {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{program} failed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// JSON as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("[{name:?}] = {}", lua(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::String(text) => format!("{text:?}"),
        Value::Null => "nil".to_owned(),
        other => other.to_string(),
    }
}

/// How both judge a set.
fn judged(set: &Value) -> (String, String) {
    let kstatus = told("bash", &["hack/check/kstatus.sh"], &format!("{set}\n"));
    let page = std::fs::read_to_string(root().join("docs/gitops.md")).expect("the page");
    let check = page.split("parley.dev_ChatTopicSet: |\n").nth(1).expect("a health check");
    let check = check.split("```").next().expect("its end");
    let program = format!("local function judge(obj)\n{check}\nend\nprint(judge({}).status)", lua(set));
    (kstatus.split('\t').next().unwrap_or_default().to_owned(), told("lua5.3", &["-"], &program))
}

fn pair(kstatus: &str, argo: &str) -> (String, String) {
    (kstatus.to_owned(), argo.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_wait_judge_a_set_as_it_is() {
    let rig = Rig::start().await;
    let topic = |config: Value| json!({"topics": [{"name": rig.topic("t"), "partitions": 1, "replicas": 1, "config": config}]});
    // As the API server hands it out before anybody has looked at it.
    rig.controller.signal("STOP");
    let fresh = rig.apply("s", topic(json!({}))).await;
    assert_eq!(judged(&serde_json::to_value(fresh).unwrap()), pair("InProgress", "Progressing"));
    rig.controller.signal("CONT");
    assert_eq!(judged(&rig.ready("s").await), pair("Current", "Healthy"));
    // A new spec that nobody has looked at, over a status that speaks of the old one.
    rig.controller.signal("STOP");
    let changed = rig.apply("s", topic(json!({"retention.ms": "no number"}))).await;
    assert_eq!(judged(&serde_json::to_value(changed).unwrap()), pair("InProgress", "Progressing"));
    rig.controller.signal("CONT");
    let refused = rig.condition("s", "Stalled", "True", "InvalidConfig").await;
    assert_eq!(judged(&refused), pair("Failed", "Degraded"));
    rig.apply("s", topic(json!({"retention.ms": "3600000"}))).await;
    assert_eq!(judged(&rig.ready("s").await), pair("Current", "Healthy"));
}
