//! Records that look like a worker's and are not: with the keys that gateways sign with, or with a worker's signature of something
//! else. What comes from outside altogether is tried in `live.rs`.

use parley::{
    ids::RequestId,
    wire::{Body, Event, Keyring, Kind, Reply, event_record},
};

use super::kit::{Ear, Kit, reply_to};
use crate::fixtures::{keys_dir, read};

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_worker_signed_for_this_session_reaches_a_stream() {
    // A gateway of its own: what it counts is of this test alone.
    let kit = Kit::own(1, &[]).await;
    let request_keys = Keyring::load(&keys_dir().join("request-keys.json")).unwrap();
    let (amy, eve) = (kit.person("amy"), kit.person("eve"));
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let gateway = &kit.gateways[0].0;
    let dropped = async |topic| gateway.metric("parley_dropped_records_total", &[topic]).await;

    // The body tells them apart.
    let reply = |status: &str| Reply {
        user_id: Some(amy.id.clone()),
        result: Ok(Body::ChangeStatus { status: status.into() }),
    };
    let made = |keys, session, status| {
        let id = RequestId::fresh();
        (id, reply_to(keys, Kind::ChangeStatus, session, id, &reply(status), None))
    };
    let mut unsigned = made(&kit.keys, amy.key, "unsigned");
    unsigned.1.headers.retain(|(name, _)| name != "signature" && name != "key-id");
    let of_gateways = made(&request_keys, amy.key, "of the request keys");
    // A worker's own reply to Eve, led to Amy afterwards.
    let mut moved = made(&kit.keys, eve.key, "moved");
    let session = moved.1.headers.iter_mut().find(|(name, _)| name == "session-key").unwrap();
    session.1 = amy.key.to_string().into_bytes();
    let forged = [unsigned, of_gateways, moved];
    for (_, record) in &forged {
        kit.send(record).await;
    }
    // Behind them in the same partition: once it is heard, they have been looked at.
    let (id, genuine) = made(&kit.keys, amy.key, "genuine");
    kit.send(&genuine).await;
    ear.until("the genuine reply", |block| block.data.contains(&id.to_string())).await;
    let status = |data: &str| serde_json::from_str::<serde_json::Value>(data).unwrap()["status"].clone();
    let replies = ear.heard.iter().filter(|block| block.event == "reply");
    let heard: Vec<_> = replies.map(|block| status(&block.data)).collect();
    assert_eq!(heard, ["genuine"]);
    assert_eq!((dropped("reply").await, dropped("chat-event").await), (3.0, 0.0));
    for (id, _) in &forged {
        let answer = read(&amy.client, &format!("/api/requests/{id}")).await;
        assert_ne!(answer.status, 200, "nor is it kept for whoever asks: {}", answer.json());
    }

    // An event: had the forged one been believed, the genuine one of its number would be a double.
    let genuine = kit.store(room, &amy.id, 1, 1).remove(0);
    let mut forged = genuine.clone();
    if let Event::Message { message, .. } = &mut forged {
        *message = "forged".into();
    }
    kit.send(&event_record(&request_keys, &forged, None, None, None)).await;
    kit.produce(&[genuine]).await;
    let heard = ear.message(room, 1).await;
    assert!(heard.data.contains("message 1"), "{}", heard.data);
    assert_eq!((dropped("reply").await, dropped("chat-event").await), (3.0, 1.0));
}
