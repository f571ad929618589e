//! Everything that a gateway can say, recorded from one and said again to Chromium and five parsers that know nothing of us, in pieces
//! that are cut inside of letters: what they read is what our own strict parser reads.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parley::{
    ids::{RequestId, RoomId, UserId},
    loadgen::{Message, Parser},
    wire::{Body, Event, FriendEntry, Kind, Reply},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use super::{
    kit::{Kit, Person, strange_texts},
    parsers::{PARSERS, Read, parse},
};
use crate::fixtures::{DEADLINE, eventually};

/// In the data of `reconnect`, which ends the recording.
const END: &str = "afterMs";

/// Ends the head of an answer.
const HEAD: &str = "\r\n\r\n";

/// The bytes of a stream, as they come.
struct Tap {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Tap {
    /// Asks for a stream in HTTP/1.0, whose body has no frames of its own.
    async fn open(kit: &Kit, person: &Person, cursor: Option<&str>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What a client that does not read takes all the same.
        socket.set_recv_buffer_size(4_096).unwrap();
        let socket = socket.connect(kit.addr(0)).await.unwrap();
        let mut tap = Self { socket, bytes: Vec::new() };
        let cookie = person.client.cookie().unwrap();
        let cursor = cursor.map(|cursor| format!("last-event-id: {cursor}\r\n")).unwrap_or_default();
        let head = format!("GET /api/events HTTP/1.0\r\nhost: x\r\ncookie: {cookie}\r\n{cursor}\r\n");
        tap.socket.write_all(head.as_bytes()).await.unwrap();
        tap.until(HEAD).await;
        let text = String::from_utf8_lossy(&tap.bytes).into_owned();
        let (head, _) = text.split_once(HEAD).unwrap();
        assert!(head.contains(" 200 ") && !head.contains("chunked"), "{head}");
        tap.bytes.drain(..head.len() + HEAD.len());
        tap
    }

    /// Opens the stream and reads up to what says that it has begun, as often as it takes: a gateway that cannot say whose it is (a
    /// database that is slow) tells to come back.
    async fn live(kit: &Kit, person: &Person, cursor: Option<&str>, begun: &str) -> Self {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let mut tap = Self::open(kit, person, cursor).await;
            if tap.reaches(begun).await {
                return tap;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("no {begun:?} within {DEADLINE:?}");
    }

    /// Reads more; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.socket.read_buf(&mut self.bytes)).await;
        read.expect("something comes in time").unwrap() > 0
    }

    /// Reads until this has come, and the event that it is in is whole.
    async fn until(&mut self, what: &str) {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(500)..]).into_owned();
        assert!(self.reaches(what).await, "the stream ended before {what:?}: {}", text(&self.bytes));
    }

    /// Whether it came before the end of the stream.
    async fn reaches(&mut self, what: &str) -> bool {
        loop {
            let text = String::from_utf8_lossy(&self.bytes);
            let whole = |at: usize| what == HEAD || text[at..].contains("\n\n");
            if text.find(what).is_some_and(whole) {
                return true;
            }
            if !self.more().await {
                return false;
            }
        }
    }

    /// Reads to the end.
    async fn all(mut self) -> Vec<u8> {
        while self.more().await {}
        self.bytes
    }

    /// What came, up to the end of the last event that is whole.
    fn whole(mut self) -> Vec<u8> {
        let end = self.bytes.windows(2).rposition(|two| two == b"\n\n").unwrap();
        self.bytes.truncate(end + 2);
        self.bytes
    }
}

/// Events of each kind that other people bring about, and a reply.
async fn everything(kit: &Kit, room: RoomId, amy: &Person, ben: &Person) {
    let events = kit.texts(room, &ben.id, strange_texts());
    let name = |user: &UserId| FriendEntry {
        user_id: user.clone(),
        user_name: "Bén".into(),
        user_status: String::new(),
    };
    let friend = Event::Friend { user_id: amy.id.clone(), friend: name(&ben.id), version: 1 };
    let status = Event::Status { user_id: ben.id.clone(), status: "후".into(), version: 9 };
    kit.produce(&events).await;
    let eve = kit.person("eve");
    kit.produce(&[kit.joined(room, &[amy, ben], &eve, 4)]).await;
    kit.produce(&[friend]).await;
    kit.produce(&[status]).await;
    let reply =
        Reply { user_id: Some(amy.id.clone()), result: Ok(Body::ChangeStatus { status: "ü".into() }) };
    kit.reply(Kind::ChangeStatus, amy.key, RequestId::fresh(), &reply).await;
}

