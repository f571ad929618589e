//! Readers that stop for a while: they are told why they were cut, and hear everything once when they come back.

use parley::wire::Event;

use super::{
    kit::{Ear, Kit},
    resume::outcome,
};
use crate::fixtures::eventually;

/// Messages of 15 KB each: several times what the kernel's buffers hold of one stream.
const MESSAGES: i64 = 150;

/// One who opens a stream, does not read until the gateway has cut it by its own account, and then reads on and comes back.
async fn stops(settings: &[(&str, &str)], reason: &str) {
    let kit = Kit::own(1, settings).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let mut events = kit.store(room, &amy.id, 1, MESSAGES);
    for event in &mut events {
        if let Event::Message { message, .. } = event {
            message.push_str(&"x".repeat(15_000));
        }
    }
    kit.produce(&events).await;
    eventually("the gateway to cut it", || async {
        let slow = kit.gateways[0].0.metric("parley_sse_closed_total", &["slow"]).await;
        (slow >= 1.0).then_some(())
    })
    .await;
    let told = ear.until("slow", |block| block.event == "slow").await;
    assert_eq!(told.data, format!("{{\"reason\":\"{reason}\"}}"));
    assert!(ear.next().await.is_none(), "the stream ends after it, and ends well");
    let first = ear.seqs(room);
    assert!(first.len() < events.len(), "what waited was dropped: it heard all {}", first.len());

    let (mut all, mut cursor) = (first, ear.cursor());
    while all.last() != Some(&MESSAGES) {
        let mut again = Ear::live(&amy, kit.addr(0), Some(&cursor)).await;
        assert_eq!(outcome(&again), "resumed");
        // On a busy machine it may be too slow once more: then it comes back once more.
        while again.seqs(room).last() != Some(&MESSAGES) && again.next().await.is_some() {}
        all.extend(again.seqs(room));
        cursor = again.cursor();
    }
    assert_eq!(all, (1..=MESSAGES).collect::<Vec<_>>(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bytes_are_told_as_such_and_the_resume_is_whole() {
    stops(&[("PARLEY_STREAM_QUEUE_KIB", "64")], "bytes").await;
}

/// The queue could hold everything: only its age ends the stream.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_too_long_is_told_as_such_and_the_resume_is_whole() {
    let settings = [
        ("PARLEY_STREAM_QUEUE_KIB", "65536"),
        ("PARLEY_STREAM_QUEUE_SECONDS", "2"),
        ("PARLEY_HEARTBEAT_SECONDS", "1"),
    ];
    stops(&settings, "age").await;
}
