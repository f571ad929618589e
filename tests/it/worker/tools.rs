//! The commands for people: by hand against a running system.

use std::ops::ControlFlow;

use parley::{
    ids::{RequestId, Timestamp},
    kafka::{
        KafkaSettings,
        scan::{From, Scan},
    },
    wire::{ChangeStatus, DEAD_LETTER, Outgoing, Request},
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;

use super::world::{PASSWORD, Person, Seen, World};
use crate::fixtures::{DEADLINE, eventually, keys_dir, unique};

#[path = "../chaos/clock.rs"]
#[expect(clippy::duplicate_mod, reason = "the one of the chaos tests is theirs alone")]
mod clock;

use clock::Clock;

fn status(who: &Person, text: &str) -> Request {
    Request::ChangeStatus(ChangeStatus { user_id: who.id.clone(), status: text.parse().expect("a status") })
}

/// What a command of ours is to see in a topic: each partition's end.
fn ends(world: &World, topic: &str) -> Vec<i64> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", world.kafka.bootstrap()).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).expect("the broker answers");
    let partitions = metadata.topics()[0].partitions().iter();
    let end = |id| consumer.fetch_watermarks(topic, id, DEADLINE).expect("the broker answers").1;
    partitions.map(|partition| end(partition.id())).collect()
}

/// When each record of this topic from this offset of partition 0 on was sent, in milliseconds.
fn sent_at(world: &World, topic: &str, from: i64) -> Vec<i64> {
    let settings = KafkaSettings::plaintext(&world.kafka.bootstrap());
    let scan = Scan::start(&settings, &[topic], From::Beginning).expect("the broker answers");
    let mut times = Vec::new();
    scan.to_end(|view| {
        times.extend(view.timestamp.filter(|_| view.offset >= from));
        ControlFlow::Continue(())
    })
    .expect("all of it is read");
    times
}

const STATUS: &str = "user-status-change-request";

/// Sends these changes of status at once; the ids of their requests.
async fn send(world: &World, people: &[Person], text: impl Fn(usize) -> String) -> Vec<RequestId> {
    let mut records: Vec<Outgoing> = Vec::new();
    let mut ids = Vec::new();
    for (n, who) in people.iter().enumerate() {
        let mut headers = world.headers(who);
        // The worker may be started after it.
        headers.deadline = headers.deadline.after(DEADLINE);
        ids.push(headers.request_id);
        records.push(world.record(&headers, &status(who, &text(n))));
    }
    world.produce_all(&records).await;
    ids
}

/// The dead letter of a request.
async fn letter(world: &World, id: RequestId) -> Seen {
    eventually("a dead letter", || async {
        world.dead_letters().into_iter().find(|seen| seen.text("request-id") == id.to_string())
    })
    .await
}

