//! Five parsers that know nothing of us, and a real Chromium, read every byte alike.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use parley::{loadgen::Message, wire::Event};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::kit::{Ear, Kit, strange_texts};
use crate::fixtures::{DEADLINE, eventually, root};

/// The last event's data holds this.
const END: &str = "the-end-of-it";

fn folder() -> PathBuf {
    root().join("tests/it/gateway/foreign")
}

/// Where the parsers are installed.
pub(super) async fn foreign() -> PathBuf {
    let output =
        Command::new(folder().join("prepare.sh")).stderr(Stdio::inherit()).output().await.expect("bash runs");
    assert!(output.status.success(), "the parsers cannot be fetched: see the lines above");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Those that read ids as the standard has them, those that give an event its own id alone, and one that makes an event of a time to
/// wait, which the standard forbids.
pub(super) const PARSERS: [&str; 5] =
    ["eventsource", "undici", "eventsource-parser", "sseclient-py", "httpx-sse"];

/// An event as a parser gives it: name, data, id. Where a parser tells a time to wait, that comes as an event `retry` of ours.
pub(super) type Read = (String, String, Option<String>);

/// What one parser read up to the event whose data holds `end`. `back`: when the stream ends before, it comes back by itself.
pub(super) async fn parse(parser: &str, url: &str, cookie: &str, end: &str, back: bool) -> Vec<Read> {
    loop {
        let (status, events) = once(parser, url, cookie, end, back).await;
        // A gateway that cannot say whose a stream is has it come again, which is ours to do here.
        let early = status.code() == Some(3) && events.iter().all(|(name, ..)| name == "retry");
        if back || !early {
            assert!(status.success(), "{parser}: {status}");
            return events;
        }
    }
}

/// One run of it: how it ended, and what it read.
async fn once(parser: &str, url: &str, cookie: &str, end: &str, back: bool) -> (ExitStatus, Vec<Read>) {
    let installed = foreign().await;
    let mut command = if parser.contains("httpx") || parser.contains("client") {
        let mut python = Command::new(installed.join("venv/bin/python"));
        python.arg(folder().join("read.py"));
        python
    } else {
        let mut node = Command::new("node");
        node.arg(folder().join("read.mjs"));
        node
    };
    let mut child = command
        .args([parser, url, cookie, end])
        .env("PARSERS", &installed)
        .env("WEB", root().join("web"))
        .env("BACK", if back { "1" } else { "" })
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the parser runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events: Vec<Read> = Vec::new();
    let all = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            events.push(serde_json::from_str(&line).unwrap());
        }
        child.wait().await.unwrap()
    };
    let status =
        tokio::time::timeout(DEADLINE * 2, all).await.unwrap_or_else(|_| panic!("{parser} does not end"));
    (status, events)
}

