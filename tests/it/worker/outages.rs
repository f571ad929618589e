//! PostgreSQL and Kafka die under load and come back: the worker waits, says why, skips nothing and doubles nothing.

use std::time::Duration;

use parley::{ids::Timestamp, wire::Outgoing};

use super::{audit::Load, world::World};
use crate::{
    chaos::{Relay, Trouble, local},
    fixtures::{Binary, Postgres, eventually, free_ports},
};

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

async fn unready(worker: &Binary, dependency: &str) {
    eventually(&format!("{dependency} to be missed"), || async {
        let (_, body) = worker.get("/readyz").await?;
        let report: serde_json::Value = serde_json::from_str(&body).ok()?;
        (report["dependencies"][dependency]["ready"] == false).then_some(())
    })
    .await;
}

async fn ready(worker: &Binary) {
    eventually("readiness", || async { (worker.get("/readyz").await?.0 == 200).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_when_postgres_or_kafka_dies_is_done_once() {
    let world = World::with_own_postgres(2).await;
    // A session that outlives Kafka's absence, however long this machine takes over it.
    let patient = ["--session-timeout-seconds", "300", "--termination-grace-seconds", "301"];
    let worker = world.worker(&[&["--batch-records", "20"], &patient[..]].concat()).ready().await;
    let mut load = Load::new(&world);
    load.send(&world, 100).await;
    load.audit(&world, "before").await;

    // PostgreSQL dies with batches in hand and more coming.
    let postgres = world.database.server();
    let mut late = Load::new(&world);
    late.prepare(&world, 100);
    load.send(&world, 60).await;
    kill(postgres.pid());
    late.send_prepared(&world).await;
    unready(&worker, "postgres").await;
    unready(&worker, "batches").await;
    postgres.start_again();
    load.audit(&world, "postgres died").await;
    late.audit(&world, "postgres died").await;
    ready(&worker).await;

    // Kafka dies while batches wait for PostgreSQL, and comes back after it: they are committed, and cannot be answered yet.
    late.prepare(&world, 60);
    let before = late.committed(&world);
    kill(postgres.pid());
    late.send_prepared(&world).await;
    unready(&worker, "batches").await;
    kill(world.kafka.pid(0));
    postgres.start_again();
    unready(&worker, "kafka").await;
    eventually("a batch to be committed", || async { (late.committed(&world) > before).then_some(()) }).await;
    world.kafka.start_again();
    late.audit(&world, "kafka died").await;
    ready(&worker).await;
    assert!(worker.stop().await.success());
}

/// A host that is gone, or a proxy that forgot a connection, tells nobody: what was asked there is never answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_answers_again_is_given_up() {
    let world = World::with_own_postgres(1).await;
    let ann = world.person("ann");
    let room = world.room(&[&ann]);
    let postgres = world.database.server().port();
    let between = free_ports(1);
    let relay = Relay::start(local(between), local(postgres)).await;
    let url = world.database.url_by(between, "worker");
    let worker = world.worker_with("AddChat", &[], &[("PARLEY_DATABASE_URL", &url)]).ready().await;
    let say =
        async |text: &str| world.produce(&world.record(&world.headers(&ann), &ann.says(room, text))).await;
    let stored = async |text: &str| {
        let sql = format!("SELECT count(*) FROM messages WHERE message = '{text}'");
        eventually(text, || async { (world.database.sql(&sql) == "1").then_some(()) }).await;
    };
    say("before").await;
    stored("before").await;

    let met = relay.disturb(Trouble::HalfOpen, Duration::from_millis(200)).await;
    assert!(met > 0, "it had connections");
    say("after").await;
    stored("after").await;
    ready(&worker).await;

    // Nobody answers a new connection either, and the worker is to end with a batch in hand.
    let (silence, waiting) = (relay.disturb(Trouble::HalfOpen, crate::fixtures::DEADLINE), async {
        say("in hand").await;
        unready(&worker, "batches").await;
        assert!(worker.stop().await.success());
    });
    tokio::select! {
        _ = silence => panic!("the worker did not end while PostgreSQL was silent"),
        () = waiting => {}
    }
}

/// Whoever leads an address from a dead server to its standby may do so before the standby is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_waited_for_until_it_is_promoted() {
    let world = World::with_own_postgres(1).await;
    let ann = world.person("ann");
    let room = world.room(&[&ann]);
    let postgres = world.database.server();
    // Leaked: its guard ends it with the program.
    let standby: &'static Postgres = Box::leak(Box::new(postgres.standby(postgres.port(), None)));
    let copy = world.database.copy_on(standby);
    let worker = world.worker_with("AddChat", &[], &[("PARLEY_DATABASE_URL", &copy.url("worker"))]);
    unready(&worker, "postgres").await;
    eventually("the reason in the log", || async {
        worker.log().contains("this server is a standby").then_some(())
    })
    .await;
    kill(postgres.pid());
    standby.promote();
    ready(&worker).await;
    world.produce(&world.record(&world.headers(&ann), &ann.says(room, "after the failover"))).await;
    eventually("the message to be stored", || async {
        (copy.sql("SELECT message FROM messages") == "after the failover").then_some(())
    })
    .await;
    assert!(worker.stop().await.success());
}

/// 200 MB wait while PostgreSQL is away; the worker holds a bounded part of them. Twenty thousand records by default, as many
/// as `TEST_QUEUED` says on demand (a million takes some minutes).
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_costs_no_memory() {
    let world = World::with_own_postgres(2).await;
    let ann = world.person("ann");
    let rooms = [world.room(&[&ann]), world.room(&[&ann]), world.room(&[&ann]), world.room(&[&ann])];
    let worker = world.worker_of("AddChat", &[]).ready().await;
    kill(world.database.server().pid());
    let count = std::env::var("TEST_QUEUED").map_or(20_000, |count| count.parse().expect("a number"));
    let text = "x".repeat(200_000_000 / count);
    let record = |n: usize| {
        let mut headers = world.headers(&ann);
        headers.deadline = Timestamp::now().after(Duration::from_secs(15));
        world.record(&headers, &ann.says(rooms[n % rooms.len()], &text))
    };
    for first in (0..count).step_by(2_000) {
        let some: Vec<Outgoing> = (first..(first + 2_000).min(count)).map(record).collect();
        world.produce_all(&some).await;
    }
    eventually("the worker to know how much waits", || async {
        let lag = worker.metric("parley_consumer_lag", &["user-add-chat-request"]).await;
        (lag >= count as f64 * 0.95).then_some(())
    })
    .await;
    unready(&worker, "batches").await;
    let megabytes = worker.metric("process_resident_memory_bytes", &[]).await / 1e6;
    println!("{megabytes:.0} MB with {count} records waiting");
    assert!(megabytes < 150.0, "{megabytes:.0} MB");
    // All of it is answered once PostgreSQL is back, if only that it came too late.
    world.database.server().start_again();
    let mut left = count as f64;
    while left > 0.0 {
        left = eventually("the queue to become shorter", || async {
            let lag = worker.metric("parley_consumer_lag", &["user-add-chat-request"]).await;
            (lag < left).then_some(lag)
        })
        .await;
    }
    let megabytes = worker.metric("process_resident_memory_bytes", &[]).await / 1e6;
    assert!(megabytes < 200.0, "{megabytes:.0} MB");
    assert!(worker.stop().await.success());
}
