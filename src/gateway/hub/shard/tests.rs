//! A shard without IO: records and answers go in, bytes and questions come out.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    gateway::{
        hub::{
            lookup::{Missing, OpenSession, SessionState},
            record::tests::{message, room, user},
        },
        limits::tests::limits,
        sse::{self, Cursor, Outbox, outbox_tests as outbox},
    },
    ids::{RequestId, Seq, Timestamp},
    store::reads::{Interests, Message, Room, RoomMembers, Span},
    wire::EndedSession,
};

fn epoch() -> Epoch {
    Epoch::new("cluster", "topic")
}

fn key(n: u8) -> SessionKey {
    SessionKey([n; 32])
}

/// A shard that reads two partitions, from offset 10 and from 0.
pub(super) fn shard() -> Shard {
    let settings = ShardSettings {
        ring_bytes: 1 << 20,
        replay_events: 100,
        replay_bytes: 1 << 20,
        heartbeat: Duration::from_secs(15),
        life: Duration::from_secs(600),
        unknown_life: Duration::from_secs(30),
    };
    let metrics = Metrics::register(&crate::process::metrics::Registry::new()).unwrap();
    let mut shard = Shard::new(settings, metrics);
    shard.begins(epoch(), 0, 10);
    shard.begins(epoch(), 1, 0);
    shard
}

pub(super) fn open(shard: &mut Shard, id: ConnId, wanted: Wanted) -> Outbox {
    let outbox = Outbox::new(outbox::limits(10_000), CancellationToken::new());
    let key = key(u8::try_from(id).unwrap());
    let permit = limits(&[]).stream([127, 0, 0, 1].into(), key).unwrap();
    let (replies, retry) = (vec![], Duration::from_secs(1));
    shard.open(id, Opening { key, wanted, outbox: outbox.clone(), permit, replies, retry });
    outbox
}

pub(super) fn session(name: &str) -> OpenSession {
    OpenSession {
        user: user(name),
        opened_at: Timestamp::from_micros(0),
        expires_at: Timestamp::now().after(Duration::from_secs(3_600)),
    }
}

pub(super) fn interests(rooms: &[(u128, i64, i64)]) -> Interests {
    let room = |(id, joined, last): &(u128, i64, i64)| Room {
        room_id: room(*id),
        span: Span { joined: Seq(*joined), left: None },
        last_seq: Seq(*last),
        version: 1,
    };
    Interests { rooms: rooms.iter().map(room).collect(), friends: vec![user("amy")] }
}

pub(super) fn at(next: &[i64]) -> Wanted {
    Wanted::Cursor(Cursor::Offsets { epoch: epoch(), next: next.to_vec() })
}

/// A live stream of bob, who is in room 1 up to message 5.
pub(super) fn live(shard: &mut Shard, id: ConnId, wanted: Wanted) -> Outbox {
    let outbox = open(shard, id, wanted);
    shard.identify(id, Some(session("bob")));
    assert_eq!(shard.take_lookups(), [Lookup::Interests { conn: id, user: user("bob") }]);
    shard.interests_found(id, Ok(interests(&[(1, 0, 5)])));
    outbox
}

/// What was written since the last call: event, data and cursor offsets of each.
pub(super) fn read(outbox: &Outbox) -> Vec<(String, String, Option<Vec<i64>>)> {
    let (text, _) = outbox::drain(outbox);
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let field = |block: &str, name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        lines.map(str::to_owned).next()
    };
    let cursor = |id: String| match Cursor::parse(&id) {
        Some(Cursor::Offsets { next, .. }) => next,
        _ => vec![-1],
    };
    blocks
        .map(|block| {
            let event = field(block, "event").or_else(|| field(block, "retry").map(|_| "retry".into()));
            (
                event.unwrap_or_default(),
                field(block, "data").unwrap_or_default(),
                field(block, "id").map(cursor),
            )
        })
        .collect()
}

pub(super) fn messages(outbox: &Outbox) -> Vec<(String, Vec<i64>)> {
    let events = read(outbox).into_iter().filter(|(event, ..)| event == "message");
    events.map(|(_, data, id)| (data, id.unwrap())).collect()
}

