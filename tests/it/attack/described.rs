//! What can be tried on every route that the gateway describes, so that a new one is tried the day it is there.

use serde_json::{Value, json};

use super::raw;
use crate::{
    fixtures::{Chat, eventually, read, unique},
    path::user,
};

/// One way to change something, with values that are right as far as their form goes.
struct Change {
    method: String,
    path: String,
    body: Value,
}

/// A value that a schema allows, as far as tests need it.
fn benign(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/")) {
        return benign(document, &document["components"]["schemas"][name]);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" if schema["format"] == "uuid" => json!(uuid::Uuid::nil().to_string()),
        "string" => json!("benign-text"),
        "integer" => json!(1),
        "boolean" => json!(false),
        "array" => json!([benign(document, &schema["items"])]),
        _ => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, schema)| (name.clone(), benign(document, schema))).collect()
        }
    }
}

/// Every operation of the description that is no reading, with ids in place of its parameters.
fn changes(document: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            if !["post", "put", "patch", "delete"].contains(&method.as_str()) {
                continue;
            }
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = if schema.is_null() { Value::Null } else { benign(document, schema) };
            let path: Vec<String> = path
                .split('/')
                .map(
                    |part| {
                        if part.starts_with('{') { uuid::Uuid::nil().to_string() } else { part.to_owned() }
                    },
                )
                .collect();
            changes.push(Change { method: method.to_uppercase(), path: path.join("/"), body });
        }
    }
    assert!(changes.len() >= 10, "the description names what there is");
    changes
}

