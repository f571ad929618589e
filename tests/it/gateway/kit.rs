mod ear;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

pub(crate) use ear::{Ear, seq_of};
use hyper::Method;
use parley::{
    ids::{RequestId, RoomId, Seq, SessionKey, SessionToken, Timestamp, UserId},
    kafka::{Delivery, KafkaSettings, Producer, ProducerSettings, admin::NewTopic},
    loadgen::{Answer, Client},
    wire::{EndedSession, Event, Keyring, Kind, Outgoing, Reply, RequestHeaders, event_record, reply_record},
};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::fixtures::{Binary, Chat, DEADLINE, eventually, keys_dir, unique};

/// A chat without a worker, some gateways, and the means to play the worker's part.
pub(crate) struct Kit {
    pub(crate) chat: Chat,
    pub(crate) gateways: Vec<(Binary, SocketAddr)>,
    producer: Producer,
    /// What workers sign with.
    pub(crate) keys: Arc<Keyring>,
}

/// A user with an open session.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) key: SessionKey,
    pub(crate) client: Client,
}

impl Kit {
    /// A broker and gateways of the test's own.
    pub(crate) async fn own(gateways: usize, settings: &[(&str, &str)]) -> Self {
        Self::on(Chat::bare().await, gateways, settings).await
    }

    /// Gateways on this chat.
    pub(crate) async fn on(chat: Chat, gateways: usize, settings: &[(&str, &str)]) -> Self {
        let producer = Producer::start(
            &KafkaSettings::plaintext(&chat.kafka.bootstrap()),
            "test",
            ProducerSettings { message_timeout: DEADLINE, linger: Duration::ZERO },
        )
        .expect("the settings are right");
        let keys = Keyring::load(&keys_dir().join("reply-keys.json")).expect("the key file is right");
        let mut kit = Self { chat, gateways: Vec::new(), producer, keys: Arc::new(keys) };
        let started: Vec<_> = (0..gateways).map(|_| kit.chat.gateway(settings)).collect();
        for (gateway, addr) in started {
            kit.gateways.push((gateway.ready().await, addr));
        }
        kit
    }

