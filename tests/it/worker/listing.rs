//! Lists of rooms on real parts: pages, what an entry shows and what it leaves out, and who hears of a room that grows.

use parley::{
    ids::{RoomId, UserId},
    store::rooms::{MEMBERS_SHOWN, PREVIEW},
    wire::{AddRoom, EndedSession, Event, ListRooms, Logout, Page, Request},
};
use serde_json::Value;

use super::world::{PASSWORD, Person, World};
use crate::fixtures::{eventually, unique};

async fn page(world: &World, who: &Person, after: Option<String>, limit: Option<u32>) -> Value {
    let list = ListRooms { user_id: who.id.clone(), page: Page { after, limit } };
    let reply = world.by(who, Request::ListRooms(list)).await;
    assert_eq!(reply["isSuccess"], true, "{reply}");
    reply
}

fn rooms_of(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().expect("rooms");
    rooms.iter().map(|room| room["roomId"].as_str().expect("an id").to_owned()).collect()
}

fn grow(asker: &Person, ids: &[&UserId], room: RoomId) -> Request {
    let friend_id = ids.iter().map(|id| (*id).clone()).collect();
    Request::AddRoom(AddRoom { user_id: asker.id.clone(), friend_id, room_name: None, room_id: Some(room) })
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_they_ended_in_the_order_of_joining() {
    let world = World::shared().await;
    let ann = world.person("ann");
    let mut rooms: Vec<RoomId> = (0..5).map(|_| world.room(&[&ann])).collect();
    rooms.sort_unstable();
    // The order is the one of joining. Two were joined in the same microsecond: their ids decide, and a page ends between them.
    let joined = [3, 1, 1, 0, 2].map(|minutes| 60 - minutes);
    for (room, minutes) in rooms.iter().zip(joined) {
        world.database.sql(&format!(
            "UPDATE user_rooms SET joined_at = timestamptz '2026-01-01 12:00Z' - interval '{minutes} minutes' WHERE room_id = '{room}'"
        ));
    }
    let order: Vec<String> = [3, 1, 2, 4, 0].map(|n: usize| rooms[n].to_string()).to_vec();

    let (mut found, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let reply = page(world, &ann, after, Some(2)).await;
        sizes.push(reply["rooms"].as_array().expect("rooms").len());
        found.extend(rooms_of(&reply));
        after = reply["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
        assert!(sizes.len() < 5, "it never ends: {found:?}");
    }
    assert_eq!((found, sizes), (order.clone(), vec![2, 2, 1]));
    // A page that holds just all of them is the last one.
    let all = page(world, &ann, None, Some(5)).await;
    assert_eq!((rooms_of(&all), &all["next"]), (order.clone(), &Value::Null));

    // A room that is left between two pages is not shown, and nobody else is skipped for it.
    let first = page(world, &ann, None, Some(2)).await;
    world.database.sql(&format!(
        "UPDATE user_rooms SET left_seq = 0 WHERE room_id IN ('{}', '{}')",
        order[1], order[2]
    ));
    let second = page(world, &ann, first["next"].as_str().map(str::to_owned), Some(2)).await;
    assert_eq!(rooms_of(&second), order[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_names_twenty_members_and_the_beginning_of_the_last_message() {
    let world = World::shared().await;
    let people: Vec<Person> = (0..25).map(|_| world.person("guest")).collect();
    let (ann, bob) = (&people[0], &people[1]);
    let room = world.room(&people.iter().collect::<Vec<_>>());
    // Signs of more than one byte: what is cut are characters.
    let text: String = "äöü€".chars().cycle().take(700).collect();
    assert_eq!(world.by(ann, ann.says(room, &text)).await["seq"], 1);

    let list = page(world, bob, None, None).await;
    let entry = &list["rooms"][0];
    assert_eq!(entry["memberCount"], 25, "{entry}");
    let mut ids: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(entry["members"], Value::from(ids[..20].to_vec()));
    assert_eq!(usize::try_from(MEMBERS_SHOWN), Ok(20));
    let shown = entry["lastMessage"].as_str().expect("a preview");
    assert_eq!((shown.chars().count(), usize::try_from(PREVIEW)), (500, Ok(500)));
    assert!(text.starts_with(shown), "{shown}");
    assert!(entry["lastAt"].is_string(), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_room_hears_that_it_grows_and_nothing_when_it_does_not() {
    let world = World::shared().await;
    let [ann, bob, cid, dan] = ["ann", "bob", "cid", "dan"].map(|name| world.person(name));
    for friend in [&bob, &cid, &dan] {
        world.befriend(&ann, friend);
    }
    let room = world.room(&[&ann, &bob]);
    assert_eq!(world.by(&bob, bob.says(room, "before")).await["seq"], 1);

    let headers = world.headers(&ann);
    let reply = world.ask(&headers, &grow(&ann, &[&cid.id, &bob.id, &dan.id], room)).await;
    assert_eq!(reply["memberCount"], 4, "{reply}");
    let heard = || async { Some(world.events_of(headers.request_id)).filter(|events| !events.is_empty()) };
    let events = eventually("a room event", heard).await;
    let [Event::Room { room_id, member_count: 4, members, joined, left, seq, version: 2, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*room_id, seq.0, left.len()), (room, 1, 0));
    let sorted = |ids: &[&Person]| {
        let mut ids: Vec<UserId> = ids.iter().map(|person| person.id.clone()).collect();
        ids.sort();
        ids
    };
    let mut who = joined.clone();
    who.sort();
    assert_eq!(who, sorted(&[&cid, &dan]), "those who were there have not joined");
    assert_eq!(*members, sorted(&[&ann, &bob, &cid, &dan]));

    // All of them are there already: the same answer, and no event. One that goes to the same partition after it is the proof.
    let headers = world.headers(&ann);
    let again = world.ask(&headers, &grow(&ann, &[&cid.id, &bob.id], room)).await;
    assert_eq!((&again["isSuccess"], &again["memberCount"]), (&true.into(), &4.into()), "{again}");
    let after = world.headers(&ann);
    world.ask(&after, &ann.says(room, "after")).await;
    eventually("the message's event", || async {
        (!world.events_of(after.request_id).is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.events_of(headers.request_id), []);
    let version = world.database.sql(&format!("SELECT version FROM rooms WHERE room_id = '{room}'"));
    assert_eq!(version, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_everywhere_is_told_once_for_all_sessions_of_the_user() {
    let world = World::shared().await;
    let (headers, request) = world.sign_up(&unique("tom"), PASSWORD);
    let id = request.user().expect("a user").clone();
    assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
    let mut session = None;
    for _ in 0..2 {
        let (headers, request) = world.log_in(&id, PASSWORD);
        assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
        session = Some(headers.session_key);
    }
    let person = Person { id: id.clone(), session: session.expect("two logins") };
    let headers = world.headers(&person);
    let logout = Request::Logout(Logout { user_id: Some(id.clone()), everywhere: true });
    assert_eq!(world.ask(&headers, &logout).await["isSuccess"], true);
    let heard = || async { Some(world.events_of(headers.request_id)).filter(|events| !events.is_empty()) };
    let events = eventually("the sessions' end", heard).await;
    let [Event::SessionEnded { who, ended_at, reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((who, reason.as_str()), (&EndedSession::UserId(id.clone()), "logout everywhere"));
    // What the event says is what is stored, for both: a gateway asks PostgreSQL before it ends a stream.
    let rows = world.database.sql(&format!(
        "SELECT count(*), bool_and(opened_at < ended_at), bool_and(ended_at = '{ended_at}') FROM sessions WHERE user_id = '{id}'"
    ));
    assert_eq!(rows, "2|t|t");
}
