//! The whole path over HTTP: every conversation through gateway, Kafka, worker and PostgreSQL, and back by
//! `Prefer: wait`, by the stored reply, and over SSE.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Method;
use parley::loadgen::{Client, Message, Stream};
use serde_json::{Value, json};

use crate::fixtures::{Chat, DEADLINE, eventually, read, unique};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Asks and waits for the reply; gives status and body. What a machine that stood still for seconds made unavailable, or late, is asked
/// again, under the same key where there can be one.
pub(crate) async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    ask_under(client, &uuid::Uuid::new_v4().to_string(), method, path, body).await
}

/// The same, under this key.
pub(crate) async fn ask_under(
    client: &Client,
    key: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let headers = [("prefer", "wait=20"), ("idempotency-key", key)];
    // Without a cookie there is nobody to whom a key belongs, and a login takes none: a repeat opens another session.
    let keyed = method != Method::GET && path != "/api/session" && client.cookie().is_some();
    let headers = if keyed { &headers[..] } else { &headers[..1] };
    let start = Instant::now();
    loop {
        let answer = client.json(method.clone(), path, headers, &body).await.expect("an answer");
        if ![202, 503].contains(&answer.status) || start.elapsed() > DEADLINE {
            return (answer.status, answer.json());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Opens a stream and reads up to the `hello` that says whose it is. A gateway that cannot say so (a database that is slow) tells to come
/// again, and so it does.
pub(crate) async fn listen(client: &Client) -> (Stream, Arc<Message>) {
    eventually("a stream", || async {
        let mut stream = client.events(None).await.expect("a stream");
        let mut next =
            async || tokio::time::timeout(DEADLINE, stream.next()).await.expect("something in time");
        let hello = loop {
            let block = next().await.expect("a stream")?;
            if block.event == "hello" && block.data.contains("userId\":\"") {
                break block;
            }
        };
        Some((stream, hello))
    })
    .await
}

/// Reads the stream up to an event of this name for which `wanted` holds.
pub(crate) async fn event(
    stream: &mut Stream,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> (Arc<Message>, Value) {
    tokio::time::timeout(DEADLINE, async {
        loop {
            let block = stream.next().await.expect("a stream").expect("it stays open");
            let data: Value = serde_json::from_str(&block.data).unwrap_or_default();
            if block.event == name && wanted(&data) {
                return (block, data);
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {name} event came"))
}

/// Signs up and logs in.
pub(crate) async fn user(gateway: std::net::SocketAddr, name: &str) -> Client {
    let client = Client::new(gateway);
    // The page brings the cookie that a key belongs to.
    client.get("/").await.expect("a page");
    let account = json!({"userId": name, "password": PASSWORD, "email": format!("{name}@example.com"), "userName": name});
    let (status, reply) = ask(&client, Method::POST, "/api/users", account).await;
    assert_eq!((status, &reply["user"]["userId"]), (200, &json!(name)), "{reply}");
    let (status, reply) =
        ask(&client, Method::POST, "/api/session", json!({"userId": name, "password": PASSWORD})).await;
    assert_eq!((status, &reply["isSuccess"]), (200, &json!(true)), "{reply}");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn every_conversation_end_to_end() {
    let running = Chat::shared().await;
    let [(_, one), (_, two)] = &running.gateways;
    let (amy_id, ben_id) = (unique("amy"), unique("ben"));
    let (amy, ben) = (user(*one, &amy_id).await, user(*two, &ben_id).await);

    // The stream of a session that is open says who it belongs to.
    let (mut amy_hears, hello) = listen(&amy).await;
    assert!(hello.data.contains(&amy_id), "{}", hello.data);
    assert!(hello.id.as_ref().is_some_and(|id| id.starts_with("v1.") && id.len() <= 128));
    let (mut ben_hears, hello) = listen(&ben).await;
    assert!(hello.data.contains(&ben_id), "{}", hello.data);

    // Friends: one result per id, and the other one is told.
    let ids = json!({"friendId": [ben_id, amy_id, "nobody-of-that-name"]});
    let (status, reply) = ask(&amy, Method::POST, "/api/friends", ids).await;
    assert_eq!(status, 200, "{reply}");
    let results: Vec<&Value> =
        reply["friendId"].as_array().expect("a list").iter().map(|one| &one["result"]).collect();
    assert_eq!(results, ["added", "self", "unknown"]);
    let (_, friend) = event(&mut ben_hears, "friend", |_| true).await;
    assert_eq!(friend["friend"]["userId"], json!(amy_id));
    let (_, friends) = ask(&ben, Method::GET, "/api/friends", Value::Null).await;
    assert_eq!(friends["friend"][0]["userId"], json!(amy_id), "{friends}");

    // Status goes to friends.
    let (status, reply) = ask(&amy, Method::PUT, "/api/me/status", json!({"status": "at the sea"})).await;
    assert_eq!((status, &reply["status"]), (200, &json!("at the sea")));
    let (_, told) = event(&mut ben_hears, "status", |data| data["userId"] == json!(amy_id)).await;
    assert_eq!(told["status"], "at the sea");

    // A room for two is one room, whoever opens it and how often.
    let (status, room) =
        ask(&amy, Method::POST, "/api/rooms", json!({"friendId": [ben_id], "roomName": "us"})).await;
    assert_eq!(status, 200, "{room}");
    let (_, again) = ask(&ben, Method::POST, "/api/rooms", json!({"friendId": [amy_id]})).await;
    assert_eq!(again["roomId"], room["roomId"], "{again}");
    event(&mut ben_hears, "room", |data| data["roomId"] == room["roomId"]).await;

    // Messages: dense numbers, to both, over both replicas.
    let path = format!("/api/rooms/{}/messages", room["roomId"].as_str().expect("an id"));
    for (n, (who, text)) in [(&amy, "one"), (&ben, "two"), (&amy, "<three>")].into_iter().enumerate() {
        let (status, reply) = ask(who, Method::POST, &path, json!({"message": text})).await;
        assert_eq!((status, &reply["seq"]), (200, &json!(n + 1)), "{reply}");
        for stream in [&mut amy_hears, &mut ben_hears] {
            let (_, heard) = event(stream, "message", |_| true).await;
            assert_eq!((&heard["seq"], &heard["message"]), (&json!(n + 1), &json!(text)));
        }
    }
    let history = read(&ben, &format!("{path}?limit=2")).await.json();
    let seqs: Vec<i64> =
        history["messages"].as_array().expect("a list").iter().filter_map(|m| m["seq"].as_i64()).collect();
    assert_eq!(seqs.len(), 2, "{history}");
    assert!(seqs.contains(&3) && seqs.contains(&2), "{history}");

    // Unread counts and read marks.
    let (_, rooms) = ask(&ben, Method::GET, "/api/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"][0]["lastSeq"], 3, "{rooms}");
    let mark = format!("/api/rooms/{}/read", room["roomId"].as_str().expect("an id"));
    let (status, _) = ask(&ben, Method::PUT, &mark, json!({"seq": 3})).await;
    assert_eq!(status, 204);
    let (_, rooms) = ask(&ben, Method::GET, "/api/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"][0]["unread"], 0, "{rooms}");

    // Who leaves is told, as those who stay are, and hears nothing more; what was said before stays readable.
    let leave = format!("/api/rooms/{}/members/me", room["roomId"].as_str().expect("an id"));
    for _ in 0..2 {
        let (_, left) = ask_under(&ben, "leaving", Method::DELETE, &leave, Value::Null).await;
        assert_eq!((&left["kind"], &left["leftSeq"]), (&json!("LeaveRoom"), &json!(3)), "{left}");
    }
    let (status, problem) = ask(&ben, Method::DELETE, &leave, Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_a_member")), "{problem}");
    for stream in [&mut amy_hears, &mut ben_hears] {
        let (_, told) = event(stream, "room", |data| data["left"] == json!([ben_id])).await;
        assert_eq!((&told["memberCount"], &told["members"]), (&json!(1), &json!([amy_id])), "{told}");
    }
    let (_, rooms) = ask(&ben, Method::GET, "/api/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"], json!([]), "{rooms}");
    ask(&amy, Method::POST, &path, json!({"message": "alone"})).await;
    event(&mut amy_hears, "message", |data| data["seq"] == 4).await;
    ask(&amy, Method::PUT, "/api/me/status", json!({"status": "alone"})).await;
    let quiet = tokio::time::timeout(DEADLINE, async {
        loop {
            let block = ben_hears.next().await.expect("a stream").expect("it stays open");
            assert_ne!(block.event, "message", "{}", block.data);
            if block.event == "status" {
                return;
            }
        }
    });
    quiet.await.expect("the status is heard");
    let history = read(&ben, &path).await.json();
    let seqs: Vec<i64> =
        history["messages"].as_array().expect("a list").iter().filter_map(|m| m["seq"].as_i64()).collect();
    assert_eq!(seqs, [1, 2, 3], "{history}");

    // Logout ends the session and its stream.
    let (status, _) = ask(&ben, Method::DELETE, "/api/session", Value::Null).await;
    assert!(status == 200 || status == 202, "{status}");
    let closed =
        tokio::time::timeout(DEADLINE, async { while let Ok(Some(_)) = ben_hears.next().await {} }).await;
    assert!(closed.is_ok(), "the stream of an ended session ends");
    assert_eq!(read(&amy, "/api/me").await.json()["userId"], json!(amy_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_request_on_any_replica() {
    let running = Chat::shared().await;
    let [(_, one), (_, two)] = &running.gateways;
    let id = unique("key");
    let client = user(*one, &id).await;
    let headers = [("idempotency-key", "k-1"), ("prefer", "wait=20")];
    let put = |gateway, status: &'static str| {
        let client = client.at(gateway);
        async move {
            client
                .json(Method::PUT, "/api/me/status", &headers, &json!({ "status": status }))
                .await
                .expect("an answer")
        }
    };
    let (first, second) = tokio::join!(put(*one, "busy"), put(*two, "busy"));
    assert_eq!((first.status, second.status), (200, 200));
    let (first, second) = (first.json(), second.json());
    assert_eq!(first["status"], second["status"]);
    let other = put(*two, "free").await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_mismatch")));
    assert_eq!(
        running.chat.database.sql(&format!("SELECT user_status FROM users WHERE user_id = '{id}'")),
        "busy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_codes() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let id = unique("no");
    let client = user(gateway, &id).await;
    let stranger = Client::new(gateway);
    let no_friend = unique("far");
    user(gateway, &no_friend).await;
    let nowhere = format!("/api/rooms/{}/messages", uuid::Uuid::nil());
    let cases = [
        (
            &client,
            Method::POST,
            "/api/users",
            json!({"userId": id, "password": PASSWORD, "email": "a@b.cd", "userName": "x"}),
            409,
            "user_exists",
        ),
        (
            &stranger,
            Method::POST,
            "/api/session",
            json!({"userId": id, "password": "wrong password"}),
            401,
            "wrong_credentials",
        ),
        (
            &stranger,
            Method::POST,
            "/api/session",
            json!({"userId": unique("gone"), "password": "wrong password"}),
            401,
            "wrong_credentials",
        ),
        (&client, Method::POST, &nowhere, json!({"message": "x"}), 404, "room_not_found"),
        (&client, Method::POST, &nowhere, json!({"message": " "}), 422, "invalid_request"),
        (&client, Method::POST, "/api/rooms", json!({"friendId": [no_friend]}), 422, "not_a_friend"),
        (&stranger, Method::POST, &nowhere, json!({"message": "x"}), 401, "unauthenticated"),
    ];
    for (who, method, path, body, status, code) in cases {
        let answer = who.json(method, path, &[("prefer", "wait=20")], &body).await.expect("an answer");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{path} {body}: {problem}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
}