/// All that is to be in one batch comes within this time, however busy the machine is.
const ONE_BATCH: [&str; 2] = ["--batch-wait-ms", "1000"];

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_hurts_nobody_else_and_is_replayed_once_its_reason_is_gone() {
    let world = World::own(1).await;
    let poison = unique("poison");
    // Something that PostgreSQL will not take, for a reason that can be taken away.
    world
        .database
        .sql(&format!("ALTER TABLE users ADD CONSTRAINT \"{poison}\" CHECK (user_status <> '{poison}')"));
    let people: Vec<Person> = (0..9).map(|_| world.person("guest")).collect();
    // First, in the middle and last of one batch of one partition: all of it is there when the worker comes.
    let poisoned = [0, 4, 8];
    let before = Timestamp::now().as_micros() / 1_000;
    let text = |n: usize| if poisoned.contains(&n) { poison.clone() } else { "fine".to_owned() };
    let ids = send(&world, &people, text).await;
    let worker = world.worker(&ONE_BATCH).ready().await;
    for (n, id) in ids.iter().enumerate() {
        let reply = world.reply(*id).await;
        let want = if poisoned.contains(&n) { Value::from("internal") } else { Value::Null };
        assert_eq!(reply["errorCode"], want, "{n}: {reply}");
    }
    let retries = async |reason: &str| {
        worker.metric("parley_batch_retries_total", &[&format!("reason=\"{reason}\"")]).await
    };
    assert_eq!(retries("isolated").await, 1.0, "it was one batch");
    for n in poisoned {
        let seen = letter(&world, ids[n]).await;
        assert_eq!((seen.text("error-code"), seen.text("attempts")), ("internal".into(), "2".into()), "{n}");
        assert_eq!((seen.text("origin-topic"), seen.text("origin-partition")), (STATUS.into(), "0".into()));
        assert_eq!(seen.text("origin-offset"), n.to_string());
        let at: i64 = seen.text("origin-timestamp").parse().expect("milliseconds");
        assert!((before..before + 600_000).contains(&at), "{at}, and it began at {before}");
    }
    assert_eq!(world.dead_letters().len(), 3);

    let id = ids[4].to_string();
    let list = ["dead-letter", "list", "--code", "internal", "--request-id", &id];
    let list = world.command(&list, "").expect("a list");
    assert!(list.contains(STATUS) && list.contains(&id) && list.contains("attempts 2"), "{list}");
    let place = list.split_whitespace().next().expect("a place");
    let shown = world.command(&["dead-letter", "show", place], "").expect("shown");
    assert!(shown.contains("origin-offset") && shown.contains(&poison), "{shown}");

    world.database.sql(&format!("ALTER TABLE users DROP CONSTRAINT \"{poison}\""));
    let replay = ["dead-letter", "replay", place, "--dry-run"];
    let end = ends(&world, STATUS);
    assert_eq!(end, [9]);
    let said = world.command(&replay, "").expect("a dry run");
    assert!(said.contains("would be sent"), "{said}");
    assert_eq!(ends(&world, STATUS), end, "a dry run sends nothing");
    let state = || {
        world
            .database
            .sql(&format!("SELECT user_status, version FROM users WHERE user_id = '{}'", people[4].id))
    };
    assert_eq!(state(), "|1");
    // Whoever replays may have a clock that is an hour slow: the deadline is fresh by PostgreSQL's time all the same.
    let slow = Clock::of(&unique("replay"));
    slow.set_wrong_by(-3_600);
    let clocks = [slow.env().to_vec(), Vec::new()];
    for (round, clock) in (1..).zip(&clocks) {
        let said = world.command_with(&replay[..3], "", clock).expect("a replay");
        assert!(said.contains("sent"), "{said}");
        let replies = eventually("a reply to the replay", || async {
            Some(world.replies_to(ids[4])).filter(|replies| replies.len() > round)
        })
        .await;
        assert_eq!(replies[round].0["isSuccess"], true, "{replies:?}");
        assert_eq!(state(), format!("{poison}|2"), "once, however often it is replayed");
    }
    // Filters; and all three at two a second: a second lies between the first and the last.
    let none =
        world.command(&["dead-letter", "list", "--since", "2999-01-01T00:00:00Z"], "").expect("a list");
    assert_eq!(none, "");
    let all = ["dead-letter", "replay", "--kind", "ChangeStatus", "--code", "internal", "--rate", "2"];
    let end = ends(&world, STATUS)[0];
    let said = world.command(&all, "").expect("a replay");
    assert_eq!(said.lines().count(), 3, "{said}");
    let times = sent_at(&world, STATUS, end);
    assert!(times.len() == 3 && times[2] - times[0] >= 600, "{times:?}");
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
    assert!(worker.stop().await.success());
}

