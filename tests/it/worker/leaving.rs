//! Leaving a room: who may, who hears of it, what the leaver may still read, and what becomes of a room between two.

use parley::{
    ids::{RoomId, UserId},
    wire::{AddRoom, Event, LeaveRoom, ListRooms, Page, Request},
};
use serde_json::Value;

use super::world::{Person, World};
use crate::fixtures::eventually;

fn open(asker: &Person, ids: &[&UserId], room_id: Option<RoomId>) -> Request {
    let friend_id = ids.iter().map(|id| (*id).clone()).collect();
    Request::AddRoom(AddRoom { user_id: asker.id.clone(), friend_id, room_name: None, room_id })
}

fn leave(who: &Person, room_id: RoomId) -> Request {
    Request::LeaveRoom(LeaveRoom { user_id: who.id.clone(), room_id })
}

fn id_of(reply: &Value) -> RoomId {
    reply["roomId"].as_str().unwrap_or_else(|| panic!("{reply}")).parse().expect("a room id")
}

async fn rooms_of(world: &World, who: &Person) -> Value {
    let list = ListRooms { user_id: who.id.clone(), page: Page::default() };
    world.by(who, Request::ListRooms(list)).await["rooms"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_hears_nothing_more_and_is_told_once() {
    let world = World::shared().await;
    let (ann, bob, cid) = (world.person("ann"), world.person("bob"), world.person("cid"));
    world.befriend(&ann, &bob);
    world.befriend(&ann, &cid);
    let room = id_of(&world.by(&ann, open(&ann, &[&bob.id, &cid.id], None)).await);
    for _ in 0..2 {
        world.by(&ann, ann.says(room, "hello")).await;
    }

    let headers = world.headers(&bob);
    let record = world.record(&headers, &leave(&bob, room));
    world.produce(&record).await;
    let reply = world.reply(headers.request_id).await;
    assert_eq!((id_of(&reply), &reply["leftSeq"]), (room, &2.into()), "{reply}");
    let heard = || async { Some(world.events_of(headers.request_id)).filter(|events| !events.is_empty()) };
    let events = eventually("a room event", heard).await;
    let [Event::Room { room_id, member_count: 2, members, joined, left, seq, version: 2, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*room_id, seq.0, joined.len()), (room, 2, 0));
    assert_eq!(left.as_slice(), std::slice::from_ref(&bob.id));
    let mut rest = [ann.id.clone(), cid.id.clone()];
    rest.sort();
    assert_eq!(members.as_slice(), rest.as_slice());

    // The same record again: the same answer and event, and nothing changes.
    world.produce(&record).await;
    let replies = eventually("a second reply", || async {
        Some(world.replies_to(headers.request_id)).filter(|replies| replies.len() == 2)
    })
    .await;
    assert_eq!(replies[1], (reply, true));
    let state = || {
        let rows = "SELECT r.member_count, r.version, m.left_seq, u.left_seq FROM rooms r JOIN members m USING (room_id) \
                    JOIN user_rooms u USING (room_id, user_id)";
        world.database.sql(&format!("{rows} WHERE r.room_id = '{room}' AND m.user_id = '{}'", bob.id))
    };
    assert_eq!(state(), "2|2|2|2");

    for (who, request, code) in [
        (&bob, leave(&bob, room), "not_a_member"),
        (&bob, bob.says(room, "hello"), "not_a_member"),
        (&bob, leave(&bob, RoomId(uuid::Uuid::now_v7())), "room_not_found"),
    ] {
        let reply = world.by(who, request).await;
        assert_eq!(reply["errorCode"], code, "{reply}");
    }
    assert_eq!(rooms_of(world, &bob).await, Value::Array(Vec::new()));

    // Added again, he begins anew: what was said in between stays unheard.
    world.by(&ann, ann.says(room, "hello")).await;
    let grown = world.by(&ann, open(&ann, &[&bob.id], Some(room))).await;
    assert_eq!(grown["memberCount"], 3, "{grown}");
    assert_eq!(state(), "3|3||");
    let list = rooms_of(world, &bob).await;
    assert_eq!((&list[0]["unread"], &list[0]["lastSeq"]), (&0.into(), &3.into()), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_may_open_a_room_again() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    world.befriend(&ann, &bob);
    let first = id_of(&world.by(&ann, open(&ann, &[&bob.id], None)).await);
    assert_eq!(world.by(&ann, leave(&ann, first)).await["leftSeq"], 0);
    let second = world.by(&ann, open(&ann, &[&bob.id], None)).await;
    assert_ne!(id_of(&second), first);
    assert_eq!(second["memberCount"], 2, "{second}");
    assert_eq!(id_of(&world.by(&bob, open(&bob, &[&ann.id], None)).await), id_of(&second));
    // Both leave at once; the room stays, with nobody in it.
    let headers = [world.headers(&ann), world.headers(&bob)];
    let room = id_of(&second);
    let records = [&ann, &bob].map(|who| leave(who, room));
    let records: Vec<_> = headers.iter().zip(&records).map(|(h, request)| world.record(h, request)).collect();
    world.produce_all(&records).await;
    for headers in &headers {
        let reply = world.reply(headers.request_id).await;
        assert_eq!(reply["isSuccess"], true, "{reply}");
    }
    let left =
        world.database.sql(&format!("SELECT member_count, version FROM rooms WHERE room_id = '{room}'"));
    assert_eq!(left, "0|3");
}
