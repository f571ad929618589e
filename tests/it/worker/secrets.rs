//! Keys rotate without a pause, and a password is nowhere but where it was typed.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use parley::{
    kafka::{
        KafkaSettings,
        scan::{From, Scan},
    },
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};
use serde_json::{Value, json};

use super::world::World;
use crate::fixtures::{keys_dir, unique};

const FILES: [&str; 4] = ["request-keys.json", "reply-keys.json", "seal-public.json", "seal-private.json"];

fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(file)).expect("the file")).expect("JSON")
}

/// A folder of key files, each with the keys of the two folders under the ids `old` and `new`, of which `active` is in use.
fn folder(old: &Path, new: &Path, active: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(unique("parley-rotation"));
    fs::create_dir(&folder).expect("a folder");
    for file in FILES {
        let key = |folder: &Path| {
            let value = read(folder, file);
            value["keys"][value["active"].as_str().expect("an id")].clone()
        };
        let keys = json!({"active": active, "keys": {"old": key(old), "new": key(new)}});
        fs::write(folder.join(file), keys.to_string()).expect("written");
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_while_both_are_known() {
    let mut world = World::own(1).await;
    let fresh = std::env::temp_dir().join(unique("parley-fresh"));
    world.command(&["keys", &fresh.display().to_string()], "").expect("keys are made");
    // First everybody knows both keys and uses the old one; then the new one is used; then the old one may go.
    let (before, after) = (folder(keys_dir(), &fresh, "old"), folder(keys_dir(), &fresh, "new"));
    world.keys = before.clone();
    let worker = world.worker(&[]).ready().await;
    for client in [&before, &after] {
        world.client_keys(client);
        let (headers, request) = world.sign_up(&unique("rotor"), "correct horse battery");
        assert_eq!(world.ask(&headers, &request).await["isSuccess"], true, "signed and sealed by {client:?}");
    }
    assert!(worker.stop().await.success());
    world.keys = after.clone();
    let worker = world.worker(&[]).ready().await;
    for client in [&before, &after] {
        world.client_keys(client);
        let (headers, request) = world.sign_up(&unique("rotor"), "correct horse battery");
        assert_eq!(world.ask(&headers, &request).await["isSuccess"], true, "signed and sealed by {client:?}");
    }
    assert!(worker.stop().await.success());
    for folder in [before, after, fresh] {
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
    // A careless client that sends it in the clear, where no field for it is.
    let headers = world.headers(&super::world::Person { id: user.clone(), session: super::world::session() });
    let clear = json!({"userId": user, "sealedPassword": {"keyId": 7, "box": "x"}});
    world.produce(&world.signed_bytes(&headers, Kind::Login, user.as_str(), clear)).await;
    assert_eq!(world.reply(headers.request_id).await["errorCode"], "invalid_request");

    let mut records = 0;
    let settings = KafkaSettings::plaintext(&world.kafka.bootstrap());
    let mut topics: Vec<&str> =
        Kind::ALL.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]).collect();
    topics.extend([CHAT_EVENT, DEAD_LETTER]);
    let scan = Scan::start(&settings, &topics, From::Beginning).expect("the broker answers");
    let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&marker);
    scan.to_end(|view| {
        records += 1;
        let record = &view.record;
        let clean = !holds(record.key)
            && !holds(record.value)
            && record.headers.iter().all(|(_, value)| !holds(value));
        assert!(clean, "{} holds the password at {}", record.topic, view.offset);
        ControlFlow::Continue(())
    })
    .expect("all of it is read");
    assert!(records >= 10, "{records} records were searched");
    assert!(!worker.log().contains(&marker), "the log holds the password");
    assert!(world.dump().contains(user.as_str()), "the dump holds the user");
    assert!(!world.dump().contains(&marker), "the database holds the password");
    assert!(worker.stop().await.success());
}
