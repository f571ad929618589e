//! A table per kind: what it answers, every error code it can give, and the events that come of it, on real parts.

use parley::{
    ids::{RoomId, UserId},
    wire::{
        AddFriend, AddRoom, ChangeStatus, EndedSession, Event, ListFriends, ListRooms, Logout, Page, Request,
    },
};
use serde_json::{Value, json};

use super::world::{PASSWORD, Person, World, passed, session};
use crate::fixtures::{eventually, unique};

fn code(reply: &Value) -> &str {
    assert_eq!(reply["isSuccess"], json!(reply["errorCode"].is_null()), "{reply}");
    reply["errorCode"].as_str().unwrap_or("ok")
}

fn friend(asker: &Person, ids: &[&UserId]) -> Request {
    Request::AddFriend(AddFriend {
        user_id: asker.id.clone(),
        friend_id: ids.iter().map(|id| (*id).clone()).collect(),
    })
}

fn open(asker: &Person, ids: &[&UserId], room_id: Option<RoomId>) -> Request {
    Request::AddRoom(AddRoom {
        user_id: asker.id.clone(),
        friend_id: ids.iter().map(|id| (*id).clone()).collect(),
        room_name: None,
        room_id,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_log_in_and_out() {
    let world = World::shared().await;
    let name = unique("ann");
    let (headers, request) = world.sign_up(&name, PASSWORD);
    let reply = world.ask(&headers, &request).await;
    assert_eq!(code(&reply), "ok", "{reply}");
    assert_eq!(reply["user"]["userId"], name.as_str());
    let (headers, request) = world.sign_up(&name, PASSWORD);
    assert_eq!(code(&world.ask(&headers, &request).await), "user_exists");

    let id: UserId = name.parse().unwrap();
    let (headers, request) = world.log_in(&id, "wrong horse battery");
    assert_eq!(code(&world.ask(&headers, &request).await), "wrong_credentials");
    let (headers, request) = world.log_in(&unique("nobody").parse().unwrap(), PASSWORD);
    assert_eq!(code(&world.ask(&headers, &request).await), "wrong_credentials");
    let (headers, request) = world.log_in(&id, PASSWORD);
    let reply = world.ask(&headers, &request).await;
    assert_eq!(code(&reply), "ok", "{reply}");
    assert!(reply["user"]["loginDate"].is_string(), "{reply}");
    let state = |key: &parley::ids::SessionKey| {
        world.database.sql(&format!(
            "SELECT user_id, ended_at IS NULL FROM sessions WHERE session_key = decode('{key}', 'hex')"
        ))
    };
    assert_eq!(state(&headers.session_key), format!("{name}|t"));

    let person = Person { id: id.clone(), session: headers.session_key };
    let out = world.headers(&person);
    let reply =
        world.ask(&out, &Request::Logout(Logout { user_id: Some(id.clone()), everywhere: false })).await;
    assert_eq!(code(&reply), "ok");
    assert_eq!(state(&headers.session_key), format!("{name}|f"));
    let events = eventually("the session's end", || async {
        Some(world.events_of(out.request_id)).filter(|e| !e.is_empty())
    })
    .await;
    let [Event::SessionEnded { who, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*who, EndedSession::SessionKey(headers.session_key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_after_its_logout_opens_nothing() {
    let world = World::shared().await;
    let (headers, request) = world.sign_up(&unique("tom"), PASSWORD);
    let id = request.user().unwrap().clone();
    assert_eq!(code(&world.ask(&headers, &request).await), "ok");
    let (login, request) = world.log_in(&id, PASSWORD);
    let mut logout = world.headers(&Person { id: id.clone(), session: login.session_key });
    logout.user_id = None;
    let reply = world.ask(&logout, &Request::Logout(Logout { user_id: None, everywhere: false })).await;
    assert_eq!(code(&reply), "ok", "{reply}");
    assert_eq!(code(&world.ask(&login, &request).await), "unauthenticated");

    let (first, request) = world.log_in(&id, PASSWORD);
    assert_eq!(code(&world.ask(&first, &request).await), "ok");
    let (second, request) = world.log_in(&id, PASSWORD);
    assert_eq!(code(&world.ask(&second, &request).await), "ok");
    let person = Person { id: id.clone(), session: second.session_key };
    let out = world.headers(&person);
    let reply =
        world.ask(&out, &Request::Logout(Logout { user_id: Some(id.clone()), everywhere: true })).await;
    assert_eq!(code(&reply), "ok");
    let open = world
        .database
        .sql(&format!("SELECT count(*) FROM sessions WHERE user_id = '{id}' AND ended_at IS NULL"));
    assert_eq!(open, "0");
    let nobody = Person { id, session: session() };
    let mut headers = world.headers(&nobody);
    headers.user_id = None;
    let reply = world.ask(&headers, &Request::Logout(Logout { user_id: None, everywhere: true })).await;
    assert_eq!(code(&reply), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn friends_are_mutual_listed_by_pages_and_hear_of_each_other() {
    let world = World::shared().await;
    let (ann, bob, cid) = (world.person("ann"), world.person("bob"), world.person("cid"));
    let nobody: UserId = unique("nobody").parse().unwrap();
    let headers = world.headers(&ann);
    let reply = world.ask(&headers, &friend(&ann, &[&bob.id, &cid.id, &nobody, &ann.id, &bob.id])).await;
    let results: Vec<&str> =
        reply["friendId"].as_array().unwrap().iter().map(|r| r["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["added", "added", "unknown", "self", "already"]);
    let events = eventually("four friend events", || async {
        Some(world.events_of(headers.request_id)).filter(|e| e.len() >= 4)
    })
    .await;
    let mut heard: Vec<(String, String)> = events
        .iter()
        .map(|event| match event {
            Event::Friend { user_id, friend, .. } => (user_id.to_string(), friend.user_id.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    heard.sort();
    let pair = |a: &Person, b: &Person| (a.id.to_string(), b.id.to_string());
    let mut want = vec![pair(&ann, &bob), pair(&bob, &ann), pair(&ann, &cid), pair(&cid, &ann)];
    want.sort();
    assert_eq!(heard, want);

    let list = |after: Option<String>, limit| {
        Request::ListFriends(ListFriends { user_id: ann.id.clone(), page: Page { after, limit } })
    };
    let first = world.by(&ann, list(None, Some(1))).await;
    let next = first["next"].as_str().map(str::to_owned);
    assert!(next.is_some(), "{first}");
    let second = world.by(&ann, list(next, Some(1))).await;
    assert!(second["next"].is_null(), "{second}");
    let mut names: Vec<&str> =
        [&first, &second].iter().map(|page| page["friend"][0]["userId"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut want = [bob.id.as_str(), cid.id.as_str()];
    want.sort_unstable();
    assert_eq!(names, want);
    assert_eq!(code(&world.by(&ann, list(Some("no such place!".into()), None)).await), "invalid_request");

    let headers = world.headers(&bob);
    let change =
        Request::ChangeStatus(ChangeStatus { user_id: bob.id.clone(), status: "away".parse().unwrap() });
    let reply = world.ask(&headers, &change).await;
    assert_eq!((code(&reply), reply["status"].as_str()), ("ok", Some("away")));
    let events = eventually("a status event", || async {
        Some(world.events_of(headers.request_id)).filter(|e| !e.is_empty())
    })
    .await;
    assert!(
        matches!(&events[..], [Event::Status { version: 2, status, .. }] if status == "away"),
        "{events:?}"
    );
    let ghost = Person { id: nobody, session: session() };
    let change =
        Request::ChangeStatus(ChangeStatus { user_id: ghost.id.clone(), status: "boo".parse().unwrap() });
    assert_eq!(code(&world.by(&ghost, change).await), "user_not_found");
    assert_eq!(code(&world.by(&ghost, friend(&ghost, &[&ann.id])).await), "user_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_open_grow_and_are_listed() {
    let world = World::shared().await;
    let (ann, bob, cid) = (world.person("ann"), world.person("bob"), world.person("cid"));
    world.befriend(&ann, &bob);
    let nobody: UserId = unique("nobody").parse().unwrap();
    for (ids, want) in [
        (vec![&cid.id], "not_a_friend"),
        (vec![&nobody], "user_not_found"),
        (vec![&ann.id], "invalid_request"),
        (vec![&bob.id, &cid.id], "not_a_friend"),
    ] {
        assert_eq!(code(&world.by(&ann, open(&ann, &ids, None)).await), want, "{ids:?}");
    }
    let headers = world.headers(&ann);
    let reply = world.ask(&headers, &open(&ann, &[&bob.id], None)).await;
    assert_eq!(code(&reply), "ok", "{reply}");
    let room: RoomId = reply["roomId"].as_str().unwrap().parse().unwrap();
    assert_eq!(reply["memberCount"], 2);
    let events = eventually("a room event", || async {
        Some(world.events_of(headers.request_id)).filter(|e| !e.is_empty())
    })
    .await;
    assert!(
        matches!(&events[..], [Event::Room { room_id, joined, version: 1, .. }] if *room_id == room && joined.len() == 2),
        "{events:?}"
    );
    // The same two again, asked by the other: the same room, and nobody hears of anything.
    let headers = world.headers(&bob);
    let again = world.ask(&headers, &open(&bob, &[&ann.id], None)).await;
    assert_eq!(again["roomId"], reply["roomId"], "{again}");
    assert!(world.events_of(headers.request_id).is_empty());

    world.befriend(&bob, &cid);
    assert_eq!(code(&world.by(&cid, open(&cid, &[&bob.id], Some(room))).await), "not_a_member");
    assert_eq!(
        code(&world.by(&ann, open(&ann, &[&bob.id], Some(RoomId(uuid::Uuid::now_v7())))).await),
        "room_not_found"
    );
    let grown = world.by(&bob, open(&bob, &[&cid.id, &ann.id], Some(room))).await;
    assert_eq!((code(&grown), grown["memberCount"].as_i64()), ("ok", Some(3)), "{grown}");

    let said = world.by(&ann, ann.says(room, "hello")).await;
    assert_eq!(said["seq"], 1, "{said}");
    let list = Request::ListRooms(ListRooms { user_id: cid.id.clone(), page: Page::default() });
    let rooms = world.by(&cid, list).await;
    let entry = &rooms["rooms"][0];
    assert_eq!(entry["roomId"], reply["roomId"], "{rooms}");
    assert_eq!(
        (entry["lastMessage"].as_str(), entry["unread"].as_i64(), entry["lastSeq"].as_i64()),
        (Some("hello"), Some(1), Some(1))
    );
    // With three in it, it is no longer the room between the two: they may open another.
    let other = world.by(&ann, open(&ann, &[&bob.id], None)).await;
    assert_ne!(other["roomId"], reply["roomId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_numbered_refused_and_never_written_twice() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    let room = world.room(&[&ann]);
    for n in 1..=3 {
        assert_eq!(world.by(&ann, ann.says(room, "hi")).await["seq"], n);
    }
    assert_eq!(code(&world.by(&bob, bob.says(room, "hi")).await), "not_a_member");
    assert_eq!(code(&world.by(&ann, ann.says(RoomId(uuid::Uuid::now_v7()), "hi")).await), "room_not_found");

    // The same record again: the same answer and event, marked, and no second row.
    let headers = world.headers(&ann);
    let record = world.record(&headers, &ann.says(room, "once"));
    world.produce_all(&[record.clone(), record.clone()]).await;
    world.produce(&record).await;
    let replies = eventually("three replies", || async {
        Some(world.replies_to(headers.request_id)).filter(|r| r.len() >= 3)
    })
    .await;
    assert!(replies.iter().all(|(value, _)| *value == replies[0].0), "{replies:?}");
    assert_eq!(replies.iter().filter(|(_, replayed)| *replayed).count(), 2, "{replies:?}");
    let count =
        world.database.sql(&format!("SELECT count(*), max(seq) FROM messages WHERE room_id = '{room}'"));
    assert_eq!(count, "4|4");
    // Another body under the same id.
    let other = world.record(&headers, &ann.says(room, "twice"));
    world.produce(&other).await;
    let replies = eventually("a fourth reply", || async {
        Some(world.replies_to(headers.request_id)).filter(|r| r.len() >= 4)
    })
    .await;
    assert_eq!(
        replies.iter().filter(|(value, _)| value["errorCode"] == "idempotency_mismatch").count(),
        1,
        "{replies:?}"
    );

    // Past its deadline it is not run, until a record with a later one comes.
    let mut headers = world.headers(&ann);
    let fresh = headers.deadline;
    headers.deadline = passed();
    assert_eq!(code(&world.ask(&headers, &ann.says(room, "late")).await), "deadline_exceeded");
    headers.deadline = fresh;
    world.produce(&world.record(&headers, &ann.says(room, "late"))).await;
    let replies = eventually("an answer to the second try", || async {
        Some(world.replies_to(headers.request_id)).filter(|r| r.len() >= 2)
    })
    .await;
    assert_eq!(replies.iter().filter(|(value, _)| value["seq"] == 5).count(), 1, "{replies:?}");
    assert_eq!(
        world
            .database
            .sql(&format!("SELECT count(*) FROM inbox WHERE request_id = '{}'", headers.request_id)),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_whoever_produces() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    world.befriend(&ann, &bob);
    let room = world.room(&[&ann]);
    let long = ann.says(room, &"x".repeat(parley::wire::MAX_MESSAGE_BYTES + 1));
    assert_eq!(code(&world.by(&ann, long).await), "too_large");
    assert_eq!(world.by(&ann, ann.says(room, &"x".repeat(parley::wire::MAX_MESSAGE_BYTES))).await["seq"], 1);
    let many: Vec<UserId> =
        (0..=parley::wire::MAX_IDS).map(|n| format!("user{n}").parse().unwrap()).collect();
    assert_eq!(code(&world.by(&ann, friend(&ann, &many.iter().collect::<Vec<_>>())).await), "too_large");
    world.database.sql(&format!("UPDATE rooms SET member_count = 10000 WHERE room_id = '{room}'"));
    assert_eq!(code(&world.by(&ann, open(&ann, &[&bob.id], Some(room))).await), "too_large");

    let mut nobody = world.headers(&ann);
    nobody.user_id = None;
    assert_eq!(code(&world.ask(&nobody, &ann.says(room, "hi")).await), "unauthenticated");
    let other = world.headers(&bob);
    assert_eq!(code(&world.ask(&other, &ann.says(room, "hi")).await), "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_race_open_one_room_and_make_one_friendship() {
    let world = World::shared().await;
    let (ann, bob) = (world.person("ann"), world.person("bob"));
    let race = |requests: [(Person, Request); 2]| async move {
        let headers: Vec<_> = requests.iter().map(|(who, _)| world.headers(who)).collect();
        let records: Vec<_> = headers
            .iter()
            .zip(&requests)
            .map(|(headers, (_, request))| world.record(headers, request))
            .collect();
        world.produce_all(&records).await;
        [world.reply(headers[0].request_id).await, world.reply(headers[1].request_id).await]
    };
    let replies =
        race([(ann.clone(), friend(&ann, &[&bob.id])), (bob.clone(), friend(&bob, &[&ann.id]))]).await;
    let mut results: Vec<&str> =
        replies.iter().map(|r| r["friendId"][0]["result"].as_str().unwrap()).collect();
    results.sort_unstable();
    assert_eq!(results, ["added", "already"]);
    let [one, two] =
        race([(ann.clone(), open(&ann, &[&bob.id], None)), (bob.clone(), open(&bob, &[&ann.id], None))])
            .await;
    assert_eq!((code(&one), &one["roomId"]), ("ok", &two["roomId"]), "{one} {two}");
    assert_eq!(
        world.database.sql(&format!("SELECT count(*) FROM user_rooms WHERE user_id = '{}'", ann.id)),
        "1"
    );

    let name = unique("eve");
    let (first, request_one) = world.sign_up(&name, PASSWORD);
    let (second, request_two) = world.sign_up(&name, PASSWORD);
    world.produce_all(&[world.record(&first, &request_one), world.record(&second, &request_two)]).await;
    let (one, two) = (world.reply(first.request_id).await, world.reply(second.request_id).await);
    let mut codes = [code(&one), code(&two)];
    codes.sort_unstable();
    assert_eq!(codes, ["ok", "user_exists"]);
}
