//! Keys rotate without a pause, and a password is nowhere but where it was typed.

use std::{
    fs,
    net::SocketAddr,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use parley::{
    kafka::{
        KafkaSettings,
        scan::{From, Scan},
    },
    loadgen::{ChatArgs, run_chat},
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};
use serde_json::{Value, json};

use super::world::World;
use crate::fixtures::{Binary, Chat, eventually, keys_dir, unique};

const FILES: [&str; 4] = ["request-keys.json", "reply-keys.json", "seal-public.json", "seal-private.json"];

fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(file)).expect("the file")).expect("JSON")
}

/// A folder of key files, each with the keys of these folders under these ids, of which `active` is in use.
fn folder(keys: &[(&str, &Path)], active: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(unique("parley-rotation"));
    fs::create_dir(&folder).expect("a folder");
    for file in FILES {
        let named = keys.iter().map(|(id, folder)| {
            let value = read(folder, file);
            ((*id).to_owned(), value["keys"][value["active"].as_str().expect("an id")].clone())
        });
        let all: serde_json::Map<String, Value> = named.collect();
        fs::write(folder.join(file), json!({"active": active, "keys": all}).to_string()).expect("written");
    }
    folder
}

/// Signs up with the keys of each of these folders, and is answered with keys that each of them knows.
async fn sign_ups(world: &mut World, clients: &[&Path]) {
    for client in clients {
        world.client_keys(client);
        let (headers, request) = world.sign_up(&unique("rotor"), "correct horse battery");
        assert_eq!(world.ask(&headers, &request).await["isSuccess"], true, "signed and sealed by {client:?}");
    }
}

/// The three rollouts of docs/security.md. At every moment a worker runs, and gateways of two rollouts are understood.
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_while_both_are_known() {
    let mut world = World::own(1).await;
    let fresh = std::env::temp_dir().join(unique("parley-fresh"));
    world.command(&["keys", &fresh.display().to_string()], "").expect("keys are made");
    let both = [("old", keys_dir()), ("new", fresh.as_path())];
    let folders =
        [folder(&both[..1], "old"), folder(&both, "old"), folder(&both, "new"), folder(&both[1..], "new")];
    world.keys = folders[0].clone();
    let mut running = world.worker(&[]).ready().await;
    for pair in folders.windows(2) {
        // Gateways of the rollout before are still there. The first ones know one key only, and so do the last.
        world.keys = pair[1].clone();
        let next = world.worker(&[]).ready().await;
        sign_ups(&mut world, &[&pair[0], &pair[1]]).await;
        assert!(running.stop().await.success());
        running = next;
        sign_ups(&mut world, &[&pair[0], &pair[1]]).await;
    }
    // Who has only the old key is nobody now.
    world.client_keys(&folders[0]);
    let (headers, request) = world.sign_up(&unique("late"), "correct horse battery");
    world.produce(&world.record(&headers, &request)).await;
    let refused = eventually("a dead letter", || async {
        let id = headers.request_id.to_string();
        world.dead_letters().into_iter().find(|seen| seen.text("request-id") == id)
    })
    .await;
    assert_eq!(refused.text("error-code"), "unauthenticated");
    assert!(running.stop().await.success());
    for folder in folders.iter().chain([&fresh]) {
        fs::remove_dir_all(folder).expect("removed");
    }
}

/// What a service of the chat is started with so that it knows the keys of this folder.
fn keys_of(folder: &Path) -> Vec<(&'static str, String)> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        ("PARLEY_REQUEST_KEYS_FILE", file("request-keys.json")),
        ("PARLEY_REPLY_KEYS_FILE", file("reply-keys.json")),
    ]
}

fn lent<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn worker_with(chat: &Chat, folder: &Path) -> Binary {
    let mut settings = keys_of(folder);
    settings.push(("PARLEY_SEAL_PRIVATE_KEYS_FILE", folder.join("seal-private.json").display().to_string()));
    chat.worker(&lent(&settings))
}

async fn gateway_with(chat: &Chat, folder: &Path) -> (Binary, SocketAddr) {
    let mut settings = keys_of(folder);
    settings.push(("PARLEY_SEAL_PUBLIC_KEYS_FILE", folder.join("seal-public.json").display().to_string()));
    let (gateway, addr) = chat.gateway(&lent(&settings));
    (gateway.ready().await, addr)
}

/// People sign up, log in, and talk through these gateways for so many seconds; nothing is refused, lost or doubled.
async fn talk(gateways: Vec<SocketAddr>, seconds: u64, when: &str) {
    let args = ChatArgs { gateways, rooms: 4, members: 2, rate: 20.0, seconds };
    let report = run_chat(&args).await.unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!((report.accepted, report.given_up), (report.due, 0), "{when}: {report:?}");
    assert!(report.findings.clean(), "{when}: {:?}", report.findings);
}

