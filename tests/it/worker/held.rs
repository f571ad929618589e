//! A table that somebody holds, so that a statement stops on its way.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use super::world::World;
use crate::fixtures::eventually;

/// Holds a table so that nobody else writes to it, until it is dropped. Who reads it or locks its rows goes on.
pub(super) struct Held(Child);

impl Held {
    pub(super) async fn table(world: &World, table: &str) -> Self {
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

/// How many locks of this kind there are on a table.
pub(super) fn locks(world: &World, table: &str, which: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND {which}");
    world.database.sql(&count).parse().expect("a count")
}
