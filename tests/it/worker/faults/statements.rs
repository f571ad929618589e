//! Killed within a statement: everything before it in its transaction is done, and nothing of it may stay.

use std::{
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use super::{QUICK, World};
use crate::{fixtures::eventually, worker::audit::Load};

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

/// Holds a table so that nobody else writes to it, until it is dropped. Who reads it or locks its rows goes on.
pub(in crate::worker) struct Held(Child);

impl Held {
    pub(in crate::worker) async fn table(world: &World, table: &str) -> Self {
        let mut psql = Command::new("psql")
            .args(["-Xq", "-d", &world.database.url("postgres")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let lock = format!("BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;\n");
        psql.stdin.as_mut().expect("a pipe").write_all(lock.as_bytes()).expect("it reads");
        let held = Self(psql);
        eventually("the lock", || async {
            (locks(world, table, "granted AND mode = 'ShareRowExclusiveLock'") > 0).then_some(())
        })
        .await;
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(in crate::worker) fn locks(world: &World, table: &str, which: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND {which}");
    world.database.sql(&count).parse().expect("a count")
}

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
