//! Three brokers, each partition on one of them, and one broker away: a third of the partitions has no leader. The others are not
//! affected, the streams stay, and nothing is lost when it comes back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use hyper::Method;
use parley::{ids::RoomId, kafka::admin::OffsetSpec, wire::Kind};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::json;

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};
use crate::fixtures::{Chat, eventually};

/// The end of each partition of chat-event.
async fn ends(kit: &Kit) -> Vec<i64> {
    let asked = (0..12).map(|partition| ("chat-event".to_owned(), partition)).collect();
    let mut found = kit.chat.admin().list_offsets(OffsetSpec::Latest, asked).await.unwrap();
    found.sort_by_key(|(_, partition, _)| *partition);
    found.into_iter().map(|(_, _, end)| end.unwrap().unwrap_or(0)).collect()
}

/// Partitions of chat-event that no broker leads.
async fn leaderless(kit: &Kit) -> Option<Vec<usize>> {
    let described = kit.chat.admin().describe_topics(vec!["chat-event".into()]).await.ok()?;
    let topic = described.into_iter().next()?.1.ok()?;
    let without = topic.partitions.iter().enumerate().filter(|(_, partition)| !partition.has_leader);
    Some(without.map(|(n, _)| n).collect())
}

/// A broker that leads a partition of the requests that are made below: it need not be the last one, nor any given one.
fn leader_of_requests(kit: &Kit) -> u16 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kit.chat.kafka.bootstrap())
        .create()
        .expect("a consumer");
    let asked = consumer.fetch_metadata(Some(Kind::ChangeStatus.request_topic()), Duration::from_secs(60));
    let leader = asked.expect("the brokers answer").topics()[0].partitions()[0].leader();
    u16::try_from(leader).expect("a broker")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_holds_up_its_own_rooms_only() {
    // Memory for a megabyte of events only, so that a resume has to read from Kafka.
    let settings = [
        ("PARLEY_RING_MIB", "1"),
        ("PARLEY_REPLAY_SECONDS", "3"),
        ("PARLEY_HEARTBEAT_SECONDS", "1"),
        // What is said at once to fill that fits a stream's queue: who reads it may be a little late.
        ("PARLEY_STREAM_QUEUE_KIB", "1024"),
    ];
    let kit = Kit::on(Chat::on(3).await, 2, &settings).await;
    let amy = kit.person("amy");
    // A room in each partition.
    let mut rooms: Vec<Option<RoomId>> = vec![None; 12];
    let mut before = ends(&kit).await;
    for _ in 0..400 {
        let room = kit.room(&[&amy]);
        kit.say(room, &amy.id, 1, 1).await;
        let after = ends(&kit).await;
        let partition = before.iter().zip(&after).position(|(before, after)| before < after).unwrap();
        rooms[partition].get_or_insert(room);
        before = after;
        if rooms.iter().all(Option::is_some) {
            break;
        }
    }
    let rooms: Vec<RoomId> = rooms.into_iter().map(|room| room.expect("a room in each partition")).collect();
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let mut other = Ear::live(&amy, kit.addr(1), None).await;
    let old = ear.cursor();
    for (room, seqs) in rooms.iter().map(|room| (room, 2..=20)) {
        let mut events = kit.store(*room, &amy.id, *seqs.start(), *seqs.end());
        for event in &mut events {
            if let parley::wire::Event::Message { message, .. } = event {
                message.push_str(&"x".repeat(15_000));
            }
        }
        kit.produce(&events).await;
        for ear in [&mut ear, &mut other] {
            ear.message(*room, 20).await;
        }
    }

    let leader = tokio::task::block_in_place(|| leader_of_requests(&kit));
    kit.chat.kafka.signal(leader, "KILL");
    let without = eventually("partitions without a leader", || async {
        leaderless(&kit).await.filter(|without| !without.is_empty())
    })
    .await;
    eventually("the gateway to say so and stay ready", || async {
        let (status, body) = kit.gateways[0].0.get("/readyz").await?;
        (status == 200 && body.contains("without a leader") && body.contains("chat-event/")).then_some(())
    })
    .await;
    let led = (0..12).find(|partition| !without.contains(partition)).expect("two brokers lead the rest");
    kit.say(rooms[led], &amy.id, 21, 25).await;
    for ear in [&mut ear, &mut other] {
        ear.message(rooms[led], 25).await;
        ear.until("a heartbeat", |block| block.event.is_empty() && block.id.is_some()).await;
    }
    // From memory on any replica; what only Kafka has, and Kafka cannot tell, is said.
    assert_eq!(outcome(&Ear::live(&amy, kit.addr(1), Some(&other.cursor())).await), "resumed");
    let started = Instant::now();
    let mut anew = Ear::live(&amy, kit.addr(1), Some(&old)).await;
    assert_eq!(outcome(&anew), "overflow");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    kit.say(rooms[led], &amy.id, 26, 26).await;
    anew.message(rooms[led], 26).await;

    // Requests: those whose partition has no leader are refused soon, the others are taken.
    let people: Vec<_> = (0..24).map(|n| kit.person(&format!("p{n}"))).collect();
    let ask = async || {
        let asked = people.iter().map(|person| async {
            let answer =
                person.client.json(Method::PUT, "/api/me/status", &[], &json!({"status": "x"})).await;
            let friends = person.client.get("/api/friends").await;
            let rooms = person.client.get("/api/rooms").await;
            [answer, friends, rooms].map(|answer| answer.unwrap())
        });
        join_all(asked).await.into_iter().flatten().collect::<Vec<_>>()
    };
    let started = Instant::now();
    let answers = ask().await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert!(
        count(202) > 0 && count(503) > 0 && count(202) + count(503) == answers.len(),
        "{} {}",
        count(202),
        count(503)
    );
    let refused = answers.iter().filter(|answer| answer.status == 503);
    assert!(
        refused.clone().all(|a| a.json()["code"] == "unavailable" && a.headers.contains_key("retry-after"))
    );

    tokio::task::block_in_place(|| kit.chat.kafka.start_again());
    eventually("leaders again", || async { leaderless(&kit).await.filter(Vec::is_empty) }).await;
    for partition in &without {
        kit.say(rooms[*partition], &amy.id, 21, 22).await;
        ear.message(rooms[*partition], 22).await;
        assert_eq!(ear.seqs(rooms[*partition]), (2..=22).collect::<Vec<_>>(), "the same stream, each once");
    }
    eventually("all requests to be taken", || async {
        ask().await.iter().all(|answer| answer.status == 202).then_some(())
    })
    .await;
    assert_eq!((ear.count("resync"), ear.count("hello")), (0, 1));
}
