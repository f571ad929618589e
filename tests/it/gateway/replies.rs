//! Replies over HTTP: those that no memory holds any more, and those that say to come back later.

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use parley::{
    ids::{RequestId, SessionToken},
    loadgen::{Answer, Client},
    wire::{Body, ErrorCode, Failure, Kind, Reply},
};
use serde_json::{Value, json};

use super::kit::{Ear, Kit, call, held, reply_to};
use crate::fixtures::{eventually, read, unique};

const WAIT: (&str, &str) = ("prefer", "wait=30");

fn account(id: &str) -> Value {
    json!({"userId": id, "password": "long enough", "email": "a@b.cd", "userName": "x"})
}

/// A browser with an anonymous cookie.
fn browser(addr: SocketAddr) -> Client {
    let client = Client::new(addr);
    client.set_cookie(Some(format!("__Host-parley={}", SessionToken::fresh().unwrap().reveal())));
    client
}

/// Deletes the topics of these kinds' replies, and waits until they are gone.
async fn forget_replies(kit: &Kit, kinds: &[Kind]) {
    let topics: Vec<String> = kinds.iter().map(|kind| kind.response_topic().to_owned()).collect();
    let admin = kit.chat.admin();
    for (_, result) in admin.delete_topics(topics.clone()).await.unwrap() {
        result.unwrap();
    }
    eventually("the topics to be gone", || async {
        let described = kit.chat.admin().describe_topics(topics.clone()).await.ok()?;
        described.iter().all(|(_, topic)| topic.is_err()).then_some(())
    })
    .await;
}

/// A sign-up is bound to its session, everything else also to its user; a message's reply is made of the message itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_no_memory_holds_is_read_from_postgres_by_who_asked() {
    let mut kit = Kit::own(1, &[]).await;
    let worker = kit.chat.worker(&[]).ready().await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let room = kit.room(&[&amy]);
    let newcomer = browser(kit.addr(0));
    let change = async |client: &Client, method: Method, path: &str, body: Value| {
        let answer = call(client, method, path, &[WAIT], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let signed_up = change(&newcomer, Method::POST, "/api/users", account(&unique("new"))).await;
    let status = change(&amy.client, Method::PUT, "/api/me/status", json!({"status": "away"})).await;
    let messages = format!("/api/rooms/{room}/messages");
    let message = change(&amy.client, Method::POST, &messages, json!({"message": "hi"})).await;

    // What starts from here on finds nothing in Kafka.
    drop(worker);
    kit.gateways.clear();
    forget_replies(&kit, &[Kind::AddUser, Kind::ChangeStatus, Kind::AddChat]).await;
    let (gateway, addr) = kit.chat.gateway(&[]);
    kit.gateways.push((gateway.ready().await, addr));

    let ask = async |client: &Client, reply: &Value| {
        let path = format!("/api/requests/{}", reply["requestId"].as_str().unwrap());
        read(&client.at(addr), &path).await
    };
    let again = kit.session(&amy.id);
    for (client, reply) in [
        (&newcomer, &signed_up),
        (&amy.client, &status),
        (&amy.client, &message),
        // Another browser of the same user.
        (&again.client, &status),
        (&again.client, &message),
    ] {
        let answer = ask(client, reply).await;
        assert_eq!((answer.status, &answer.json()), (200, reply));
    }
    let stranger = browser(addr);
    for (client, reply) in [
        (&eve.client, &signed_up),
        (&eve.client, &status),
        (&eve.client, &message),
        (&amy.client, &signed_up),
        (&newcomer, &status),
        (&newcomer, &message),
        (&stranger, &signed_up),
        (&stranger, &message),
    ] {
        let answer = ask(client, reply).await;
        // As for an id that nobody used: they do not learn that it exists.
        let told = answer.json();
        assert!([202, 404].contains(&answer.status) && told["isSuccess"].is_null(), "{told}");
    }
}

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.headers.get("retry-after")?.to_str().ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_says_later_is_a_429_or_503_that_says_when() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let body = json!({"status": "x"});
    for (code, seconds, status, after) in [
        (ErrorCode::DeadlineExceeded, None, 503, 2),
        (ErrorCode::Unavailable, None, 503, 2),
        (ErrorCode::RateLimited, Some(7), 429, 7),
    ] {
        // The key makes the request known before its call is held.
        let key = unique("key");
        let key = ("idempotency-key", key.as_str());
        let accepted = call(&amy.client, Method::PUT, "/api/me/status", &[key], &body).await;
        let request: RequestId = accepted.json()["requestId"].as_str().unwrap().parse().unwrap();
        let mut failure = Failure::new(code, "not now");
        failure.retry_after = seconds;
        let reply = Reply { user_id: Some(amy.id.clone()), result: Err(failure) };
        let headers = [key, WAIT];
        let mut held = std::pin::pin!(held(&amy.client, Method::PUT, "/api/me/status", &headers, &body));
        // One that comes before the call is held is not its answer: so it comes again and again.
        let answer = loop {
            tokio::select! {
                answer = &mut held => break answer,
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    kit.reply(Kind::ChangeStatus, amy.key, request, &reply).await;
                }
            }
        };
        let problem = answer.json();
        assert_eq!((answer.status, retry_after(&answer)), (status, Some(after)), "{problem}");
        assert_eq!((&problem["code"], &problem["retryAfter"]), (&json!(code.as_str()), &json!(after)));
        assert_eq!(problem["kind"], "ChangeStatus", "the reply's own fields go along");
    }
}

