//! Two at the same thing in the same moment, and a worker that comes to a full topic.

use std::time::Duration;

use parley::{
    ids::{RequestId, RoomId},
    wire::{Event, LeaveRoom, Logout, Outgoing, Request},
};

use super::world::{Person, World};
use crate::fixtures::eventually;

/// Each says so many things in this room, by turns, all of them under way at once.
async fn at_once(world: &World, people: &[&Person], room: RoomId, each: usize) -> Vec<RequestId> {
    let mut records: Vec<Outgoing> = Vec::new();
    let mut ids = Vec::new();
    for n in 0..each {
        for who in people {
            let headers = world.headers(who);
            ids.push(headers.request_id);
            records.push(world.record(&headers, &who.says(room, &format!("{n} of {}", who.id))));
        }
    }
    world.produce_all(&records).await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_write_in_one_room_at_once_and_each_message_has_its_number() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    let room = world.room(&[&ann, &bob]);
    let mut ids = at_once(world, &[&ann, &bob], room, 1).await;
    ids.extend(at_once(world, &[&ann, &bob], room, 20).await);
    let mut numbers = Vec::new();
    for id in &ids {
        let reply = world.reply(*id).await;
        let seq = reply["seq"].as_i64().unwrap_or_else(|| panic!("{reply}"));
        let heard = || async { Some(world.events_of(*id)).filter(|events| !events.is_empty()) };
        let events = eventually("the message's event", heard).await;
        assert!(
            events.iter().all(|event| matches!(event, Event::Message { seq: told, .. } if told.0 == seq))
        );
        numbers.push(seq);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=42).collect::<Vec<i64>>(), "dense, and nobody has another's");
}

/// Messages and the departure of their writer go through different topics, so either may be first; whoever heard the room to the
/// number at which somebody left has heard all that they said.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_anything_in_a_room_after_the_number_at_which_they_left() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    let (mut before, mut after) = (0, 0);
    // All rooms first: they take longer than a request may.
    let open: Vec<RoomId> = (0..25).map(|_| world.room(&[&ann, &bob])).collect();
    let mut rooms = Vec::new();
    let mut records: Vec<Outgoing> = Vec::new();
    for room in open {
        let mut says = Vec::new();
        let mut add = |who: &Person, request: &Request| {
            let headers = world.headers(who);
            records.push(world.record(&headers, request));
            headers.request_id
        };
        for n in 0..3 {
            says.push(add(&ann, &ann.says(room, &format!("before {n}"))));
        }
        // The other's messages move the room's number on meanwhile.
        add(&bob, &bob.says(room, "still here"));
        let left = add(&ann, &Request::LeaveRoom(LeaveRoom { user_id: ann.id.clone(), room_id: room }));
        for n in 0..3 {
            says.push(add(&ann, &ann.says(room, &format!("after {n}"))));
        }
        add(&bob, &bob.says(room, "still here"));
        rooms.push((room, says, left));
    }
    world.produce_all(&records).await;
    for (room, says, left) in rooms {
        let reply = world.reply(left).await;
        let last = reply["leftSeq"].as_i64().unwrap_or_else(|| panic!("{reply}"));
        for id in says {
            let reply = world.reply(id).await;
            match (reply["seq"].as_i64(), reply["errorCode"].as_str()) {
                (Some(seq), None) => {
                    assert!(seq <= last, "{seq} of {room} is above {last}, at which its writer left");
                    before += 1;
                }
                (None, Some("not_a_member")) => after += 1,
                other => panic!("{other:?}: {reply}"),
            }
        }
        let late = world.database.sql(&format!(
            "SELECT count(*) FROM messages w JOIN members m USING (room_id)
             WHERE room_id = '{room}' AND m.user_id = w.writer_id AND w.seq > m.left_seq"
        ));
        assert_eq!(late, "0", "{room}");
    }
    assert_eq!(before + after, 150);
}

/// A message that was accepted is said, whatever becomes of the session meanwhile: its id has an outcome for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_under_way_at_a_logout_is_said_once() {
    let world = World::shared().await;
    let ann = world.person("ann");
    let room = world.room(&[&ann]);
    world.database.sql(&format!(
        "INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
         VALUES (decode('{}', 'hex'), '{}', now(), now(), now() + interval '1 day')",
        ann.session, ann.id
    ));
    let logout = Request::Logout(Logout { user_id: Some(ann.id.clone()), everywhere: false });
    let asked = [ann.says(room, "before"), logout, ann.says(room, "after")];
    let sent = asked.map(|request| {
        let headers = world.headers(&ann);
        (headers.request_id, world.record(&headers, &request))
    });
    world.produce_all(&sent.each_ref().map(|(_, record)| record.clone())).await;
    for (id, _) in &sent {
        assert_eq!(world.reply(*id).await["isSuccess"], true);
        eventually("its event", || async { (!world.events_of(*id).is_empty()).then_some(()) }).await;
    }
    let state = format!(
        "SELECT (SELECT count(*) FROM messages WHERE room_id = '{room}'), ended_at IS NOT NULL FROM sessions WHERE user_id = '{}'",
        ann.id
    );
    assert_eq!(world.database.sql(&state), "2|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_records_that_wait_at_the_start_are_each_done_once() {
    const COUNT: usize = 10_000;
    let world = World::own(2).await;
    let ann = world.person("ann");
    let rooms: Vec<RoomId> = (0..8).map(|_| world.room(&[&ann])).collect();
    let mut ids = Vec::with_capacity(COUNT);
    for first in (0..COUNT).step_by(1_000) {
        let mut records: Vec<Outgoing> = Vec::with_capacity(1_000);
        for n in first..first + 1_000 {
            let mut headers = world.headers(&ann);
            headers.deadline = headers.deadline.after(Duration::from_secs(3_600));
            ids.push(headers.request_id);
            records.push(world.record(&headers, &ann.says(rooms[n % rooms.len()], "waiting")));
        }
        world.produce_all(&records).await;
    }
    let worker = world.worker_of("AddChat", &[]).ready().await;
    let mut done = 0;
    while done < COUNT {
        done = eventually("more of them to be answered", || async {
            let count = world.answered().len();
            (count > done).then_some(count)
        })
        .await;
    }
    let answered = world.answered();
    assert!(ids.iter().all(|id| answered.contains_key(id)));
    let rows = world
        .database
        .sql("SELECT count(*), count(DISTINCT request_id), count(DISTINCT (room_id, seq)) FROM messages");
    assert_eq!(rows, "10000|10000|10000");
    let dense = world.database.sql(
        "SELECT bool_and(last_seq = 1250 AND last_seq = (SELECT max(seq) FROM messages m WHERE m.room_id = r.room_id)) FROM rooms r",
    );
    assert_eq!(dense, "t");
    assert_eq!(worker.metric("parley_dead_letters_total", &[]).await, 0.0);
    assert!(worker.stop().await.success());
}
