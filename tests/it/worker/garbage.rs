//! Records that nobody should have sent: each is dead-lettered with its reason, and the partition goes on.

use parley::wire::{Kind, Outgoing};
use serde_json::json;

use super::world::{Seen, World};
use crate::fixtures::{eventually, unique};

async fn letter(world: &World, code: &str, of: impl Fn(&Seen) -> bool) -> Seen {
    eventually(&format!("a dead letter with {code}"), || async {
        world.dead_letters().into_iter().find(|seen| seen.text("error-code") == code && of(seen))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_put_aside_with_its_reason() {
    let world = World::shared().await;
    let marker = unique("garbage");
    // The broker's own console producer knows nothing of headers and signatures.
    let line = format!("{{\"userId\":\"{marker}\"}}\n");
    world.kafka.tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &["--topic", Kind::ChangeStatus.request_topic()],
        &line,
    );
    let letter_of = |seen: &Seen| String::from_utf8_lossy(&seen.value).contains(&marker);
    let seen = letter(world, "unauthenticated", letter_of).await;
    assert_eq!(seen.text("origin-topic"), "user-status-change-request");
    assert!(seen.header("origin-partition").is_some() && seen.header("origin-offset").is_some());
    assert!(seen.text("error-message").contains("parley-version"), "{}", seen.text("error-message"));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unknown_records_are_answered_to_nobody() {
    let world = World::shared().await;
    let ann = world.person("ann");
    let good = |status: &str| {
        let headers = world.headers(&ann);
        let change = parley::wire::ChangeStatus { user_id: ann.id.clone(), status: status.parse().unwrap() };
        (headers.request_id, world.record(&headers, &parley::wire::Request::ChangeStatus(change)))
    };
    let change = |record: &mut Outgoing, name: &str, value: &str| {
        let header = record.headers.iter_mut().find(|(n, _)| n == name).expect("the header");
        header.1 = value.as_bytes().to_vec();
    };
    let (unsigned, mut record) = good("unsigned");
    record.headers.retain(|(name, _)| name != "signature");
    world.produce(&record).await;
    let (later, mut record) = good("from a later release");
    change(&mut record, "parley-version", "9");
    world.produce(&record).await;
    let (stolen, mut record) = good("to somebody else");
    change(&mut record, "session-key", &"a".repeat(64));
    world.produce(&record).await;
    for (id, reason) in [(unsigned, "signature"), (later, "parley-version"), (stolen, "signature")] {
        let seen = letter(world, "unauthenticated", |seen| seen.text("request-id") == id.to_string()).await;
        assert!(seen.text("error-message").contains(reason), "{}", seen.text("error-message"));
    }
    // The partition goes on: a good record behind them is answered, and it is the only one that is.
    let (id, record) = good("fine");
    world.produce(&record).await;
    assert_eq!(world.reply(id).await["isSuccess"], true);
    for id in [unsigned, later, stolen] {
        assert!(world.replies_to(id).is_empty());
    }
    assert_eq!(
        world.database.sql(&format!("SELECT user_status FROM users WHERE user_id = '{}'", ann.id)),
        "fine"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_believed_sender_is_told_what_is_wrong_and_the_record_is_kept() {
    let world = World::shared().await;
    let ann = world.person("ann");
    let headers = world.headers(&ann);
    let record = world.signed_bytes(&headers, Kind::AddFriend, ann.id.as_str(), json!({"userId": ann.id}));
    world.produce(&record).await;
    let reply = world.reply(headers.request_id).await;
    assert_eq!(reply["errorCode"], "invalid_request", "{reply}");
    let seen =
        letter(world, "invalid_request", |seen| seen.text("request-id") == headers.request_id.to_string())
            .await;
    assert_eq!(seen.value, record.value);
    assert_eq!(seen.text("attempts"), "1");
    // It is the answer for good.
    world.produce(&record).await;
    let replies = eventually("the stored answer", || async {
        Some(world.replies_to(headers.request_id)).filter(|replies| replies.len() == 2)
    })
    .await;
    assert_eq!(replies[1], (reply, true));
}
