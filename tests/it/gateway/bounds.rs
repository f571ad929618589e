//! What a resume may cost, and what a gateway that has just started knows.

use std::time::{Duration, Instant};

use futures::future::join_all;
use parley::{
    ids::RequestId,
    wire::{Body, Event, Kind, Reply},
};

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};

/// Messages of 40 KB: memory for a megabyte holds some 25 of them.
const MESSAGES: i64 = 120;

/// Two gateways that have to read older events from Kafka: one may read 50 records for a resume, the other as many as by default, but
/// for one resume at a time.
#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_replay_are_bounded_and_replays_take_turns() {
    // A stream that is not read for a moment is not to be cut for it.
    let both = [("PARLEY_RING_MIB", "1"), ("PARLEY_STREAM_QUEUE_KIB", "65536")];
    let mut kit = Kit::own(1, &[&both[..], &[("PARLEY_REPLAY_RECORDS", "50")]].concat()).await;
    let wide = [("PARLEY_REPLAYS", "1"), ("PARLEY_REPLAY_SECONDS", "60")];
    let (gateway, addr) = kit.chat.gateway(&[both, wide].concat());
    kit.gateways.push((gateway.ready().await, addr));
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut narrow = Ear::live(&amy, kit.addr(0), None).await;
    let mut wide = Ear::live(&amy, kit.addr(1), None).await;
    let first = narrow.cursor();
    let mut events = kit.store(room, &amy.id, 1, MESSAGES);
    for event in &mut events {
        if let Event::Message { message, .. } = event {
            message.push_str(&"x".repeat(40_000));
        }
    }
    kit.produce(&events).await;
    narrow.message(room, 80).await;
    let middle = narrow.cursor();
    for ear in [&mut narrow, &mut wide] {
        ear.message(room, MESSAGES).await;
    }

    // From the beginning some 95 records are not in memory, from the middle some 15.
    assert_eq!(outcome(&Ear::live(&amy, kit.addr(0), Some(&first)).await), "overflow");
    let ear = Ear::live(&amy, kit.addr(0), Some(&middle)).await;
    assert_eq!((outcome(&ear).as_str(), ear.seqs(room)), ("resumed", (81..=MESSAGES).collect()));
    // They wait for each other, and none is turned away.
    let all = join_all((0..6).map(|_| Ear::live(&amy, kit.addr(1), Some(&first)))).await;
    for ear in all {
        assert_eq!((outcome(&ear).as_str(), ear.seqs(room)), ("resumed", (1..=MESSAGES).collect()));
    }
}

/// The browser whose request the gateway before took comes to one that was not there when the reply was given.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_just_started_tells_the_replies_of_the_seconds_before() {
    let mut kit = Kit::own(1, &[]).await;
    let amy = kit.person("amy");
    let reply =
        Reply { user_id: Some(amy.id.clone()), result: Ok(Body::ChangeStatus { status: "s".into() }) };
    // It looks back by 15 s from its start, and keeps a reply for as long. A machine that takes longer to start it is asked again.
    for _ in 0..10 {
        let id = RequestId::fresh();
        kit.reply(Kind::ChangeStatus, amy.key, id, &reply).await;
        let given = Instant::now();
        let (gateway, addr) = kit.chat.gateway(&[]);
        kit.gateways.push((gateway.ready().await, addr));
        let mut ear = Ear::live(&amy, addr, None).await;
        if given.elapsed() > Duration::from_secs(12) {
            continue;
        }
        ear.until("the reply", |block| block.event == "reply" && block.data.contains(&id.to_string())).await;
        let asked = amy.client.at(addr).get(&format!("/api/requests/{id}")).await.unwrap();
        assert_eq!((asked.status, asked.json()["status"].as_str()), (200, Some("s")));
        return;
    }
    panic!("no gateway started within twelve seconds");
}
