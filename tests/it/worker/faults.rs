//! Exactly-once effects: the worker is killed, or frozen, between every two steps of its pipeline under load, and nothing is
//! lost or doubled.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

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
    assert!(longest < Duration::from_secs(10), "somebody waited {longest:?}");
    for worker in workers {
        assert!(worker.stop().await.success());
    }
}
