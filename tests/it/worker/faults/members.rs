//! Members that come and go: who is ready owns something, and what stays with a worker is never taken from it.

use std::time::Instant;

use parley::wire::Kind;

use super::{KIP_848, World, quick_world};
use crate::{
    fixtures::{Binary, DEADLINE, Kafka, Postgres, eventually},
    worker::world::KafkaRef,
};

async fn owned(worker: &Binary) -> f64 {
    worker.metric("parley_assigned_partitions", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_ready_once_it_has_partitions_and_no_sooner() {
    // The group's first member waits this long for others, and has nothing meanwhile.
    let kafka = || KafkaRef::Own(Box::new(Kafka::own_with(1, "group.initial.rebalance.delay.ms=20000")));
    let world = World::on(kafka, Postgres::shared, 1).await;
    let worker = world.worker(&[]);
    let joining = || async {
        let (status, body) = worker.get("/readyz").await?;
        assert_ne!(status, 200, "ready before it was given anything: {body}");
        body.contains("joining the consumer group").then_some(())
    };
    eventually("the broker to be reached, and nothing assigned", joining).await;
    let worker = worker.ready().await;
    assert!(owned(&worker).await > 0.0, "at the first moment of readiness");

    // A newcomer is given nothing until another has let go of it.
    let other = world.worker(&[]).ready().await;
    assert!(owned(&other).await > 0.0, "at the first moment of readiness");
    assert!(worker.stop().await.success());
    assert!(other.stop().await.success());
}

/// How many partitions were taken from a worker so far.
fn taken(worker: &Binary) -> usize {
    let log = worker.log();
    let counts = log.lines().filter_map(|line| line.split_once("revoked partitions=")?.1.split(' ').next());
    counts.map(|count| count.parse::<usize>().expect("a count")).sum()
}

/// How often a partition was given to a worker so far.
fn given(worker: &Binary) -> usize {
    worker.log().matches("assigned topic=").count()
}

/// Another joins and leaves again: a worker is taken what the other gets, and not a partition more. When not, what both said.
async fn kept(world: &World, flags: &[&str]) -> Result<(), String> {
    let all = Kind::ALL.len();
    let worker = world.worker(flags).ready().await;
    eventually("all partitions", || async { (owned(&worker).await == all as f64).then_some(()) }).await;
    let other = world.worker(flags).ready().await;
    eventually("all partitions between two", || async {
        let (kept, got) = (owned(&worker).await, owned(&other).await);
        (kept > 0.0 && got > 0.0 && kept + got == all as f64).then_some(())
    })
    .await;
    let got = given(&other);
    let shared = (given(&worker), taken(&worker)) == (all, got);
    let others = other.log();
    assert!(other.stop().await.success());
    eventually("all partitions again", || async { (owned(&worker).await == all as f64).then_some(()) }).await;
    let back = (given(&worker), taken(&worker)) == (all + got, got);
    let logs = worker.log() + &others;
    assert!(worker.stop().await.success());
    if shared && back { Ok(()) } else { Err(logs) }
}

/// See [`kept`]. A broker that stands still for longer than a session takes its members for dead, and gives everything anew: no
/// finding, and tried again.
async fn keeps_what_stays(world: &World, flags: &[&str]) {
    let start = Instant::now();
    loop {
        match kept(world, flags).await {
            Ok(()) => return,
            Err(logs) => assert!(logs.contains("lost=true") && start.elapsed() < DEADLINE, "{logs}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_is_not_revoked() {
    keeps_what_stays(&World::own(1).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_is_not_revoked_under_the_consumer_protocol() {
    keeps_what_stays(&quick_world(1).await, &KIP_848).await;
}
