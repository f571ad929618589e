//! Whether a name exists: a login that is slowed down does not tell.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::Method;
use parley::loadgen::Client;
use serde_json::{Value, json};

use crate::{
    fixtures::{Chat, eventually, unique},
    path::{PASSWORD, user},
};

/// All that a login is answered with, but for what differs between any two: the request, and the name, which the caller has said.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    headers: Vec<String>,
    problem: Value,
}

/// Tries to log in from this address; gives what was told, and how many seconds to wait. What a machine that stood still made late
/// is asked again.
async fn attempt(gateway: SocketAddr, from: Ipv4Addr, name: &str, password: &str) -> (Told, Option<i64>) {
    let answer = eventually("an answer to a login", || async {
        let client = Client::new(gateway).coming_from(from);
        let body = json!({"userId": name, "password": password});
        let answer = client.json(Method::POST, "/api/session", &[("prefer", "wait=30")], &body).await.ok()?;
        (![202, 503].contains(&answer.status)).then_some(answer)
    })
    .await;
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort_unstable();
    let text = answer.json().to_string().replace(name, "NAME");
    let mut problem: Value = serde_json::from_str(&text).expect("JSON");
    let fields = problem.as_object_mut().expect("a problem");
    assert!(fields.remove("requestId").is_some(), "{text}");
    let wait = fields.get_mut("retryAfter").map(Value::take);
    (Told { status: answer.status, headers, problem }, wait.and_then(|wait| wait.as_i64()))
}

/// A name that does not exist is slowed down as one that does: if only members were, "wait" would say "member".
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_slowed_down_tells_no_names() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let (member, ghost) = (unique("member"), unique("ghosts"));
    user(gateway, &member).await;
    let both = format!("subject IN ('user:{member}', 'user:{ghost}')");
    let sql = |text: String| running.chat.database.sql(&text);
    // Each try comes from another address, which would be slowed down for itself.
    let pair = async |n: u8, password: &str| {
        let (known, wait) = attempt(gateway, [127, 9, 1, n].into(), &member, password).await;
        let (unknown, same) = attempt(gateway, [127, 9, 2, n].into(), &ghost, password).await;
        assert_eq!(known, unknown, "try {n}");
        (known, [wait, same])
    };

    for n in 1..=7 {
        // No try waits for the one before, however slow or fast this machine is.
        let waiting = sql(format!(
            "UPDATE throttles SET failures = {n} - 1, blocked_until = now() WHERE {both} RETURNING subject"
        ));
        assert_eq!(waiting.lines().count(), if n == 1 { 0 } else { 2 }, "both are counted: {waiting:?}");
        let (told, waits) = pair(n, "not the password").await;
        assert_eq!((told.status, &told.problem["code"]), (401, &json!("wrong_credentials")), "{told:?}");
        assert_eq!(waits, [None; 2]);
    }
    let state = sql(format!(
        "SELECT failures, extract(epoch FROM blocked_until - (forget_at - interval '1 day'))::int
         FROM throttles WHERE {both}"
    ));
    assert_eq!(state, "7|3\n7|3", "as often, and for as long");

    sql(format!("UPDATE throttles SET blocked_until = now() + interval '1 hour' WHERE {both}"));
    // The wrong password, and what is the member's right one.
    for (n, password) in [(8, "not the password"), (9, PASSWORD)] {
        let (told, waits) = pair(n, password).await;
        assert_eq!((told.status, &told.problem["code"]), (429, &json!("rate_limited")), "{told:?}");
        assert!(told.headers.iter().any(|name| name == "retry-after"), "{told:?}");
        let near = |wait: &Option<i64>| wait.is_some_and(|seconds| (3_300..=3_601).contains(&seconds));
        assert!(waits.iter().all(near), "{waits:?}");
    }
}
