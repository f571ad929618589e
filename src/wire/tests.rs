//! Records signed by one side and opened by the other.

use std::time::Duration;

use super::*;
use crate::ids::{RequestId, RoomId, Seq, SessionKey, Timestamp, UserId};

fn keys() -> Keyring {
    Keyring::for_tests("k1", [1; 32])
}

fn headers(user: Option<&str>) -> RequestHeaders {
    RequestHeaders {
        request_id: RequestId::fresh(),
        session_key: SessionKey([9; 32]),
        user_id: user.map(|user| user.parse().unwrap()),
        client_address: Some("ab".repeat(16)),
        deadline: Timestamp::now().after(Duration::from_secs(15)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn chat(writer: &str) -> Request {
    Request::AddChat(AddChat {
        room_id: RoomId(uuid::Uuid::nil()),
        writer_id: writer.parse().unwrap(),
        message: "hi".parse().unwrap(),
        client_message_id: None,
    })
}

fn incoming(out: &Outgoing) -> Incoming<'_> {
    Incoming {
        topic: out.topic,
        key: &out.key,
        value: &out.value,
        headers: out.headers.iter().map(|(name, value)| (name.as_ref(), value.as_slice())).collect(),
    }
}

#[test]
fn a_request_comes_out_as_it_went_in() {
    let headers = headers(Some("bob"));
    let out = request_record(&keys(), &headers, &chat("bob"));
    let opened = open_request(&keys(), &incoming(&out)).unwrap();
    assert_eq!(opened, Opened { kind: Kind::AddChat, headers, request: Ok(chat("bob")) });
}

#[test]
fn what_is_signed_cannot_be_changed() {
    let out = request_record(&keys(), &headers(Some("bob")), &chat("bob"));
    let changed = |change: fn(&mut Outgoing)| {
        let mut out = out.clone();
        change(&mut out);
        open_request(&keys(), &incoming(&out)).unwrap_err()
    };
    let replace = |name: &'static str, value: &'static str| {
        let mut out = out.clone();
        let header = out.headers.iter_mut().find(|(n, _)| n == name).unwrap();
        header.1 = value.into();
        open_request(&keys(), &incoming(&out)).unwrap_err()
    };
    assert_eq!(changed(|o| o.topic = "login-request"), BadRecord::Signature);
    assert_eq!(changed(|o| o.topic = "chat-event"), BadRecord::Topic);
    assert_eq!(changed(|o| o.key.push(0)), BadRecord::Signature);
    assert_eq!(changed(|o| o.value.push(b' ')), BadRecord::Signature);
    assert_eq!(changed(|o| o.headers.retain(|(n, _)| n != "user-id")), BadRecord::Signature);
    assert_eq!(changed(|o| o.headers.retain(|(n, _)| n != "signature")), BadRecord::Signature);
    assert_eq!(replace("user-id", "amy"), BadRecord::Signature);
    assert_eq!(replace("deadline", "2999-01-01T00:00:00Z"), BadRecord::Signature);
    assert_eq!(replace("request-id", "00000000-0000-0000-0000-000000000000"), BadRecord::Signature);
    assert_eq!(replace("parley-version", "2"), BadRecord::Version);
    assert_eq!(replace("key-id", "k9"), BadRecord::Signature);
}

/// It is not signed, so it is one of few, short, and of letters that any database takes.
#[test]
fn an_address_is_a_hash_or_the_record_is_not_believed() {
    let out = request_record(&keys(), &headers(Some("bob")), &chat("bob"));
    let open = |address: &str| {
        let mut out = out.clone();
        let header = out.headers.iter_mut().find(|(n, _)| n == "client-address").unwrap();
        header.1 = address.into();
        open_request(&keys(), &incoming(&out)).map(|opened| opened.headers.client_address)
    };
    let other = "0123456789abcdef".repeat(2);
    assert_eq!(open(&other), Ok(Some(other.clone())));
    for bad in ["", "a\0b", "127.0.0.1", &other[1..], &other.to_uppercase(), &other.repeat(600)] {
        assert_eq!(open(bad), Err(BadRecord::Header(HeaderName::ClientAddress)), "{bad:.40}");
    }
}

#[test]
fn a_believed_sender_with_a_bad_request_is_told_so() {
    for (asker, value, want) in [
        (Some("amy"), chat("bob"), ErrorCode::InvalidRequest),
        (None, chat("bob"), ErrorCode::Unauthenticated),
    ] {
        let out = request_record(&keys(), &headers(asker), &value);
        let opened = open_request(&keys(), &incoming(&out)).unwrap();
        assert_eq!(opened.request.unwrap_err().code, want);
    }
}

/// This request, well signed, under a key of the test's choice.
fn keyed(headers: &RequestHeaders, request: &Request, key: &str) -> Outgoing {
    let mut out = request_record(&keys(), headers, request);
    out.key = key.into();
    let fields = [
        Some(out.topic.as_bytes()),
        Some(out.key.as_slice()),
        out.header(HeaderName::RequestId),
        out.header(HeaderName::UserId),
        out.header(HeaderName::SessionKey),
        out.header(HeaderName::Deadline),
    ];
    let signature = signing::sign(&keys(), signing::Domain::Request, &fields, &out.value);
    out.headers.iter_mut().find(|(name, _)| name == "signature").unwrap().1 = signature.into();
    out
}

/// The key decides who works at it, and before or after what: only the value's own will do.
#[test]
fn a_well_signed_request_under_the_key_of_another_is_refused_whatever_its_kind() {
    let value = r#"{"userId": "bob", "writerId": "bob", "roomId": "018f3f1c-0000-7000-8000-000000000000", "message": "hi",
        "status": "away", "friendId": ["amy"], "email": "b@example.com", "userName": "Bob",
        "sealedPassword": {"keyId": "k", "box": "AAAA"}}"#;
    let mut requests: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| (Some("bob"), Request::decode(kind, value.as_bytes()).unwrap()))
        .collect();
    for anonymous in [Kind::Login, Kind::AddUser] {
        requests.push((None, Request::decode(anonymous, value.as_bytes()).unwrap()));
    }
    requests.push((None, Request::Logout(Logout { user_id: None, everywhere: false })));
    let (room, session) = ("018f3f1c-0000-7000-8000-000000000000", SessionKey([9; 32]).to_string());
    let (other_room, other_session) = (room.replace('c', "d"), SessionKey([8; 32]).to_string());
    for (asker, request) in requests {
        let headers = headers(asker);
        let own = request.key(&headers.session_key);
        let open = |key: &str| {
            let out = keyed(&headers, &request, key);
            open_request(&keys(), &incoming(&out)).unwrap().request
        };
        let what = format!("{} of {asker:?}", request.kind());
        assert_eq!(open(&own), Ok(request.clone()), "{what} under its own key");
        let all = ["bob", "amy", "BOB", "bob ", "", room, &other_room, &session, &other_session];
        let wrong: Vec<&str> = all.into_iter().filter(|key| *key != own).collect();
        assert_eq!(wrong.len(), all.len() - 1, "{what} has one of these keys");
        for key in wrong {
            let refused = open(key).map(drop).map_err(|failure| failure.code);
            assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{what} under {key:?}");
        }
    }
}

