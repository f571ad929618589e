//! A cursor that has no room for all partitions is a time: it may repeat, and never skips.

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_a_cursor_holds_are_resumed_by_time() {
    let mut kit = Kit::own(2, &[]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    kit.say(room, &amy.id, 1, 2).await;
    let grown = kit.chat.admin().create_partitions(vec![("chat-event".into(), 120)], false).await.unwrap();
    grown.into_iter().for_each(|(_, result)| result.unwrap());
    for n in 0..2 {
        // A gateway meets new partitions within seconds; its cursor tells.
        let mut ear = Ear::live(&amy, kit.addr(n), None).await;
        if !ear.cursor().contains(".t.") {
            ear.until("a time for a cursor", |block| block.id.as_ref().is_some_and(|id| id.contains(".t.")))
                .await;
        }
    }
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    kit.say(room, &amy.id, 3, 8).await;
    ear.message(room, 5).await;
    let cursor = ear.cursor();
    assert!(cursor.contains(".t.") && cursor.len() <= 128, "{cursor}");
    drop(ear);
    kit.say(room, &amy.id, 9, 10).await;

    // From memory, and, after all that remembered have gone, from Kafka.
    for restarted in [false, true] {
        if restarted {
            let (gateway, addr) = kit.chat.gateway(&[]);
            for (old, _) in std::mem::replace(&mut kit.gateways, vec![(gateway.ready().await, addr)]) {
                assert_eq!(old.stop().await.code(), Some(0));
            }
        }
        let mut ear = Ear::live(&amy, kit.addr(1), Some(&cursor)).await;
        assert_eq!(outcome(&ear), "resumed");
        if ear.seqs(room).last() != Some(&10) {
            ear.message(room, 10).await;
        }
        let heard = ear.seqs(room);
        assert!(heard[0] <= 6, "nothing after the cursor is skipped: {heard:?}");
        assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1), "{heard:?}");
    }
}