pub(super) fn names(outbox: &Outbox) -> Vec<String> {
    read(outbox).into_iter().map(|(event, ..)| event).collect()
}

pub(super) fn put(shard: &mut Shard, record: Record) {
    shard.record(&Arc::new(record));
}

pub(super) fn stored(room_no: u128, seq: i64) -> Message {
    Message {
        room_id: room(room_no),
        seq: Seq(seq),
        writer_id: user("amy"),
        message: format!("stored {seq}"),
        created_at: Timestamp::from_micros(0),
        request_id: RequestId(uuid::Uuid::from_u128(room_no << 64 | u128::try_from(seq).unwrap())),
    }
}

pub(super) fn seqs(outbox: &Outbox) -> Vec<i64> {
    let number = |data: &str| match data.split_once(':') {
        Some((_, seq)) if !data.starts_with('{') => seq.parse().unwrap(),
        _ => serde_json::from_str::<serde_json::Value>(data).unwrap()["seq"].as_i64().unwrap(),
    };
    messages(outbox).iter().map(|(data, _)| number(data)).collect()
}

#[test]
fn a_new_stream_is_greeted_and_hears_its_rooms_with_the_cursor_after_each_event() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    let greeting = read(&outbox);
    assert_eq!((greeting[0].0.as_str(), greeting[1].0.as_str()), ("retry", "hello"));
    assert_eq!(greeting[1].2, Some(vec![10, 0]));
    put(&mut shard, message(0, 10, 1, 6));
    put(&mut shard, message(1, 0, 2, 1));
    put(&mut shard, message(0, 11, 1, 7));
    assert_eq!(
        messages(&outbox),
        [("1:6".into(), vec![11, 0]), ("1:7".into(), vec![12, 1])],
        "room 2 is not bob's"
    );
}

#[test]
fn what_happens_while_a_stream_loads_is_not_missed_and_doubles_are_dropped() {
    let mut shard = shard();
    let outbox = open(&mut shard, 1, Wanted::Nothing);
    shard.identify(1, Some(session("bob")));
    put(&mut shard, message(0, 10, 1, 6));
    shard.reply(&key(1), &sse::event("reply", b"{}"), 0, false);
    assert_eq!(
        names(&outbox),
        ["retry"],
        "its client reads its state on hello: not before its rooms are known"
    );
    shard.interests_found(1, Ok(interests(&[(1, 0, 6)])));
    let events = read(&outbox);
    let shown: Vec<_> = events.iter().map(|(event, _, id)| (event.as_str(), id.clone().unwrap())).collect();
    assert_eq!(shown, [("hello", vec![10, 0]), ("reply", vec![10, 0]), ("message", vec![11, 0])]);
    put(&mut shard, message(0, 11, 1, 6));
    put(&mut shard, message(0, 12, 1, 7));
    assert_eq!(seqs(&outbox), [7]);
}

#[test]
fn the_log_order_of_two_owners_leaves_no_hole() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    read(&outbox);
    // 7 before 6: 6 is read from PostgreSQL, others flow on, and the cursor stays before 7.
    put(&mut shard, message(0, 10, 1, 7));
    let lookups = shard.take_lookups();
    let [Lookup::Gap { ticket, after: Seq(5), before: Seq(7), .. }] = lookups.as_slice() else {
        panic!("{lookups:?}")
    };
    let status = Record {
        partition: 1,
        offset: 0,
        stamped: 1,
        route: Route::Status { user: user("amy"), version: 2 },
        head: sse::event("status", b"{}"),
    };
    put(&mut shard, status);
    put(&mut shard, message(0, 11, 1, 8));
    assert_eq!(read(&outbox), [("status".into(), "{}".into(), Some(vec![10, 1]))]);
    shard.gap_found(room(1), *ticket, 0, Ok(vec![stored(1, 6)]));
    let cursors: Vec<Vec<i64>> = messages(&outbox).into_iter().map(|(_, cursor)| cursor).collect();
    assert_eq!(cursors, [[10, 1], [10, 1], [11, 1]], "6 from before 7; 7 while 7 is being sent; then 8");
    put(&mut shard, message(0, 12, 1, 6));
    assert!(seqs(&outbox).is_empty(), "the record that was late is a double by now");
}

