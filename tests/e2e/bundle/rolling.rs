//! All three programs are replaced while people chat: nothing is lost or doubled, no stream is cut off, no pod restarts, and no
//! disruption budget is ever overdrawn.

mod budgets;

use std::process::Command;

use parley::loadgen::{ChatArgs, run_chat};
use serde_json::Value;

use self::budgets::Budgets;
use crate::cluster::{eventually, gateway, helm, kubectl, root};

const DEPLOYMENTS: [&str; 4] = ["controller", "gateway", "worker-account", "worker-chat"];

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&kubectl(&[args, &["-o", "json"]].concat())).expect("JSON")
}

fn deployment(name: &str) -> Value {
    json(&["get", "deployment", &format!("parley-{name}")])
}

/// Pods of one component or pool that are not on their way out.
fn pods(selector: &str) -> Vec<Value> {
    let all = json(&["get", "pods", "-l", selector]);
    let items = all["items"].as_array().expect("a list").clone();
    items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().expect("a name").to_owned()
}

fn ready(pod: &Value) -> bool {
    pod["status"]["containerStatuses"].as_array().is_some_and(|all| all.iter().all(|c| c["ready"] == true))
}

/// Events of messages that the gateways have written so far: the load is under way when it grows.
fn messages_written() -> f64 {
    let exposed = pods("app.kubernetes.io/component=gateway").into_iter().map(|pod| {
        kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/parley/pods/{}:9090/proxy/metrics", name(&pod)),
        ])
    });
    let line = "parley_sse_events_total{event=\"message\"} ";
    exposed
        .flat_map(|text| {
            text.lines().filter_map(|l| l.strip_prefix(line)?.parse::<f64>().ok()).collect::<Vec<_>>()
        })
        .sum()
}

/// Asks for an eviction, as `kubectl drain` does: whether the budget allowed it.
fn evict(pod: &str) -> bool {
    let body = format!(
        r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod}","namespace":"parley"}}}}"#
    );
    let file = std::env::temp_dir().join(format!("parley-evict-{pod}.json"));
    std::fs::write(&file, body).expect("a file can be written");
    let path = format!("/api/v1/namespaces/parley/pods/{pod}/eviction");
    let output = Command::new("kubectl")
        .args(["create", "--raw", &path, "-f"])
        .arg(&file)
        .output()
        .expect("kubectl runs");
    std::fs::remove_file(file).expect("it was written");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("disruption budget"), "eviction of {pod}: {said}");
    output.status.success()
}

/// The release with another setting or two, once all of it is ready.
fn upgrade(settings: &str) {
    let chart = root().join("charts/parley").display().to_string();
    helm(&["upgrade", "parley", &chart, "--reuse-values", "--wait", "--timeout", "5m", "--set", settings]);
}

/// As `kubectl drain` finds it: the budget lets one pod go, and the next one only when there is another in its place.
async fn they_go_one_by_one(selector: &str) {
    let before = pods(selector);
    assert!(before.len() >= 2 && before.iter().all(ready), "{before:?}");
    // The budget hears a moment later that all are ready.
    eventually("one to be let go", || async { evict(&name(&before[0])).then_some(()) }).await;
    assert!(!evict(&name(&before[1])), "{selector}: a second one at the same time may not");
    eventually("a pod in place of the evicted one", || async {
        let now = pods(selector);
        (now.len() == before.len() && now.iter().all(ready)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_of_all_three_under_load_loses_and_doubles_nothing() {
    const STREAMS: u64 = 8;
    // `make up` has one gateway, which has nobody to send its browsers to, and no time for the node to hear that it goes.
    upgrade(
        "gateway.replicas=2,gateway.preStopSeconds=10,gateway.drainSeconds=20,gateway.terminationGracePeriodSeconds=45",
    );
    // Helm does not wait for the one of before to be gone, and whom that one lets in on its way out is refused or cut off.
    eventually("the gateway of before to be gone", || async {
        let all = json(&["get", "pods", "-l", "app.kubernetes.io/component=gateway"]);
        (all["items"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let budgets = Budgets::watch().await;
    let generations =
        DEPLOYMENTS.map(|name| deployment(name)["metadata"]["generation"].as_i64().expect("a number"));
    let old: Vec<String> = pods("app.kubernetes.io/part-of=parley").iter().map(name).collect();

    let before = messages_written();
    let args = ChatArgs { gateways: vec![gateway()], rooms: 4, members: 2, rate: 20.0, seconds: 120 };
    let mut load = tokio::spawn(async move { run_chat(&args).await });
    tokio::select! {
        ended = &mut load => panic!("the load ended before it was under way: {ended:?}"),
        () = eventually("the load to be under way", || async {
            (messages_written() > before + 20.0).then_some(())
        }) => {}
    }

    // Another image by its name: the version, where it was the version and a hash of the contents.
    let image = concat!("parley.dev/parley:", env!("CARGO_PKG_VERSION"));
    upgrade(concat!("image.tag=", env!("CARGO_PKG_VERSION")));
    for (name, before) in DEPLOYMENTS.iter().zip(generations) {
        let now = deployment(name);
        assert_eq!(
            now["metadata"]["generation"].as_i64(),
            Some(before + 1),
            "{name}: one change, the upgrade's"
        );
        assert_eq!(now["status"]["updatedReplicas"], now["spec"]["replicas"], "{name}");
    }
    // Helm does not wait for the last ones to be told.
    eventually("every pod to be replaced", || async {
        pods("app.kubernetes.io/part-of=parley").iter().all(|pod| !old.contains(&name(pod))).then_some(())
    })
    .await;
    for pod in pods("app.kubernetes.io/part-of=parley") {
        assert_eq!(pod["spec"]["containers"][0]["image"], image, "{}", name(&pod));
    }
    for selector in ["app.kubernetes.io/component=gateway", "parley.dev/pool=chat", "parley.dev/pool=account"]
    {
        they_go_one_by_one(selector).await;
    }

    let report = load.await.expect("the load ends").expect("the stage was set");
    eprintln!("load while everything was replaced: {report:?}");
    assert_eq!((report.due, report.given_up), (report.accepted, 0));
    assert!(report.clean(), "{report:?}");
    // Every stream was at a gateway that was replaced: each was told to leave, and ended as HTTP says, not with the process.
    assert!(report.sent_away >= STREAMS, "the gateways sent their streams away: {report:?}");
    assert_eq!(report.cut, 0, "no stream was cut off: {report:?}");
    for (budget, seen) in budgets.finish() {
        eprintln!("budget {budget}: {seen:?}");
        assert!(seen.fewest >= seen.least, "{budget}: {seen:?}");
        // What was evicted was missing for a while: whoever looked must have seen it.
        if ["parley-gateway", "parley-worker-chat", "parley-worker-account"].contains(&budget.as_str()) {
            assert_eq!(seen.fewest, seen.least, "{budget} was watched: {seen:?}");
        }
    }
    for pod in pods("app.kubernetes.io/part-of=parley") {
        for container in pod["status"]["containerStatuses"].as_array().expect("a list") {
            assert_eq!(container["restartCount"], 0, "{}: nobody asked for a restart", name(&pod));
        }
    }
}