/// Streams of this gateway that hear everything.
async fn streams(kit: &Kit) -> f64 {
    kit.gateways[0].0.metric("parley_sse_connections", &["live"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn five_parsers_read_every_byte_alike() {
    let kit = Kit::own(1, &[("PARLEY_HEARTBEAT_SECONDS", "1")]).await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    kit.chat.database.sql(&format!(
        "INSERT INTO friendships (user_id, friend_id, since) VALUES ('{}', '{}', now())",
        amy.id, ben.id
    ));
    let room = kit.room(&[&amy, &ben]);
    let speak = async {
        eventually("all streams", || async { (streams(&kit).await >= 6.0).then_some(()) }).await;
        kit.produce(&kit.texts(room, &ben.id, strange_texts())).await;
        // Four heartbeats for each, or two for one of them at the least, and then the end.
        let beats = || kit.gateways[0].0.metric("parley_sse_events_total", &["\"heartbeat\""]);
        let before = beats().await;
        eventually("heartbeats", || async { (beats().await >= before + 24.0).then_some(()) }).await;
        kit.produce(&[Event::Status { user_id: ben.id.clone(), status: END.into(), version: 2 }]).await;
    };
    let own = async {
        let mut ear = Ear::live(&amy, kit.addr(0), None).await;
        ear.until("the end", |block| block.data.contains(END)).await;
        ear.heard
    };
    let url = format!("http://{}/api/events", kit.addr(0));
    let cookie = amy.client.cookie().unwrap();
    let all = futures::future::join_all(PARSERS.map(|parser| parse(parser, &url, &cookie, END, false)));
    let (own, all, ()) = tokio::join!(own, all, speak);
    let beats = own.iter().filter(|block| block.event.is_empty() && block.id.is_some()).count();
    assert!(beats >= 2, "heartbeats were among it: {beats}");
    let data = |blocks: &[Arc<Message>]| -> Vec<Read> {
        let events = blocks.iter().filter(|block| !block.data.is_empty() && block.event != "hello");
        events.map(|block| (block.event.clone(), block.data.clone(), block.id.clone())).collect()
    };
    let want = data(&own);
    assert_eq!(want.len(), 5);
    for (parser, events) in PARSERS.iter().zip(all) {
        let (beats, events): (Vec<Read>, Vec<Read>) =
            events.into_iter().partition(|(name, ..)| name == "cursor");
        assert!(beats.len() >= 2, "{parser} heard {} heartbeats", beats.len());
        assert!(beats.iter().all(|(_, data, id)| data == "{}" && id.is_some()), "{parser}: {beats:?}");
        let events = events.into_iter().filter(|(name, ..)| name != "retry");
        let (empty, events): (Vec<Read>, Vec<Read>) = events.partition(|(_, data, _)| data.is_empty());
        // httpx-sse makes an event of the time to wait that a stream begins with. Of heartbeats nobody does.
        assert_eq!(empty.len(), usize::from(*parser == "httpx-sse"), "{parser}: {empty:?}");
        assert_eq!(events[0].0, "hello", "{parser}");
        assert!(events[1..] == want[..], "{parser} read something else: {} events", events.len());
    }
}

/// A page that opens the stream, says what it hears, and lets the connection be cut.
#[tokio::test(flavor = "multi_thread")]
async fn chromium_resumes_from_a_heartbeat_and_stops_at_the_end_of_its_session() {
    let kit = Kit::own(1, &[("PARLEY_HEARTBEAT_SECONDS", "1"), ("PARLEY_STREAM_LIFE_SECONDS", "12")]).await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let (room, other) = (kit.room(&[&amy, &ben]), kit.room(&[&ben]));
    let url = format!("http://{}", kit.addr(0));
    let mut child = Command::new("node")
        .arg(folder().join("chromium.mjs"))
        .args([&url, &amy.client.cookie().unwrap()])
        .env("WEB", root().join("web"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard: Vec<(String, String, String)> = Vec::new();
    let until = async |lines: &mut tokio::io::Lines<_>,
                       heard: &mut Vec<(String, String, String)>,
                       what: &str| {
        loop {
            let line =
                tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("the page goes on").unwrap();
            let event: (String, String, String) =
                serde_json::from_str(&line.unwrap_or_else(|| panic!("the page ended before {what}")))
                    .unwrap();
            let found = event.0 == what;
            heard.push(event);
            if found {
                return;
            }
        }
    };
    until(&mut lines, &mut heard, "hello").await;
    kit.say(room, &ben.id, 1, 1).await;
    until(&mut lines, &mut heard, "message").await;
    // What concerns others moves the cursor, and only heartbeats say so.
    let told = heard.last().expect("the message").2.clone();
    kit.say(other, &ben.id, 1, 40).await;
    while heard.last().expect("something").2 == told {
        until(&mut lines, &mut heard, "cursor").await;
    }
    until(&mut lines, &mut heard, "reconnect").await;
    until(&mut lines, &mut heard, "resumed").await;
    let resumed = heard.last().unwrap().clone();
    assert_eq!(resumed.1, "{\"replayed\":0}");
    // The browser sent the last heartbeat's id, not the last event's: hello repeats what it was brought.
    let message = heard.iter().find(|(event, ..)| event == "message").unwrap().clone();
    let hello = heard.iter().rfind(|(event, ..)| event == "hello").unwrap().clone();
    assert_ne!(hello.2, message.2, "the cursor moved without an event");
    let reconnect = heard.iter().rposition(|(event, ..)| event == "reconnect").unwrap();
    let beat = heard[..reconnect].iter().rfind(|(event, ..)| event == "cursor").expect("a heartbeat");
    assert_eq!((beat.1.as_str(), &beat.2), ("{}", &hello.2), "the last heartbeat's id came back");
    kit.say(room, &ben.id, 2, 2).await;
    until(&mut lines, &mut heard, "message").await;
    let seqs: Vec<&str> =
        heard.iter().filter(|(event, ..)| event == "message").map(|(_, data, _)| data.as_str()).collect();
    assert!(seqs.len() == 2 && seqs[1].contains("message 2"), "{seqs:?}");
    kit.end_session(&amy).await;
    until(&mut lines, &mut heard, "closed").await;
    let _ = child.kill().await;
}