/// It cannot be: a number is given once. Should it be all the same, nobody says which of the two is the room's.
#[test]
fn a_number_that_two_requests_claim_proves_nothing_and_is_told_so() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    read(&outbox);
    put(&mut shard, message(0, 10, 1, 6));
    let other = RequestId(uuid::Uuid::from_u128(7));
    let route = Route::Message { room: room(1), seq: Seq(6), request: other };
    put(&mut shard, Record { route, ..message(0, 11, 1, 6) });
    put(&mut shard, message(0, 12, 1, 6));
    let told = read(&outbox);
    let told: Vec<_> = told.iter().map(|(event, data, _)| (event.as_str(), data.as_str())).collect();
    assert_eq!(told, [("message", "1:6"), ("resync", "{\"reason\":\"unknown\"}")]);
}

#[test]
fn a_resume_replays_in_order_and_then_says_so() {
    let mut shard = shard();
    let first = live(&mut shard, 1, Wanted::Nothing);
    for (offset, seq) in [(10, 6), (11, 7), (12, 8)] {
        put(&mut shard, message(0, offset, 1, seq));
    }
    let cursor = messages(&first)[0].1.clone();
    let outbox = live(&mut shard, 2, at(&cursor));
    let events = read(&outbox);
    let shown: Vec<(&str, &str)> =
        events.iter().map(|(event, data, _)| (event.as_str(), data.as_str())).collect();
    assert_eq!(shown[2..], [("message", "1:7"), ("message", "1:8"), ("resumed", "{\"replayed\":2}")]);
    let ids: Vec<_> = events[1..].iter().map(|(.., id)| id.clone().unwrap()).collect();
    assert_eq!(
        ids,
        [vec![11, 0], vec![12, 0], vec![13, 0], vec![13, 0]],
        "hello carries the client's own cursor"
    );
    put(&mut shard, message(0, 13, 1, 9));
    assert_eq!((seqs(&first), seqs(&outbox)), (vec![9], vec![9]));
}

#[test]
fn a_cursor_that_proves_nothing_is_told_so() {
    let foreign = Wanted::Cursor(Cursor::Offsets { epoch: Epoch::new("cluster", "old"), next: vec![10, 0] });
    for (wanted, reason) in [(Wanted::Unreadable, "unknown"), (foreign, "foreign")] {
        let mut shard = shard();
        let outbox = live(&mut shard, 1, wanted);
        let resync = read(&outbox).pop().unwrap();
        assert_eq!(resync.1, format!("{{\"reason\":\"{reason}\"}}"));
        assert_eq!((resync.0.as_str(), resync.2), ("resync", Some(vec![10, 0])));
        put(&mut shard, message(0, 10, 1, 6));
        assert_eq!(seqs(&outbox), [6], "then live");
    }
}

#[test]
fn what_memory_lacks_is_read_again_from_kafka_or_else_resynced() {
    for (answer, last) in [
        (Ok(vec![message(0, 8, 1, 5)]), "resumed"),
        (Err(Missing::Expired), "resync"),
        (Err(Missing::Overflow), "resync"),
    ] {
        let mut shard = shard();
        let outbox = live(&mut shard, 1, at(&[7, 0]));
        let lookups = shard.take_lookups();
        let [Lookup::Replay { ranges, .. }] = lookups.as_slice() else { panic!("{lookups:?}") };
        assert_eq!((ranges[0].from, ranges[0].to), (7, 10));
        put(&mut shard, message(0, 10, 1, 6));
        shard.replay_found(1, ranges, answer);
        assert_eq!(names(&outbox).last().unwrap(), last);
    }
}

