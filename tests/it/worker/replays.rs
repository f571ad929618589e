//! The same record again, for every kind that changes something: the same answer, marked, and all its events again; and the
//! database stands as it stood, to the last row.

use parley::{
    ids::{RoomId, UserId},
    wire::{AddFriend, AddRoom, ChangeStatus, Event, LeaveRoom, Logout, Request, RequestHeaders},
};
use serde_json::Value;

use super::world::{PASSWORD, Person, World};
use crate::fixtures::{Binary, eventually, unique};

/// A world with one worker, whose database changes by these tests alone.
struct Quiet {
    world: World,
    worker: Binary,
}

impl Quiet {
    async fn start() -> Self {
        let world = World::own(1).await;
        let worker = world.worker(&[]).ready().await;
        Self { world, worker }
    }

    /// Sends a request, and its record twice again, each after the answer to the one before. Gives the answer.
    async fn thrice(&self, headers: &RequestHeaders, request: &Request, events: usize) -> Value {
        let (world, id) = (&self.world, headers.request_id);
        let what = format!("{:?} {id}", request.kind());
        let record = world.record(headers, request);
        let mut before = None;
        for round in 1..=3 {
            world.produce(&record).await;
            eventually(&format!("{what}: all of round {round}"), || async {
                // What a producer did not hear acknowledged in time it sends again.
                let replies = world.replies_to(id).len() >= round;
                (replies && world.events_of(id).len() >= round * events).then_some(())
            })
            .await;
            let now = world.dump();
            assert_eq!(
                *before.get_or_insert_with(|| now.clone()),
                now,
                "{what}: nothing changes in round {round}"
            );
        }
        let replies = world.replies_to(id);
        let (first, _) = &replies[0];
        assert!(replies.iter().all(|(reply, _)| reply == first), "{what}: {replies:?}");
        let fresh = replies.iter().filter(|(_, replayed)| !*replayed).count();
        assert!(fresh <= 1 && replies.len() > 2, "{what}: {fresh} fresh of {}", replies.len());
        let heard = world.events_of(id);
        let times = |event: &Event| heard.iter().filter(|other| *other == event).count();
        assert!(heard.iter().all(|event| times(event) >= 3), "{what}: {heard:?}");
        first.clone()
    }

    async fn by(&self, who: &Person, request: Request, events: usize) -> Value {
        let reply = self.thrice(&self.world.headers(who), &request, events).await;
        assert_eq!(reply["isSuccess"], true, "{reply}");
        reply
    }
}

fn ids(people: &[&Person]) -> Vec<UserId> {
    people.iter().map(|person| person.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_again_is_answered_and_heard_of_again_and_changes_nothing() {
    let quiet = Quiet::start().await;
    let world = &quiet.world;
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.person(name));

    let friends = AddFriend { user_id: ann.id.clone(), friend_id: ids(&[&bob, &cid]) };
    quiet.by(&ann, Request::AddFriend(friends), 4).await;
    let status = ChangeStatus { user_id: bob.id.clone(), status: "away".parse().expect("a status") };
    quiet.by(&bob, Request::ChangeStatus(status), 1).await;

    let open = |friends: &[&Person], room_id| AddRoom {
        user_id: ann.id.clone(),
        friend_id: ids(friends),
        room_name: None,
        room_id,
    };
    // The room between two, which a claim decides; a room of three; and one that grows.
    let pair = quiet.by(&ann, Request::AddRoom(open(&[&bob], None)), 1).await;
    quiet.by(&ann, Request::AddRoom(open(&[&bob, &cid], None)), 1).await;
    let room: RoomId = pair["roomId"].as_str().expect("a room").parse().expect("an id");
    quiet.by(&ann, Request::AddRoom(open(&[&cid], Some(room))), 1).await;
    quiet.by(&ann, ann.says(room, "once"), 1).await;
    quiet.by(&bob, Request::LeaveRoom(LeaveRoom { user_id: bob.id.clone(), room_id: room }), 1).await;

    // A refusal is an outcome too.
    let refused = quiet.thrice(&world.headers(&bob), &bob.says(room, "too late"), 0).await;
    assert_eq!(refused["errorCode"], "not_a_member", "{refused}");
    assert!(quiet.worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_comes_again_opens_no_session_and_counts_nobody_twice() {
    let quiet = Quiet::start().await;
    let world = &quiet.world;
    let (mut headers, sign_up) = world.sign_up(&unique("tom"), PASSWORD);
    headers.client_address = Some(unique("address"));
    let user = sign_up.user().expect("a user").clone();
    assert_eq!(quiet.thrice(&headers, &sign_up, 0).await["isSuccess"], true);

    let failures = || {
        world
            .database
            .sql("SELECT string_agg(failures::text, ',') FROM throttles WHERE subject NOT LIKE 'sign-up:%'")
    };
    let (mut headers, wrong) = world.log_in(&user, "wrong horse battery");
    headers.client_address = Some(unique("address"));
    assert_eq!(quiet.thrice(&headers, &wrong, 0).await["errorCode"], "wrong_credentials");
    assert_eq!(failures(), "1,1", "the account and the address, once each");
    let (missed, missed_id) = (world.record(&headers, &wrong), headers.request_id);

    let sessions = || {
        world.database.sql(&format!(
            "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM sessions WHERE user_id = '{user}'"
        ))
    };
    let (headers, login) = world.log_in(&user, PASSWORD);
    assert_eq!(quiet.thrice(&headers, &login, 0).await["isSuccess"], true);
    assert_eq!((sessions(), failures()), ("1|1".to_owned(), "1".to_owned()));
    // The wrong one once more, now that the account is forgiven: it is answered as it was, and nothing is counted.
    let before = world.dump();
    world.produce(&missed).await;
    eventually("a fourth reply", || async { (world.replies_to(missed_id).len() == 4).then_some(()) }).await;
    assert!(world.dump() == before, "a wrong password that comes again counts once");
    let person = Person { id: user.clone(), session: headers.session_key };
    let logout = Logout { user_id: Some(user.clone()), everywhere: false };
    quiet.by(&person, Request::Logout(logout), 1).await;
    assert_eq!(sessions(), "1|0");

    // A login that comes again after its logout opens nothing.
    let before = world.dump();
    world.produce(&world.record(&headers, &login)).await;
    eventually("a fourth reply", || async {
        (world.replies_to(headers.request_id).len() == 4).then_some(())
    })
    .await;
    assert_eq!((sessions().as_str(), world.dump() == before), ("1|0", true));

    let (headers, login) = world.log_in(&user, PASSWORD);
    assert_eq!(world.ask(&headers, &login).await["isSuccess"], true);
    let person = Person { id: user.clone(), session: headers.session_key };
    let logout = Logout { user_id: Some(user.clone()), everywhere: true };
    quiet.by(&person, Request::Logout(logout), 1).await;
    assert_eq!(sessions(), "2|0");
    assert!(quiet.worker.stop().await.success());
}
