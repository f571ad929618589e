//! The lease: one works, the other stands by and takes over.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    Rig, controller,
    refused::controller_as,
    tap::{CREATE_PARTITIONS, INCREMENTAL_ALTER_CONFIGS, Tap},
};
use crate::fixtures::{ApiServer, Binary, DEADLINE, Kafka, eventually};

async fn leads(binary: &Binary) -> bool {
    binary.metric("parley_leader", &[]).await == 1.0
}

async fn two(flags: &[&str]) -> (Rig, Binary) {
    let rig = Rig::with(ApiServer::shared(), Kafka::shared(), flags).await;
    eventually("the first leads", || async { leads(&rig.controller).await.then_some(()) }).await;
    let second = another(&rig, flags).await;
    (rig, second)
}

async fn another(rig: &Rig, flags: &[&str]) -> Binary {
    controller(rig.api, &rig.namespace, &Kafka::shared().bootstrap(), flags).ready().await
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_ten_seconds() {
    let usual = ["--lease-seconds", "7"];
    let (mut rig, mut second) = two(&usual).await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    rig.ready("s").await;
    if leads(&second).await {
        // The first stood still for longer than that.
        std::mem::swap(&mut rig.controller, &mut second);
    }
    // Most of the ten seconds is the lease; a machine that stood still for one of them is given another try.
    let mut took = Vec::new();
    loop {
        rig.controller.signal("KILL");
        let killed = Instant::now();
        eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
        took.push(killed.elapsed());
        if killed.elapsed() < Duration::from_secs(10) {
            break;
        }
        assert!(took.len() < 3, "{took:?}");
        rig.controller = std::mem::replace(&mut second, another(&rig, &usual).await);
    }
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await;
    eventually("the second works", || async {
        (rig.describe(&topic).await?.partitions.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_asked_to_stop_gives_the_lease_back() {
    let (rig, second) = two(&["--lease-seconds", "60"]).await;
    let asked = Instant::now();
    let Rig { controller: first, .. } = rig;
    assert!(first.stop().await.success());
    eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
    assert!(
        asked.elapsed() < Duration::from_secs(40),
        "{:?}: it waited for the lease to run out",
        asked.elapsed()
    );
}

/// The writes of a user to a namespace so far that were not refused, but for leases, from the API server's audit log.
fn writes(rig: &Rig, user: &str) -> Vec<String> {
    let log = std::fs::read_to_string(rig.api.audit_log()).expect("the audit log");
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let theirs = entries.filter(|entry| {
        let object = &entry["objectRef"];
        entry["impersonatedUser"]["username"] == user
            && object["namespace"] == json!(rig.namespace)
            && object["resource"] != "leases"
            && entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 400)
    });
    theirs.map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

/// Stopped in the midst of its work past its lease and resumed, an old leader changes nothing more: neither in Kafka, where every
/// request of its own is seen on its way, nor in Kubernetes, where the audit log says who wrote. What was on its way when it was
/// stopped is carried out and answered, and it goes on from no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frozen_past_its_lease_writes_nothing_more() {
    const SETS: usize = 8;
    let (kafka, tap) = Tap::on_a_broker().await;
    let api = ApiServer::shared();
    let namespace = api.namespace();
    let masters: &[&str] = &["system:masters"];
    let first = controller_as(("first", masters), api, &namespace, &tap.bootstrap(), &[]);
    let rig = Rig::around(api, &kafka, namespace, first).await;
    eventually("the first leads", || async { leads(&rig.controller).await.then_some(()) }).await;
    let second =
        controller_as(("second", masters), api, &rig.namespace, &kafka.bootstrap(), &[]).ready().await;
    // Sets whose topic changes, and others whose pool does.
    let topics: Vec<String> = (0..SETS).map(|i| rig.topic(&format!("t{i}"))).collect();
    let change = async |i: usize, round: usize| {
        let topic = json!({
            "name": topics[i], "partitions": 1 + round, "config": {"retention.ms": 1_000_000 + round},
        });
        rig.apply(&format!("s{i}"), json!({ "topics": [topic] })).await;
    };
    let scale = async |i: usize, replicas: usize| {
        let topic = topics[i].clone() + ".p";
        let worker = json!({
            "name": "w", "scaleTargetRef": {"name": format!("pool-{i}")}, "topics": [topic],
            "scaling": {"minReplicas": replicas, "maxReplicas": replicas},
        });
        // By a connection of their own, which the tap does not hold up.
        let spec = json!({
            "kafka": {"bootstrapServers": kafka.bootstrap()},
            "topics": [{"name": topic, "partitions": 12}], "workers": [worker],
        });
        rig.apply(&format!("p{i}"), spec).await;
    };
    for i in 0..SETS {
        rig.deployment(&format!("pool-{i}")).await;
        change(i, 0).await;
        scale(i, 1).await;
    }
    for i in 0..SETS {
        rig.condition(&format!("s{i}"), "TopicsReady", "True", "Reconciled").await;
        rig.condition(&format!("p{i}"), "TopicsReady", "True", "Reconciled").await;
        rig.scaled_to(&format!("pool-{i}"), 1).await;
    }

    // Its configuration calls are on their way, and it is scaling: then it is stopped.
    tap.hold(&[INCREMENTAL_ALTER_CONFIGS]);
    let configured = tap.requests(INCREMENTAL_ALTER_CONFIGS);
    for i in 0..SETS {
        change(i, 1).await;
    }
    eventually("a change is on its way to Kafka", || async {
        (tap.requests(INCREMENTAL_ALTER_CONFIGS) > configured).then_some(())
    })
    .await;
    let written = writes(&rig, "first").len();
    let (mut count, start) = (2, Instant::now());
    while writes(&rig, "first").len() < written + SETS {
        assert!(start.elapsed() < DEADLINE, "the first scales nothing");
        count = 5 - count;
        join_all((0..SETS).map(|i| scale(i, count))).await;
    }
    rig.controller.signal("STOP");
    tap.hold(&[]);
    assert!(!leads(&second).await, "the first was stopped as the leader");
    eventually("the second leads", || async { leads(&second).await.then_some(()) }).await;
    eventually("the second works", || async {
        let mut done = true;
        for topic in &topics {
            let partitions = rig.describe(topic).await.map(|t| t.partitions.len());
            done &= partitions == Some(2) && rig.config(topic).await["retention.ms"] == "1000001";
        }
        done.then_some(())
    })
    .await;

    // More to do, for whoever does it; and the first wakes up to it.
    let (asked, written) = (tap.changes(), writes(&rig, "first"));
    assert!(
        asked.contains_key(&INCREMENTAL_ALTER_CONFIGS) && asked.contains_key(&CREATE_PARTITIONS),
        "{asked:?}"
    );
    for kind in ["/status", "/scale", "/events"] {
        assert!(written.iter().any(|write| write.contains(kind)), "{kind} is seen: {written:?}");
    }
    rig.controller.signal("CONT");
    for i in 0..SETS {
        change(i, 2).await;
        scale(i, 4).await;
    }
    eventually("the first stands by", || async {
        let log = rig.controller.log();
        (!leads(&rig.controller).await && log.contains("the lease is lost")).then_some(())
    })
    .await;
    eventually("it tells nothing of sets any more", || async {
        let (_, text) = rig.controller.get("/metrics").await?;
        (!text.contains(&rig.namespace)).then_some(())
    })
    .await;
    for (i, topic) in topics.iter().enumerate() {
        rig.condition(&format!("s{i}"), "TopicsReady", "True", "Reconciled").await;
        assert_eq!(rig.config(topic).await["retention.ms"], "1000002");
        rig.scaled_to(&format!("pool-{i}"), 4).await;
    }
    assert!(leads(&second).await);
    assert_eq!(tap.changes(), asked, "the old leader asked something of Kafka");
    let after = writes(&rig, "first");
    let (before, late) = after.split_at(written.len());
    assert_eq!(before, written);
    // A count that its connection had in hand when it was stopped may still arrive, once; it has no precondition, and was put right by
    // the second above. Whatever else was in hand names the version that it is about.
    let in_hand = |write: &&String| write.contains("/scale");
    assert!(late.iter().all(|write| in_hand(&write)) && late.len() < SETS, "the old leader wrote: {late:?}");
}
