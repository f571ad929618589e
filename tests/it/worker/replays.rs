//! The same record again, for every kind that changes something: the same answer, marked, and all its events again; and the
//! database stands as it stood, to the last row.

use parley::{
    ids::{RequestId, RoomId, UserId},
    wire::{AddFriend, AddRoom, ChangeStatus, Event, LeaveRoom, Logout, Outgoing, Request, RequestHeaders},
};
use serde_json::Value;

use super::world::{PASSWORD, Person, World, address};
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
    headers.client_address = Some(address(&unique("address")));
    let user = sign_up.user().expect("a user").clone();
    assert_eq!(quiet.thrice(&headers, &sign_up, 0).await["isSuccess"], true);

    let failures = || {
        world
            .database
            .sql("SELECT string_agg(failures::text, ',') FROM throttles WHERE subject NOT LIKE 'sign-up:%'")
    };
    let (mut headers, wrong) = world.log_in(&user, "wrong horse battery");
    headers.client_address = Some(address(&unique("address")));
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

/// `client-address`, `traceparent`, `replayed` and `answers` are not signed: whoever reads and writes Kafka can send a record again with
/// others. Behind the record itself that does nothing. Before it, the failure counts against the address that they name; it counts
/// once, and against the account, whatever they name.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_other_unsigned_headers_does_what_the_record_did() {
    const TRACE: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let quiet = Quiet::start().await;
    let world = &quiet.world;
    let user: UserId = unique("tom").parse().expect("a user id");
    let (address, other) = (address(&unique("address")), address(&unique("other")));
    let wrong = || {
        let (mut headers, login) = world.log_in(&user, "wrong horse battery");
        headers.client_address = Some(address.clone());
        (headers.request_id, world.record(&headers, &login))
    };
    let changed = |record: &Outgoing, name: &'static str, value: Option<&[u8]>| {
        let mut copy = record.clone();
        copy.headers.retain(|(other, _)| *other != name);
        copy.headers.extend(value.map(|value| (name.into(), value.to_vec())));
        copy
    };
    let failures = || {
        let count = |subject: String| {
            world.database.sql(&format!("SELECT failures FROM throttles WHERE subject = '{subject}'"))
        };
        [format!("user:{user}"), format!("address:{address}"), format!("address:{other}")].map(count)
    };
    // Sends a record and waits until it is answered as the first one was.
    let answered = async |id: RequestId, record: &Outgoing| {
        let before = world.replies_to(id).len();
        world.produce(record).await;
        let replies = eventually("one more reply", || async {
            Some(world.replies_to(id)).filter(|replies| replies.len() > before)
        })
        .await;
        assert!(replies.iter().all(|(reply, _)| reply["errorCode"] == "wrong_credentials"), "{replies:?}");
        assert_eq!(replies.last().map(|(_, replayed)| *replayed), Some(before > 0), "{replies:?}");
    };

    let (id, record) = wrong();
    answered(id, &record).await;
    assert_eq!(failures(), ["1", "1", ""]);
    let before = world.dump();
    for (name, value) in [
        ("client-address", Some(other.as_bytes())),
        ("client-address", None),
        ("traceparent", Some(TRACE)),
        ("replayed", Some(b"false")),
        ("answers", Some(b"of another")),
    ] {
        answered(id, &changed(&record, name, value)).await;
        assert!(world.dump() == before, "{name}: nothing changes");
    }
    let (id, record) = wrong();
    answered(id, &changed(&record, "client-address", Some(other.as_bytes()))).await;
    answered(id, &record).await;
    assert_eq!(
        failures(),
        ["2", "1", "1"],
        "the account's is counted once, and the address that was named first"
    );
    let (id, record) = wrong();
    answered(id, &changed(&record, "client-address", None)).await;
    answered(id, &record).await;
    assert_eq!(failures(), ["3", "1", "1"], "the account's alone");
    // What cannot be one is not believed at all: it is put aside, and answered to nobody. PostgreSQL could not keep the last two, nor the
    // count of a wrong password beside them.
    let long = other.repeat(600);
    for (n, (name, value)) in [("parley-version", "2"), ("client-address", "a\0b"), ("client-address", &long)]
        .into_iter()
        .enumerate()
    {
        let (id, record) = wrong();
        world.produce(&changed(&record, name, Some(value.as_bytes()))).await;
        eventually("a dead letter", || async {
            let letters = world.dead_letters();
            letters.iter().any(|seen| seen.text("request-id") == id.to_string()).then_some(())
        })
        .await;
        assert_eq!((world.replies_to(id).len(), failures()[0].clone()), (0, (3 + n).to_string()), "{name}");
        // The record itself is none the worse.
        answered(id, &record).await;
        assert_eq!(failures()[0], (4 + n).to_string(), "{name}");
        // Nobody waits, however many these are.
        world.database.sql("UPDATE throttles SET blocked_until = now()");
    }
    assert!(quiet.worker.stop().await.success());
}