/// Every event of the contract, in the bytes of a gateway.
async fn recording(kit: &Kit) -> Vec<u8> {
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    kit.chat.database.sql(&format!(
        "INSERT INTO friendships (user_id, friend_id, since) VALUES ('{}', '{}', now())",
        amy.id, ben.id
    ));
    let room = kit.room(&[&amy, &ben]);
    let mut tap = Tap::live(kit, &amy, Some("no-cursor"), "event: resync").await;
    // It is read all the time, or it would be found slow.
    let read = async {
        // In the last of the messages.
        tap.until("id: z").await;
        for event in ["room", "friend", "status", "reply", "cursor"] {
            tap.until(&format!("event: {event}\n")).await;
        }
    };
    tokio::join!(everything(kit, room, &amy, &ben), read);
    let mut bytes = tap.whole();

    let busy = kit.room(&[&amy]);
    let slow = Tap::live(kit, &amy, None, "\"userId\":\"").await;
    // More than the queue and the sockets' buffers take.
    kit.produce(&kit.texts(busy, &amy.id, vec!["x".repeat(16_000); 40])).await;
    eventually("the gateway to find it slow", || async {
        (kit.gateways[0].0.metric("parley_sse_closed_total", &["slow"]).await >= 1.0).then_some(())
    })
    .await;
    bytes.extend(slow.all().await);
    let cursor = last_id(&bytes);

    let tap = Tap::live(kit, &amy, Some(&cursor), "event: resumed").await;
    kit.gateways[0].0.signal("TERM");
    bytes.extend(tap.all().await);
    bytes
}

fn last_id(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned()
}

/// Cut after every byte of a letter of several, and after every line: no reader sees a whole one at once.
fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| !byte.is_ascii() || *byte == b'\n').collect()
}

/// The next request for the stream, and when it came. What else a browser asks for is an empty page, and a connection that it opens
/// ahead of time is let be.
async fn asked(listener: &TcpListener) -> (Instant, TcpStream) {
    let mut connections = JoinSet::new();
    let asked = async {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut socket, _) = accepted.unwrap();
                    connections.spawn(async move {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            if socket.read_buf(&mut head).await.ok()? == 0 {
                                return None;
                            }
                        }
                        if head.starts_with(b"GET /api/events ") {
                            return Some((Instant::now(), socket));
                        }
                        let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        socket.write_all(page).await.ok()?;
                        None
                    });
                }
                Some(asked) = connections.join_next() => {
                    if let Some(asked) = asked.unwrap() {
                        return asked;
                    }
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("somebody comes")
}