/// Tried in a batch, again after each conflict with somebody else, and alone: the letter says how often in all.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_says_how_often_its_record_was_tried() {
    let world = World::own(1).await;
    // A conflict three times, as between two transactions, and then a refusal for good. Sequences forget nothing.
    world.database.sql(
        "CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO parley_worker;
         CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.user_status = 'trouble' AND nextval('tries') <= 3 THEN
                 RAISE EXCEPTION 'somebody else was faster' USING ERRCODE = 'serialization_failure';
             ELSIF NEW.user_status = 'trouble' THEN
                 RAISE EXCEPTION 'never' USING ERRCODE = 'check_violation';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER trouble BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION trouble();",
    );
    let people: Vec<Person> = (0..3).map(|_| world.person("guest")).collect();
    let text = |n: usize| if n == 1 { "trouble".to_owned() } else { "fine".to_owned() };
    let ids = send(&world, &people, text).await;
    let worker = world.worker(&ONE_BATCH).ready().await;
    for id in [ids[0], ids[2]] {
        assert_eq!(world.reply(id).await["isSuccess"], true);
    }
    // As a batch four times, the last time refused, and once alone.
    assert_eq!(letter(&world, ids[1]).await.text("attempts"), "5");
    for (reason, times) in [("conflict", 3.0), ("isolated", 1.0)] {
        let labels = [format!("reason=\"{reason}\"")];
        let counted = worker.metric("parley_batch_retries_total", &[&labels[0]]).await;
        assert_eq!(counted, times, "{reason}");
    }
    // Alone from its beginning, it is refused at once.
    let later = send(&world, &people[..1], |_| "trouble".to_owned()).await;
    assert_eq!(letter(&world, later[0]).await.text("attempts"), "1");
    assert!(worker.stop().await.success());
}

/// Partitions are read one after another, and each has its own order: the limit holds for all of them together.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_takes_the_oldest_letters_of_all_partitions() {
    let world = World::own(1).await;
    world.kafka.tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--alter", "--topic", DEAD_LETTER, "--partitions", "2"],
        "",
    );
    eventually("both partitions", || async { (ends(&world, DEAD_LETTER).len() == 2).then_some(()) }).await;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", world.kafka.bootstrap()).create().expect("a producer");
    let start = Timestamp::now().as_micros() / 1_000 - 3_600_000;
    for n in 0..6 {
        // By turns; one of them has come to its partition late, with an earlier time than the one before it.
        let after = if n == 5 { 0 } else { 1 + n };
        let record = BaseRecord::<str, str>::to(DEAD_LETTER)
            .partition(i32::from(n % 2 == 0))
            .timestamp(start + after * 1_500)
            .key("k")
            .payload("v");
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(DEADLINE).expect("sent");
    let list = |limit: &str| -> Vec<String> {
        let said = world.command(&["dead-letter", "list", "--limit", limit], "").expect("a list");
        said.lines().map(|line| line.split(' ').next().expect("a place").to_owned()).collect()
    };
    let all = ["0:2", "1:0", "0:0", "1:1", "0:1", "1:2"];
    assert_eq!(list("1000"), all);
    for limit in [6, 4, 1] {
        assert_eq!(list(&limit.to_string()), all[..limit]);
    }
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
        "--seconds",
        "240",
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
            "--seconds",
            "240",
        ],
        "",
    );
    assert!(refused.expect_err("refused").contains("room_not_found"));

    let person = Person { id: name.parse().unwrap(), session: super::world::session() };
    let headers = world.headers(&person);
    assert_eq!(world.ask(&headers, &status(&person, "traced")).await["isSuccess"], true);
    // A trace reads what is there when it begins, and the event stands in another topic than the reply.
    eventually("its event", || async { (!world.events_of(headers.request_id).is_empty()).then_some(()) })
        .await;
    let id = headers.request_id.to_string();
    let told = world.command(&["trace", &id], "").expect("a trace");
    for part in ["request", "stored", "reply", "event", "ChangeStatus", "user-status-change-response"] {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    let unknown = world.command(&["trace", &parley::ids::RequestId::fresh().to_string()], "");
    assert!(unknown.expect_err("nothing").contains("nothing is known"));
}
