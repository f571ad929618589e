//! Every resume case: on another replica, after restarts, from memory and from Kafka, and cursors that prove nothing.

use super::kit::{Ear, Kit};

/// What became of a cursor: `resumed`, or the reason of the `resync`.
pub(super) fn outcome(ear: &Ear) -> String {
    let last = ear.heard.last().expect("something was heard");
    match last.event.as_str() {
        "resync" => serde_json::from_str::<serde_json::Value>(&last.data).unwrap()["reason"]
            .as_str()
            .unwrap()
            .to_owned(),
        event => event.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_works_on_any_replica_and_repeats_nothing() {
    let kit = Kit::shared().await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let room = kit.room(&[&amy, &ben]);
    let mut ear = Ear::live(&ben, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 5).await;
    ear.message(room, 3).await;
    let cursor = ear.cursor();
    drop(ear);
    kit.say(room, &amy.id, 6, 8).await;
    for n in [1, 2, 0] {
        let mut ear = Ear::live(&ben, kit.addr(n), Some(&cursor)).await;
        assert_eq!(outcome(&ear), "resumed");
        if ear.seqs(room).last() != Some(&8) {
            // This replica was a little behind: the rest comes live.
            ear.message(room, 8).await;
        }
        assert_eq!(ear.seqs(room), [4, 5, 6, 7, 8]);
        assert_eq!(ear.heard[1].event, "hello");
        assert_eq!(
            ear.heard[1].id.as_deref(),
            Some(cursor.as_str()),
            "hello carries the client's own cursor"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_prove_nothing_are_resynced_and_then_live() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let ear = Ear::live(&amy, kit.addr(0), None).await;
    let real = ear.cursor();
    let (head, vector) = real.rsplit_once('.').unwrap();
    let long = "v1.".to_owned() + &"A".repeat(4_000);
    let cases = [
        ("garbage".to_owned(), "unknown"),
        ("0:100".to_owned(), "unknown"),
        (long, "unknown"),
        (format!("v1.0123456789ab.{vector}"), "foreign"),
        // Far beyond the end of every partition.
        (format!("{head}.{}", "_____w8"), "unknown"),
    ];
    for (next, (cursor, reason)) in (1..).zip(cases) {
        let mut ear = Ear::live(&amy, kit.addr(1), Some(&cursor)).await;
        assert_eq!(outcome(&ear), reason, "{cursor}");
        kit.say(room, &amy.id, next, next).await;
        ear.message(room, next).await;
        assert_eq!(ear.seqs(room), [next], "{cursor}");
        // And from there on it is a good cursor again.
        let resumed = Ear::live(&amy, kit.addr(2), Some(&ear.cursor())).await;
        assert_eq!(outcome(&resumed), "resumed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_every_replica_kafka_remembers() {
    let mut kit = Kit::own(2, &[]).await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let (room, other) = (kit.room(&[&amy, &ben]), kit.room(&[&amy]));
    let mut ear = Ear::live(&ben, kit.addr(0), None).await;
    kit.say(room, &amy.id, 1, 3).await;
    ear.message(room, 2).await;
    let cursor = ear.cursor();
    drop(ear);
    for (gateway, _) in kit.gateways.drain(..) {
        assert_eq!(gateway.stop().await.code(), Some(0));
    }
    kit.say(room, &amy.id, 4, 6).await;
    kit.say(other, &amy.id, 1, 50).await;
    let (gateway, addr) = kit.chat.gateway(&[]);
    kit.gateways.push((gateway.ready().await, addr));
    kit.say(room, &amy.id, 7, 7).await;
    let mut ear = Ear::live(&ben, kit.addr(0), Some(&cursor)).await;
    assert_eq!(outcome(&ear), "resumed");
    if ear.seqs(room).last() != Some(&7) {
        // The newest may still be on its way through the gateway, and comes live then.
        ear.message(room, 7).await;
    }
    assert_eq!(ear.seqs(room), [3, 4, 5, 6, 7]);

    // What retention has taken is expired.
    for partition in 0..12 {
        let offsets = format!(
            r#"{{"partitions":[{{"topic":"chat-event","partition":{partition},"offset":-1}}],"version":1}}"#
        );
        let file = std::env::temp_dir().join(crate::fixtures::unique("offsets"));
        std::fs::write(&file, offsets).unwrap();
        kit.chat.kafka.tool(
            "org.apache.kafka.tools.DeleteRecordsCommand",
            &["--offset-json-file", &file.display().to_string()],
            "",
        );
        std::fs::remove_file(file).unwrap();
    }
    let (gateway, addr) = kit.chat.gateway(&[]);
    kit.gateways.push((gateway.ready().await, addr));
    let ear = Ear::live(&ben, kit.addr(1), Some(&cursor)).await;
    assert_eq!(outcome(&ear), "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_bounded() {
    let kit = Kit::own(1, &[("PARLEY_REPLAY_EVENTS", "10")]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    // One by one: while a stream still looks the room up, what waits for it is bounded by the same setting.
    kit.say(room, &amy.id, 1, 1).await;
    ear.message(room, 1).await;
    let first = ear.cursor();
    kit.say(room, &amy.id, 2, 2).await;
    ear.message(room, 2).await;
    let second = ear.cursor();
    kit.say(room, &amy.id, 3, 12).await;
    // Only what the gateway has read itself counts against the bound.
    ear.message(room, 12).await;
    assert_eq!(outcome(&Ear::live(&amy, kit.addr(0), Some(&first)).await), "overflow");
    let ear = Ear::live(&amy, kit.addr(0), Some(&second)).await;
    assert_eq!((outcome(&ear).as_str(), ear.seqs(room).len()), ("resumed", 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_meanwhile_are_read_from_their_beginning() {
    let kit = Kit::own(2, &[]).await;
    let amy = kit.person("amy");
    let rooms: Vec<_> = (0..24).map(|_| kit.room(&[&amy])).collect();
    let ear = Ear::live(&amy, kit.addr(0), None).await;
    let cursor = ear.cursor();
    let mut live = Ear::live(&amy, kit.addr(1), None).await;
    let grown = kit.chat.admin().create_partitions(vec![("chat-event".into(), 24)], false).await.unwrap();
    grown.into_iter().for_each(|(_, result)| result.unwrap());
    // The producer meets the new partitions within seconds; messages go to old ones, then to new ones.
    for round in 1..=20 {
        for room in &rooms {
            kit.say(*room, &amy.id, round, round).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    for room in &rooms {
        live.until("the last message", |_| true).await;
        while live.seqs(*room).last() != Some(&20) {
            live.until("the last message", |_| true).await;
        }
        assert_eq!(live.seqs(*room), (1..=20).collect::<Vec<_>>());
    }
    let ear = Ear::live(&amy, kit.addr(1), Some(&cursor)).await;
    assert_eq!(outcome(&ear), "resumed");
    for room in &rooms {
        assert_eq!(ear.seqs(*room), (1..=20).collect::<Vec<_>>());
    }
    let admin = kit.chat.admin();
    let described = admin.list_offsets(
        parley::kafka::admin::OffsetSpec::Latest,
        (12..24).map(|partition| ("chat-event".to_owned(), partition)).collect(),
    );
    let used =
        described.await.unwrap().into_iter().filter(|(_, _, end)| matches!(end, Ok(Some(end)) if *end > 0));
    assert!(used.count() > 0, "new partitions were written to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_another_one() {
    let kit = Kit::own(2, &[]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ears = [Ear::live(&amy, kit.addr(0), None).await, Ear::live(&amy, kit.addr(1), None).await];
    kit.say(room, &amy.id, 1, 3).await;
    for ear in &mut ears {
        ear.message(room, 3).await;
    }
    let cursor = ears[0].cursor();
    kit.make_anew(&[("chat-event", 12)]).await;
    for ear in &mut ears {
        ear.until("resync", |block| block.event == "resync" && block.data.contains("foreign")).await;
    }
    kit.say(room, &amy.id, 4, 4).await;
    for ear in &mut ears {
        ear.message(room, 4).await;
        assert_eq!(ear.seqs(room), [1, 2, 3, 4], "each once");
    }
    // What is of the old topic proves nothing at either; what is of the new one holds at both.
    for n in 0..2 {
        assert_eq!(outcome(&Ear::live(&amy, kit.addr(n), Some(&cursor)).await), "foreign");
        for ear in &ears {
            assert_eq!(outcome(&Ear::live(&amy, kit.addr(n), Some(&ear.cursor())).await), "resumed");
        }
    }
}