/// Answers one request with this stream, each piece in a chunk of its own, and ends the connection when `ends`.
async fn serve(listener: &TcpListener, bytes: &[u8], ends: bool) -> (Instant, TcpStream) {
    let (at, mut socket) = asked(listener).await;
    socket.set_nodelay(true).unwrap();
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces(bytes) {
        answer.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        answer.extend(piece);
        answer.extend(b"\r\n");
    }
    if ends {
        answer.extend(b"0\r\n\r\n");
    }
    // A parser that has what it waits for leaves.
    let _ = socket.write_all(&answer).await;
    (at, socket)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// What a parser should dispatch: name, data and the id that the event itself carries.
fn dispatched(block: &Message) -> Option<Read> {
    match block.event.as_str() {
        // A time to wait; or a heartbeat, whose event says nothing but its id.
        "" if block.retry.is_some() => None,
        "" => Some(("cursor".into(), "{}".into(), block.id.clone())),
        "slow" | "reconnect" => Some((block.event.clone(), block.data.clone(), None)),
        name => Some((name.to_owned(), block.data.clone(), block.id.clone())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_parsers_and_chromium_read_every_event_alike_though_letters_are_cut() {
    let settings = [("PARLEY_HEARTBEAT_SECONDS", "1"), ("PARLEY_STREAM_QUEUE_KIB", "64")];
    let kit = Kit::own(1, &settings).await;
    let bytes = recording(&kit).await;
    let mut own = VecDeque::new();
    let mut parser = Parser::default();
    parser.push(&bytes, &mut own).expect("our own grammar");
    parser.end().expect("whole events");
    let names = [
        "hello",
        "resumed",
        "resync",
        "reply",
        "message",
        "room",
        "friend",
        "status",
        "slow",
        "reconnect",
        "",
    ];
    for name in names {
        assert!(own.iter().any(|block| block.event == name), "{name:?} is not in the recording");
    }
    let inside = pieces(&bytes).iter().filter(|piece| std::str::from_utf8(piece).is_err()).count();
    assert!(inside > 10_000, "cuts inside of letters: {inside}");
    let want: Vec<Read> = own.iter().filter_map(dispatched).collect();
    let retries: Vec<String> = own.iter().filter_map(|block| Some(block.retry?.to_string())).collect();
    let alone = own.iter().filter(|block| block.event.is_empty() && block.retry.is_some()).count();

    for parser in PARSERS.into_iter().chain(["chromium"]) {
        let (listener, addr) = listen().await;
        let url = format!("http://{addr}/api/events");
        let (read, _open) =
            tokio::join!(parse(parser, &url, "a=b", END, false), serve(&listener, &bytes, false));
        let (told, read): (Vec<Read>, Vec<Read>) = read.into_iter().partition(|(name, ..)| name == "retry");
        let (empty, mut read): (Vec<Read>, Vec<Read>) =
            read.into_iter().partition(|(_, data, _)| data.is_empty());
        // By the standard a block without data is no event; httpx-sse makes one of a lone time to wait.
        let allowed = if parser == "httpx-sse" { alone } else { 0 };
        assert_eq!(empty.len(), allowed, "{parser}: events without data: {empty:?}");
        for (name, _, id) in &mut read {
            // Some give such an event the last id there was.
            if ["slow", "reconnect"].contains(&name.as_str()) {
                *id = None;
            }
        }
        let differs = read.iter().zip(&want).position(|(read, want)| read != want);
        assert!(
            read.len() == want.len() && differs.is_none(),
            "{parser}: {} of {} events, number {differs:?} differs",
            read.len(),
            want.len()
        );
        let told: Vec<&String> = told.iter().map(|(_, told, _)| told).collect();
        match parser {
            "eventsource-parser" | "httpx-sse" => {
                assert_eq!(told, retries.iter().collect::<Vec<_>>(), "{parser}")
            }
            // It tells a time with an event only.
            "sseclient-py" => assert_eq!(told.last(), Some(&retries.last().unwrap()), "{parser}"),
            // Theirs is for themselves: below.
            _ => assert!(told.is_empty()),
        }
    }
}

/// What a refused stream is told makes those that reconnect by themselves wait for longer than they would of their own.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_come_back_is_kept_by_those_that_come_back() {
    let kit = Kit::own(1, &[("PARLEY_MAX_STREAMS", "0")]).await;
    let (mut amy, mut refusals) = (kit.person("amy"), 0);
    let (refusal, told) = loop {
        // Each refusal tells more, and at last too much for a test.
        if refusals % 5 == 0 {
            amy = kit.person("amy");
        }
        refusals += 1;
        let bytes = Tap::open(&kit, &amy, None).await.all().await;
        let mut blocks = VecDeque::new();
        Parser::default().push(&bytes, &mut blocks).expect("our own grammar");
        let told = Duration::from_millis(blocks[0].retry.expect("a time"));
        // They wait three seconds when nobody tells them.
        if told > Duration::from_secs(5) && told < Duration::from_secs(20) {
            break (bytes, told);
        }
    };
    let end = b"event: status\ndata: {\"afterMs\":1}\nid: v1.a\n\n";
    let wait = async |parser: &'static str| {
        let (listener, addr) = listen().await;
        let url = format!("http://{addr}/api/events");
        let twice = async {
            let (first, _) = serve(&listener, &refusal, true).await;
            let (second, open) = serve(&listener, end, false).await;
            (second - first, open)
        };
        let (read, (waited, _open)) = tokio::join!(parse(parser, &url, "a=b", END, true), twice);
        assert_eq!(read.len(), 1, "{parser}: {read:?}");
        assert!(waited >= told.mul_f64(0.95), "{parser} waited {waited:?}, was told {told:?}");
    };
    tokio::join!(wait("eventsource"), wait("undici"), wait("chromium"));
}
