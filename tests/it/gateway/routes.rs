//! What holds for every route: the description of the API is walked, so that a new one is not left out.

use std::collections::BTreeMap;

use futures::future::join_all;
use hyper::Method;
use parley::{
    ids::SessionToken,
    loadgen::{Answer, Client},
};
use serde_json::{Value, json};

use super::kit::{Kit, call};
use crate::fixtures::{eventually, read_as};

/// More than any route takes at once where one request a second is allowed, and four seconds' worth at once.
const MANY: usize = 16;

/// Every call of the served description, its ids invented.
async fn described(kit: &Kit) -> Vec<(Method, String)> {
    let description: Value = Client::new(kit.addr(0)).get("/api/openapi.json").await.unwrap().json();
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(description["paths"].clone()).expect("paths");
    let calls = paths.iter().flat_map(|(path, operations)| {
        let id = uuid::Uuid::now_v7().to_string();
        let path = path.replace("{roomId}", &id).replace("{requestId}", &id);
        assert!(!path.contains('{'), "an id of another kind: {path}");
        operations.keys().map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    calls.collect()
}

/// The same call over and over, all at once, under this cookie and from these addresses.
async fn burst(
    kit: &Kit,
    call: &(Method, String),
    cookie: &str,
    address: impl Fn(usize) -> String,
) -> Vec<Answer> {
    let (method, path) = call;
    let one = async |n: usize| {
        let address = address(n);
        let body = (method != Method::GET).then(|| "{}".to_owned());
        let headers = [("cookie", cookie), ("x-forwarded-for", address.as_str())];
        // A client of its own: answers may take the cookie away.
        Client::new(kit.addr(0)).send(method.clone(), path, &headers, body).await.expect("an answer")
    };
    join_all((0..MANY).map(one)).await
}

/// Some were taken, and the others were told when to come back.
fn ends_in_429(answers: &[Answer], what: &str) {
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!limited.is_empty() && limited.len() < MANY, "{what}: {} of {MANY} refused", limited.len());
    for answer in limited {
        let (problem, after) = (answer.json(), &answer.headers["retry-after"]);
        assert_eq!(problem["code"], "rate_limited", "{what}");
        assert!(
            after.to_str().unwrap().parse::<u64>().is_ok_and(|seconds| seconds >= 1),
            "{what}: {after:?}"
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{what}");
    }
}

fn invented() -> String {
    format!("__Host-parley={}", SessionToken::fresh().unwrap().reveal())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_counted_by_user_and_by_address() {
    let settings = [
        ("PARLEY_REQUESTS_PER_USER", "1"),
        ("PARLEY_REQUESTS_PER_ADDRESS", "1"),
        ("PARLEY_SIGN_INS_PER_ADDRESS", "0"),
        ("PARLEY_MESSAGES_PER_ROOM", "0"),
        ("PARLEY_CLIENT_ADDRESS_HEADER", "X-Forwarded-For"),
    ];
    let kit = Kit::own(1, &settings).await;
    let calls = described(&kit).await;
    assert!(calls.len() >= 16, "{calls:?}");
    for (n, call) in (0_u8..).zip(&calls) {
        let (method, path) = call;
        if path == "/api/events" {
            // Refused with 200 and the time to come back, for EventSource gives up at anything else: `limits::*`.
            continue;
        }
        let answers = burst(&kit, call, &invented(), |_| format!("10.1.{n}.1")).await;
        ends_in_429(&answers, &format!("{method} {path} of nobody"));

        let amy = kit.person("amy");
        let cookie = amy.client.cookie().unwrap();
        // Each from elsewhere: what refuses is the limit of the user. The first has the session looked up.
        let first = format!("10.2.{n}.255");
        let first = [("cookie", cookie.as_str()), ("x-forwarded-for", first.as_str())];
        let mut answers = Vec::new();
        // A machine that stands still forgets the session in between: then they count against the addresses.
        for _ in 0..5 {
            let known = read_as(&Client::new(kit.addr(0)), "/api/me", &first).await;
            assert_eq!(known.status, 200, "{}", known.json());
            answers = burst(&kit, call, &cookie, |m| format!("10.2.{n}.{m}")).await;
            if answers.iter().any(|answer| answer.status == 429) {
                break;
            }
        }
        ends_in_429(&answers, &format!("{method} {path} of a user"));
    }
    for limit in ["requests_per_user", "requests_per_address"] {
        let label = format!("\"{limit}\"");
        assert!(kit.gateways[0].0.metric("parley_limited_total", &[&label]).await > 0.0, "{limit}");
    }
    // Many users behind one address are many: only until their sessions were looked up they count as one.
    let people: Vec<_> = (0..MANY).map(|_| kit.person("one")).collect();
    for person in &people {
        let headers = [("x-forwarded-for", "10.3.0.1")];
        let answer = read_as(&person.client, "/api/me", &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
}

/// Records in the topic of logouts.
async fn logouts(kit: &Kit) -> i64 {
    let partitions = (0..2).map(|partition| ("logout-request".to_owned(), partition)).collect();
    let ends = kit.chat.admin().list_offsets(parley::kafka::admin::OffsetSpec::Latest, partitions).await;
    ends.expect("the broker answers").into_iter().map(|(_, _, end)| end.expect("an end").unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn logouts_of_invented_sessions_are_counted_like_logins_and_leave_others_alone() {
    let kit = Kit::own(1, &[("PARLEY_SIGN_INS_PER_ADDRESS", "1")]).await;
    let amy = kit.person("amy");
    let invent = async |_| {
        let nobody = Client::new(kit.addr(0));
        nobody.set_cookie(Some(invented()));
        nobody.json(Method::DELETE, "/api/session", &[], &json!({})).await.expect("an answer")
    };
    let answers = join_all((0..MANY).map(invent)).await;
    ends_in_429(&answers, "logouts of nobody");
    let taken = answers.iter().filter(|answer| answer.status != 429).count();
    assert!(taken >= 4, "a login may be on its way: {taken}");
    // Of those that were let through, all were written for which that is not unknown.
    let certain = |answer: &&Answer| answer.status == 202 && answer.json()["accepted"].is_null();
    let (written, certain) = (logouts(&kit).await, answers.iter().filter(certain).count());
    let written = usize::try_from(written).unwrap();
    assert!(
        (certain..=taken).contains(&written),
        "{written} of {certain} to {taken}: refused ones are written nowhere"
    );
    let answer = call(&amy.client, Method::DELETE, "/api/session", &[], &json!({})).await;
    assert_eq!(answer.status, 202, "who is logged in can always log out: {}", answer.json());
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_looked_up_can_be_ended() {
    let kit = Kit::own(1, &[]).await;
    let _worker = kit.chat.worker(&[]).ready().await;
    let amy = kit.person("amy");
    // The gateway alone cannot read: the worker goes on.
    kit.chat.database.sql("REVOKE SELECT ON sessions FROM parley_gateway");
    assert_eq!(amy.client.get("/api/me").await.unwrap().status, 503);
    let ended = || {
        let sql = format!(
            "SELECT count(*) FROM sessions WHERE session_key = '\\x{}' AND ended_at IS NOT NULL",
            amy.key
        );
        kit.chat.database.sql(&sql)
    };
    let out = async |query: &str| {
        let (path, headers) = (format!("/api/session{query}"), [("prefer", "wait=30")]);
        amy.client.json(Method::DELETE, &path, &headers, &json!({})).await.unwrap()
    };
    let everywhere = out("?everywhere=true").await;
    assert_eq!((everywhere.status, ended().as_str()), (503, "0"), "nobody can say whose sessions");
    // The first of what this gateway sends: a slow machine has not met the broker when it is due.
    let cookie = amy.client.cookie();
    let answer = eventually("the worker's answer", || async {
        amy.client.set_cookie(cookie.clone());
        Some(out("").await).filter(|answer| ![202, 503].contains(&answer.status))
    })
    .await;
    assert_eq!((answer.status, ended().as_str()), (200, "1"), "{}", answer.json());
}
