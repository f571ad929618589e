//! One client, three replicas, another one at every reconnect.

use std::time::{Duration, Instant};

use super::kit::{Ear, Kit, seq_of};

/// How many messages are produced at a time.
const BATCH: usize = 100;

/// What a client heard that hopped to another replica at every reconnect, cut off wherever that was.
async fn hop(kit: &Kit, messages: i64, disorder: bool) -> Vec<i64> {
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let room = kit.room(&[&amy, &ben]);
    let mut ear = Ear::live(&ben, kit.addr(0), None).await;
    let mut heard = Vec::new();
    let mut cursor = ear.cursor();
    let mut hops = 0_usize;
    let start = Instant::now();
    let speak = async {
        for from in (1..=messages).step_by(BATCH) {
            let mut events = kit.store(room, &amy.id, from, from + i64::try_from(BATCH).unwrap() - 1);
            if disorder {
                events.chunks_exact_mut(7).for_each(|seven| seven.swap(2, 3));
            }
            kit.produce(&events).await;
        }
    };
    let listen = async {
        while !heard.contains(&messages) {
            assert!(start.elapsed() < Duration::from_secs(240), "heard {} of {messages}", heard.len());
            // Between one event and a few hundred from each replica.
            for _ in 0..1 + (hops * 37) % 211 {
                if heard.last() == Some(&messages) {
                    break;
                }
                let Some(block) = ear.next().await else { break };
                assert_ne!(block.event, "resync", "continuity is never in doubt: {block:?}");
                if let Some(id) = &block.id {
                    cursor.clone_from(id);
                }
                heard.extend(seq_of(&block, room));
            }
            hops += 1;
            ear = Ear::open(&ben, kit.addr(hops), Some(&cursor)).await;
        }
    };
    tokio::join!(speak, listen);
    assert!(hops > 10, "{hops}");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hops_hears_each_of_ten_thousand_messages_once_and_in_order() {
    let kit = Kit::own(3, &[]).await;
    let heard = hop(&kit, 10_000, false).await;
    assert_eq!(heard.len(), 10_000, "each once");
    assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1), "in order");

    // Two owners of a partition: neighbours change places in the log. A message that is repaired carries the cursor from before the
    // record that revealed its absence, so a client that is cut off right there gets it again, and drops it by its number.
    let mut heard = hop(&kit, 3_000, true).await;
    let doubles = heard.len() - 3_000;
    let mut newest = 0;
    heard.retain(|seq| {
        let new = *seq > newest;
        newest = newest.max(*seq);
        new
    });
    assert_eq!(heard, (1..=3_000).collect::<Vec<_>>(), "none missing, none late");
    assert!(doubles < 100, "{doubles} doubles");
}