#[test]
fn a_cursor_ahead_of_this_gateway_skips_what_the_client_has_had() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, at(&[12, 0]));
    assert_eq!(shard.take_lookups(), [Lookup::Ends { conn: 1, partitions: 2 }]);
    shard.ends_found(1, Ok(vec![13, 0]));
    assert_eq!(names(&outbox).last().unwrap(), "resumed");
    for (offset, seq) in [(10, 6), (11, 7), (12, 8)] {
        put(&mut shard, message(0, offset, 1, seq));
    }
    assert_eq!(messages(&outbox), [("1:8".into(), vec![13, 0])]);
    let beyond = live(&mut shard, 2, at(&[99, 0]));
    shard.take_lookups();
    shard.ends_found(2, Ok(vec![13, 0]));
    assert_eq!(names(&beyond).last().unwrap(), "resync", "beyond the end of the log");
}

#[test]
fn a_hole_in_a_replay_is_filled_before_the_rest() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 6));
    put(&mut shard, message(0, 11, 1, 8));
    let outbox = live(&mut shard, 1, at(&[10, 0]));
    assert_eq!(shard.take_lookups(), [Lookup::Holes { conn: 1, holes: vec![(room(1), Seq(6), Seq(8))] }]);
    shard.holes_found(1, Ok(vec![stored(1, 7)]));
    assert_eq!(seqs(&outbox), [6, 7, 8]);
    put(&mut shard, message(0, 12, 1, 5));
    assert_eq!(seqs(&outbox), [5], "below its replay: it may never have had it");
    put(&mut shard, message(0, 13, 1, 7));
    assert!(seqs(&outbox).is_empty(), "within its replay");
}

#[test]
fn who_joins_hears_what_came_after_and_nothing_before() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    read(&outbox);
    let joined = Record {
        partition: 1,
        offset: 0,
        stamped: 1,
        route: Route::Room {
            room: room(9),
            joined: vec![user("bob")],
            left: vec![],
            seq: Seq(3),
            version: 4,
        },
        head: sse::event("room", b"{}"),
    };
    put(&mut shard, message(1, 1, 9, 4));
    put(&mut shard, joined);
    let lookups = shard.take_lookups();
    let [Lookup::Members { ticket, users, .. }] = lookups.as_slice() else { panic!("{lookups:?}") };
    assert_eq!(users, &[user("bob")]);
    let span = Span { joined: Seq(3), left: None };
    let members = RoomMembers { last_seq: Seq(4), version: 4, members: vec![(user("bob"), span)] };
    shard.members_found(room(9), *ticket, 0, Ok(Some(members)));
    let lookups = shard.take_lookups();
    let [Lookup::Gap { ticket, after: Seq(3), before: Seq(5), .. }] = lookups.as_slice() else {
        panic!("{lookups:?}")
    };
    shard.gap_found(room(9), *ticket, 0, Ok(vec![stored(9, 4)]));
    put(&mut shard, message(1, 2, 9, 5));
    let events: Vec<String> = names(&outbox);
    assert_eq!(events, ["room", "message", "message"]);
}

#[test]
fn who_left_while_away_hears_what_was_said_before_and_nothing_after() {
    let mut shard = shard();
    let _elsewhere = live(&mut shard, 1, Wanted::Nothing);
    let change = |offset, left: Vec<UserId>, seq, version| Record {
        partition: 0,
        offset,
        stamped: 1_000 + offset,
        route: Route::Room { room: room(1), joined: vec![], left, seq: Seq(seq), version },
        head: sse::event("room", version.to_string().as_bytes()),
    };
    put(&mut shard, message(0, 10, 1, 6));
    put(&mut shard, change(11, vec![user("bob")], 6, 2));
    put(&mut shard, message(0, 12, 1, 7));
    put(&mut shard, change(13, vec![user("eve")], 7, 3));
    shard.take_lookups();
    let outbox = open(&mut shard, 2, at(&[10, 0]));
    shard.identify(2, Some(session("bob")));
    let mut past = interests(&[(1, 0, 7)]);
    past.rooms[0].span.left = Some(Seq(6));
    shard.interests_found(2, Ok(past));
    let events = read(&outbox);
    let heard: Vec<&str> = events[2..].iter().map(|(event, ..)| event.as_str()).collect();
    assert_eq!(heard, ["message", "room", "resumed"], "{events:?}");
    put(&mut shard, message(0, 14, 1, 8));
    assert!(read(&outbox).is_empty());
}

