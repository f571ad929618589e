//! Killed within a statement: everything before it in its transaction is done, and nothing of it may stay.

use std::os::unix::process::ExitStatusExt as _;

use super::{QUICK, World};
use crate::{
    fixtures::eventually,
    worker::{
        audit::Load,
        held::{Held, locks},
    },
};

/// The tables that requests of the load change: a statement that writes to each is stopped on its way.
const TABLES: [&str; 11] = [
    "users",
    "credentials",
    "throttles",
    "friendships",
    "rooms",
    "room_pairs",
    "members",
    "user_rooms",
    "messages",
    "sessions",
    "inbox",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_within_any_statement_loses_and_doubles_nothing() {
    let world = World::own(2).await;
    let mut load = Load::new(&world);
    for table in TABLES {
        load.prepare(&world, 10);
        let held = Held::table(&world, table).await;
        load.send_prepared(&world).await;
        let mut killed = world.worker(&QUICK);
        eventually(&format!("a statement that waits for {table}"), || async {
            (locks(&world, table, "NOT granted") > 0).then_some(())
        })
        .await;
        killed.signal("KILL");
        assert_eq!(killed.wait().await.signal(), Some(9), "{table}");
        drop(held);
    }
    let last = world.worker(&QUICK);
    load.audit(&world, "killed in statements").await;
    assert!(last.stop().await.success());
}

/// Regression: the end of the last reference to a client waits for its threads, and a task that waited with it kept the process
/// from ending for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_though_its_batch_does_not() {
    let world = World::own(2).await;
    let mut load = Load::new(&world);
    load.prepare(&world, 10);
    let held = Held::table(&world, "inbox").await;
    load.send_prepared(&world).await;
    let worker = world.worker(&QUICK);
    eventually("a statement that waits for the table", || async {
        (locks(&world, "inbox", "NOT granted") > 0).then_some(())
    })
    .await;
    assert!(worker.stop().await.success(), "it left its batch to the next owner");
    drop(held);
    let last = world.worker(&QUICK);
    load.audit(&world, "late at the end").await;
    assert!(last.stop().await.success());
}