impl Change {
    fn first_line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn body(&self) -> Vec<u8> {
        if self.body.is_null() { Vec::new() } else { self.body.to_string().into_bytes() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_can_be_made_from_another_site() {
    let running = Chat::shared().await;
    let addr = running.gateways[0].1;
    let id = unique("csrf");
    let client = user(addr, &id).await;
    let document = client.get("/api/openapi.json").await.unwrap().json();
    let cookie = client.cookie().expect("a session");
    let json_type = ("content-type", "application/json");
    let own = format!("http://{addr}");
    let other: [&[(&str, &str)]; 8] = [
        &[json_type, ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[json_type, ("sec-fetch-site", "same-site"), ("origin", own.as_str())],
        &[json_type, ("sec-fetch-site", "none")],
        &[json_type, ("origin", "https://evil.example")],
        &[json_type, ("origin", "null")],
        &[json_type],
        // What a form can send, even one that claims to be ours.
        &[("content-type", "text/plain"), ("sec-fetch-site", "same-origin")],
        &[("content-type", "application/x-www-form-urlencoded"), ("origin", own.as_str())],
    ];
    for change in changes(&document) {
        let first = change.first_line();
        for headers in other {
            let mut headers = headers.to_vec();
            headers.extend([("cookie", cookie.as_str()), ("idempotency-key", "csrf")]);
            let (status, text) = raw(addr, &first, &headers, &change.body()).await;
            assert_eq!(status, 403, "{first} {headers:?}: {text}");
            assert!(!text.to_lowercase().contains("set-cookie"), "{first} {headers:?}: {text}");
        }
    }
    let me = read(&client, "/api/me").await.json();
    assert_eq!(me["userId"], json!(id), "nobody logged out, or in as somebody else");
    assert_ne!(me["userStatus"], json!("benign-text"));
    // It is the site that was refused: the same from our own page is not.
    for change in changes(&document) {
        let first = change.first_line();
        // The cookie's session ends with its logout.
        let session = if first.starts_with("DELETE /api/session") { "" } else { cookie.as_str() };
        for headers in [[json_type, ("sec-fetch-site", "same-origin")], [json_type, ("origin", own.as_str())]]
        {
            let headers = [&headers[..], &[("cookie", session), ("idempotency-key", "same")]].concat();
            let (status, text) = raw(addr, &first, &headers, &change.body()).await;
            assert!(status != 403 && status < 500, "{first} {headers:?}: {text}");
        }
    }
}

/// Every text of the body, each replaced by another one in turn.
fn replaced(body: &Value, by: &str) -> Vec<Value> {
    match body {
        Value::String(_) => vec![json!(by)],
        Value::Array(items) => {
            items.iter().flat_map(|item| replaced(item, by)).map(|item| json!([item])).collect()
        }
        Value::Object(fields) => {
            let each = fields.iter().flat_map(|(name, value)| {
                replaced(value, by).into_iter().map(move |new| {
                    let mut body = body.clone();
                    body[name.as_str()] = new;
                    body
                })
            });
            each.collect()
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_in_any_field_header_or_parameter_breaks_nothing() {
    let running = Chat::shared().await;
    let addr = running.gateways[0].1;
    let client = user(addr, &unique("all")).await;
    let document = client.get("/api/openapi.json").await.unwrap().json();
    let counts = || {
        let tables = ["users", "credentials", "sessions", "messages", "rooms", "members", "friendships"];
        tables.map(|table| {
            let count = running.chat.database.sql(&format!("SELECT count(*) FROM {table}"));
            count.parse::<i64>().expect("a count")
        })
    };
    let before = counts();
    let cookie = client.cookie().expect("a session");
    let ours =
        [("sec-fetch-site", "same-origin"), ("content-type", "application/json"), ("prefer", "wait=20")];
    let hostile = [
        "'; DROP TABLE users CASCADE; --",
        "x' OR '1'='1",
        "'); TRUNCATE messages; SELECT ('",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
    ];
    let mut tried = 0;
    for text in hostile {
        for change in changes(&document) {
            let first = change.first_line();
            // Its own session, which the logout does not end for the others.
            let session = if first.starts_with("DELETE /api/session") { "" } else { cookie.as_str() };
            for body in replaced(&change.body, text) {
                let headers = [&ours[..], &[("cookie", session)]].concat();
                let (status, answer) = raw(addr, &first, &headers, body.to_string().as_bytes()).await;
                assert!(status < 500, "{first} {body}: {answer}");
                // Whoever takes it for a page has it told otherwise.
                assert!(
                    answer.contains("x-content-type-options: nosniff") && answer.contains("json"),
                    "{answer}"
                );
                tried += 1;
            }
            let key = [("cookie", session), ("idempotency-key", text)];
            let (status, answer) = raw(addr, &first, &[&ours[..], &key].concat(), &change.body()).await;
            assert!(status < 500, "{first}, key {text}: {answer}");
        }
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let nobody = uuid::Uuid::nil();
        for path in [
            format!("/api/rooms/{nobody}/messages?before={escaped}"),
            format!("/api/rooms/{nobody}/messages?after={escaped}&limit=1"),
            format!("/api/rooms/{nobody}/messages?limit={escaped}"),
            format!("/api/rooms?after={escaped}&limit={escaped}"),
            format!("/api/friends?after={escaped}"),
            format!("/api/session?everywhere={escaped}"),
        ] {
            let (status, answer) = raw(addr, &format!("GET {path}"), &[("cookie", &cookie)], b"").await;
            assert!((400..500).contains(&status) || status == 202, "{path}: {answer}");
        }
        // A cursor that is none is told as such, on a stream that lives.
        eventually("to be told so", || async {
            let mut stream = client.events(Some(text)).await.expect("a stream");
            // It ends before when a slow database cannot say whose it is.
            while let Some(block) = stream.next().await.expect("a stream") {
                if block.event == "resync" {
                    assert!(block.data.contains("\"reason\":\""), "{}", block.data);
                    return Some(());
                }
            }
            None
        })
        .await;
    }
    assert!(tried > 5 * 10, "{tried} bodies were tried");
    let after = counts();
    let lost = before.iter().zip(after).any(|(before, after)| after < *before);
    assert!(!lost, "nothing went: {before:?}, then {after:?}");
    let client = user(addr, &unique("still")).await;
    assert_eq!(read(&client, "/api/me").await.status, 200, "everything still works");
}

/// Line breaks in fields, as JSON has them, and in headers, bare as no client sends them: none of them ends a line of an answer's head.
#[tokio::test(flavor = "multi_thread")]
async fn no_line_break_of_a_request_gets_into_the_head_of_its_answer() {
    let running = Chat::shared().await;
    let addr = running.gateways[0].1;
    let client = user(addr, &unique("lines")).await;
    let document = client.get("/api/openapi.json").await.unwrap().json();
    let cookie = client.cookie().expect("a session");
    let ours =
        [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("prefer", "wait=1")];
    let check = |what: &str, (status, answer): (u16, String)| {
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(status < 500 && !head.contains("planted"), "{what}: {answer}");
    };
    let mut tried = 0;
    for line in ["\r\n", "\n", "\r", "\u{2028}", "\u{85}"] {
        let text = format!("x{line}set-cookie: planted=1{line}{line}planted");
        for change in changes(&document) {
            let first = change.first_line();
            let session = if first.starts_with("DELETE /api/session") { "" } else { cookie.as_str() };
            let headers = [&ours[..], &[("cookie", session)]].concat();
            for body in replaced(&change.body, &text) {
                check(&first, raw(addr, &first, &headers, body.to_string().as_bytes()).await);
                tried += 1;
            }
            for name in ["idempotency-key", "prefer", "traceparent", "origin"] {
                let headers = [&headers[..], &[(name, text.as_str())]].concat();
                check(name, raw(addr, &first, &headers, &change.body()).await);
            }
        }
    }
    assert!(tried > 5 * 10, "{tried} bodies were tried");
}