#[test]
fn a_session_that_ends_takes_its_streams_along_once_postgres_says_so() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    let ended = |who| Record {
        partition: 1,
        offset: 0,
        stamped: 1,
        route: Route::Ended { who, ended_at: Timestamp::now() },
        head: Bytes::new(),
    };
    put(&mut shard, ended(EndedSession::UserId(user("bob"))));
    assert_eq!(shard.take_lookups(), [Lookup::Session { key: key(1) }]);
    shard.session_found(&key(1), Ok(SessionState::Open(session("bob"))));
    assert_eq!(shard.streams(), 1, "it was opened after");
    put(&mut shard, ended(EndedSession::SessionKey(key(1))));
    shard.session_found(&key(1), Ok(SessionState::Ended));
    assert!(outbox::drain(&outbox).1);
    assert_eq!((shard.streams(), shard.rooms.len(), shard.users.len(), shard.watched.len()), (0, 0, 0, 0));
}

#[test]
fn an_unknown_session_hears_its_replies_and_is_greeted_again_when_it_opens() {
    let mut shard = shard();
    let outbox = open(&mut shard, 1, Wanted::Nothing);
    shard.reply(&key(1), &sse::event("reply", b"{}"), 0, false);
    shard.identify(1, None);
    put(&mut shard, message(0, 10, 1, 6));
    shard.reply(&key(1), &sse::event("reply", b"{}"), 0, true);
    assert_eq!(names(&outbox), ["retry", "hello", "reply", "reply"]);
    assert_eq!(shard.take_lookups(), [Lookup::Session { key: key(1) }]);
    shard.session_found(&key(1), Ok(SessionState::Open(session("bob"))));
    shard.take_lookups();
    shard.interests_found(1, Ok(interests(&[(1, 0, 6)])));
    assert!(shard.is_live(1));
    put(&mut shard, message(0, 11, 1, 7));
    assert_eq!(names(&outbox), ["hello", "message"]);
}

#[test]
fn heartbeats_carry_the_cursor_and_a_drain_spreads_the_end() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    read(&outbox);
    put(&mut shard, message(1, 0, 2, 1));
    (0..17 * 4).for_each(|_| shard.pass(1));
    assert_eq!(read(&outbox), [("cursor".to_owned(), "{}".to_owned(), Some(vec![10, 1]))]);
    shard.drain(Duration::ZERO);
    (0..4).for_each(|_| shard.pass(1));
    assert_eq!(names(&outbox), ["reconnect"].map(|_| "reconnect".to_owned()));
    assert_eq!(shard.streams(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_and_cut() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    let other = live(&mut shard, 2, Wanted::Nothing);
    for n in 0..300 {
        put(&mut shard, message(0, 10 + n, 1, 6 + n));
        read(&other);
    }
    assert_eq!(read(&outbox), [("slow".to_owned(), "{\"reason\":\"bytes\"}".to_owned(), None)]);
    assert_eq!(shard.streams(), 1);
}

#[test]
fn another_topic_of_the_same_name_is_foreign_to_all() {
    let mut shard = shard();
    let outbox = live(&mut shard, 1, Wanted::Nothing);
    read(&outbox);
    shard.begins(Epoch::new("cluster", "anew"), 0, 0);
    let events = read(&outbox);
    assert_eq!((events[0].0.as_str(), events[0].1.as_str()), ("resync", "{\"reason\":\"foreign\"}"));
    put(&mut shard, message(0, 0, 1, 6));
    assert_eq!(seqs(&outbox), [6]);
}

/// The head of its answer may be on its socket before the shard has heard of a stream: its first bytes wait for nobody else.
#[test]
fn what_a_stream_begins_with_is_written_by_the_shard() {
    let mut shard = shard();
    open(&mut shard, 1, Wanted::Nothing);
    assert_eq!(shard.take_unflushed().len(), 1, "`retry:`");
    shard.identify(1, None);
    assert!(shard.take_unflushed().is_empty(), "what follows goes with it");
}
