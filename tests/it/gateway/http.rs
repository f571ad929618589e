//! HTTP itself: methods, types, limits, problems, cookies, headers.

use std::collections::BTreeSet;

use hyper::Method;
use parley::loadgen::Client;
use serde_json::{Value, json};

use super::kit::{Kit, call};
use crate::fixtures::{eventually, read, unique};

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_anything_is_done() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let messages = format!("/api/rooms/{room}/messages");
    let nobody = Client::new(kit.addr(0));
    let json_type = ("content-type", "application/json");
    let here = ("sec-fetch-site", "same-origin");
    type Case<'a> = (&'a Client, Method, &'a str, &'a [(&'a str, &'a str)], Option<String>, u16);
    let cases: &[Case<'_>] = &[
        (&nobody, Method::GET, "/api/nothing", &[], None, 404),
        (&nobody, Method::GET, "/nothing.html", &[], None, 404),
        (&nobody, Method::GET, "/../../etc/passwd", &[], None, 404),
        (&amy.client, Method::PATCH, "/api/me", &[here, json_type], None, 405),
        (&amy.client, Method::GET, "/api/users", &[], None, 405),
        (&nobody, Method::GET, "/api/me", &[], None, 401),
        (&nobody, Method::GET, "/api/rooms", &[], None, 401),
        (&nobody, Method::GET, &messages, &[], None, 401),
        (&amy.client, Method::GET, "/api/rooms/not-a-room/messages", &[], None, 422),
        (&amy.client, Method::GET, &format!("{messages}?limit=x"), &[], None, 422),
        (&amy.client, Method::GET, &format!("{messages}?before=1&after=2"), &[], None, 422),
        (&amy.client, Method::GET, "/api/requests/x", &[], None, 422),
        (
            &amy.client,
            Method::POST,
            &messages,
            &[json_type],
            Some(format!("{{\"message\":\"{}\"}}", "x".repeat(40_000))),
            413,
        ),
        (
            &amy.client,
            Method::POST,
            &messages,
            &[json_type],
            Some(format!("{{\"message\":\"{}\"}}", "x".repeat(16_385))),
            413,
        ),
        (&amy.client, Method::POST, &messages, &[json_type], Some("{".into()), 422),
        (&amy.client, Method::POST, &messages, &[json_type], Some("{\"message\":\"\\u0000\"}".into()), 422),
        (
            &amy.client,
            Method::POST,
            &messages,
            &[json_type, ("idempotency-key", "")],
            Some("{\"message\":\"x\"}".into()),
            400,
        ),
        (
            &amy.client,
            Method::PUT,
            &format!("/api/rooms/{room}/read"),
            &[json_type],
            Some("{\"seq\":-1}".into()),
            422,
        ),
        (&nobody, Method::DELETE, "/api/session", &[json_type], None, 401),
    ];
    for (client, method, path, headers, body, status) in cases {
        let headers: Vec<(&str, &str)> =
            headers.iter().copied().filter(|(name, _)| *name != "sec-fetch-site").collect();
        // The client sends the content type with every body itself.
        let headers: Vec<(&str, &str)> =
            headers.into_iter().filter(|(name, _)| *name != "content-type" || body.is_none()).collect();
        let answer = client.send(method.clone(), path, &headers, body.clone()).await.expect("an answer");
        let problem = answer.json();
        assert_eq!(answer.status, *status, "{method} {path}: {problem}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path}");
        assert!(problem["code"].is_string() && problem["detail"].is_string() && problem["status"] == *status);
        if *status == 405 {
            assert!(answer.headers.contains_key("allow"), "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_from_other_sites_are_refused() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    for site in ["cross-site", "same-site", "none"] {
        // Two values: the later one stands beside the client's own, which no browser sends; both must be right.
        let body = Some(json!({"status": "x"}).to_string());
        let answer = raw(
            kit,
            &amy,
            &format!("sec-fetch-site: {site}\r\ncontent-type: application/json\r\n"),
            body.clone(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{site}: {answer}");
        let answer =
            raw(kit, &amy, "sec-fetch-site: same-origin\r\ncontent-type: text/plain\r\n", body).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    let origin = format!("origin: http://{}\r\ncontent-type: application/json\r\n", kit.addr(0));
    let older = eventually("an older browser to be served", || async {
        let answer = raw(kit, &amy, &origin, Some(json!({"status": "x"}).to_string())).await;
        (!answer.starts_with("HTTP/1.1 503")).then_some(answer)
    });
    let answer = older.await;
    assert!(answer.starts_with("HTTP/1.1 202"), "an older browser: {answer}");
}

/// A PUT of a status with these headers alone.
async fn raw(kit: &Kit, person: &super::kit::Person, headers: &str, body: Option<String>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(kit.addr(0)).await.unwrap();
    let body = body.unwrap_or_default();
    let head = format!(
        "PUT /api/me/status HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        kit.addr(0),
        person.client.cookie().unwrap(),
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_accepted_with_an_id_that_every_replica_derives() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let put = async |n: usize, key: &str| {
        let headers = [("idempotency-key", key)];
        let body = json!({"status": "busy"});
        call(&amy.client.at(kit.addr(n)), Method::PUT, "/api/me/status", &headers, &body).await
    };
    let ids: BTreeSet<String> = {
        let mut ids = BTreeSet::new();
        for n in 0..3 {
            let answer = put(n, "one").await;
            assert_eq!(answer.status, 202, "nobody answers: there is no worker here");
            assert!(answer.json()["deadline"].as_str().is_some_and(|at| at.ends_with('Z')));
            ids.insert(answer.json()["requestId"].as_str().unwrap().to_owned());
        }
        ids
    };
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_ne!(put(0, "two").await.json()["requestId"], json!(ids.first().unwrap()));
    // A fresh id is known to be under way for a while; a derived one carries no time.
    let fresh = call(&amy.client, Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await;
    let path = format!("/api/requests/{}", fresh.json()["requestId"].as_str().unwrap());
    assert_eq!(read(&amy.client, &path).await.status, 202);
    assert_eq!(read(&amy.client, &format!("/api/requests/{}", uuid::Uuid::nil())).await.status, 404);
    // A call that waits for a reply that does not come is a 202 after its time.
    let wait = [("prefer", "wait=1")];
    let waited = call(&amy.client, Method::PUT, "/api/me/status", &wait, &json!({"status": "x"})).await;
    assert_eq!(waited.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_user_or_cookie_names_nothing() {
    let kit = Kit::shared().await;
    let id = unique("new");
    let body = json!({"userId": id, "password": "long enough", "email": "a@b.cd", "userName": "x"});
    let headers = [("idempotency-key", "k")];
    let nobody = Client::new(kit.addr(0));
    let answer = nobody.json(Method::POST, "/api/users", &headers, &body).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.json());
    let page = nobody.get("/").await.unwrap();
    assert!([200, 503].contains(&page.status), "the page, or the word that it is not built");
    let other = Client::new(kit.addr(0));
    let answer = call(&other, Method::POST, "/api/users", &[], &body).await;
    assert_eq!(answer.status, 202);
    assert!(other.cookie().is_some(), "the first answer brings an anonymous cookie");
    let (first, second) = (
        call(&other.at(kit.addr(1)), Method::POST, "/api/users", &headers, &body).await,
        call(&other.at(kit.addr(2)), Method::POST, "/api/users", &headers, &body).await,
    );
    assert_eq!(first.json()["requestId"], second.json()["requestId"]);
    let (one, two) = (login(&other).await, login(&other).await);
    assert_ne!(one, two, "each login has a token of its own");
}

async fn login(client: &Client) -> String {
    let body = json!({"userId": "some-body", "password": "long enough"});
    let answer = call(client, Method::POST, "/api/session", &[], &body).await;
    assert_eq!(answer.status, 202);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Secure; HttpOnly; SameSite=Lax; Path=/"), "{cookie}");
    cookie.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_both_ways_within_what_the_member_may_see() {
    let kit = Kit::shared().await;
    let (amy, late, eve) = (kit.person("amy"), kit.person("late"), kit.person("eve"));
    let room = kit.room(&[&amy]);
    kit.store(room, &amy.id, 1, 120);
    kit.chat.database.sql(&super::kit::joins(room, &late.id, 100));
    let page = async |who: &super::kit::Person, query: &str| -> (u16, Vec<i64>, Option<i64>) {
        let answer = read(&who.client, &format!("/api/rooms/{room}/messages{query}")).await;
        let json = answer.json();
        let seqs =
            json["messages"].as_array().into_iter().flatten().filter_map(|m| m["seq"].as_i64()).collect();
        (answer.status, seqs, json["next"].as_i64())
    };
    let range = |from: i64, to: i64| (from..=to).collect::<Vec<_>>();
    assert_eq!(page(&amy, "").await, (200, range(71, 120), Some(71)));
    assert_eq!(page(&amy, "?before=71&limit=70").await, (200, range(1, 70), None));
    assert_eq!(page(&amy, "?after=0&limit=1000").await, (200, range(1, 100), Some(100)));
    assert_eq!(page(&amy, "?after=100").await, (200, range(101, 120), None));
    assert_eq!(page(&late, "?limit=100").await, (200, range(101, 120), None));
    assert_eq!(page(&late, "?before=50").await, (200, vec![], None));
    assert_eq!(page(&eve, "").await.0, 404);
    let read = format!("/api/rooms/{room}/read");
    for (seq, mark) in [(10, 10), (5, 10), (5_000, 120)] {
        assert_eq!(amy.client.json(Method::PUT, &read, &[], &json!({"seq": seq})).await.unwrap().status, 204);
        let stored = kit.chat.database.sql(&format!(
            "SELECT read_seq FROM user_rooms WHERE room_id = '{room}' AND user_id = '{}'",
            amy.id
        ));
        assert_eq!(stored, mark.to_string());
    }
    assert_eq!(eve.client.json(Method::PUT, &read, &[], &json!({"seq": 1})).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_pages_safe() {
    let kit = Kit::shared().await;
    let client = Client::new(kit.addr(0));
    for path in ["/", "/api/me", "/api/openapi.json", "/nothing"] {
        let answer = read(&client, path).await;
        let csp = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{path}: {csp}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}: {name}");
        }
        assert!(answer.headers.contains_key("cache-control"));
    }
    let described: Value = client.get("/api/openapi.json").await.unwrap().json();
    assert!(described["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    assert!(described["paths"]["/api/events"].is_object());
}

/// The head of an answer, which comes before anything of the body: lines in lower case.
async fn head(kit: &Kit, path: &str, cookie: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(kit.addr(0)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 4_096]);
    loop {
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return head.to_ascii_lowercase() + "\r\n";
        }
        let read = tokio::time::timeout(crate::fixtures::DEADLINE, socket.read(&mut bytes)).await;
        let read = read.expect("a head").unwrap();
        assert!(read > 0, "the connection ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

/// Also when it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_everything_between_to_keep_nothing_back() {
    let kit = Kit::own(1, &[("PARLEY_MAX_STREAMS_PER_ADDRESS", "1")]).await;
    let amy = kit.person("amy");
    let _ear = super::kit::Ear::live(&amy, kit.addr(0), None).await;
    let refused = head(&kit, "/api/events", &amy.client.cookie().unwrap()).await;
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let open = head(kit, "/api/events", &amy.client.cookie().unwrap()).await;
    for head in [&refused, &open] {
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for line in [
            "content-type: text/event-stream",
            "cache-control: no-store, no-transform",
            "x-accel-buffering: no",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
        }
    }
}
