//! Rows whose time is over: they go in small batches, whoever else is at work on them is passed by, and workers see to it.

use parley::{
    ids::RequestId,
    process::Secret,
    store::{
        Database,
        cleanup::{self, Expiring},
        inbox,
        reads::Reads,
    },
};

use super::world::session;
use crate::fixtures::{self, Binary, Postgres, eventually, keys_dir, unique};

/// A database of the test's own: a worker that others use would clean it.
async fn database() -> fixtures::Database {
    tokio::task::spawn_blocking(|| Postgres::shared().database()).await.expect("PostgreSQL starts")
}

fn open(database: &fixtures::Database, who: &str, application: &str) -> Database {
    Database::open(&Secret::new(database.url(who)), application, 2).expect("a URL")
}

/// So many stored refusals that nobody needs since so many minutes, or for so many more when it is negative.
fn outcomes(database: &fixtures::Database, count: usize, minutes: i32) {
    outcomes_of("gen_random_uuid()", database, count, minutes);
}

fn outcomes_of(id: &str, database: &fixtures::Database, count: usize, minutes: i32) {
    database.sql(&format!(
        "INSERT INTO inbox (request_id, kind, session_key, fingerprint, deadline, reply, stored_at, keep_until)
         SELECT {id}, 'ChangeStatus', '\\x00', '\\x00', now(), '{{\"isSuccess\": false}}', now(), now() - interval '{minutes} minutes'
         FROM generate_series(1, {count})"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_outcomes_go_in_batches_past_the_one_that_somebody_holds() {
    let database = database().await;
    outcomes(&database, 1_500, 1);
    // The one that is held is the oldest: it would be the first to go.
    let held = RequestId::fresh();
    outcomes_of(&format!("'{held}'::uuid"), &database, 1, 60);
    outcomes(&database, 3, -5);
    let left = || database.sql("SELECT count(*) FROM inbox");

    // Somebody writes it and takes their time. The owner's role has no limit to that.
    let other = open(&database, "owner", "holder");
    let mut tx = other.begin().await.expect("a transaction");
    assert!(inbox::give_way(&mut tx, held, [0; 32]).await.expect("written"), "the row is locked");
    let cleaner = open(&database, "worker", "cleaner");
    let remove = async || cleanup::remove(&cleaner, Expiring::Inbox).await.expect("removed");
    assert_eq!((remove().await, left().as_str()), ((1_000, true), "504"));
    // Each batch is a transaction of its own: between two of them nobody waits for anything.
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE a.datname = current_database() AND a.application_name = 'cleaner' AND l.relation = 'inbox'::regclass";
    assert_eq!(database.sql(locks), "0");
    assert_eq!((remove().await, left().as_str()), ((500, false), "4"));
    assert_eq!((remove().await, left().as_str()), ((0, false), "4"), "whoever holds it is not waited for");

    tx.rollback().await.expect("rolled back");
    assert_eq!((remove().await, left().as_str()), ((1, false), "3"));
    assert_eq!(remove().await, (0, false), "the time of the others is not over");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_in_batches_and_idle_sessions_end() {
    let database = database().await;
    let worker = open(&database, "worker", "test");
    database.sql("INSERT INTO users (user_id, email, user_name, join_date) VALUES ('idle', 'i@example.com', 'i', now())");
    let keys: Vec<String> = (0..3).map(|_| session().to_string()).collect();
    let insert = |key: &str, seen: &str, expires: &str| {
        database.sql(&format!(
            "INSERT INTO sessions VALUES (decode('{key}', 'hex'), 'idle', now() - interval '40 days', now() - interval '{seen}', now() - interval '{expires}')"
        ));
    };
    insert(&keys[0], "8 days", "-20 days");
    insert(&keys[1], "1 day", "-20 days");
    insert(&keys[2], "40 days", "8 days");
    // Both count as ended before the clean-up has met them.
    let reads = Reads::new(open(&database, "gateway", "test"));
    for (key, ended) in keys.iter().zip([true, false, true]) {
        let session =
            reads.session(&key.parse().expect("a key")).await.expect("an answer").expect("a session");
        assert_eq!(session.ended_at.is_some(), ended, "{session:?}");
    }
    database.sql(
        "INSERT INTO throttles SELECT 'address:old' || n, 1, now(), now() - interval '1 day' FROM generate_series(1, 1500) n",
    );
    let (removed, more) = cleanup::remove(&worker, Expiring::Throttles).await.expect("removed");
    assert_eq!((removed, more), (1_000, true));
    let (removed, more) = cleanup::remove(&worker, Expiring::Throttles).await.expect("removed");
    assert_eq!((removed, more), (500, false));
    while cleanup::end_idle(&worker).await.expect("ended").1 {}
    while cleanup::remove(&worker, Expiring::Sessions).await.expect("removed").1 {}
    let state =
        database.sql("SELECT string_agg(coalesce(end_reason, 'open'), ',' ORDER BY seen_at) FROM sessions");
    assert_eq!(state, "idle,open", "the third is gone");
}

/// Nobody calls it: the worker does so by itself soon after its start, and needs no Kafka for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_cleans_and_counts_what_it_removed() {
    let database = database().await;
    outcomes(&database, 1_200, 1);
    outcomes(&database, 2, -60);
    database.sql("INSERT INTO users (user_id, email, user_name, join_date) VALUES ('idle', 'i@example.com', 'i', now())");
    for (seen, expires) in [("8 days", "-20 days"), ("1 day", "-20 days"), ("40 days", "8 days")] {
        database.sql(&format!(
            "INSERT INTO sessions VALUES (decode('{}', 'hex'), 'idle', now() - interval '40 days', now() - interval '{seen}', now() - interval '{expires}')",
            session()
        ));
    }
    database.sql("INSERT INTO throttles VALUES ('user:old', 1, now(), now() - interval '1 day'), ('user:new', 1, now(), now() + interval '1 day')");

    let key = |name: &str| keys_dir().join(name).display().to_string();
    let (requests, replies, seals) =
        (key("request-keys.json"), key("reply-keys.json"), key("seal-private.json"));
    let (url, group) = (database.url("worker"), unique("group"));
    let env = [
        ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("PARLEY_DATABASE_URL", url.as_str()),
        ("PARLEY_REQUEST_KEYS_FILE", requests.as_str()),
        ("PARLEY_REPLY_KEYS_FILE", replies.as_str()),
        ("PARLEY_SEAL_PRIVATE_KEYS_FILE", seals.as_str()),
        ("PARLEY_KINDS", "AddChat"),
        ("PARLEY_CONSUMER_GROUP", group.as_str()),
    ];
    let worker = Binary::start("worker", &["run"], &env);
    eventually("all of it to be cleaned", || async {
        worker.get("/livez").await?;
        let cleaned = async |what: &str| {
            worker.metric("parley_cleaned_rows_total", &[&format!("what=\"{what}\"")]).await
        };
        let counts = [
            cleaned("inbox").await,
            cleaned("throttles").await,
            // The one that expired long ago was idle too, and ended before it was removed.
            cleaned("sessions ended").await,
            cleaned("sessions").await,
        ];
        (counts == [1_200.0, 1.0, 2.0, 1.0]).then_some(())
    })
    .await;
    let left = database.sql(
        "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM sessions), (SELECT count(*) FROM throttles)",
    );
    assert_eq!(left, "2|2|1");
    assert!(worker.stop().await.success());
}
