//! What whoever reads Kafka or PostgreSQL finds: no session token, and no password, in whatever way they might be written.

use std::{collections::BTreeSet, net::Ipv4Addr, ops::ControlFlow};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use hyper::Method;
use parley::{
    ids::SessionToken,
    kafka::{
        KafkaSettings,
        scan::{From, Scan},
    },
    loadgen::Client,
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};
use serde_json::{Value, json};

use crate::{
    fixtures::{Chat, Database, read, unique},
    path::{ask, listen, user},
};

/// A secret in every way in which it might be written.
struct Needle {
    what: &'static str,
    plain: Vec<u8>,
    encoded: Vec<String>,
}

impl Needle {
    fn new(what: &'static str, bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut encoded = vec![hex.to_uppercase(), hex];
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            // Its letters depend on how many bytes stand before it, but for those at either end, which also tell of its neighbours.
            for before in 0..3 {
                let text = engine.encode([&[0; 2][..before], bytes].concat());
                encoded.push(text[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6].to_owned());
            }
        }
        Self { what, plain: bytes.to_vec(), encoded }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        // What is no text is compared as it is.
        let plain = match str::from_utf8(&self.plain) {
            Ok(plain) => text.contains(plain),
            Err(_) => bytes.windows(self.plain.len()).any(|window| window == self.plain),
        };
        plain || self.encoded.iter().any(|encoded| text.contains(encoded))
    }
}

/// Everything in all topics that holds one of these, as `topic: what`.
fn in_topics(bootstrap: &str, needles: &[Needle]) -> BTreeSet<String> {
    let mut topics: Vec<&str> =
        Kind::ALL.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]).collect();
    topics.extend([CHAT_EVENT, DEAD_LETTER]);
    let settings = KafkaSettings::plaintext(bootstrap);
    let scan = Scan::start(&settings, &topics, From::Beginning).expect("the broker answers");
    let mut found = BTreeSet::new();
    scan.to_end(|view| {
        let record = &view.record;
        let headers = record.headers.iter().flat_map(|(name, value)| [name.as_bytes(), *value]);
        for part in [record.key, record.value].into_iter().chain(headers) {
            let held = needles.iter().filter(|needle| needle.is_in(part));
            found.extend(held.map(|needle| format!("{}: {}", record.topic, needle.what)));
        }
        ControlFlow::Continue(())
    })
    .expect("all of it is read");
    found
}

/// The same in every column of all tables.
fn in_tables(database: &Database, needles: &[Needle]) -> BTreeSet<String> {
    let tables = database.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    );
    assert!(tables.lines().count() >= 10, "{tables}");
    let mut found = BTreeSet::new();
    for table in tables.lines() {
        let rows = database.sql(&format!("SELECT t::text FROM {table} t"));
        let held = needles.iter().filter(|needle| needle.is_in(rows.as_bytes()));
        found.extend(held.map(|needle| format!("{table}: {}", needle.what)));
    }
    found
}

