//! A member who turns their own cursor back to before they were one, and who asks for the history from there.

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};
use crate::fixtures::read;

/// The stream's cursor turned back to the beginning of each of the twelve partitions, and the same as a time.
fn rewound(ear: &Ear) -> [String; 2] {
    let cursor = ear.cursor();
    let (head, _) = cursor.rsplit_once('.').unwrap();
    [format!("{head}.{}", "A".repeat(16)), format!("{head}.t.0")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_turned_back_shows_nothing_from_before_joining_or_after_leaving() {
    // A log of its own: what others have in the shared one may be more than a resume may read.
    let mut kit = Kit::own(1, &[]).await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let (room, other) = (kit.room(&[&amy]), kit.room(&[&amy]));
    let mut of_amy = Ear::live(&amy, kit.addr(0), None).await;
    kit.say(other, &amy.id, 1, 1).await;
    kit.say(room, &amy.id, 1, 2).await;
    kit.produce(&[kit.joined(room, &[&amy], &eve, 2)]).await;
    kit.say(room, &amy.id, 3, 5).await;
    of_amy.message(room, 5).await;
    // The second one has none of this in memory, and reads it from Kafka.
    let (gateway, addr) = kit.chat.gateway(&[]);
    kit.gateways.push((gateway.ready().await, addr));
    let mut there = Ear::live(&amy, kit.addr(1), None).await;

    for n in 0..2 {
        for cursor in rewound(&Ear::live(&eve, kit.addr(n), None).await) {
            let mut ear = Ear::live(&eve, kit.addr(n), Some(&cursor)).await;
            assert_eq!(outcome(&ear), "resumed", "{cursor}");
            if ear.seqs(room).last() != Some(&5) {
                // A gateway that has not read the log to its end yet goes on with it.
                ear.message(room, 5).await;
            }
            assert_eq!((ear.seqs(room), ear.seqs(other)), (vec![3, 4, 5], vec![]), "{cursor}");
        }
    }

    // She leaves after 5, and it goes on without her. What Amy has heard each gateway has seen.
    kit.produce(&[kit.left(room, &[&amy], &eve, 5, 3)]).await;
    kit.say(room, &amy.id, 6, 7).await;
    of_amy.message(room, 7).await;
    there.message(room, 7).await;
    let mut ears = Vec::new();
    for n in 0..2 {
        for cursor in rewound(&Ear::live(&eve, kit.addr(n), None).await) {
            let ear = Ear::live(&eve, kit.addr(n), Some(&cursor)).await;
            assert_eq!(outcome(&ear), "resumed", "{cursor}");
            ears.push(ear);
        }
    }
    // Behind all of it in every queue: when her streams have ended, nothing more can come.
    kit.end_session(&eve).await;
    for ear in &mut ears {
        ear.run_out().await;
        assert_eq!((ear.seqs(room), ear.seqs(other)), (vec![3, 4, 5], vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_ends_at_joining_and_at_leaving_from_wherever_it_is_read() {
    let kit = Kit::shared().await;
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let room = kit.room(&[&amy]);
    kit.store(room, &amy.id, 1, 2);
    kit.joined(room, &[&amy], &eve, 2);
    kit.store(room, &amy.id, 3, 5);
    kit.left(room, &[&amy], &eve, 5, 3);
    kit.store(room, &amy.id, 6, 7);
    // The numbers on a page, and the `next` that it names.
    let page = async |query: &str| {
        let answer = read(&eve.client, &format!("/api/rooms/{room}/messages{query}")).await;
        let body = answer.json();
        assert_eq!(answer.status, 200, "{query}: {body}");
        let messages = body["messages"].as_array().unwrap();
        let seqs: Vec<i64> = messages.iter().map(|message| message["seq"].as_i64().unwrap()).collect();
        (seqs, body["next"].as_i64())
    };
    for (query, seqs, next) in [
        ("", vec![3, 4, 5], None),
        ("?after=0", vec![3, 4, 5], None),
        ("?after=-9223372036854775808", vec![3, 4, 5], None),
        ("?after=4", vec![5], None),
        ("?after=5", vec![], None),
        ("?after=6", vec![], None),
        ("?before=9223372036854775807", vec![3, 4, 5], None),
        ("?before=7", vec![3, 4, 5], None),
        ("?before=4", vec![3], None),
        ("?before=3", vec![], None),
        ("?before=1", vec![], None),
        // Page by page, in both directions; what lies beyond is not even hinted at.
        ("?limit=2", vec![4, 5], Some(4)),
        ("?before=4&limit=1", vec![3], None),
        ("?after=0&limit=2", vec![3, 4], Some(4)),
        ("?after=4&limit=1", vec![5], None),
    ] {
        assert_eq!(page(query).await, (seqs, next), "{query}");
    }
}
