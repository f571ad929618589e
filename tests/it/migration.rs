//! docs/migration.md, done as it says: a Kafka with the seed system's topics, its data in the page's tables, the page's own
//! statements, and then people who came along.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use hyper::Method;
use parley::{
    kafka::admin::{NewTopic, OffsetSpec},
    loadgen::Client,
    wire::{DEAD_LETTER, Kind},
};
use serde_json::{Value, json};

use crate::{
    controller::controller,
    fixtures::{ApiServer, Chat, read, root, unique},
    path::{ask, event, listen},
};

const OLD_PASSWORD: &str = "as it was before";
const NEW_PASSWORD: &str = "given by hand";

/// What the seed system had: one whose hash Parley reads and one whose it does not, a room of two and one of three.
const DATA: &str = "
    INSERT INTO seed.users (user_id, email, user_name, user_status, join_date, password_hash) VALUES
        ('amy', 'amy@example.com', 'Amy', 'at sea', '2024-01-01', :'hash'),
        ('ben', 'ben@example.com', 'Ben', '', '2024-01-02', '{bcrypt}$2a$10$abcdefghijklmnopqrstuv'),
        ('cem', 'cem@example.com', 'Cem', '', '2024-01-03', NULL);
    INSERT INTO seed.friends VALUES ('amy', 'ben', '2024-02-01'), ('cem', 'amy', '2024-02-02'), ('amy', 'cem', '2024-02-03');
    INSERT INTO seed.rooms VALUES
        ('17', 'us', 'amy', '2024-03-01'),
        ('018F3F1C-0000-7000-8000-0000000000aa', 'all of us', 'cem', '2024-03-02');
    INSERT INTO seed.members VALUES
        ('17', 'ben', '2024-03-01', '2024-03-05 10:00'), ('17', 'amy', '2024-03-01', NULL),
        ('018F3F1C-0000-7000-8000-0000000000aa', 'amy', '2024-03-02', '2024-03-02'),
        ('018F3F1C-0000-7000-8000-0000000000aa', 'ben', '2024-03-02', NULL),
        ('018F3F1C-0000-7000-8000-0000000000aa', 'cem', '2024-03-02', NULL);
    INSERT INTO seed.messages VALUES
        ('m3', '17', 'amy', 'third', '2024-03-05 11:00'), ('m1', '17', 'amy', 'first', '2024-03-05 09:00'),
        ('m2', '17', 'ben', 'second', '2024-03-05 10:00'),
        ('n1', '018F3F1C-0000-7000-8000-0000000000aa', 'cem', 'hello all', '2024-03-06');";

/// The page's blocks of this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/migration.md")).expect("the page");
    let mut found = Vec::new();
    let mut lines = page.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
    while let Some(line) = lines.next() {
        let Some(named) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if named == language {
            found.push(block.join("\n"));
        }
    }
    found
}

/// A person's shell, in which the page's commands are run as they stand, but for the names that the page leaves open.
struct Shell {
    bin: PathBuf,
    kubeconfig: PathBuf,
    bootstrap: String,
    owner: String,
}

impl Shell {
    fn new(chat: &Chat, api: &ApiServer, namespace: &str) -> Self {
        let bin = std::env::temp_dir().join(unique("parley-bin"));
        fs::create_dir(&bin).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_controller"), bin.join("controller")).expect("a link");
        let script = |name: &str, text: String| {
            let file = bin.join(name);
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
        };
        let java = root().join("hack/kafka/java.sh");
        script(
            "kafka-consumer-groups.sh",
            format!(
                "exec {} 128m org.apache.kafka.tools.consumer.group.ConsumerGroupCommand \"$@\"",
                java.display()
            ),
        );
        let kubeconfig = api.kubeconfig();
        script(
            "kubectl",
            format!(
                "exec \"${{XDG_CACHE_HOME:-$HOME/.cache}}/parley/cluster/bin/kubectl\" --kubeconfig {} --cache-dir {} -n {namespace} \"$@\"",
                kubeconfig.display(),
                kubeconfig.with_file_name("kubectl-cache").display()
            ),
        );
        Self { bin, kubeconfig, bootstrap: chat.kafka.bootstrap(), owner: chat.database.url("owner") }
    }

    fn sh(&self, block: &str) -> Output {
        let block = block.replace("KAFKA:9092", &self.bootstrap).replace("chat-three-brokers", "chat");
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("bash")
            .args(["-euc", &block])
            .current_dir(root())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .output()
            .expect("bash runs")
    }

