//! What a live stream hears: order, gaps, doubles, membership, replies.

use parley::{
    ids::RequestId,
    wire::{Body, Event, FriendEntry, Kind, Reply},
};

use super::kit::{Ear, Kit};
use crate::fixtures::read;

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_repaired_and_a_double_dropped_whatever_the_log_order() {
    let kit = Kit::shared().await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let room = kit.room(&[&amy, &ben]);
    let mut ears = Vec::new();
    for n in 0..3 {
        ears.push(Ear::live(&ben, kit.addr(n), None).await);
    }
    let events = kit.store(room, &amy.id, 1, 9);
    // Two owners: 2 before 1, 3 twice, 5 and 6 never (their worker died), 8 before 7.
    let order = [2, 1, 3, 3, 4, 7, 8, 7, 9, 2].map(|seq: usize| events[seq - 1].clone());
    kit.produce(&order).await;
    for ear in &mut ears {
        ear.message(room, 9).await;
        assert_eq!(ear.seqs(room), (1..=9).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_hear_a_room_from_their_joining_on() {
    let kit = Kit::shared().await;
    let (amy, ben, eve) = (kit.person("amy"), kit.person("ben"), kit.person("eve"));
    let room = kit.room(&[&amy, &ben]);
    let mut of_amy = Ear::live(&amy, kit.addr(0), None).await;
    let mut of_eve = Ear::live(&eve, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 3).await;
    of_amy.message(room, 3).await;

    // Eve joins after 3; message 4 stands in the log before the event that says so.
    let joined = kit.joined(room, &[&amy, &ben], &eve, 3);
    let four = kit.store(room, &ben.id, 4, 4);
    kit.produce(&[four[0].clone(), joined.clone(), joined]).await;
    kit.say(room, &ben.id, 5, 5).await;
    of_eve.message(room, 5).await;
    assert_eq!(of_eve.seqs(room), [4, 5]);
    let events = || of_eve.heard.iter().filter(|block| !block.event.is_empty());
    let first = events().position(|block| block.event == "room");
    assert_eq!((of_eve.count("room"), first), (1, Some(1)), "after the message before it");
    of_amy.message(room, 5).await;
    assert_eq!((of_amy.seqs(room), of_amy.count("room")), (vec![1, 2, 3, 4, 5], 1));

    // A second stream of hers, at a gateway that has read all this, begins with what is said next.
    let mut before = Ear::live(&eve, kit.addr(1), None).await;
    kit.say(room, &ben.id, 6, 6).await;
    before.message(room, 6).await;
    let mut again = Ear::live(&eve, kit.addr(1), None).await;
    kit.say(room, &ben.id, 7, 7).await;
    again.message(room, 7).await;
    assert_eq!(again.seqs(room), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_hears_what_was_said_before_and_nothing_after() {
    let kit = Kit::shared().await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let room = kit.room(&[&amy, &eve]);
    let mut ears = Vec::new();
    for n in 0..3 {
        ears.push(Ear::live(&eve, kit.addr(n), None).await);
    }
    let mut of_amy = Vec::new();
    for n in 0..3 {
        of_amy.push(Ear::live(&amy, kit.addr(n), None).await);
    }
    kit.say(room, &amy.id, 1, 2).await;
    for ear in ears.iter_mut().chain(&mut of_amy) {
        ear.message(room, 2).await;
    }
    let cursor = ears[0].cursor();
    // She leaves after 3, which stands in the log behind the event that says so; then life goes on without her.
    let left = kit.left(room, &[&amy], &eve, 3, 2);
    let three = kit.store(room, &amy.id, 3, 3).remove(0);
    kit.produce(&[left, three]).await;
    kit.say(room, &amy.id, 4, 6).await;
    for ear in &mut of_amy {
        ear.message(room, 6).await;
        assert_eq!(ear.seqs(room), (1..=6).collect::<Vec<_>>());
    }
    // On resume the same, and a new stream begins without the room.
    let mut resumed = Ear::live(&eve, kit.addr(1), Some(&cursor)).await;
    if resumed.seqs(room).is_empty() {
        // Her part of this replica was a little behind: it comes live.
        resumed.message(room, 3).await;
    }
    assert_eq!((resumed.seqs(room), resumed.count("room")), (vec![3], 1));
    ears[2].message(room, 3).await;
    let mut fresh = Ear::live(&eve, kit.addr(2), None).await;
    kit.say(room, &amy.id, 7, 7).await;
    for ear in &mut of_amy {
        ear.message(room, 7).await;
    }
    // Behind all of it in every queue: when her streams have ended, nothing more can come.
    kit.end_session(&eve).await;
    for ear in &mut ears {
        ear.run_out().await;
        assert_eq!((ear.seqs(room), ear.count("room")), (vec![1, 2, 3], 1));
    }
    fresh.run_out().await;
    assert_eq!(fresh.seqs(room), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn friends_hear_each_others_status_once_and_never_an_old_one() {
    let kit = Kit::shared().await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let mut ear = Ear::live(&ben, kit.addr(2), None).await;
    let status = |version| Event::Status { user_id: amy.id.clone(), status: format!("v{version}"), version };
    kit.produce(&[status(2)]).await;
    let friend = FriendEntry { user_id: amy.id.clone(), user_name: "Amy".into(), user_status: "v2".into() };
    kit.produce(&[Event::Friend { user_id: ben.id.clone(), friend, version: 2 }]).await;
    ear.until("friend", |block| block.event == "friend").await;
    kit.produce(&[status(4), status(3), status(4), status(5)]).await;
    ear.until("status 5", |block| block.data.contains("v5")).await;
    // v2 stands in another partition than the friendship: which one the gateway reads first is open.
    let statuses = ear.heard.iter().filter(|b| b.event == "status" && !b.data.contains("v2"));
    let heard: Vec<&str> = statuses.map(|b| b.data.as_str()).collect();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].contains("v4") && heard[1].contains("v5"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_its_session_alone_also_one_that_came_before_the_stream() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let other = kit.session(&amy.id);
    let mut elsewhere = Ear::live(&other, kit.addr(1), None).await;
    let (early, late) = (RequestId::fresh(), RequestId::fresh());
    let reply =
        Reply { user_id: Some(amy.id.clone()), result: Ok(Body::ChangeStatus { status: "s".into() }) };
    kit.reply(Kind::ChangeStatus, amy.key, early, &reply).await;
    // It is known to have arrived once it can be asked for.
    crate::fixtures::eventually("the reply", || async {
        let path = format!("/api/requests/{early}");
        let answer = amy.client.at(kit.addr(1)).get(&path).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    let mut ear = Ear::open(&amy, kit.addr(1), None).await;
    ear.until("the early reply", |block| block.event == "reply" && block.data.contains(&early.to_string()))
        .await;
    assert_eq!(ear.heard.iter().position(|block| block.event == "hello"), Some(1), "hello comes first");
    kit.reply(Kind::ChangeStatus, amy.key, late, &reply).await;
    let block = ear.until("the late reply", |block| block.data.contains(&late.to_string())).await;
    let data: serde_json::Value = serde_json::from_str(&block.data).unwrap();
    assert_eq!(
        (&data["kind"], &data["status"], &data["isSuccess"]),
        (&"ChangeStatus".into(), &"s".into(), &true.into())
    );
    let room = kit.room(&[&amy]);
    kit.say(room, &amy.id, 1, 1).await;
    // The other session hears the room (or rather its absence: it was opened before), and no reply.
    kit.reply(Kind::ChangeStatus, other.key, RequestId::fresh(), &reply).await;
    elsewhere.until("its own reply", |block| block.event == "reply").await;
    assert_eq!(elsewhere.count("reply"), 1);
    // To others it is a request that may be under way, as any fresh id may.
    let foreign = read(&other.client, &format!("/api/requests/{early}")).await;
    assert_eq!((foreign.status, foreign.json().get("status")), (202, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_of_ours_signed_reaches_nobody() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let forged = kit.store(room, &amy.id, 1, 1).remove(0);
    let value = String::from_utf8(forged.encode()).unwrap();
    kit.chat.kafka.tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &["--topic", "chat-event", "--property", "parse.headers=true", "--property", "parse.key=true"],
        &format!("parley-version:1,event:message\t{room}\t{value}\ngarbage:1\t{room}\tnot json\n"),
    );
    // The real one comes after, and is the only one.
    kit.say(room, &amy.id, 2, 2).await;
    ear.message(room, 2).await;
    assert_eq!(ear.seqs(room), [1, 2], "1 is repaired from PostgreSQL, not taken from the forgery");
    let dropped = kit.gateways[0].0.metric("parley_dropped_records_total", &["chat-event"]).await;
    assert!(dropped >= 2.0, "{dropped}");
}
