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
use crate::fixtures::{eventually, keys_dir, unique};

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
        sign_ups(&mut world, &[&pair[1]]).await;
        assert!(running.stop().await.success());
        running = next;
        sign_ups(&mut world, &[&pair[1]]).await;
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
