//! Two owners of one partition: one that was frozen wakes after its partition has moved.

use std::time::Duration;

use super::{KIP_848, QUICK, World, quick_world};
use crate::{
    fixtures::{Binary, eventually},
    worker::{audit::Load, held::Held},
};

async fn frozen(worker: &Binary, what: &str) {
    eventually(&format!("{what}: the owner to freeze"), || async {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.pid())).ok()?;
        stat.rsplit(')').next()?.trim_start().starts_with('T').then_some(())
    })
    .await;
}

/// A worker freezes at each of these points with a batch of messages in hand, and wakes when another has answered it.
async fn frozen_at_each(world: &World, points: &[&str], flags: &[&str]) {
    for point in points {
        let mut load = Load::new(world);
        load.send(world, 40).await;
        let fault = format!("{point}@AddChat:2:stop");
        let own = ["--batch-records", "10", "--fault", &fault];
        let old = world.worker(&[&QUICK[..], flags, &own].concat());
        frozen(&old, point).await;
        // Locks that it holds are gone after 2.5 s, its partitions after 2 s.
        let next = world.worker(&[&QUICK[..], flags].concat());
        load.send(world, 20).await;
        load.audit(world, point).await;
        old.signal("CONT");
        load.send(world, 20).await;
        load.audit(world, point).await;
        // The woken one is a good member again, or it is gone; both end cleanly.
        assert!(old.stop().await.success(), "{point}: the woken one ends");
        load.send(world, 10).await;
        load.audit(world, point).await;
        assert!(next.stop().await.success(), "{point}: the other ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_that_wakes_disturbs_nobody() {
    let points = ["lock", "outcomes", "committed", "acknowledged"];
    frozen_at_each(&World::own(1).await, &points, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_under_the_consumer_protocol_disturbs_nobody() {
    frozen_at_each(&quick_world(1).await, &["outcomes", "committed"], &KIP_848).await;
}

/// A batch outlasts the drain time, and its partition comes back to the same process before it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_back_while_its_batch_still_runs_is_served() {
    let world = World::own(1).await;
    for setting in ["lock_timeout", "statement_timeout"] {
        let patient = format!("ALTER ROLE parley_worker IN DATABASE %I SET {setting} = %L");
        world
            .database
            .sql(&format!("DO $$ BEGIN EXECUTE format('{patient}', current_database(), '300s'); END $$"));
    }
    let ann = world.person("ann");
    let room = world.room(&[&ann]);
    let say = async |text: &str| {
        let mut headers = world.headers(&ann);
        headers.deadline = headers.deadline.after(Duration::from_secs(300));
        world.produce(&world.record(&headers, &ann.says(room, text))).await;
        headers.request_id
    };
    let waits = || {
        let of_ours =
            "usename = 'parley_worker' AND datname = current_database() AND wait_event_type = 'Lock'";
        world.database.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {of_ours}"))
    };
    let worker = world.worker_of("AddChat", &QUICK).ready().await;
    let held = Held::table(&world, "messages").await;
    let first = say("one").await;
    eventually("a batch that waits", || async { (waits() == "1").then_some(()) }).await;
    worker.signal("STOP");
    let mut other = world.worker_of("AddChat", &QUICK).ready().await;
    eventually("the other's batch to wait too", || async { (waits() == "2").then_some(()) }).await;
    worker.signal("CONT");
    eventually("the first to know that it lost all", || async {
        worker.log().contains("lost=true").then_some(())
    })
    .await;
    let given = || worker.log().matches("assigned topic=").count();
    let before = given();
    other.signal("KILL");
    other.wait().await;
    eventually("the partition to come back", || async { (given() > before).then_some(()) }).await;
    drop(held);
    assert_eq!(world.reply(first).await["seq"], 1);
    assert_eq!(world.reply(say("two").await).await["seq"], 2);
    assert_eq!(world.reply(say("three").await).await["seq"], 3);
    assert!(worker.stop().await.success());
}
