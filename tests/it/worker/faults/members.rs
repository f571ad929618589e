//! Members that come and go: who is ready owns something, and what stays with a worker is never taken from it.

use parley::wire::Kind;

use super::{KIP_848, World};
use crate::{
    fixtures::{Binary, Kafka, Postgres, eventually},
    worker::world::KafkaRef,
};

async fn owned(worker: &Binary) -> f64 {
    worker.metric("parley_assigned_partitions", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_ready_once_it_has_partitions_and_no_sooner() {
    // The group's first member waits this long for others, and has nothing meanwhile.
    let kafka = || KafkaRef::Own(Box::new(Kafka::own_with(1, "group.initial.rebalance.delay.ms=5000")));
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

/// Another joins and leaves again: a worker is taken what the other gets, and not a partition more.
async fn keeps_what_stays(world: &World, flags: &[&str]) {
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
    assert_eq!((given(&worker), taken(&worker)), (all, got), "{}", worker.log());
    assert!(other.stop().await.success());
    eventually("all partitions again", || async { (owned(&worker).await == all as f64).then_some(()) }).await;
    assert_eq!((given(&worker), taken(&worker)), (all + got, got), "{}", worker.log());
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_is_not_revoked() {
    keeps_what_stays(&World::own(1).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_is_not_revoked_under_the_consumer_protocol() {
    // Nobody is killed here: the session is as long as brokers come, so that nobody is taken for dead either.
    const QUICK: &str =
        "group.consumer.min.heartbeat.interval.ms=500\ngroup.consumer.heartbeat.interval.ms=500";
    let kafka = || KafkaRef::Own(Box::new(Kafka::own_with(1, QUICK)));
    keeps_what_stays(&World::on(kafka, Postgres::shared, 1).await, &KIP_848).await;
}