/// The same three rollouts with real gateways, while people talk through those of the rollout before and of this one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_load_through_gateways_of_two_rollouts() {
    let chat = Chat::bare().await;
    let made = std::env::temp_dir().join(unique("parley-fresh"));
    let keys = std::process::Command::new(env!("CARGO_BIN_EXE_worker")).arg("keys").arg(&made).status();
    assert!(keys.is_ok_and(|status| status.success()), "keys are made");
    let both = [("old", keys_dir()), ("new", made.as_path())];
    let folders =
        [folder(&both[..1], "old"), folder(&both, "old"), folder(&both, "new"), folder(&both[1..], "new")];
    let mut worker = worker_with(&chat, &folders[0]).ready().await;
    let mut gateway = gateway_with(&chat, &folders[0]).await;
    for (n, pair) in folders.windows(2).enumerate() {
        let fresh = gateway_with(&chat, &pair[1]).await;
        let load = tokio::spawn(talk(vec![gateway.1, fresh.1], 10, "while the worker is replaced"));
        let next = worker_with(&chat, &pair[1]).ready().await;
        assert!(worker.stop().await.success());
        worker = next;
        load.await.expect("nothing was lost");
        // The worker is the next rollout's, and the gateway still that of the one before, alone.
        talk(vec![gateway.1], 4, &format!("a gateway of rollout {n} and a worker of the next")).await;
        assert!(gateway.0.stop().await.success());
        gateway = fresh;
    }
    talk(vec![gateway.1], 2, "with the new key alone").await;
    assert!(gateway.0.stop().await.success() && worker.stop().await.success());
    for folder in folders.iter().chain([&made]) {
        fs::remove_dir_all(folder).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_nowhere_but_where_it_was_typed() {
    let world = World::own(1).await;
    let worker = world.worker(&["--log-level", "debug"]).ready().await;
    let marker = unique("marker-password");
    let (headers, sign_up) = world.sign_up(&unique("ann"), &marker);
    assert_eq!(world.ask(&headers, &sign_up).await["isSuccess"], true);
    let user = sign_up.user().expect("a user").clone();
    // Right, wrong, twice the same record, and a box that belongs to another request.
    let (headers, login) = world.log_in(&user, &marker);
    let record = world.record(&headers, &login);
    assert_eq!(world.ask(&headers, &login).await["isSuccess"], true);
    world.produce(&record).await;
    let (headers, wrong) = world.log_in(&user, &format!("{marker}-wrong"));
    assert_eq!(world.ask(&headers, &wrong).await["errorCode"], "wrong_credentials");
    let (headers, _) = world.log_in(&user, &marker);
    assert_eq!(world.ask(&headers, &login).await["errorCode"], "invalid_request");
    // By hand, as an operator would.
    let seals = keys_dir().join("seal-public.json").display().to_string();
    let by_hand = [
        "request",
        "Login",
        "--seconds",
        "240",
        "--user",
        user.as_str(),
        "--password-stdin",
        "--seal-public-keys-file",
        &seals,
    ];
    let said = world.command(&by_hand, &format!("{marker}\n")).expect("a reply");
    assert!(said.contains(user.as_str()) && !said.contains(&marker), "{said}");

    // Careless clients that send it in the clear: in the field that is for the box, in its place, and as the seed's clients did.
    // What they write into the topic is theirs; nothing of it goes on from there.
    let mut careless = Vec::new();
    for fields in [
        json!({"sealedPassword": {"keyId": "k1", "box": marker}}),
        json!({"sealedPassword": marker}),
        json!({"password": marker}),
        json!({"sealedPassword": {"keyId": 7, "box": marker}, "password": {"of": [marker]}}),
    ] {
        let mut headers =
            world.headers(&super::world::Person { id: user.clone(), session: super::world::session() });
        headers.user_id = None;
        let mut value = fields.clone();
        value["userId"] = json!(user);
        world.produce(&world.signed_bytes(&headers, Kind::Login, user.as_str(), value)).await;
        let reply = world.reply(headers.request_id).await;
        assert_eq!(reply["errorCode"], "invalid_request", "{fields}: {reply}");
        careless.push(headers.request_id.to_string());
    }
    // The same from somebody who signs nothing.
    let stranger = format!("{{\"userId\":\"{user}\",\"password\":\"{marker}\"}}\n");
    world.kafka.tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", "user-add-request"], &stranger);
    // A box can be decoded, and is no reason for a letter.
    let letters = eventually("four dead letters", || async {
        Some(world.dead_letters()).filter(|letters| letters.len() == 4)
    })
    .await;
    assert!(letters.iter().all(|letter| String::from_utf8_lossy(&letter.value).contains(user.as_str())));

    let (mut records, mut own_words, mut users) = (0, 0, 0);
    let settings = KafkaSettings::plaintext(&world.kafka.bootstrap());
    let mut topics: Vec<&str> =
        Kind::ALL.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]).collect();
    topics.extend([CHAT_EVENT, DEAD_LETTER]);
    let scan = Scan::start(&settings, &topics, From::Beginning).expect("the broker answers");
    let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&marker);
    scan.to_end(|view| {
        records += 1;
        let record = &view.record;
        users += usize::from(String::from_utf8_lossy(record.value).contains(user.as_str()));
        let id = record.headers.iter().find(|(name, _)| *name == "request-id");
        let id = id.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let from_careless = id.is_none_or(|id| careless.contains(&id));
        if from_careless && Kind::of_request_topic(record.topic).is_some() {
            own_words += usize::from(holds(record.value));
            return ControlFlow::Continue(());
        }
        let clean = !holds(record.key)
            && !holds(record.value)
            && record.headers.iter().all(|(_, value)| !holds(value));
        assert!(clean, "{} holds the password at {}", record.topic, view.offset);
        ControlFlow::Continue(())
    })
    .expect("all of it is read");
    // What is known to be there is found: the search sees what it looks through.
    assert_eq!(own_words, careless.len() + 1, "the careless ones' own records hold it");
    assert!(records >= 20 && users >= 20, "{records} records were searched, {users} name the user");
    let shown = world.command(&["dead-letter", "show"], "").expect("shown");
    assert_eq!(shown.matches("error-message").count(), 4, "{shown}");
    assert!(shown.contains(user.as_str()) && !shown.contains(&marker), "{shown}");
    assert!(worker.log().contains("assigned"), "the log is one");
    assert!(!worker.log().contains(&marker), "the log holds the password");
    assert!(world.dump().contains(user.as_str()), "the dump holds the user");
    assert!(!world.dump().contains(&marker), "the database holds the password");
    assert!(worker.stop().await.success());
}
