//! A release from its uninstallation to the end of its namespace: an older chart, an upgrade, a rollback; data outlives them all.

use std::{collections::BTreeMap, fs, path::Path};

use hyper::Method;
use parley::{
    ids::RoomId,
    loadgen::{Actor, ChatArgs, run_chat},
};
use serde_json::json;

use crate::cluster::{DEADLINE, Folder, eventually, gateway, helm, kafka_tool, kubectl, root};

/// A set whose deletion waits for a controller.
const DELETING: &str = "apiVersion: parley.dev/v1alpha1
kind: ChatTopicSet
metadata: {name: deleting}
spec: {deletionPolicy: Delete, topics: [{name: life-deleting}]}
";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// A YAML text without one key and what hangs below it.
fn without(text: &str, key: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut depth = None;
    let kept = text.lines().filter(|line| {
        if depth.is_some_and(|depth| {
            indent(line) > depth || line.trim_start().starts_with("- ") && indent(line) >= depth
        }) {
            return false;
        }
        depth = (line.trim() == format!("{key}:")).then(|| indent(line));
        depth.is_none()
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// The chart as the release before could have been: another version, and a definition that lacks a field.
fn older_chart(folder: &Folder, field: &str) -> String {
    let chart = folder.0.join("older");
    copy(&root().join("charts/parley"), &chart);
    let edit = |name: &str, change: &dyn Fn(&str) -> String| {
        let file = chart.join(name);
        let old = fs::read_to_string(&file).expect("a file");
        let changed = change(&old);
        assert_ne!(changed, old, "{name} was changed");
        fs::write(file, changed).expect("a file can be written");
    };
    edit("Chart.yaml", &|text| {
        let lines =
            text.lines().map(|line| if line.starts_with("version:") { "version: 0.0.9" } else { line });
        lines.map(|line| format!("{line}\n")).collect()
    });
    edit("files/chattopicsets.yaml", &|text| without(text, field));
    chart.display().to_string()
}

fn definition_knows(field: &str) -> bool {
    kubectl(&["get", "crd", "chattopicsets.parley.dev", "-o", "json"]).contains(&format!("\"{field}\""))
}

/// Every topic with its id, which another topic of the same name would not have.
fn topics() -> BTreeMap<String, String> {
    let described = kafka_tool("org.apache.kafka.tools.TopicCommand", &["--describe"], "");
    let topics = described.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("Topic: ")?.split('\t');
        Some((fields.next()?.trim().to_owned(), fields.next()?.strip_prefix("TopicId: ")?.trim().to_owned()))
    });
    topics.collect()
}

/// What was there before everything that this test does, and must be there after each of it.
struct Before {
    old: Actor,
    room: RoomId,
    topics: BTreeMap<String, String>,
}

const OLD_MESSAGE: &str = "said before the release went";

impl Before {
    /// Two people with a room and a message in it.
    async fn set() -> Self {
        let name = |who: &str| format!("{who}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let sign_up = async |who: &str| {
            Actor::sign_up(gateway(), name(who).parse().expect("a legal id")).await.expect("a sign-up")
        };
        let (old, friend) = (sign_up("before").await, sign_up("friend").await);
        old.befriend(std::slice::from_ref(&friend.user)).await.expect("friends");
        let room = old.open_room(&[friend.user], "before").await.expect("a room");
        let path = format!("/api/rooms/{room}/messages");
        let keyed = [("prefer", "wait=20"), ("idempotency-key", "before")];
        let said = eventually("what is said to be stored", || async {
            let said = old.client.json(Method::POST, &path, &keyed, &json!({"message": OLD_MESSAGE})).await;
            said.ok().filter(|said| ![202, 503].contains(&said.status))
        })
        .await;
        assert_eq!(said.status, 200);
        let topics = topics();
        assert!(topics.contains_key("user-add-chat-request"), "{topics:?}");
        Self { old, room, topics }
    }

    /// The topics are the same ones, not others of the same names, and the message can be read.
    async fn is_still_there(&self, after: &str) {
        let now = topics();
        for (name, id) in &self.topics {
            assert_eq!(now.get(name), Some(id), "topic {name} after {after}");
        }
        let path = format!("/api/rooms/{}/messages", self.room);
        let page = eventually(&format!("the old messages after {after}"), || async {
            let page = self.old.client.get(&path).await.ok()?;
            (page.status == 200).then(|| page.json())
        })
        .await;
        let first = &page["messages"][0];
        assert_eq!(
            (&first["seq"], &first["message"]),
            (&json!(1), &json!(OLD_MESSAGE)),
            "{page} after {after}"
        );
    }
}

fn revision() -> String {
    kubectl(&[
        "get",
        "secret",
        "-l",
        "owner=helm,name=parley,status=deployed",
        "-o",
        "jsonpath={.items[0].metadata.labels.version}",
    ])
}

/// Topics, workers and the path between them work: the set is Ready and a short load is heard whole. What was there before still is.
async fn works(after: &str, before: &Before) {
    kubectl(&["wait", "cts/chat", "--for=condition=Ready", "--timeout=180s"]);
    eventually(&format!("somebody who signed up before to log in after {after}"), || async {
        before.old.log_in().await.ok()
    })
    .await;
    before.is_still_there(after).await;
    let args = ChatArgs { gateways: vec![gateway()], rooms: 2, members: 2, rate: 10.0, seconds: 3 };
    let report = run_chat(&args).await.expect("the stage is set");
    eprintln!("after {after}: {report:?}");
    assert_eq!((report.due, report.accepted), (30, 30), "after {after}");
    assert!(report.clean(), "after {after}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_and_comes_back_and_its_data_stays() {
    const NEW: &str = "unmanagedConfig";
    let folder = Folder::new("life");
    let values = folder.file("values.yaml");
    fs::write(&values, helm(&["get", "values", "parley", "-o", "yaml"])).expect("a file can be written");
    let current = root().join("charts/parley").display().to_string();
    let wait = ["--wait", "--timeout", "5m"];

    let said = helm(&["test", "parley", "--timeout", "2m"]);
    assert!(said.contains("Succeeded"), "{said}");
    let before = Before::set().await;
    let uid = kubectl(&["get", "cts", "chat", "-o", "jsonpath={.metadata.uid}"]);

    helm(&[&["uninstall", "parley"][..], &wait].concat());
    eventually("all pods of the release to be gone", || async {
        kubectl(&["get", "pods", "-l", "app.kubernetes.io/part-of=parley", "-o", "name"])
            .is_empty()
            .then_some(())
    })
    .await;
    assert_eq!(kubectl(&["get", "deployments", "-o", "name"]), "");
    assert_eq!(
        kubectl(&["get", "cts", "chat", "-o", "jsonpath={.metadata.uid}{.metadata.deletionTimestamp}"]),
        uid
    );
    assert_eq!(topics(), before.topics, "topics stay, and no other takes the name of one");

    // The release before: it takes over what stayed, with its own, older definition.
    let older = older_chart(&folder, NEW);
    // It finds no keys, as a first install does, and makes them: sessions end, accounts stay.
    kubectl(&["delete", "secret", "parley-keys"]);
    let generate = ["--set", "keys.generate.enabled=true"];
    helm(&[&["install", "parley", older.as_str(), "-f", &values][..], &generate, &wait].concat());
    let keys = kubectl(&["get", "secret", "parley-keys", "-o", "jsonpath={.data}"]);
    assert_eq!(keys.matches(".json").count(), 4, "the hook made the Secret");
    assert_eq!(
        kubectl(&["get", "job,role,serviceaccount", "-l", "app.kubernetes.io/component=keys", "-o", "name"]),
        ""
    );
    let first = revision();
    assert!(!definition_knows(NEW), "the older chart brought the older definition");
    works("an installation over what stayed", &before).await;

    helm(&[&["upgrade", "parley", current.as_str(), "-f", &values][..], &wait].concat());
    eventually("the newer definition", || async { definition_knows(NEW).then_some(()) }).await;
    let patch = format!(r#"[{{"op":"add","path":"/spec/topics/0/{NEW}","value":["flush.ms"]}}]"#);
    kubectl(&["patch", "cts", "chat", "--type=json", "-p", &patch]);
    assert_eq!(
        kubectl(&["get", "cts", "chat", "-o", &format!("jsonpath={{.spec.topics[0].{NEW}[0]}}")]),
        "flush.ms",
        "a new field is kept"
    );
    works("the upgrade", &before).await;

    helm(&[&["rollback", "parley", first.as_str()][..], &wait].concat());
    works("the rollback", &before).await;
    helm(&[&["upgrade", "parley", current.as_str(), "-f", &values][..], &wait].concat());
    let said = helm(&["test", "parley", "--timeout", "2m"]);
    assert!(said.contains("Succeeded"), "{said}");

    // The end: nothing of ours holds the namespace up, and Kafka keeps its topics. Not even a set that deletes its topics
    // and that nobody deleted before the controller went.
    let deleting = folder.file("deleting.yaml");
    fs::write(&deleting, DELETING).expect("a file can be written");
    kubectl(&["apply", "--server-side", "-f", &deleting]);
    kubectl(&["wait", "cts/deleting", "--for=condition=Ready", "--timeout=240s"]);
    let finalizers = ["get", "cts", "deleting", "-o", "jsonpath={.metadata.finalizers}"];
    assert_eq!(kubectl(&finalizers), r#"["parley.dev/topics"]"#);
    let before = topics();
    assert!(before.contains_key("life-deleting"), "{before:?}");
    helm(&["uninstall", "parley"]);
    assert_eq!(kubectl(&finalizers), "", "the hook freed it");
    kubectl(&["delete", "namespace", "parley", &format!("--timeout={}s", DEADLINE.as_secs())]);
    assert_eq!(topics(), before, "topics outlive the namespace");
}
