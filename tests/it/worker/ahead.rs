//! Passwords are looked at one batch ahead of the transaction, so that the threads that hash do not wait for PostgreSQL.

use std::time::Duration;

use parley::ids::RequestId;

use super::{
    held::{Held, locks},
    world::{PASSWORD, World},
};
use crate::fixtures::{eventually, unique};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_passwords_are_hashed_while_a_batch_is_stored_and_no_more_than_these() {
    let world = World::own(1).await;
    let patient = "ALTER ROLE parley_worker IN DATABASE %I SET lock_timeout = %L";
    let statement = format!("DO $$ BEGIN EXECUTE format('{patient}', current_database(), '300s'); END $$");
    world.database.sql(&statement);
    world.database.sql(&statement.replace("lock_timeout", "statement_timeout"));
    // Two threads: batches of four at most.
    let worker = world.worker(&[]).ready().await;
    let (headers, request) = world.sign_up(&unique("member"), PASSWORD);
    assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
    let user = request.user().expect("a user").clone();
    let hashed = || worker.metric("parley_password_hash_duration_seconds_count", &[]);
    let before = hashed().await;
    let held = Held::table(&world, "sessions").await;
    let mut ids: Vec<RequestId> = Vec::new();
    let mut records = Vec::new();
    for _ in 0..12 {
        let (mut headers, request) = world.log_in(&user, PASSWORD);
        headers.deadline = headers.deadline.after(Duration::from_secs(300));
        ids.push(headers.request_id);
        records.push(world.record(&headers, &request));
    }
    world.produce(&records[0]).await;
    eventually("a batch of one that waits for the table", || async {
        // The cleaner may wait for the table too, and has hashed nothing.
        (hashed().await - before >= 1.0 && locks(&world, "sessions", "NOT granted") > 0).then_some(())
    })
    .await;
    world.produce_all(&records[1..]).await;
    eventually("the next batch to be hashed", || async { (hashed().await - before >= 2.0).then_some(()) })
        .await;
    eventually("a look at what else there is", || async {
        let lag = worker.metric("parley_consumer_lag", &["login-request"]).await;
        (lag >= 12.0).then_some(())
    })
    .await;
    let looked_at = hashed().await - before;
    // A machine that took long over all that has had the one that is stored given up, and hashed again.
    let again = worker.metric("parley_batch_retries_total", &[]).await;
    assert!(
        looked_at <= 5.0 + again,
        "{looked_at} passwords: one that is stored, and more than one batch ahead of it"
    );
    drop(held);
    for id in ids {
        let reply = world.reply(id).await;
        assert_eq!(reply["isSuccess"], true, "{reply}");
    }
    assert_eq!(world.database.sql(&format!("SELECT count(*) FROM sessions WHERE user_id = '{user}'")), "12");
    assert!(worker.stop().await.success());
}
