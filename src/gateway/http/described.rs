//! What events look like, for the description of the API alone: clients are generated from it, the web client too. The fields
//! are those of docs/protocol.md; a test holds them, and those of replies, against what is really sent.

#![expect(dead_code, reason = "nothing is made of these shapes but their description")]

use serde::Serialize;

use crate::{
    store::reads::Message,
    wire::{FriendEntry, ReplyBody},
};

/// The events of `GET /api/events`: a property for each name, with the schema of its data.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct StreamEvents {
    hello: HelloEvent,
    resumed: ResumedEvent,
    resync: ResyncEvent,
    reply: ReplyBody,
    message: Message,
    room: RoomEvent,
    friend: FriendEvent,
    status: StatusEvent,
    cursor: CursorEvent,
    slow: SlowEvent,
    reconnect: ReconnectEvent,
}

/// The stream is open; a second one, with `userId`, says that its session has become so.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HelloEvent {
    /// Whose session it is; null while the session is not open.
    user_id: Option<String>,
    /// The beginning of the session's key, for people who compare logs.
    session_key: String,
    #[schema(format = DateTime)]
    server_time: String,
}

/// Everything since the client's cursor was sent again.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ResumedEvent {
    replayed: u64,
}

/// Continuity cannot be proven: read state again.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ResyncEvent {
    reason: ResyncReason,
}

/// Why: the cursor is too old, of another topic, unreadable, or too far behind.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResyncReason {
    Expired,
    Foreign,
    Unknown,
    Overflow,
}

/// A room was opened or its members changed; `version` counts these changes.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomEvent {
    room_id: uuid::Uuid,
    room_name: String,
    member_count: i64,
    /// At most 20 of them.
    members: Vec<String>,
    joined: Vec<String>,
    left: Vec<String>,
    /// The room's newest message by then.
    seq: i64,
    version: i64,
}

/// `userId` has a new friend; `version` is that of the friend's own state.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FriendEvent {
    user_id: String,
    friend: FriendEntry,
    version: i64,
}

/// A friend changed their status message.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusEvent {
    user_id: String,
    status: String,
    version: i64,
}

/// A heartbeat: nothing but its id, the cursor as it is by now.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CursorEvent {}

/// The client fell behind; the stream is closed after this and can be resumed.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SlowEvent {
    reason: String,
}

