//! What somebody with an account of their own, or none, tries against others. `docs/threats.md` names the threat of each test.

mod described;
mod names;
mod packed;
mod stored;

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fixtures::{Chat, DEADLINE, eventually, read, unique},
    path::{PASSWORD, ask, ask_under, event, listen, user},
};

/// A request of exactly these headers and bytes, as no page would send it; the answer's status and text. It comes from an address of
/// its own: sign-ins that fail count against it.
///
/// What a machine that stood still for seconds made unavailable, or late, is asked again: the answer is of the request alone.
async fn raw(to: SocketAddr, first: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    for _ in 0..10 {
        let (status, text) = raw_once(to, first, headers, body).await;
        let busy = ["unavailable", "deadline_exceeded"].iter().any(|code| text.contains(code));
        if !(status == 503 && busy) {
            return (status, text);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    raw_once(to, first, headers, body).await
}

async fn raw_once(to: SocketAddr, first: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut head = format!("{first} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 6, 6, 6], 0).into()).expect("all of 127.0.0.0/8 is ours");
    let mut socket = socket.connect(to).await.expect("a connection");
    // It may answer and close before it has read everything.
    let _ = socket.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await.expect("an end");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{first}: no HTTP: {text:?}")), text)
}

/// Amy and Ben in a room of theirs with one message; its id.
async fn room_of_two(amy: &parley::loadgen::Client, ben_id: &str) -> String {
    ask(amy, Method::POST, "/api/friends", json!({"friendId": [ben_id]})).await;
    let (status, room) = ask(amy, Method::POST, "/api/rooms", json!({"friendId": [ben_id]})).await;
    assert_eq!(status, 200, "{room}");
    room["roomId"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_others_is_out_of_reach() {
    let running = Chat::shared().await;
    let [(_, one), (_, two)] = &running.gateways;
    let (amy_id, ben_id, eve_id) = (unique("amy"), unique("ben"), unique("eve"));
    let (amy, _ben, eve) = (user(*one, &amy_id).await, user(*one, &ben_id).await, user(*two, &eve_id).await);
    let mal_id = unique("mal");
    user(*two, &mal_id).await;
    ask(&eve, Method::POST, "/api/friends", json!({"friendId": [mal_id]})).await;
    let room = room_of_two(&amy, &ben_id).await;
    let (mut amy_hears, _) = listen(&amy).await;
    let messages = format!("/api/rooms/{room}/messages");
    let secret = json!({"message": "secret"});
    let (_, said) = ask_under(&amy, "of-amy", Method::POST, &messages, secret.clone()).await;
    let (heard, _) = event(&mut amy_hears, "message", |data| data["message"] == "secret").await;

    // By the room's id.
    for (method, path, body, status, code) in [
        (Method::GET, messages.clone(), Value::Null, 404, "room_not_found"),
        (Method::POST, messages.clone(), json!({"message": "x"}), 404, "room_not_found"),
        (Method::PUT, format!("/api/rooms/{room}/read"), json!({"seq": 1}), 404, "room_not_found"),
        (
            Method::POST,
            format!("/api/rooms/{room}/members"),
            json!({"friendId": [mal_id]}),
            404,
            "room_not_found",
        ),
        (Method::DELETE, format!("/api/rooms/{room}/members/me"), Value::Null, 404, "room_not_found"),
    ] {
        let (got, problem) = ask(&eve, method.clone(), &path, body).await;
        let code_is = problem["code"].as_str().unwrap_or_default();
        assert!(
            got == status && [code, "not_a_member"].contains(&code_is),
            "{method} {path}: {got} {problem}"
        );
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    // By the id of a request of Amy's, and by Amy's own key: it names another request when Eve uses it.
    let request = said["requestId"].as_str().expect("an id");
    let stolen = read(&eve, &format!("/api/requests/{request}")).await;
    assert!(stolen.status != 200 && !String::from_utf8_lossy(&stolen.body).contains("secret"));
    let (_, same) = ask_under(&eve, "of-amy", Method::POST, &messages, secret).await;
    assert_ne!(same["requestId"], said["requestId"], "{same}");
    assert_ne!(same["isSuccess"], json!(true), "{same}");
    // By Amy's cursor, from before more of her messages: it resumes, and carries nothing of hers.
    let cursor = heard.id.clone().expect("a cursor");
    let (mut amy_there, _) = listen(&amy.at(*two)).await;
    let mut say = async |text: &str| {
        let (status, reply) = ask(&amy, Method::POST, &messages, json!({"message": text})).await;
        assert_eq!(status, 200, "{reply}");
        event(&mut amy_there, "message", |data| data["message"] == text).await;
    };
    // One message that she has missed, and one that she would hear live. What her gateway has told Amy it has looked at for Eve,
    // so the reply to what she asks then comes behind both.
    say("secret again").await;
    let mut eve_hears = eve.events(Some(&cursor)).await.unwrap();
    say("secret too").await;
    let (status, reply) = ask(&eve, Method::PUT, "/api/me/status", json!({"status": "listening"})).await;
    assert_eq!(status, 200, "{reply}");
    let mut names = Vec::new();
    let mut answered = false;
    let all = tokio::time::timeout(DEADLINE, async {
        // Replies of the last seconds stand before `resumed`.
        while !(answered && names.iter().any(|name| name == "resumed")) {
            let block = eve_hears.next().await.unwrap().expect("it stays open");
            assert!(!block.data.contains("secret"), "{}", block.data);
            assert_ne!(block.event, "resync", "{}", block.data);
            let data: Value = serde_json::from_str(&block.data).unwrap_or_default();
            answered |= block.event == "reply" && data["requestId"] == reply["requestId"];
            names.push(block.event.clone());
        }
    });
    all.await.unwrap_or_else(|_| panic!("no `resumed`, or no reply"));
    assert!(!names.iter().any(|name| name == "message"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_stays_text_in_every_field() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let users = || running.chat.database.sql("SELECT count(*) > 0 FROM users");
    for text in [
        "'; DROP TABLE users; --",
        "x' OR '1'='1",
        "$1; DELETE FROM messages",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "{{constructor.constructor('alert(1)')()}}",
        "${jndi:ldap://x/a}",
        "%0d%0aSet-Cookie: a=b",
        "../../../etc/passwd",
    ] {
        let (id, other) = (unique("sql"), unique("friend"));
        // In ids it is refused, wherever an id stands, and never repeated.
        let account =
            json!({"userId": text, "password": PASSWORD, "email": "a@example.com", "userName": "x"});
        let client = parley::loadgen::Client::new(gateway);
        let (status, problem) = ask(&client, Method::POST, "/api/users", account).await;
        assert!((400..500).contains(&status), "{text:?}: {status}");
        assert!(!problem.to_string().contains(text), "{problem}");
        let (status, _) =
            ask(&client, Method::POST, "/api/session", json!({"userId": text, "password": text})).await;
        assert!((400..500).contains(&status), "{text:?}: {status}");
        // As an address it is refused too.
        let account = json!({"userId": id, "password": PASSWORD, "email": text, "userName": "x"});
        let (status, problem) = ask(&client, Method::POST, "/api/users", account).await;
        assert!((400..500).contains(&status) && !problem.to_string().contains(text), "{problem}");
        // In texts it is kept as it is.
        let account = json!({"userId": id, "password": PASSWORD, "email": format!("{id}@example.com"), "userName": text});
        let (status, reply) = ask(&client, Method::POST, "/api/users", account).await;
        assert_eq!((status, &reply["user"]["userName"]), (200, &json!(text)), "{reply}");
        ask(&client, Method::POST, "/api/session", json!({"userId": id, "password": PASSWORD})).await;
        user(gateway, &other).await;
        let (status, reply) = ask(&client, Method::PUT, "/api/me/status", json!({"status": text})).await;
        assert_eq!((status, &reply["status"]), (200, &json!(text)), "{reply}");
        ask(&client, Method::POST, "/api/friends", json!({"friendId": [other]})).await;
        let (status, problem) = ask(&client, Method::POST, "/api/friends", json!({"friendId": [text]})).await;
        assert!((400..500).contains(&status), "{problem}");
        let (status, room) =
            ask(&client, Method::POST, "/api/rooms", json!({"friendId": [other], "roomName": text})).await;
        assert_eq!((status, &room["roomName"]), (200, &json!(text)), "{room}");
        let path = format!("/api/rooms/{}/messages", room["roomId"].as_str().unwrap());
        let message = json!({"message": text, "clientMessageId": text});
        let (status, reply) = ask(&client, Method::POST, &path, message).await;
        assert_eq!((status, &reply["message"]), (200, &json!(text)), "{reply}");
        let history = read(&client, &path).await.json();
        assert_eq!(history["messages"][0]["message"], json!(text));
        let me = read(&client, "/api/me").await.json();
        assert_eq!((&me["userName"], &me["userStatus"]), (&json!(text), &json!(text)), "{me}");
        // A page's mark and a path are texts as well.
        let escaped: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
        let (status, _) =
            ask(&client, Method::GET, &format!("/api/rooms?after={escaped}"), Value::Null).await;
        assert!((200..500).contains(&status), "{text:?}: {status}");
        for path in [
            format!("/api/rooms/{escaped}/messages"),
            format!("/api/requests/{escaped}"),
            format!("/{escaped}"),
        ] {
            let answer = read(&client, &path).await;
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        }
        assert_eq!(users(), "t");
    }
    // What an address may hold is enough for SQL, and for a template's marks.
    for local in ["x'/**/or/**/'1'='1", "'--", "{{7*7}}", "$1", "|ls|", "`id`"] {
        let (id, email) = (unique("mail"), format!("{local}@example.com"));
        let account = json!({"userId": id, "password": PASSWORD, "email": email, "userName": "x"});
        let client = parley::loadgen::Client::new(gateway);
        let (status, reply) = ask(&client, Method::POST, "/api/users", account).await;
        assert_eq!((status, &reply["user"]["email"]), (200, &json!(email)), "{reply}");
        let stored = running.chat.database.sql(&format!("SELECT email FROM users WHERE user_id = '{id}'"));
        assert_eq!(stored, email);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_would_grow_are_refused() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let client = user(gateway, &unique("bomb")).await;
    let deep = "[".repeat(30_000);
    let nested = format!("{{\"status\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let big_number = format!("{{\"seq\": 1e{}}}", "9".repeat(5_000));
    let keys = (0..2_000).map(|n| format!("\"k{n}\":0,")).collect::<String>();
    let many = format!("{{{keys}\"status\":\"x\"}}");
    let same = format!("{{{}\"status\":\"x\"}}", "\"status\":\"y\",".repeat(2_000));
    let room = format!("/api/rooms/{}/read", uuid::Uuid::nil());
    for (path, body) in [
        ("/api/me/status", deep),
        ("/api/me/status", nested),
        (room.as_str(), big_number),
        ("/api/me/status", same),
        ("/api/me/status", "x".repeat(40_000)),
    ] {
        let shown: String = body.chars().take(20).collect();
        let answer = client.send(Method::PUT, path, &[], Some(body)).await.unwrap();
        assert!((400..500).contains(&answer.status), "{shown}: {}", answer.status);
    }
    // Fields that nobody knows are either taken for nothing or refused: never kept.
    let answer = eventually("the worker's answer", || async {
        let wait = [("prefer", "wait=20")];
        let answer = client.send(Method::PUT, "/api/me/status", &wait, Some(many.clone())).await.unwrap();
        (![202, 503].contains(&answer.status)).then_some(answer)
    })
    .await;
    assert!(answer.status == 200 || answer.status == 422, "{}", answer.status);
    assert_eq!(read(&client, "/api/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_session_opens_nothing_and_a_login_tells_no_names() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let id = unique("fix");
    user(gateway, &id).await;
    // Eve gets a token from the page and plants it in Amy's browser; Amy logs in there.
    let eve = parley::loadgen::Client::new(gateway);
    eve.get("/").await.unwrap();
    let planted = eve.cookie().expect("the page gives one");
    let amy = parley::loadgen::Client::new(gateway);
    amy.set_cookie(Some(planted.clone()));
    let (status, _) =
        ask(&amy, Method::POST, "/api/session", json!({"userId": id, "password": PASSWORD})).await;
    assert_eq!(status, 200);
    assert_ne!(amy.cookie(), Some(planted), "a login always gives a new token");
    assert_eq!(read(&amy, "/api/me").await.json()["userId"], json!(id));
    assert_eq!(read(&eve, "/api/me").await.status, 401, "the planted one is nobody's");
    // The wrong password of somebody and any password of nobody read alike.
    let attempt = async |who: String| {
        let client = parley::loadgen::Client::new(gateway);
        let body = json!({"userId": who, "password": "not the password"});
        let (status, mut problem) = ask(&client, Method::POST, "/api/session", body).await;
        let fields = problem.as_object_mut().expect("a problem");
        // What the caller has said.
        fields.remove("requestId");
        fields.remove("userId");
        (status, problem)
    };
    assert_eq!(attempt(id).await, attempt(unique("ghost")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_away_from_the_gateway() {
    let running = Chat::shared().await;
    let gateway = running.gateways[0].1;
    let id = unique("lead");
    let client = user(gateway, &id).await;
    let paths = [
        "//evil.example/",
        "/\\evil.example",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/.%2e/evil.example",
        "/?next=https://evil.example",
        "/login?next=//evil.example",
        "/api/session?redirect_uri=https://evil.example",
        "/api/events/..//evil.example",
        "/assets//evil.example",
        "https://evil.example/api/me",
    ];
    let claims: [&[(&str, &str)]; 4] = [
        &[],
        &[("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")],
        &[("forwarded", "host=evil.example"), ("x-original-url", "//evil.example")],
        &[("referer", "https://evil.example/"), ("accept", "text/html")],
    ];
    for path in paths {
        for headers in claims {
            for method in [Method::GET, Method::HEAD] {
                // A target that is no target is refused before it is sent, or by the server.
                let Ok(answer) = client.send(method.clone(), path, headers, None).await else { continue };
                let what = format!("{method} {path} {headers:?}: {} {:?}", answer.status, answer.headers);
                assert!(!(300..400).contains(&answer.status) && answer.status < 500, "{what}");
                for header in ["location", "refresh", "link", "content-location"] {
                    assert!(!answer.headers.contains_key(header), "{what}");
                }
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(!text.contains("evil.example"), "{what} {text}");
            }
        }
    }
    assert_eq!(read(&client, "/api/me").await.json()["userId"], json!(id), "and the session is unharmed");
}
