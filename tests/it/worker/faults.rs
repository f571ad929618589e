//! Exactly-once effects: the worker is killed, or frozen, between every two steps of its pipeline and within its statements
//! under load, and nothing is lost or doubled.

use std::{
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{audit::Load, world::World};
use crate::fixtures::eventually;

/// Timeouts as short as the relations between them allow: a killed member is missed for two seconds.
const QUICK: [&str; 6] =
    ["--drain-seconds", "1", "--session-timeout-seconds", "2", "--termination-grace-seconds", "3"];

/// Every step of the pipeline, in order; `src/worker/fault.rs` refuses any other.
const POINTS: [&str; 13] = [
    "poll",
    "decode",
    "hash",
    "begin",
    "lock",
    "look-up",
    "effects",
    "outcomes",
    "committed",
    "produce",
    "acknowledged",
    "stored",
    "commit-offset",
];

fn with(fault: &str) -> Vec<&str> {
    // Small batches: a fault meets some of the load done, some in hand and some waiting.
    let mut flags = QUICK.to_vec();
    flags.extend(["--batch-records", "10", "--fault", fault]);
    flags
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_loses_and_doubles_nothing() {
    let world = World::own(2).await;
    for point in POINTS {
        let mut load = Load::new(&world);
        load.send(&world, 40).await;
        let mut killed = world.worker(&with(&format!("{point}:5")));
        let status = killed.wait().await;
        assert_eq!(status.signal(), Some(9), "{point}: {status}\n{}", killed.log());
        load.send(&world, 10).await;
        let next = world.worker(&QUICK);
        load.audit(&world, point).await;
        assert!(next.stop().await.success(), "{point}: a clean end");
    }
}

/// The tables that requests of the load change: a statement on each is stopped on its way.
const TABLES: [&str; 9] = [
    "users",
    "credentials",
    "friendships",
    "rooms",
    "room_pairs",
    "members",
    "user_rooms",
    "messages",
    "inbox",
];

/// Holds a table so that nobody else touches it, until it is dropped.
pub(super) struct Held(Child);

impl Held {
    pub(super) async fn table(world: &World, table: &str) -> Self {
        let mut psql = Command::new("psql")
            .args(["-Xq", "-d", &world.database.url("postgres")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\n");
        psql.stdin.as_mut().expect("a pipe").write_all(lock.as_bytes()).expect("it reads");
        let held = Self(psql);
        eventually("the lock", || async {
            (locks(world, table, "granted AND mode = 'AccessExclusiveLock'") > 0).then_some(())
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

pub(super) fn locks(world: &World, table: &str, which: &str) -> usize {
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
    other.signal("KILL");
    other.wait().await;
    eventually("the partition to come back", || async {
        (worker.log().matches("assigned topic=").count() == 2).then_some(())
    })
    .await;
    drop(held);
    assert_eq!(world.reply(first).await["seq"], 1);
    assert_eq!(world.reply(say("two").await).await["seq"], 2);
    assert_eq!(world.reply(say("three").await).await["seq"], 3);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_that_wakes_disturbs_nobody() {
    for point in ["lock", "outcomes", "committed", "acknowledged"] {
        let world = World::own(1).await;
        let mut load = Load::new(&world);
        load.send(&world, 40).await;
        let frozen = world.worker(&with(&format!("{point}:4:stop")));
        eventually(&format!("{point}: the owner to freeze"), || async {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", frozen.pid())).ok()?;
            stat.rsplit(')').next()?.trim_start().starts_with('T').then_some(())
        })
        .await;
        // Locks that it holds are gone after 2.5 s, its partitions after 2 s.
        let next = world.worker(&QUICK);
        load.send(&world, 20).await;
        load.audit(&world, point).await;
        frozen.signal("CONT");
        load.send(&world, 20).await;
        load.audit(&world, point).await;
        // The woken one is a good member again, or it is gone; both end cleanly.
        assert!(frozen.stop().await.success(), "{point}: the woken one ends");
        load.send(&world, 10).await;
        load.audit(&world, point).await;
        assert!(next.stop().await.success(), "{point}: the other ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_no_answer() {
    rolling_restart(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_the_consumer_protocol_loses_no_answer() {
    rolling_restart(&["--group-protocol", "consumer"]).await;
}

/// Two workers are replaced one by one, the new one first, while requests keep coming.
#[expect(
    clippy::print_stdout,
    reason = "the figure that is measured here, for whoever asks with --nocapture"
)]
async fn rolling_restart(flags: &[&str]) {
    let world = World::own(4).await;
    let mut workers = vec![world.worker(flags).ready().await, world.worker(flags).ready().await];
    let mut load = Load::new(&world);
    for _ in 0..3 {
        load.send(&world, 50).await;
        let fresh = world.worker(flags).ready().await;
        load.send(&world, 50).await;
        workers.push(fresh);
        let old = workers.remove(0);
        let status = old.stop().await;
        assert!(status.success(), "a clean end: {status}");
        load.send(&world, 50).await;
        load.audit(&world, "rolling").await;
    }
    // About two seconds on a quiet machine. Half the session timeout shows that nobody waited for one.
    let longest = load.longest_wait(&world);
    println!("the longest wait for an answer was {longest:?}");
    assert!(longest < Duration::from_secs(10), "somebody waited {longest:?}");
    for worker in workers {
        assert!(worker.stop().await.success());
    }
}
