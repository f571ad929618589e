//! Passwords and sessions: who tries too often waits, nobody learns whether a user exists, and old sessions end.

use std::time::{Duration, Instant};

use parley::{
    ids::UserId,
    process::Secret,
    store::{
        Database,
        cleanup::{self, Expiring},
    },
};

use super::world::{PASSWORD, World, session};
use crate::fixtures::unique;

async fn member(world: &World) -> UserId {
    let (headers, request) = world.sign_up(&unique("member"), PASSWORD);
    let reply = world.ask(&headers, &request).await;
    assert_eq!(reply["isSuccess"], true, "{reply}");
    request.user().expect("a user").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_fails_too_often_waits_and_is_forgiven() {
    let world = World::shared().await;
    let user = member(world).await;
    let log_in = async |password: &str| {
        let (headers, request) = world.log_in(&user, password);
        world.ask(&headers, &request).await
    };
    for _ in 0..6 {
        assert_eq!(log_in("wrong horse battery").await["errorCode"], "wrong_credentials");
    }
    // Six failures: one above the free ones, so it waits; and long enough for this test.
    let waits = world.database.sql(&format!(
        "UPDATE throttles SET blocked_until = now() + interval '1 hour' WHERE subject = 'user:{user}' RETURNING failures"
    ));
    assert_eq!(waits, "6");
    let blocked = log_in(PASSWORD).await;
    assert_eq!(blocked["errorCode"], "rate_limited", "{blocked}");
    assert!(
        blocked["retryAfter"].as_i64().is_some_and(|seconds| (3_500..=3_601).contains(&seconds)),
        "{blocked}"
    );
    world.database.sql(&format!("UPDATE throttles SET blocked_until = now() WHERE subject = 'user:{user}'"));
    assert_eq!(log_in(PASSWORD).await["isSuccess"], true);
    assert_eq!(
        world.database.sql(&format!("SELECT count(*) FROM throttles WHERE subject = 'user:{user}'")),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_slowed_down_whatever_accounts_it_tries() {
    let world = World::shared().await;
    let address = unique("address");
    let mut codes = Vec::new();
    for _ in 0..30 {
        let (mut headers, request) = world.log_in(&unique("nobody").parse().unwrap(), PASSWORD);
        headers.client_address = Some(address.clone());
        let reply = world.ask(&headers, &request).await;
        codes.push(reply["errorCode"].as_str().unwrap_or_default().to_owned());
    }
    assert!(codes[..20].iter().all(|code| code == "wrong_credentials"), "{codes:?}");
    assert_eq!(codes[29], "rate_limited", "{codes:?}");
}

/// Compares medians, which a disturbed machine moves together: the two kinds of tries take turns.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let world = World::shared().await;
    let user = member(world).await;
    let hash = world.database.sql(&format!("SELECT password_hash FROM credentials WHERE user_id = '{user}'"));
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        let person = world.person("known");
        world.database.sql(&format!("INSERT INTO credentials VALUES ('{}', '{hash}')", person.id));
        for (times, name) in [(&mut known, person.id), (&mut unknown, unique("nobody").parse().unwrap())] {
            let (headers, request) = world.log_in(&name, "wrong horse battery");
            let record = world.record(&headers, &request);
            let start = Instant::now();
            world.produce(&record).await;
            let answered = world.first_answer(headers.request_id).await;
            times.push(answered.saturating_duration_since(start));
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    let ratio = known / unknown;
    assert!((0.75..1.33).contains(&ratio), "known {known:.3} s, unknown {unknown:.3} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_in_batches_and_idle_sessions_end() {
    let world = World::shared().await;
    let database = Database::open(&Secret::new(world.database.url("worker")), "test", 2).expect("a URL");
    let person = world.person("idle");
    let keys: Vec<String> = (0..3).map(|_| session().to_string()).collect();
    let insert = |key: &str, seen: &str, expires: &str| {
        world.database.sql(&format!(
            "INSERT INTO sessions VALUES (decode('{key}', 'hex'), '{}', now() - interval '40 days', now() - interval '{seen}', now() - interval '{expires}')",
            person.id
        ));
    };
    insert(&keys[0], "8 days", "-20 days");
    insert(&keys[1], "1 day", "-20 days");
    insert(&keys[2], "40 days", "8 days");
    world.database.sql(
        "INSERT INTO throttles SELECT 'address:old' || n, 1, now(), now() - interval '1 day' FROM generate_series(1, 1500) n",
    );
    let (removed, more) = cleanup::remove(&database, Expiring::Throttles).await.expect("removed");
    assert_eq!((removed, more), (1_000, true));
    let (removed, more) = cleanup::remove(&database, Expiring::Throttles).await.expect("removed");
    assert_eq!((removed, more), (500, false));
    while cleanup::end_idle(&database).await.expect("ended").1 {}
    while cleanup::remove(&database, Expiring::Sessions).await.expect("removed").1 {}
    let state = world.database.sql(&format!(
        "SELECT string_agg(coalesce(end_reason, 'open'), ',' ORDER BY seen_at) FROM sessions WHERE user_id = '{}'",
        person.id
    ));
    assert_eq!(state, "idle,open", "the third is gone");
}
