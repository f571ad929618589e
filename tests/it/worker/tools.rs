//! The commands for people: by hand against a running system.

use parley::wire::{ChangeStatus, Outgoing, Request};
use serde_json::Value;

use super::world::{PASSWORD, Person, World};
use crate::fixtures::{eventually, keys_dir, unique};

fn status(who: &Person, text: &str) -> Request {
    Request::ChangeStatus(ChangeStatus { user_id: who.id.clone(), status: text.parse().expect("a status") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_hurts_nobody_else_and_is_replayed_once_its_reason_is_gone() {
    let world = World::shared().await;
    let poison = unique("poison");
    // Something that PostgreSQL will not take, for a reason that can be taken away.
    world
        .database
        .sql(&format!("ALTER TABLE users ADD CONSTRAINT \"{poison}\" CHECK (user_status <> '{poison}')"));
    let people: Vec<Person> = (0..9).map(|_| world.person("guest")).collect();
    // First, in the middle and last of what is produced at once.
    let poisoned = [0, 4, 8];
    let mut records: Vec<Outgoing> = Vec::new();
    let mut ids = Vec::new();
    for (n, who) in people.iter().enumerate() {
        let headers = world.headers(who);
        ids.push(headers.request_id);
        let text = if poisoned.contains(&n) { poison.as_str() } else { "fine" };
        records.push(world.record(&headers, &status(who, text)));
    }
    world.produce_all(&records).await;
    for (n, id) in ids.iter().enumerate() {
        let reply = world.reply(*id).await;
        let want = if poisoned.contains(&n) { Value::from("internal") } else { Value::Null };
        assert_eq!(reply["errorCode"], want, "{n}: {reply}");
    }
    let id = ids[4].to_string();
    let list = eventually("the dead letter in the list", || async {
        world
            .command(&["dead-letter", "list", "--code", "internal", "--request-id", &id], "")
            .ok()
            .filter(|l| !l.is_empty())
    })
    .await;
    assert!(list.contains("user-status-change-request") && list.contains(&id), "{list}");
    let place = list.split_whitespace().next().expect("a place");
    let shown = world.command(&["dead-letter", "show", place], "").expect("shown");
    assert!(shown.contains("origin-offset") && shown.contains(&poison), "{shown}");

    world.database.sql(&format!("ALTER TABLE users DROP CONSTRAINT \"{poison}\""));
    let replay = ["dead-letter", "replay", place, "--dry-run"];
    let said = world.command(&replay, "").expect("a dry run");
    assert!(said.contains("would be sent"), "{said}");
    let state = || {
        world
            .database
            .sql(&format!("SELECT user_status, version FROM users WHERE user_id = '{}'", people[4].id))
    };
    assert_eq!(state(), "|1");
    for round in 1..=2 {
        let said = world.command(&replay[..3], "").expect("a replay");
        assert!(said.contains("sent"), "{said}");
        let replies = eventually("a reply to the replay", || async {
            Some(world.replies_to(ids[4])).filter(|replies| replies.len() > round)
        })
        .await;
        assert_eq!(replies[round].0["isSuccess"], true, "{replies:?}");
        assert_eq!(state(), format!("{poison}|2"), "once, however often it is replayed");
    }
    // Filters; and all three at two a second take a second.
    let none =
        world.command(&["dead-letter", "list", "--since", "2999-01-01T00:00:00Z"], "").expect("a list");
    assert_eq!(none, "");
    let all = ["dead-letter", "replay", "--kind", "ChangeStatus", "--code", "internal", "--rate", "2"];
    let start = std::time::Instant::now();
    let said = world.command(&all, "").expect("a replay");
    assert_eq!((said.lines().count(), start.elapsed().as_secs() >= 1), (3, true), "{said}");
    eventually("the other two to be done", || async {
        let ids = [0, 4, 8].map(|n| format!("'{}'", people[n].id)).join(",");
        let done = format!(
            "SELECT count(*) FROM users WHERE user_id IN ({ids}) AND user_status = '{poison}' AND version = 2"
        );
        (world.database.sql(&done) == "3").then_some(())
    })
    .await;
    // Records of strangers are never replayed.
    world.kafka.tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", "logout-request"], "stranger\n");
    let left = eventually("the stranger's letter", || async {
        let said = world.command(&["dead-letter", "replay", "--kind", "Logout"], "").ok()?;
        said.contains("left:").then_some(said)
    })
    .await;
    assert!(!left.contains("  sent"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_hand_and_its_trace() {
    let world = World::shared().await;
    let name = unique("hand");
    let seals = keys_dir().join("seal-public.json").display().to_string();
    let fields = format!(r#"{{"email": "{name}@example.com", "userName": "Hand"}}"#);
    let sign_up = [
        "request",
        "AddUser",
        &fields,
        "--user",
        &name,
        "--password-stdin",
        "--seal-public-keys-file",
        &seals,
    ];
    let reply = world.command(&sign_up, &format!("{PASSWORD}\n")).expect("a reply");
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    assert_eq!(reply["user"]["userName"], "Hand", "{reply}");
    let refused = world.command(
        &[
            "request",
            "AddChat",
            r#"{"roomId": "00000000-0000-0000-0000-000000000001", "message": "x"}"#,
            "--user",
            &name,
        ],
        "",
    );
    assert!(refused.expect_err("refused").contains("room_not_found"));

    let person = Person { id: name.parse().unwrap(), session: super::world::session() };
    let headers = world.headers(&person);
    assert_eq!(world.ask(&headers, &status(&person, "traced")).await["isSuccess"], true);
    let id = headers.request_id.to_string();
    let told = world.command(&["trace", &id], "").expect("a trace");
    for part in ["request", "stored", "reply", "event", "ChangeStatus", "user-status-change-response"] {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    let unknown = world.command(&["trace", &parley::ids::RequestId::fresh().to_string()], "");
    assert!(unknown.expect_err("nothing").contains("nothing is known"));
}