/// `answers` and `replayed` are not signed: whoever writes to Kafka can have a reply come again with others. The call goes on waiting,
/// and the reply is where it always is.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_names_another_record_leaves_a_call_waiting_and_is_told_elsewhere() {
    let kit = Kit::own(1, &[]).await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let mut hears = Ear::live(&amy, kit.addr(0), None).await;
    let mut elsewhere = Ear::live(&eve, kit.addr(0), None).await;
    let body = json!({"status": "x"});
    // The key makes the request known before its call is held.
    let key = ("idempotency-key", "k");
    let accepted = call(&amy.client, Method::PUT, "/api/me/status", &[key], &body).await;
    let request: RequestId = accepted.json()["requestId"].as_str().unwrap().parse().unwrap();
    let said = |status: &str| Reply {
        user_id: Some(amy.id.clone()),
        result: Ok(Body::ChangeStatus { status: status.into() }),
    };
    let headers = [key, WAIT];
    let mut held = std::pin::pin!(held(&amy.client, Method::PUT, "/api/me/status", &headers, &body));
    let holding = eventually("a call to be held", || async {
        (kit.gateways[0].0.metric("parley_pending_requests", &[]).await == 1.0).then_some(())
    });
    let misled = async {
        holding.await;
        let other =
            reply_to(&kit.keys, Kind::ChangeStatus, amy.key, request, &said("first"), Some(b"of another"));
        kit.send(&other).await;
        hears.until("the reply", |block| block.event == "reply" && block.data.contains("first")).await;
        let path = format!("/api/requests/{request}");
        let kept = read(&amy.client, &path).await;
        assert_eq!((kept.status, &kept.json()["status"]), (200, &json!("first")));
        assert_ne!(read(&eve.client, &path).await.status, 200, "nor is it anybody else's");
    };
    tokio::select! {
        answer = &mut held => panic!("answered by what it did not ask: {}", answer.json()),
        () = misled => {}
    }
    kit.reply(Kind::ChangeStatus, amy.key, request, &said("second")).await;
    let answer = held.await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("second")));
    // Eve's stream has come past all of that when it brings her own.
    let own =
        Reply { user_id: Some(eve.id.clone()), result: Ok(Body::ChangeStatus { status: "own".into() }) };
    kit.reply(Kind::ChangeStatus, eve.key, RequestId::fresh(), &own).await;
    elsewhere.until("her own", |block| block.event == "reply").await;
    assert!(elsewhere.heard.iter().all(|block| !block.data.contains("first")), "{:?}", elsewhere.heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_a_worker_throttles_is_a_429_with_the_workers_own_time() {
    let kit = Kit::own(1, &[("PARLEY_SIGN_INS_PER_ADDRESS", "0")]).await;
    let _worker = kit.chat.worker(&[]).ready().await;
    let wrong = json!({"userId": unique("some"), "password": "not the password"});
    let throttled = eventually("a throttled login", || async {
        let client = Client::new(kit.addr(0));
        let answer = client.json(Method::POST, "/api/session", &[WAIT], &wrong).await.ok()?;
        (![202, 401, 503].contains(&answer.status)).then_some(answer)
    })
    .await;
    let problem = throttled.json();
    assert_eq!((throttled.status, &problem["code"]), (429, &json!("rate_limited")), "{problem}");
    assert_eq!(problem["kind"], "Login", "the worker's word, not a limit of the gateway: {problem}");
    let after = retry_after(&throttled).expect("a time to come back");
    assert!(after >= 1 && problem["retryAfter"] == after, "{after}: {problem}");
}
