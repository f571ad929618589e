//! Every limit as a client meets it: streams are answered 200 with the time to come back, which no EventSource gives up at, and let
//! in later; requests are answered 429.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::join_all;
use hyper::Method;
use parley::{
    ids::RequestId,
    loadgen::{Answer, Client},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::kit::{Ear, Kit, Person, call};
use crate::fixtures::{eventually, read, unique};

/// Opens a stream that is refused; gives how long the browser is told to wait.
async fn refused(person: &Person, kit: &Kit) -> Duration {
    let mut ear = Ear::open(person, kit.addr(0), None).await;
    ear.run_out().await;
    Duration::from_millis(ear.heard.last().and_then(|block| block.retry).expect("a time to come back"))
}

async fn refusals(kit: &Kit, gateway: usize, limit: &str) -> f64 {
    kit.gateways[gateway].0.metric("parley_sse_refused_total", &[&format!("\"{limit}\"")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_user_and_of_all_are_bounded_and_the_waits_grow() {
    let kit = Kit::own(1, &[("PARLEY_MAX_STREAMS", "3"), ("PARLEY_MAX_STREAMS_PER_USER", "2")]).await;
    let (amy, ben, eve) = (kit.person("amy"), kit.person("ben"), kit.person("eve"));
    let first = Ear::live(&amy, kit.addr(0), None).await;
    let _second = Ear::live(&amy, kit.addr(0), None).await;
    refused(&amy, &kit).await;
    assert_eq!(refusals(&kit, 0, "streams_per_user").await, 1.0);
    // Whoever was refused has ended before its place is free.
    eventually("two streams", || async {
        (kit.gateways[0].0.metric("parley_sse_connections", &[]).await == 2.0).then_some(())
    })
    .await;
    let _third = Ear::live(&ben, kit.addr(0), None).await;
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(refused(&eve, &kit).await);
    }
    assert_eq!(refusals(&kit, 0, "streams").await, 4.0);
    // Twice as long each time, half to one and a half of that: the fourth lies above any first.
    assert!(waits[3] > waits[0] && waits[0] >= Duration::from_secs(1), "{waits:?}");
    drop(first);
    eventually("a place", || async {
        let mut ear = Ear::open(&eve, kit.addr(0), None).await;
        while let Some(block) = ear.next().await {
            if block.event == "hello" {
                return Some(());
            }
        }
        None
    })
    .await;
}

/// A stream of a new browser that a proxy says comes from `address`: open, or refused.
async fn from(kit: &Kit, gateway: usize, address: &str) -> (TcpStream, bool) {
    let mut socket = TcpStream::connect(kit.addr(gateway)).await.unwrap();
    let head = format!("GET /api/events HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {address}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 1_024]);
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), socket.read(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("{address}: no answer beyond {text:?}")).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        // The end of a chunked body.
        if text.contains("event: hello") || text.ends_with("0\r\n\r\n") || read == 0 {
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("retry: "), "{text}");
            return (socket, text.contains("event: hello"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_an_address_are_bounded_and_the_address_is_the_trusted_proxys_word() {
    let limits = [("PARLEY_MAX_UNKNOWN_STREAMS_PER_ADDRESS", "2"), ("PARLEY_MAX_STREAMS_PER_ADDRESS", "3")];
    let mut kit =
        Kit::own(1, &[limits[0], limits[1], ("PARLEY_CLIENT_ADDRESS_HEADER", "X-Forwarded-For")]).await;
    let (plain, addr) = kit.chat.gateway(&limits);
    kit.gateways.push((plain.ready().await, addr));
    let mut open = Vec::new();
    // What the client itself claims stands before what the proxy adds, and does not count.
    for (address, welcome) in [
        ("10.0.0.1", true),
        ("10.0.0.1", true),
        ("10.0.0.1", false),
        ("10.0.0.2, 10.0.0.1", false),
        ("10.0.0.1, 10.0.0.2", true),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
    ] {
        let (socket, hello) = from(&kit, 0, address).await;
        assert_eq!(hello, welcome, "{address}");
        open.push(socket);
    }
    assert_eq!(refusals(&kit, 0, "unknown_streams_per_address").await, 3.0);
    // Without a trusted proxy the header is anybody's word.
    for (address, welcome) in [("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.3", false)] {
        let (socket, hello) = from(&kit, 1, address).await;
        assert_eq!(hello, welcome, "{address}");
        open.push(socket);
    }
    // Sessions that are open count for their address alone.
    drop(open);
    let amy = kit.person("amy");
    let mut ears = Vec::new();
    eventually("the address to be free", || async {
        (kit.gateways[1].0.metric("parley_sse_connections", &[]).await == 0.0).then_some(())
    })
    .await;
    for _ in 0..3 {
        ears.push(Ear::live(&amy, kit.addr(1), None).await);
    }
    let mut fourth = Ear::open(&amy, kit.addr(1), None).await;
    fourth.run_out().await;
    assert_eq!((fourth.count("hello"), refusals(&kit, 1, "streams_per_address").await), (0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_streams_a_second_are_bounded_and_all_get_in_at_last() {
    let kit = Kit::own(1, &[("PARLEY_MAX_CONNECTS_PER_SECOND", "1")]).await;
    let amy = kit.person("amy");
    // Side by side, and again where the machine is so slow that a dozen take longer than the bucket to fill.
    eventually("a refusal", || async {
        join_all((0..12).map(|_| Ear::open(&amy, kit.addr(0), None))).await;
        (refusals(&kit, 0, "connects_per_second").await >= 1.0).then_some(())
    })
    .await;
    eventually("a turn", || async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut ear = Ear::open(&amy, kit.addr(0), None).await;
        (ear.next().await.is_some() && ear.next().await.is_some()).then_some(())
    })
    .await;
}

/// Asks until there is a 429; gives how often it was taken, which is told with this status. A slow machine asks hardly faster than
/// the bucket fills, so it may ask often.
async fn until_limited(what: &str, status: u16, ask: impl AsyncFn() -> Answer) -> usize {
    for n in 0..200 {
        let answer = ask().await;
        if answer.status == 429 {
            let problem = answer.json();
            assert_eq!((&problem["code"], &problem["status"]), (&json!("rate_limited"), &json!(429)));
            let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!(after >= 1, "{after}");
            return n;
        }
        assert_eq!(answer.status, status, "{what}: {}", answer.json());
    }
    panic!("{what} was never limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_user_messages_to_a_room_and_sign_ins_of_an_address_are_bounded() {
    let one = |name| (name, "1");
    let settings = [one("PARLEY_SIGN_INS_PER_ADDRESS"), one("PARLEY_MESSAGES_PER_ROOM")];
    let mut kit = Kit::own(1, &settings).await;
    let (strict, addr) = kit.chat.gateway(&[one("PARLEY_REQUESTS_PER_USER")]);
    kit.gateways.push((strict.ready().await, addr));
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));

    let at = amy.client.at(kit.addr(1));
    let change = async || call(&at, Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await;
    let taken = until_limited("a user", 202, change).await;
    assert!(taken >= 4, "four seconds' worth at once: {taken}");
    let other = ben.client.at(kit.addr(1));
    let answer = call(&other, Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await;
    assert_eq!(answer.status, 202, "others are not touched");

    let (room, elsewhere) = (kit.room(&[&amy, &ben]), kit.room(&[&amy]));
    let path = format!("/api/rooms/{room}/messages");
    let say = async || call(&amy.client, Method::POST, &path, &[], &json!({"message": "x"})).await;
    let taken = until_limited("a room", 202, say).await;
    assert!(taken >= 4, "{taken}");
    let path = format!("/api/rooms/{elsewhere}/messages");
    let answer = call(&amy.client, Method::POST, &path, &[], &json!({"message": "x"})).await;
    assert_eq!(answer.status, 202, "other rooms are not touched");

    let nobody = Client::new(kit.addr(0));
    let sign_up = async || {
        let account =
            json!({"userId": unique("new"), "password": "long enough", "email": "a@b.cd", "userName": "x"});
        call(&nobody, Method::POST, "/api/users", &[], &account).await
    };
    let taken = until_limited("an address", 202, sign_up).await;
    assert!(taken >= 4, "{taken}");
    for limit in ["messages_per_room", "sign_ins_per_address"] {
        let label = format!("\"{limit}\"");
        assert_eq!(kit.gateways[0].0.metric("parley_limited_total", &[&label]).await, 1.0, "{limit}");
    }
}

/// Whatever a user reads counts as what they change does: neither database nor Kafka is had for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_user_are_bounded_like_changes() {
    let kit = Kit::own(1, &[("PARLEY_REQUESTS_PER_USER", "1")]).await;
    let reads = [
        ("/api/me", 200),
        ("/api/rooms/ROOM/messages", 200),
        ("/api/rooms/ROOM/messages?before=1&limit=100", 200),
        ("/api/requests/REQUEST", 202),
        ("/api/rooms", 202),
        ("/api/friends?limit=100", 202),
    ];
    for (path, status) in reads {
        // Each path by people of its own: nothing is taken from their share yet.
        let (amy, ben) = (kit.person("amy"), kit.person("ben"));
        let room = kit.room(&[&amy, &ben]).to_string();
        let path = path.replace("ROOM", &room).replace("REQUEST", &RequestId::fresh().to_string());
        let taken = until_limited(&path, status, async || read(&amy.client, &path).await).await;
        assert!(taken >= 4, "four seconds' worth at once: {path}: {taken}");
        assert_eq!(read(&ben.client, &path).await.status, status, "others are not touched: {path}");
    }
}

/// Nobody answers here: a call that waits for its reply is held for as long as it wants.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_one_user_lets_wait_are_bounded_and_others_are_served() {
    const CALLS: usize = 60;
    let kit = Kit::own(1, &[("PARLEY_REQUESTS_PER_USER", "1")]).await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    // From here on the sessions are known and the broker is met: neither refuses any of these in place of the limit.
    for client in [&amy.client, &ben.client] {
        call(client, Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await;
    }
    let start = Instant::now();
    let answered: Arc<Mutex<Vec<u16>>> = Arc::default();
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let (client, answered) = (amy.client.clone(), Arc::clone(&answered));
        calls.spawn(async move {
            let longest = [("prefer", "wait=30")];
            let answer = if n % 2 == 0 {
                client.send(Method::GET, "/api/rooms", &longest, None).await
            } else {
                client.json(Method::PUT, "/api/me/status", &longest, &json!({"status": "x"})).await
            };
            answered.lock().unwrap().push(answer.expect("an answer").status);
        });
    }
    let count = |status: u16| answered.lock().unwrap().iter().filter(|told| **told == status).count();
    let held = eventually("each call to be refused or held", || async {
        let held = kit.gateways[0].0.metric("parley_pending_requests", &[]).await as usize;
        (answered.lock().unwrap().len() + held >= CALLS).then_some(held)
    })
    .await;
    // Four at once, and one for each second; on a machine that is slow the first have waited in vain by now.
    let most = 5 + start.elapsed().as_secs() as usize;
    assert!(held + count(202) <= most, "{held} are held, {} refused, {most} are the most", count(429));
    assert!(held + count(202) >= 1, "some are held");
    assert_eq!(read(&ben.client, "/api/me").await.status, 200);
    let status = json!({"status": "x"});
    let answer = call(&ben.client, Method::PUT, "/api/me/status", &[("prefer", "wait=1")], &status).await;
    assert_eq!(answer.status, 202, "a call of somebody else is held and let go");
}