#[test]
fn the_search_finds_what_is_written_in_any_of_the_ways() {
    let needle = Needle::new("a secret", b"of-more-than-a-few-letters");
    let hex: String = needle.plain.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(needle.is_in(b"{\"x\":\"of-more-than-a-few-letters\"}") && needle.is_in(hex.as_bytes()));
    assert!(needle.is_in(format!("\\x{}00", hex.to_uppercase()).as_bytes()));
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}of-more-than-a-few-letters{before}");
        assert!(needle.is_in(STANDARD_NO_PAD.encode(&text).as_bytes()), "{text}");
        assert!(needle.is_in(format!("x\0{}", URL_SAFE_NO_PAD.encode(&text)).as_bytes()), "{text}");
    }
    assert!(!needle.is_in(b"of-more-than-a-few-lettres"));
    let raw = Needle::new("bytes", &[0xfb; 32]);
    assert!(raw.is_in(&[&[1][..], &[0xfb; 40]].concat()) && !raw.is_in(&[0xfb; 31]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_password_is_in_any_topic_or_table() {
    let running = Chat::shared().await;
    let [(_, one), (_, two)] = &running.gateways;
    let (id, friend) = (unique("vault"), unique("amigo"));
    user(*two, &friend).await;
    let (password, said) = (unique("marker-password"), unique("said"));
    // Its wrong password counts against an address of its own.
    let client = Client::new(*one).coming_from(Ipv4Addr::new(127, 7, 7, 7));
    let mut tokens = BTreeSet::new();
    let mut keep = || {
        let cookie = client.cookie().expect("a cookie");
        tokens.insert(cookie.split_once('=').expect("a name").1.to_owned());
    };
    let done = async |method: Method, path: &str, body: Value| {
        let (status, reply) = ask(&client, method, path, body).await;
        assert_eq!(status, 200, "{path}: {reply}");
        reply
    };

    let account =
        json!({"userId": id, "password": password, "email": format!("{id}@example.com"), "userName": id});
    done(Method::POST, "/api/users", account).await;
    keep();
    let wrong = json!({"userId": id, "password": format!("{password}-wrong")});
    assert_eq!(ask(&client, Method::POST, "/api/session", wrong).await.0, 401);
    let credentials = json!({"userId": id, "password": password});
    done(Method::POST, "/api/session", credentials.clone()).await;
    keep();
    let (_stream, hello) = listen(&client).await;
    assert!(hello.data.contains(&id), "{}", hello.data);
    // Every conversation that has a session.
    done(Method::PUT, "/api/me/status", json!({"status": said})).await;
    done(Method::POST, "/api/friends", json!({"friendId": [friend]})).await;
    let room = done(Method::POST, "/api/rooms", json!({"friendId": [friend]})).await;
    let room = format!("/api/rooms/{}", room["roomId"].as_str().expect("an id"));
    done(Method::POST, &format!("{room}/messages"), json!({"message": said})).await;
    done(Method::GET, "/api/rooms", Value::Null).await;
    done(Method::GET, "/api/friends", Value::Null).await;
    for path in ["/api/me", &format!("{room}/messages")] {
        assert_eq!(read(&client, path).await.status, 200, "{path}");
    }
    done(Method::DELETE, &format!("{room}/members/me"), Value::Null).await;
    done(Method::DELETE, "/api/session?everywhere=true", Value::Null).await;
    done(Method::POST, "/api/session", credentials).await;
    keep();
    assert_eq!(read(&client, "/api/me").await.json()["userId"], json!(id));

    let mut secrets = vec![Needle::new("the password", password.as_bytes())];
    let mut keys = Vec::new();
    assert_eq!(tokens.len(), 3, "one of the sign-up, and one of each login");
    for token in &tokens {
        let raw = URL_SAFE_NO_PAD.decode(token).expect("base64url");
        secrets.push(Needle::new("a token's text", token.as_bytes()));
        secrets.push(Needle::new("a token's bytes", &raw));
        keys.push(token.parse::<SessionToken>().expect("a token").key());
    }
    // What is known to be there: what was said, and the hash of each token.
    let mut stored = vec![Needle::new("what was said", said.as_bytes())];
    stored.extend(keys.iter().map(|key| Needle::new("a session key", &key.0)));
    let (kafka, database) = (running.chat.kafka.bootstrap(), &running.chat.database);
    let (topics, tables) = (in_topics(&kafka, &stored), in_tables(database, &stored));
    for place in [
        "login-request: a session key",
        "login-response: a session key",
        "user-add-chat-request: what was said",
        "chat-event: what was said",
    ] {
        assert!(topics.contains(place), "{place} is not among {topics:?}");
    }
    for place in [
        "public.sessions: a session key",
        "public.inbox: a session key",
        "public.messages: what was said",
        "public.users: what was said",
    ] {
        assert!(tables.contains(place), "{place} is not among {tables:?}");
    }
    let found = (in_topics(&kafka, &secrets), in_tables(database, &secrets));
    assert_eq!(found, Default::default(), "in topics, and in tables");
}
