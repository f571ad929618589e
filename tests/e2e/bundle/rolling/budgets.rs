//! Disruption budgets, held against every change of every pod.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::cluster::{eventually, kubectl};

/// What was seen of the pods of one budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// How many the budget wants to be ready.
    pub(super) least: u64,
    /// The fewest that were ready.
    pub(super) fewest: u64,
}

#[derive(Debug)]
struct Budget {
    name: String,
    labels: Value,
    /// Of all from when all its pods were seen once: before that the list is only being read.
    seen: Option<Seen>,
    all: u64,
    least: u64,
}

impl Budget {
    fn read(budget: &Value) -> Self {
        let count = |name: &str| budget["status"][name].as_u64().expect("the budget was looked at");
        Self {
            name: budget["metadata"]["name"].as_str().expect("a name").to_owned(),
            labels: budget["spec"]["selector"]["matchLabels"].clone(),
            seen: None,
            all: count("expectedPods"),
            least: count("desiredHealthy"),
        }
    }

    fn guards(&self, labels: &Value) -> bool {
        self.labels.as_object().expect("labels").iter().all(|(key, value)| labels[key] == *value)
    }

    fn judge(&mut self, ready: u64) {
        if let Some(seen) = &mut self.seen {
            seen.fewest = seen.fewest.min(ready);
        } else if ready >= self.all {
            self.seen = Some(Seen { least: self.least, fewest: self.all });
        }
    }
}

/// Whether a pod counts for its budget, as the disruption controller has it: ready, and not on its way out.
fn counts(pod: &Value) -> bool {
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
}

/// Reads events of pods until there are no more.
fn judge(events: impl Read, mut budgets: Vec<Budget>) -> Vec<Budget> {
    let mut ready: BTreeMap<String, Value> = BTreeMap::new();
    for event in serde_json::Deserializer::from_reader(BufReader::new(events)).into_iter::<Value>() {
        // Who is ended may leave half an event.
        let Ok(event) = event else { break };
        let pod = &event["object"];
        // A mark of how far the list goes is no pod.
        let Some(name) = pod["metadata"]["name"].as_str() else { continue };
        if event["type"] != "DELETED" && counts(pod) {
            ready.insert(name.to_owned(), pod["metadata"]["labels"].clone());
        } else {
            ready.remove(name);
        }
        for budget in &mut budgets {
            let count = ready.values().filter(|labels| budget.guards(labels)).count();
            budget.judge(u64::try_from(count).expect("small"));
        }
    }
    budgets
}

/// A watch of the release's pods. Events of one watch come in the order in which they happened, none is left out.
pub(super) struct Budgets {
    kubectl: Child,
    judge: Option<JoinHandle<Vec<Budget>>>,
}

impl Budgets {
    /// Begins once all pods are ready, and every budget knows it.
    pub(super) async fn watch() -> Self {
        let budgets = eventually("every budget to be in full", || async {
            let all: Value = serde_json::from_str(&kubectl(&["get", "pdb", "-o", "json"])).expect("JSON");
            let all = all["items"].as_array().expect("a list");
            let full = |budget: &Value| {
                budget["status"]["currentHealthy"] == budget["status"]["expectedPods"]
                    && budget["status"]["observedGeneration"] == budget["metadata"]["generation"]
            };
            (!all.is_empty() && all.iter().all(full))
                .then(|| all.iter().map(Budget::read).collect::<Vec<_>>())
        })
        .await;
        let mut kubectl = Command::new("kubectl")
            .args(["-n", "parley", "get", "pods", "-l", "app.kubernetes.io/part-of=parley"])
            .args(["--watch", "--output-watch-events", "-o", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl is on the PATH");
        let events = kubectl.stdout.take().expect("a pipe");
        Self { kubectl, judge: Some(std::thread::spawn(move || judge(events, budgets))) }
    }

    /// Each budget by its name, and what was seen of its pods up to now.
    pub(super) fn finish(mut self) -> BTreeMap<String, Seen> {
        let ended = self.kubectl.try_wait().expect("kubectl was started");
        assert!(ended.is_none(), "kubectl ended by itself, and nobody watched: {ended:?}");
        self.kubectl.kill().expect("it runs");
        let judged = self.judge.take().expect("once").join().expect("no event is unexpected");
        let seen = judged.into_iter().map(|budget| {
            let seen = budget.seen.unwrap_or_else(|| panic!("{} never had all its pods", budget.name));
            (budget.name, seen)
        });
        seen.collect()
    }
}

impl Drop for Budgets {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

#[test]
fn a_budget_that_is_overdrawn_is_seen() {
    let event = |kind: &str, pod: &str, pool: &str, ready: &str, end: Value| {
        json!({"type": kind, "object": {
            "metadata": {"name": pod, "labels": {"pool": pool, "hash": "a"}, "deletionTimestamp": end},
            "status": {"conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]},
        }})
    };
    let added = |pod, ready| event("ADDED", pod, "chat", ready, Value::Null);
    let going = |pod| event("MODIFIED", pod, "chat", "True", json!("now"));
    let budget = |pool: &str| Budget {
        name: pool.to_owned(),
        labels: json!({ "pool": pool }),
        seen: None,
        all: 2,
        least: 1,
    };
    let fewest = |events: &[Value]| {
        // Half an event at the end, as who is killed leaves it.
        let text: String = events.iter().map(|event| format!("{event:#}\n")).collect::<String>() + "{\"type";
        let judged = judge(text.as_bytes(), vec![budget("chat"), budget("account")]);
        assert!(judged[1].seen.is_none(), "no pod of it was there");
        judged[0].seen.map(|seen| seen.fewest)
    };
    let one = added("one", "True");
    assert_eq!(fewest(std::slice::from_ref(&one)), None, "the list is not read to its end");
    let full = [one, added("two", "True"), added("new", "False")];
    assert_eq!(fewest(&full), Some(2));
    assert_eq!(fewest(&[&full[..], &[going("one")]].concat()), Some(1));
    let gone = event("DELETED", "two", "chat", "True", Value::Null);
    assert_eq!(fewest(&[&full[..], &[going("one"), gone.clone()]].concat()), Some(0));
    let relieved = event("MODIFIED", "new", "chat", "True", Value::Null);
    assert_eq!(
        fewest(&[&full[..], &[relieved, going("one"), gone]].concat()),
        Some(1),
        "a new one came first"
    );
}