#[test]
fn a_logout_needs_no_user_and_is_keyed_by_its_session() {
    let request = Request::Logout(Logout { user_id: None, everywhere: false });
    let out = request_record(&keys(), &headers(None), &request);
    assert_eq!(out.key, SessionKey([9; 32]).to_string().into_bytes());
    assert!(open_request(&keys(), &incoming(&out)).unwrap().request.is_ok());
}

#[test]
fn replies_and_events_open_only_as_what_they_are() {
    let headers = headers(Some("bob"));
    let reply = Reply { user_id: headers.user_id.clone(), result: Ok(Body::Nothing {}) };
    let out = reply_record(&keys(), Kind::Logout, b"bob", &headers, &reply, true, Some(b"sig"));
    let opened = open_reply(&keys(), &incoming(&out)).unwrap();
    assert_eq!((opened.kind, opened.request_id, opened.replayed), (Kind::Logout, headers.request_id, true));
    assert_eq!(open_event(&keys(), &incoming(&out)).unwrap_err(), BadRecord::Topic);
    let mut moved = out.clone();
    moved.topic = Kind::Login.response_topic();
    assert_eq!(open_reply(&keys(), &incoming(&moved)).unwrap_err(), BadRecord::Signature);

    let bob: UserId = "bob".parse().unwrap();
    let event = Event::Status { user_id: bob, status: "away".into(), version: 2 };
    let out = event_record(&keys(), &event, Some(headers.request_id), None, None);
    let opened = open_event(&keys(), &incoming(&out)).unwrap();
    assert_eq!(opened, OpenedEvent { event, request_id: Some(headers.request_id) });
    let mut renamed = out.clone();
    renamed.headers.iter_mut().find(|(n, _)| n == "event").unwrap().1 = b"message".to_vec();
    assert_eq!(open_event(&keys(), &incoming(&renamed)).unwrap_err(), BadRecord::Signature);
}

#[test]
fn a_dead_letter_keeps_the_record_and_cuts_what_a_stranger_wrote() {
    // Of two bytes each, the first of them at an odd place: a name is cut between characters.
    let long = format!("n{}", "é".repeat(2_500));
    let stranger = Incoming {
        topic: "user-status-change-request",
        key: &[b'k'; 5_000],
        value: &[b'x'; 5_000],
        headers: vec![("request-id", b"1"), (long.as_str(), &[b'h'; 5_000])],
    };
    let letter = |verified| {
        DeadLetter {
            record: &stranger,
            origin: Origin { partition: 3, offset: 42, timestamp: Some(7) },
            code: ErrorCode::InvalidRequest,
            message: "why",
            attempts: 1,
            verified,
        }
        .to_record()
    };
    let out = letter(false);
    assert_eq!((out.topic, out.key.len(), out.value.len()), (DEAD_LETTER, 1_024, 1_024));
    assert_eq!((out.headers[1].0.len(), out.headers[1].1.len()), (1_023, 1_024));
    assert_eq!(out.header(HeaderName::OriginTopic), Some(b"user-status-change-request".as_slice()));
    assert_eq!(out.header(HeaderName::OriginOffset), Some(b"42".as_slice()));
    assert_eq!(out.header(HeaderName::RequestId), Some(b"1".as_slice()));
    let whole = letter(true);
    assert_eq!((whole.key.len(), whole.value.len()), (5_000, 5_000));
    assert_eq!((whole.headers[1].0.len(), whole.headers[1].1.len()), (5_001, 5_000));
}

#[test]
fn a_message_event_says_which_request_it_came_of() {
    let event = Event::Message {
        room_id: RoomId(uuid::Uuid::nil()),
        seq: Seq(1),
        writer_id: "bob".parse().unwrap(),
        message: "hi".into(),
        created_at: Timestamp::from_micros(0),
        request_id: RequestId::fresh(),
    };
    let json: serde_json::Value = serde_json::from_slice(&event.encode()).unwrap();
    let names: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(names, ["createdAt", "message", "requestId", "roomId", "seq", "writerId"]);
}
