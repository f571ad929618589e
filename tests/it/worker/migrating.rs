//! The schema: applied once by however many ask at once, waited for by workers, and no obstacle to an older release.

use std::process::{Command, Stdio};

use super::world::World;
use crate::fixtures::{Binary, eventually, unique};

/// An empty database of the test's own, by its owner's URL and the worker's.
fn empty(world: &World) -> (String, String) {
    let name = unique("m").replace('-', "_");
    world.database.sql(&format!("CREATE DATABASE {name} OWNER parley_owner"));
    let url = |who| world.database.server().url(who, &name);
    (url("owner"), url("worker"))
}

fn migrate(owner: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.arg("migrate").env("PARLEY_DATABASE_URL", owner).stderr(Stdio::piped());
    command
}

async fn reason(worker: &Binary, dependency: &str) -> Option<String> {
    let (_, body) = worker.get("/readyz").await?;
    let report: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some(report["dependencies"][dependency]["reason"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_waited_for_applied_once_and_only_expand() {
    let world = World::own(2).await;
    many_migrate_at_once(&world).await;
    a_later_release_was_here(&world).await;
}

/// A worker is there first, and waits.
async fn many_migrate_at_once(world: &World) {
    let (owner, url) = empty(world);
    let group = unique("group");
    let env = [("PARLEY_DATABASE_URL", url.as_str()), ("PARLEY_CONSUMER_GROUP", group.as_str())];
    let few = ["--database-max-connections", "1"];
    let worker = world.worker_with("ChangeStatus", &few, &env);
    eventually("the worker to say what is missing", || async {
        reason(&worker, "schema").await.filter(|reason| reason.contains("worker migrate"))
    })
    .await;
    let many: Vec<_> = (0..4).map(|_| migrate(&owner).spawn().expect("it runs")).collect();
    for one in many {
        let output = one.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let worker = worker.ready().await;
    // Two partitions, one connection: said once, with what to do.
    let said = || worker.log().matches("raise --database-max-connections").count();
    eventually("a word about connections", || async { (said() == 1).then_some(()) }).await;
    assert!(worker.stop().await.success());
}

/// What it applied is no obstacle to this one.
async fn a_later_release_was_here(world: &World) {
    let (owner, url) = empty(world);
    assert!(migrate(&owner).status().expect("it runs").success());
    let psql = |sql: &str| {
        let done =
            Command::new("psql").args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &owner, "-c", sql]).status();
        assert!(done.is_ok_and(|status| status.success()), "{sql}");
    };
    psql("INSERT INTO _sqlx_migrations VALUES (99999, 'of a later release', now(), true, '\\x00', 1)");
    psql("ALTER TABLE users ADD COLUMN of_a_later_release text");
    assert!(migrate(&owner).status().expect("it runs").success());
    let group = unique("group");
    let env = [("PARLEY_DATABASE_URL", url.as_str()), ("PARLEY_CONSUMER_GROUP", group.as_str())];
    // More connections than any server allows, and less time than the role's statements have: said at the start.
    let mut flags = vec!["--database-max-connections", "1000"];
    flags.extend(["--drain-seconds", "7", "--session-timeout-seconds", "8"]);
    let worker = world.worker_with("ChangeStatus", &flags, &env).ready().await;
    for words in ["fewer than --database-max-connections 1000", "statement_timeout is 8000 ms"] {
        eventually(words, || async { worker.log().contains(words).then_some(()) }).await;
    }
    assert!(!worker.log().contains("lock_timeout is"), "5 s are below seven: {}", worker.log());
    // As many are open as its two partitions need, with one each for the clock and the clean-up.
    let database = url.rsplit('/').next().expect("a name");
    let open = world.database.sql(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_worker' AND datname = '{database}'"
    ));
    assert!(open.parse::<u32>().is_ok_and(|open| open <= 4), "{open} connections are open");
    assert!(worker.stop().await.success());
}
