//! Passwords: who tries too often waits, and nobody learns whether a user exists.

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use parley::ids::UserId;

use super::world::{PASSWORD, World, address};
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
    let address = address(&unique("address"));
    let mut codes = Vec::new();
    for _ in 0..30 {
        let (mut headers, request) = world.log_in(&unique("nobody").parse().unwrap(), PASSWORD);
        headers.client_address = Some(address.clone());
        let reply = world.ask(&headers, &request).await;
        codes.push(reply["errorCode"].as_str().unwrap_or_default().to_owned());
    }
    assert!(codes[..20].iter().all(|code| code == "wrong_credentials"), "{codes:?}");
    // Not each of them: a try that comes after its wait is a failure more.
    assert!(codes[20..].iter().any(|code| code == "rate_limited"), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_doubles_the_wait_up_to_a_minute() {
    let world = World::shared().await;
    let user = member(world).await;
    let fail = async || {
        let (headers, request) = world.log_in(&user, "wrong horse battery");
        assert_eq!(world.ask(&headers, &request).await["errorCode"], "wrong_credentials");
    };
    fail().await;
    for (failures, wait) in [(5, 0), (6, 1), (7, 3), (8, 7), (9, 15), (10, 31), (11, 60), (30, 60)] {
        world.database.sql(&format!(
            "UPDATE throttles SET failures = {failures} - 1, blocked_until = now() WHERE subject = 'user:{user}'"
        ));
        fail().await;
        let state = world.database.sql(&format!(
            "SELECT failures, extract(epoch FROM blocked_until - (forget_at - interval '1 day'))::int
             FROM throttles WHERE subject = 'user:{user}'"
        ));
        assert_eq!(state, format!("{failures}|{wait}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_outlives_the_worker() {
    let world = World::own(1).await;
    let worker = world.worker(&[]).ready().await;
    let user = member(&world).await;
    let code = async |password: &str| {
        let (headers, request) = world.log_in(&user, password);
        world.ask(&headers, &request).await["errorCode"].clone()
    };
    assert_eq!(code("wrong horse battery").await, "wrong_credentials");
    world.database.sql("UPDATE throttles SET failures = 20");
    assert_eq!(code("wrong horse battery").await, "wrong_credentials");
    assert_eq!(world.database.sql("SELECT failures FROM throttles"), "21");
    // However long the next worker takes to come.
    world.database.sql("UPDATE throttles SET blocked_until = blocked_until + interval '1 hour'");
    assert!(worker.stop().await.success());
    let worker = world.worker(&[]).ready().await;
    assert_eq!(code(PASSWORD).await, "rate_limited");
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_older_parameters_is_replaced_at_the_next_login() {
    let world = World::shared().await;
    let user = member(world).await;
    let weak =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).expect("parameters"));
    let weak = weak.hash_password(PASSWORD.as_bytes()).expect("a hash").to_string();
    world.database.sql(&format!("UPDATE credentials SET password_hash = '{weak}' WHERE user_id = '{user}'"));
    let stored =
        || world.database.sql(&format!("SELECT password_hash FROM credentials WHERE user_id = '{user}'"));
    let (headers, request) = world.log_in(&user, "wrong horse battery");
    assert_eq!(world.ask(&headers, &request).await["errorCode"], "wrong_credentials");
    assert_eq!(stored(), weak);
    let (headers, request) = world.log_in(&user, PASSWORD);
    assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
    assert!(stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored());
    let (headers, request) = world.log_in(&user, PASSWORD);
    assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
}

/// By the hashes that it takes, next to which all else is nothing, and by no clock: others use this machine too.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let world = World::own(1).await;
    let worker = world.worker(&[]).ready().await;
    let hashed = || worker.metric("parley_password_hash_duration_seconds_count", &[]);
    let user = member(&world).await;
    let hash = world.database.sql(&format!("SELECT password_hash FROM credentials WHERE user_id = '{user}'"));
    for _ in 0..5 {
        let person = world.person("known");
        world.database.sql(&format!("INSERT INTO credentials VALUES ('{}', '{hash}')", person.id));
        for name in [person.id, unique("nobody").parse().unwrap()] {
            let before = hashed().await;
            let (headers, request) = world.log_in(&name, "wrong horse battery");
            let reply = world.ask(&headers, &request).await;
            assert_eq!(reply["errorCode"], "wrong_credentials", "{reply}");
            assert_eq!(hashed().await - before, 1.0, "{name}");
        }
    }
}