/// The stream is closed after this; come back in about that time.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReconnectEvent {
    after_ms: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::{
        gateway::pending::Answer,
        ids::{RequestId, RoomId, Seq, Timestamp, UserId},
        wire::{
            AddFriendResult, Body, ErrorCode, Event, EventType, Failure, FriendEntry, FriendOutcome, Kind,
            Reply, RoomDetail, RoomEntry, User,
        },
    };

    /// The API's description, to be held against values.
    struct Described(Value);

    impl Described {
        fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
            let Some(path) = schema["$ref"].as_str() else { return schema };
            self.0.pointer(path.trim_start_matches('#')).unwrap()
        }

        fn component(&self, name: &str) -> &Value {
            &self.0["components"]["schemas"][name]
        }

        /// The properties of an object, those of its parts too, and whether they must be there.
        fn fields<'a>(&'a self, schema: &'a Value, into: &mut BTreeMap<&'a str, (&'a Value, bool)>) {
            let schema = self.resolved(schema);
            for part in schema["allOf"].as_array().into_iter().flatten() {
                self.fields(part, into);
            }
            let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                into.insert(name, (property, required.contains(&&json!(name))));
            }
        }

        /// What the schema does not say of the value, or says otherwise.
        fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
            let schema = self.resolved(schema);
            if let Some(ways) = schema["oneOf"].as_array() {
                let each: Vec<_> = ways.iter().map(|way| self.faults(way, value, at)).collect();
                return each.into_iter().min_by_key(Vec::len).unwrap();
            }
            match value {
                Value::Object(object) => {
                    let mut fields = BTreeMap::new();
                    self.fields(schema, &mut fields);
                    let absent =
                        fields.iter().filter(|(name, (_, must))| *must && !object.contains_key(**name));
                    let mut faults: Vec<_> =
                        absent.map(|(name, _)| format!("{at}.{name} is absent")).collect();
                    for (name, value) in object {
                        match fields.get(name.as_str()) {
                            Some((schema, _)) => {
                                faults.extend(self.faults(schema, value, &format!("{at}.{name}")))
                            }
                            None => faults.push(format!("{at}.{name} is not described")),
                        }
                    }
                    faults
                }
                Value::Array(items) => items
                    .iter()
                    .flat_map(|item| self.faults(&schema["items"], item, &format!("{at}[]")))
                    .collect(),
                plain => {
                    let name = match plain {
                        Value::Null => "null",
                        Value::Bool(_) => "boolean",
                        Value::Number(_) => "integer",
                        _ => "string",
                    };
                    let of_type = match &schema["type"] {
                        Value::Array(types) => types.contains(&json!(name)),
                        one => one == name,
                    };
                    let listed = schema["enum"].as_array().is_none_or(|all| all.contains(plain));
                    if of_type && listed {
                        Vec::new()
                    } else {
                        vec![format!("{at} is {plain}, not {schema}")]
                    }
                }
            }
        }
    }

    fn described() -> Described {
        Described(serde_json::from_str(&crate::gateway::http::document()).unwrap())
    }

    fn bob() -> UserId {
        "bob".parse().unwrap()
    }

    /// A reply of each kind as a worker of today sends it.
    fn bodies() -> Vec<(Kind, Body)> {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let room_id = RoomId(uuid::Uuid::nil());
        let user = || Body::User {
            user: User {
                user_id: bob(),
                email: "a@b.c".into(),
                user_name: "B".into(),
                user_status: String::new(),
                join_date: at,
                login_date: Some(at),
                logout_date: None,
            },
        };
        let room = RoomEntry {
            room_id,
            room_name: "r".into(),
            member_count: 2,
            members: vec![bob()],
            last_seq: Seq(3),
            last_message: Some("hi".into()),
            last_at: Some(at),
            unread: 1,
        };
        let empty = RoomEntry { last_message: None, last_at: None, ..room.clone() };
        let detail = RoomDetail {
            room_id,
            room_name: "r".into(),
            member_count: 1,
            members: vec![bob()],
            created_at: at,
        };
        let friend = FriendEntry { user_id: bob(), user_name: "B".into(), user_status: String::new() };
        let added =
            [FriendOutcome::Added, FriendOutcome::Already, FriendOutcome::Unknown, FriendOutcome::Oneself]
                .map(|result| AddFriendResult { user_id: bob(), result });
        vec![
            (Kind::Login, user()),
            (Kind::AddUser, user()),
            (Kind::Logout, Body::Nothing {}),
            (Kind::ListRooms, Body::ListRooms { rooms: vec![room, empty], next: None }),
            (Kind::ListFriends, Body::ListFriends { friend: vec![friend], next: Some("x".into()) }),
            (Kind::AddFriend, Body::AddFriend { friend_id: added.to_vec() }),
            (Kind::AddChat, Body::AddChat { room_id, seq: Seq(1), message: "hi".into(), created_at: at }),
            (Kind::AddRoom, Body::AddRoom(detail)),
            (Kind::ChangeStatus, Body::ChangeStatus { status: "away".into() }),
            (Kind::LeaveRoom, Body::LeaveRoom { room_id, left_seq: Seq(3) }),
        ]
    }

    #[test]
    fn replies_are_as_described() {
        let described = described();
        let schema = described.component("ReplyBody");
        let request = RequestId::fresh();
        let check = |kind: Kind, result: Result<Body, Failure>| {
            let reply = Reply { user_id: Some(bob()), result };
            let answer = Answer::new(kind, request, &reply.encode(), 0);
            let value: Value = serde_json::from_slice(&answer.json).unwrap();
            assert_eq!(described.faults(schema, &value, kind.as_str()), Vec::<String>::new());
        };
        let bodies = bodies();
        for kind in Kind::ALL {
            assert!(bodies.iter().any(|(of, _)| *of == kind), "{kind} is checked");
        }
        for (kind, body) in bodies {
            check(kind, Ok(body));
        }
        for kind in Kind::ALL {
            for code in ErrorCode::ALL {
                let failure = Failure { code, message: "why".into(), retry_after: Some(7) };
                check(kind, Err(failure));
            }
        }
    }

    #[test]
    fn events_are_as_described() {
        let described = described();
        let room_id = RoomId(uuid::Uuid::nil());
        let friend = FriendEntry { user_id: bob(), user_name: "B".into(), user_status: String::new() };
        let events = [
            Event::Message {
                room_id,
                seq: Seq(1),
                writer_id: bob(),
                message: "hi".into(),
                created_at: Timestamp::from_micros(1_700_000_000_000_000),
                request_id: RequestId::fresh(),
            },
            Event::Room {
                room_id,
                room_name: "r".into(),
                member_count: 1,
                members: vec![bob()],
                joined: vec![bob()],
                left: Vec::new(),
                seq: Seq(0),
                version: 1,
            },
            Event::Friend { user_id: bob(), friend, version: 1 },
            Event::Status { user_id: bob(), status: "away".into(), version: 2 },
        ];
        let all = &described.component("StreamEvents")["properties"];
        for event in events {
            let name = event.event_type().as_str();
            let value: Value = serde_json::from_slice(&event.encode()).unwrap();
            assert_eq!(described.faults(&all[name], &value, name), Vec::<String>::new());
        }
        // That of an ended session goes to nobody: the stream ends.
        let pushed = EventType::ALL.into_iter().filter(|event| *event != EventType::SessionEnded);
        assert!(pushed.map(EventType::as_str).all(|name| all[name].is_object()));
    }

    #[test]
    fn what_is_not_described_is_found() {
        let described = described();
        let schema = &described.component("StreamEvents")["properties"]["status"];
        let faults = |value: Value| described.faults(schema, &value, "status").len();
        assert_eq!(faults(json!({"userId": "bob", "status": "away", "version": 2})), 0);
        assert_eq!(faults(json!({"userId": "bob", "status": 7, "more": true})), 3);
    }
}