    fn done(&self, block: &str) -> String {
        let output = self.sh(block);
        assert!(output.status.success(), "{block}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Statements as the owner of Parley's schema; the reason when they are refused.
    fn psql(&self, sql: &str, variables: &[(&str, &str)]) -> Result<(), String> {
        let mut command = Command::new("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.owner, "-f", "-"]);
        for (name, value) in variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql runs");
        child.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("psql reads");
        let output = child.wait_with_output().expect("psql ends");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.bin);
    }
}

/// An argon2id hash as the old system's library makes them, with parameters that are not Parley's.
fn old_hash(password: &str) -> String {
    let params = Params::new(16_384, 2, 1, None).expect("parameters");
    let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    old.hash_password(password.as_bytes()).expect("a hash").to_string()
}

/// The topics of the seed system, one partition each, with a record of its own in every one.
async fn seed_topics(chat: &Chat) {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::LeaveRoom).collect();
    let names = kinds.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]);
    let topic = |name: &str| NewTopic {
        name: name.to_owned(),
        partitions: Some(1),
        replicas: Some(1),
        config: [("retention.ms".to_owned(), "604800000".to_owned())].into(),
    };
    let made =
        chat.admin().create_topics(names.map(topic).collect(), false).await.expect("the broker answers");
    made.into_iter().for_each(|(name, made)| made.unwrap_or_else(|error| panic!("{name}: {error:?}")));
    let class = "org.apache.kafka.tools.ConsoleProducer";
    for (topic, record) in [
        ("login-request", r#"{"userId":"amy","password":"in the clear"}"#),
        ("user-status-change-request", r#"{"userId":"amy","status":"long ago"}"#),
        ("user-add-chat-request", r#"{"roomId":"17","writerId":"amy","message":"third"}"#),
        ("user-add-chat-response", r#"{"userId":"amy","isSuccess":true,"errorMessage":null}"#),
    ] {
        tokio::task::block_in_place(|| chat.kafka.tool(class, &["--topic", topic], &format!("{record}\n")));
    }
}

async fn records(chat: &Chat, topic: &str, partitions: i32) -> i64 {
    let asked = (0..partitions).map(|partition| (topic.to_owned(), partition)).collect();
    let ends = chat.admin().list_offsets(OffsetSpec::Latest, asked).await.expect("the broker answers");
    ends.into_iter().map(|(_, _, end)| end.expect("a partition").unwrap_or(0)).sum()
}

async fn logged_in(gateway: std::net::SocketAddr, user: &str, password: &str) -> (Client, u16, Value) {
    let client = Client::new(gateway);
    let (status, reply) =
        ask(&client, Method::POST, "/api/session", json!({"userId": user, "password": password})).await;
    (client, status, reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_seed_system_come_along() {
    let chat = Chat::without_topics(1).await;
    seed_topics(&chat).await;
    let api = tokio::task::block_in_place(ApiServer::shared);
    let namespace = api.namespace();
    let shell = Shell::new(&chat, api, &namespace);
    let (commands, statements) = (blocks("sh"), blocks("sql"));
    let [look, at_the_end, take_over, _hash] = &commands[..] else { panic!("other commands: {commands:?}") };
    let [tables, load, by_hand] = &statements[..] else { panic!("other statements: {statements:?}") };

    // 1 to 4: looked at, the groups at the end, services and set on what was there.
    let looked = shell.sh(look);
    let printed = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert_eq!(looked.status.code(), Some(2), "{looked:?}");
    assert!(printed.contains("login-request") && printed.contains("+ chat-event"), "{printed}");
    let reset = shell.done(at_the_end);
    assert!(reset.contains("login-request") && reset.contains("user-add-chat-request"), "{reset}");
    let controller = controller(api, &namespace, &chat.kafka.bootstrap(), &[]).ready().await;
    let chat_kinds = Kind::AddChat.as_str();
    let account_kinds: Vec<&str> =
        Kind::ALL.map(Kind::as_str).into_iter().filter(|kind| *kind != chat_kinds).collect();
    let account = chat
        .worker(&[("PARLEY_KINDS", &account_kinds.join(",")), ("PARLEY_CONSUMER_GROUP", "parley-account")]);
    let talk = chat.worker(&[("PARLEY_KINDS", chat_kinds), ("PARLEY_CONSUMER_GROUP", "parley-chat")]);
    let (gateway, addr) = chat.gateway(&[]);
    shell.done(take_over);
    let (_account, _talk, _gateway) = (account.ready().await, talk.ready().await, gateway.ready().await);
    for (topic, wanted) in [("user-add-request", 5), ("user-leave-room-request", 2)] {
        let described = chat.admin().describe_topics(vec![topic.to_owned()]).await.expect("an answer");
        let found = described[0].1.as_ref().map_or(0, |topic| topic.partitions.len());
        assert_eq!(found, wanted, "the set took over what was there and made what was not: {topic}");
    }

    // 5: what cannot be moved is refused by name; the rest comes along.
    shell.psql(tables, &[]).expect("the tables");
    let bad = "INSERT INTO seed.users (user_id, email, user_name, join_date) VALUES ('Amy Smith', 'a@b.cd', 'Amy', now())";
    let refused = shell.psql(bad, &[]).expect_err("no user id of Parley's");
    assert!(refused.contains("Amy Smith"), "{refused}");
    shell.psql(DATA, &[("hash", &format!("{{argon2}}{}", old_hash(OLD_PASSWORD)))]).expect("the old data");
    shell.psql(load, &[]).expect("the page's statements");

    // Somebody logs in with the old password, and has a hash of today's parameters from then on.
    let (amy, status, reply) = logged_in(addr, "amy", OLD_PASSWORD).await;
    assert_eq!((status, &reply["user"]["userStatus"]), (200, &json!("at sea")), "{reply}");
    let hash = chat.database.sql("SELECT password_hash FROM credentials WHERE user_id = 'amy'");
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");

    // 6: who has no hash that Parley reads gets in once there is one.
    let (_, status, problem) = logged_in(addr, "ben", OLD_PASSWORD).await;
    assert_eq!((status, &problem["code"]), (401, &json!("wrong_credentials")), "{problem}");
    shell.psql(by_hand, &[("user", "ben"), ("hash", &old_hash(NEW_PASSWORD))]).expect("the page's statement");
    let (ben, status, reply) = logged_in(addr, "ben", NEW_PASSWORD).await;
    assert_eq!(status, 200, "{reply}");

    rooms_and_friends(&amy, &ben).await;
    live(&amy, &ben).await;

    // What the seed system had left in the topics was met by nobody, and its tables are not needed any more.
    assert_eq!(records(&chat, DEAD_LETTER, 2).await, 0);
    let page = fs::read_to_string(root().join("docs/migration.md")).expect("the page");
    let cleared = "DROP SCHEMA seed CASCADE;";
    assert!(page.contains(cleared));
    shell.psql(cleared, &[]).expect("dropped");
    let (status, rooms) = ask(&amy, Method::GET, "/api/rooms", Value::Null).await;
    assert_eq!((status, rooms["rooms"].as_array().map(Vec::len)), (200, Some(2)), "{rooms}");
    assert!(controller.stop().await.success());
}

/// The old rooms with their messages, numbers and read marks; the old friends, both ways.
async fn rooms_and_friends(amy: &Client, ben: &Client) {
    let (_, rooms) = ask(ben, Method::GET, "/api/rooms", Value::Null).await;
    let us = &rooms["rooms"][0];
    assert_eq!(
        [&us["roomName"], &us["members"], &us["lastSeq"], &us["lastMessage"], &us["unread"]],
        [&json!("us"), &json!(["amy", "ben"]), &json!(3), &json!("third"), &json!(1)],
        "{rooms}"
    );
    let all = &rooms["rooms"][1];
    assert_eq!(
        [&all["roomId"], &all["memberCount"], &all["unread"]],
        [&json!("018f3f1c-0000-7000-8000-0000000000aa"), &json!(3), &json!(0)],
        "{rooms}"
    );
    let (_, rooms) = ask(amy, Method::GET, "/api/rooms", Value::Null).await;
    assert_eq!(
        [&rooms["rooms"][0]["unread"], &rooms["rooms"][1]["unread"]],
        [&json!(0), &json!(1)],
        "{rooms}"
    );
    let path = format!("/api/rooms/{}/messages", us["roomId"].as_str().expect("an id"));
    let history = read(amy, &path).await.json();
    let told: Vec<(&Value, &Value)> =
        history["messages"].as_array().expect("a list").iter().map(|m| (&m["seq"], &m["message"])).collect();
    assert_eq!(told.len(), 3, "{history}");
    assert!(
        told.contains(&(&json!(1), &json!("first"))) && told.contains(&(&json!(2), &json!("second"))),
        "{history}"
    );
    for (who, friends) in [(amy, json!(["ben", "cem"])), (ben, json!(["amy"]))] {
        let (_, reply) = ask(who, Method::GET, "/api/friends", Value::Null).await;
        let ids: Vec<&Value> =
            reply["friend"].as_array().expect("a list").iter().map(|friend| &friend["userId"]).collect();
        assert_eq!(json!(ids), friends, "{reply}");
    }
    // The room of the two is found, not opened a second time.
    let (_, found) = ask(amy, Method::POST, "/api/rooms", json!({"friendId": ["ben"]})).await;
    assert_eq!(found["roomId"], us["roomId"], "{found}");
}

/// The next message goes on where the old ones ended, and is heard by whoever was in the room before.
async fn live(amy: &Client, ben: &Client) {
    let (mut ben_hears, _) = listen(ben).await;
    let (_, rooms) = ask(amy, Method::GET, "/api/rooms", Value::Null).await;
    let path = format!("/api/rooms/{}/messages", rooms["rooms"][0]["roomId"].as_str().expect("an id"));
    let (status, reply) = ask(amy, Method::POST, &path, json!({"message": "still here"})).await;
    assert_eq!((status, &reply["seq"]), (200, &json!(4)), "{reply}");
    let (_, heard) = event(&mut ben_hears, "message", |_| true).await;
    assert_eq!((&heard["seq"], &heard["message"]), (&json!(4), &json!("still here")), "{heard}");
    let (_, told) = {
        let status = ask(amy, Method::PUT, "/api/me/status", json!({"status": "moved"})).await;
        assert_eq!(status.0, 200, "{}", status.1);
        event(&mut ben_hears, "status", |_| true).await
    };
    assert_eq!((&told["userId"], &told["status"]), (&json!("amy"), &json!("moved")));
}