    /// Three gateways that tests share which disturb nothing.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Kit> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::own(3, &[])).await
    }

    pub(crate) fn addr(&self, n: usize) -> SocketAddr {
        self.gateways[n % self.gateways.len()].1
    }

    /// A new user with an open session.
    pub(crate) fn person(&self, prefix: &str) -> Person {
        let id: UserId = unique(prefix).parse().expect("a user id");
        self.chat.database.sql(&format!(
            "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('{id}', '{id}@example.com', '{id}', now())"
        ));
        self.session(&id)
    }

    /// Another open session of a user.
    pub(crate) fn session(&self, id: &UserId) -> Person {
        let token = SessionToken::fresh().expect("random bytes");
        let key = token.key();
        self.chat.database.sql(&format!(
            "INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
             VALUES ('\\x{key}', '{id}', now(), now(), now() + interval '1 hour')"
        ));
        let client = Client::new(self.addr(0));
        client.set_cookie(Some(format!("__Host-parley={}", token.reveal())));
        Person { id: id.clone(), key, client }
    }

    /// A room that these are members of from its beginning.
    pub(crate) fn room(&self, members: &[&Person]) -> RoomId {
        let room = RoomId(uuid::Uuid::now_v7());
        let count = members.len();
        let mut sql = format!(
            "INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count)
             VALUES ('{room}', 'room', '{}', now(), {count});",
            members[0].id
        );
        for member in members {
            sql += &joins(room, &member.id, 0);
        }
        self.chat.database.sql(&sql);
        room
    }

    /// Stores messages `from..=to` of a room, as a worker's transaction does, and gives their events in order.
    pub(crate) fn store(&self, room: RoomId, writer: &UserId, from: i64, to: i64) -> Vec<Event> {
        let rows = self.chat.database.sql(&format!(
            "WITH new AS (
                INSERT INTO messages (room_id, seq, request_id, writer_id, message, created_at)
                SELECT '{room}', n, gen_random_uuid(), '{writer}', 'message ' || n, date_trunc('milliseconds', now())
                FROM generate_series({from}, {to}) AS n
                RETURNING seq, request_id, (extract(epoch FROM created_at) * 1000000)::bigint AS at
             ), grown AS (UPDATE rooms SET last_seq = {to} WHERE room_id = '{room}')
             SELECT seq, request_id, at FROM new ORDER BY seq"
        ));
        let event = |row: &str| {
            let columns: Vec<&str> = row.split('|').collect();
            let seq = columns[0].parse().expect("a number");
            Event::Message {
                room_id: room,
                seq: Seq(seq),
                writer_id: writer.clone(),
                message: format!("message {seq}"),
                created_at: Timestamp::from_micros(columns[2].parse().expect("microseconds")),
                request_id: columns[1].parse().expect("a request id"),
            }
        };
        rows.lines().map(event).collect()
    }

    /// Produces events to `chat-event`, in this order, and waits for the broker.
    pub(crate) async fn produce(&self, events: &[Event]) {
        let records: Vec<_> =
            events.iter().map(|event| event_record(&self.keys, event, None, None, None)).collect();
        self.producer.send_all(&records).await.expect("the broker takes them");
    }

    /// Stores and produces.
    pub(crate) async fn say(&self, room: RoomId, writer: &UserId, from: i64, to: i64) {
        let events = self.store(room, writer, from, to);
        self.produce(&events).await;
    }

    /// Stores messages of these texts, and gives their events in order.
    pub(crate) fn texts(&self, room: RoomId, writer: &UserId, texts: Vec<String>) -> Vec<Event> {
        let mut events = self.store(room, writer, 1, i64::try_from(texts.len()).expect("a few"));
        for (event, text) in events.iter_mut().zip(texts) {
            if let Event::Message { message, .. } = event {
                *message = text;
            }
        }
        events
    }

    /// Makes somebody the newest member of a room of these, after the message of this number, and gives the event of it.
    pub(crate) fn joined(&self, room: RoomId, members: &[&Person], newest: &Person, seq: i64) -> Event {
        let count = members.len() + 1;
        self.chat.database.sql(&format!(
            "{} UPDATE rooms SET version = 2, member_count = {count} WHERE room_id = '{room}'",
            joins(room, &newest.id, seq)
        ));
        Event::Room {
            room_id: room,
            room_name: "räum".into(),
            member_count: i64::try_from(count).expect("a few"),
            members: members.iter().chain([&newest]).map(|person| person.id.clone()).collect(),
            joined: vec![newest.id.clone()],
            left: Vec::new(),
            seq: Seq(seq),
            version: 2,
        }
    }

    /// Makes a member leave a room, in which these stay, after the message of this number, and gives the event of it.
    pub(crate) fn left(&self, room: RoomId, rest: &[&Person], who: &Person, seq: i64, version: i64) -> Event {
        let (count, whose) = (rest.len(), format!("room_id = '{room}' AND user_id = '{}'", who.id));
        self.chat.database.sql(&format!(
            "UPDATE members SET left_seq = {seq} WHERE {whose};
             UPDATE user_rooms SET left_seq = {seq} WHERE {whose};
             UPDATE rooms SET version = {version}, member_count = {count} WHERE room_id = '{room}'"
        ));
        Event::Room {
            room_id: room,
            room_name: "room".into(),
            member_count: i64::try_from(count).expect("a few"),
            members: rest.iter().map(|person| person.id.clone()).collect(),
            joined: Vec::new(),
            left: vec![who.id.clone()],
            seq: Seq(seq),
            version,
        }
    }

    /// Ends a session as a logout does: the row first, then the event.
    pub(crate) async fn end_session(&self, person: &Person) {
        let key = person.key;
        self.chat.database.sql(&format!(
            "UPDATE sessions SET ended_at = now(), end_reason = 'logout' WHERE session_key = '\\x{key}'"
        ));
        let who = EndedSession::SessionKey(key);
        self.produce(&[Event::SessionEnded { who, ended_at: Timestamp::now(), reason: "logout".into() }])
            .await;
    }

    /// Replies to a request of this session.
    pub(crate) async fn reply(&self, kind: Kind, session: SessionKey, request_id: RequestId, reply: &Reply) {
        self.send(&reply_to(&self.keys, kind, session, request_id, reply, None)).await;
    }

    /// Produces a record just as it is.
    pub(crate) async fn send(&self, record: &Outgoing) {
        assert_eq!(self.producer.send(record).await, Delivery::Persisted);
    }
}

/// The record of a reply, signed with these keys. All of a kind are in one partition. `answers`: it is said again, to the record with
/// this signature.
pub(crate) fn reply_to(
    keys: &Keyring,
    kind: Kind,
    session: SessionKey,
    request_id: RequestId,
    reply: &Reply,
    answers: Option<&[u8]>,
) -> Outgoing {
    let headers = RequestHeaders {
        request_id,
        session_key: session,
        user_id: reply.user_id.clone(),
        client_address: None,
        deadline: Timestamp::now(),
        traceparent: None,
    };
    reply_record(keys, kind, b"key", &headers, reply, answers.is_some(), answers)
}

impl Kit {
    /// Deletes topics, and makes others of the same names with so many partitions.
    pub(crate) async fn make_anew(&self, topics: &[(&str, i32)]) {
        let admin = self.chat.admin();
        let names: Vec<String> = topics.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, result) in admin.delete_topics(names.clone()).await.expect("the broker answers") {
            result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        eventually("the topics to be gone", || async {
            let described = admin.describe_topics(names.clone()).await.ok()?;
            described.iter().all(|(_, topic)| topic.is_err()).then_some(())
        })
        .await;
        let anew = topics.iter().map(|(name, partitions)| NewTopic {
            name: (*name).to_owned(),
            partitions: Some(*partitions),
            replicas: Some(1),
            config: BTreeMap::new(),
        });
        for (name, result) in admin.create_topics(anew.collect(), false).await.expect("the broker answers") {
            result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
}

/// A call, made again for as long as the gateway cannot say that Kafka has it: two seconds in which the machine stands still are an
/// outage to it, and told as one.
pub(crate) async fn call(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    eventually("Kafka to have a request", || async {
        let answer = client.json(method.clone(), path, headers, body).await.ok()?;
        let unknown = answer.status == 202 && answer.json()["accepted"] == "unknown";
        let away = answer.status == 503 && answer.json()["code"] == "unavailable";
        (!unknown && !away).then_some(answer)
    })
    .await
}

/// A call that waits for its reply, made again under its key for as long as the gateway itself says that Kafka is away.
pub(crate) async fn held(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    loop {
        let answer = client.json(method.clone(), path, headers, body).await.expect("an answer");
        let told = answer.json();
        // A reply says of which kind it is.
        let away = answer.status == 503 && told["kind"].is_null();
        if !away && told["accepted"] != "unknown" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Letters of one to four bytes, long enough to be cut between any two of them, and what JSON and the grammar of streams have rules
/// for.
pub(crate) fn strange_texts() -> Vec<String> {
    let last = "\"\\/\u{2028}\u{2029}\u{85}\t\u{feff}: x\r\ndata: y\n\nid: z\revent: w".to_owned();
    vec!["é".repeat(4_000), "💬".repeat(4_000), "한".repeat(5_000), last]
}

/// SQL that makes somebody a member of a room whose newest message has this number.
pub(crate) fn joins(room: RoomId, user: &UserId, seq: i64) -> String {
    format!(
        "INSERT INTO members (room_id, user_id, joined_seq, joined_at) VALUES ('{room}', '{user}', {seq}, now());
         INSERT INTO user_rooms (user_id, room_id, read_seq, joined_seq, joined_at)
         VALUES ('{user}', '{room}', {seq}, {seq}, now());"
    )
}
