use std::{
    borrow::Cow,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac as _};
use parley::{
    ids::{RequestId, RoomId, SessionKey, SessionToken, Timestamp, UserId},
    kafka::{Delivery, KafkaSettings, Producer, ProducerSettings},
    wire::{
        AddChat, AddUser, CHAT_EVENT, DEAD_LETTER, Event, Incoming, Keyring, Kind, Login, Outgoing, Request,
        RequestHeaders, SealingKeys, open_event, open_reply, request_record,
    },
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fixtures::{Binary, DEADLINE, Database, Kafka, Postgres, eventually, keys_dir, unique};

/// A record that a worker wrote.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) topic: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// When we saw it.
    pub(super) at: Instant,
}

/// A Kafka with all topics, a database, and what the workers wrote.
pub(super) struct World {
    pub(super) kafka: KafkaRef,
    pub(super) database: Database,
    pub(super) group: String,
    producer: Producer,
    /// Where the workers' key files are.
    pub(super) keys: PathBuf,
    requests: Keyring,
    replies: Keyring,
    sealing: SealingKeys,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

/// The test's own, which ends with it, or one that tests share.
pub(super) enum KafkaRef {
    Own(Box<Kafka>),
    Shared(&'static Kafka),
}

impl std::ops::Deref for KafkaRef {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        match self {
            Self::Own(kafka) => kafka,
            Self::Shared(kafka) => kafka,
        }
    }
}

/// A user as the tests know one.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) session: SessionKey,
}

impl Person {
    /// The request that says this in a room.
    pub(super) fn says(&self, room_id: RoomId, text: &str) -> Request {
        let message = text.parse().expect("a message");
        Request::AddChat(AddChat { room_id, writer_id: self.id.clone(), message, client_message_id: None })
    }
}

pub(super) const PASSWORD: &str = "correct horse battery";

impl World {
    /// The one that tests of single requests share, with one worker for everything. The worker lives as long as the program.
    pub(super) async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<World> = tokio::sync::OnceCell::const_new();
        static WORKER: OnceLock<Binary> = OnceLock::new();
        SHARED
            .get_or_init(|| async {
                let world = World::own(2).await;
                let worker = world.worker(&[]).ready().await;
                WORKER.set(worker).unwrap_or_else(|_| panic!("set once"));
                world
            })
            .await
    }

    /// One of the test's own, without a worker. Request topics get `partitions`.
    pub(super) async fn own(partitions: i32) -> Self {
        Self::with(Postgres::shared, partitions).await
    }

    /// One of the test's own whose PostgreSQL may be killed.
    pub(super) async fn with_own_postgres(partitions: i32) -> Self {
        let own = || {
            // Leaked: its guard ends it with the program.
            let postgres: &'static Postgres = Box::leak(Box::new(Postgres::own()));
            postgres.migrate("parley");
            postgres
        };
        Self::with(own, partitions).await
    }

    async fn with(postgres: fn() -> &'static Postgres, partitions: i32) -> Self {
        let own = || KafkaRef::Own(Box::new(Kafka::own(1)));
        Self::on(own, postgres, partitions).await
    }

    /// On this Kafka, which nobody else uses the chat's topics of.
    pub(super) async fn on(
        kafka: fn() -> KafkaRef,
        postgres: fn() -> &'static Postgres,
        partitions: i32,
    ) -> Self {
        let starting = move || (kafka(), postgres().database());
        let (kafka, database) = tokio::task::spawn_blocking(starting).await.expect("the servers start");
        topics(&kafka.bootstrap(), partitions).await;
        let keys = keys_dir().to_owned();
        let settings = KafkaSettings::plaintext(&kafka.bootstrap());
        let timing = ProducerSettings { message_timeout: DEADLINE, linger: Duration::from_millis(1) };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        watch(&kafka.bootstrap(), Arc::clone(&seen), Arc::clone(&stop));
        Self {
            database,
            group: unique("group"),
            producer: Producer::start(&settings, "test", timing).expect("settings"),
            requests: Keyring::load(&keys.join("request-keys.json")).expect("keys"),
            replies: Keyring::load(&keys.join("reply-keys.json")).expect("keys"),
            sealing: SealingKeys::load(&keys.join("seal-public.json")).expect("keys"),
            keys,
            kafka,
            seen,
            stop,
        }
    }

    /// Starts a worker of all kinds; does not wait. `extra` flags come last.
    pub(super) fn worker(&self, extra: &[&str]) -> Binary {
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        self.worker_of(&all.join(","), extra)
    }

    pub(super) fn worker_of(&self, kinds: &str, extra: &[&str]) -> Binary {
        self.worker_with(kinds, extra, &[])
    }

    /// Environment that comes later wins.
    pub(super) fn worker_with(&self, kinds: &str, extra: &[&str], more: &[(&str, &str)]) -> Binary {
        let mut args = vec!["run", "--hash-threads", "2"];
        args.extend(extra);
        let env = self.environment(kinds);
        let env = env.iter().map(|(name, value)| (*name, value.as_str()));
        Binary::start("worker", &args, &env.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// Runs one of the worker's commands as somebody in its pod would: what it printed, or what it complained of.
    pub(super) fn command(&self, args: &[&str], input: &str) -> Result<String, String> {
        self.command_with(args, input, &[])
    }

    /// The same with more in its environment.
    pub(super) fn command_with(
        &self,
        args: &[&str],
        input: &str,
        more: &[(String, String)],
    ) -> Result<String, String> {
        use std::{io::Write as _, process::Stdio};
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(args)
            .envs(self.environment("AddChat"))
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the worker runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr) + &text(&output.stdout))
        }
    }

    fn environment(&self, kinds: &str) -> Vec<(&'static str, String)> {
        let key = |name: &str| self.keys.join(name).display().to_string();
        vec![
            ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", self.kafka.bootstrap()),
            ("PARLEY_DATABASE_URL", self.database.url("worker")),
            ("PARLEY_REQUEST_KEYS_FILE", key("request-keys.json")),
            ("PARLEY_REPLY_KEYS_FILE", key("reply-keys.json")),
            ("PARLEY_SEAL_PRIVATE_KEYS_FILE", key("seal-private.json")),
            ("PARLEY_KINDS", kinds.to_owned()),
            ("PARLEY_CONSUMER_GROUP", self.group.clone()),
            ("PARLEY_LOG_LEVEL", "info,parley=debug".to_owned()),
        ]
    }

    /// Everything in the database, as text.
    pub(super) fn dump(&self) -> String {
        let tables = self.database.sql(
            "SELECT string_agg(format('%I', tablename), ' ') FROM pg_tables WHERE schemaname = 'public'",
        );
        tables.split(' ').map(|table| self.database.sql(&format!("SELECT t::text FROM {table} t"))).collect()
    }

    /// Headers of a request by this person, good for as long as a test waits.
    pub(super) fn headers(&self, who: &Person) -> RequestHeaders {
        RequestHeaders {
            request_id: RequestId::fresh(),
            session_key: who.session,
            user_id: Some(who.id.clone()),
            client_address: None,
            deadline: Timestamp::now().after(DEADLINE),
            traceparent: None,
        }
    }

    /// From now on this side signs and seals, and believes, with the keys of this folder.
    pub(super) fn client_keys(&mut self, folder: &Path) {
        self.requests = Keyring::load(&folder.join("request-keys.json")).expect("keys");
        self.replies = Keyring::load(&folder.join("reply-keys.json")).expect("keys");
        self.sealing = SealingKeys::load(&folder.join("seal-public.json")).expect("keys");
    }

    pub(super) fn record(&self, headers: &RequestHeaders, request: &Request) -> Outgoing {
        request_record(&self.requests, headers, request)
    }

    pub(super) async fn produce(&self, record: &Outgoing) {
        assert_eq!(self.producer.send(record).await, Delivery::Persisted);
    }

    pub(super) async fn produce_all(&self, records: &[Outgoing]) {
        self.producer.send_all(records).await.expect("Kafka takes them");
    }

    /// Sends a request and gives the value of its first reply.
    pub(super) async fn ask(&self, headers: &RequestHeaders, request: &Request) -> Value {
        self.produce(&self.record(headers, request)).await;
        self.reply(headers.request_id).await
    }

    /// A request by this person with fresh headers, and its reply.
    pub(super) async fn by(&self, who: &Person, request: Request) -> Value {
        self.ask(&self.headers(who), &request).await
    }

    /// The value of the first reply to a request.
    pub(super) async fn reply(&self, id: RequestId) -> Value {
        eventually(&format!("a reply to {id}"), || async {
            self.replies_to(id).into_iter().next().map(|(v, _)| v)
        })
        .await
    }

    /// All replies to a request so far, and whether each is a replay. Every one must be signed.
    pub(super) fn replies_to(&self, id: RequestId) -> Vec<(Value, bool)> {
        let id = id.to_string();
        let replies = |seen: &Seen| {
            if seen.header("request-id") != Some(id.as_bytes()) {
                return None;
            }
            Kind::of_response_topic(&seen.topic)?;
            let opened = open_reply(&self.replies, &seen.incoming()).expect("a signed reply");
            Some((serde_json::from_slice(&seen.value).expect("JSON"), opened.replayed))
        };
        self.locked().iter().filter_map(replies).collect()
    }

    /// Every request that has a reply, and when the first came.
    pub(super) fn answered(&self) -> HashMap<RequestId, Instant> {
        let mut answered = HashMap::new();
        for seen in self.locked().iter() {
            if let (Some(_), Ok(id)) = (Kind::of_response_topic(&seen.topic), seen.text("request-id").parse())
            {
                answered.entry(id).or_insert(seen.at);
            }
        }
        answered
    }

    /// All events of a request so far, in no order between partitions. Every one must be signed.
    pub(super) fn events_of(&self, id: RequestId) -> Vec<Event> {
        self.events().into_iter().filter(|(cause, _)| *cause == Some(id)).map(|(_, event)| event).collect()
    }

    /// All events so far with the request that each came of.
    pub(super) fn events(&self) -> Vec<(Option<RequestId>, Event)> {
        let open = |seen: &Seen| {
            let opened = open_event(&self.replies, &seen.incoming()).expect("a signed event");
            (opened.request_id, opened.event)
        };
        self.locked().iter().filter(|seen| seen.topic == CHAT_EVENT).map(open).collect()
    }

    pub(super) fn dead_letters(&self) -> Vec<Seen> {
        self.locked().iter().filter(|seen| seen.topic == DEAD_LETTER).cloned().collect()
    }

    /// All that workers wrote so far.
    pub(super) fn written(&self) -> Vec<Seen> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("no panic while locked")
    }

    /// A record with any value, signed by an implementation of the contract (docs/protocol.md section 1) that is not ours.
    pub(super) fn signed_bytes(
        &self,
        headers: &RequestHeaders,
        kind: Kind,
        key: &str,
        value: Value,
    ) -> Outgoing {
        let text = std::fs::read_to_string(keys_dir().join("request-keys.json")).expect("the file");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let id = file["active"].as_str().expect("an id");
        let secret = STANDARD.decode(file["keys"][id].as_str().expect("a key")).expect("base64");
        let value = value.to_string().into_bytes();
        let named: Vec<(&str, Option<String>)> = vec![
            ("request-id", Some(headers.request_id.to_string())),
            ("user-id", headers.user_id.as_ref().map(UserId::to_string)),
            ("session-key", Some(headers.session_key.to_string())),
            ("deadline", Some(headers.deadline.to_string())),
        ];
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).expect("a key");
        let mut put = |field: Option<&[u8]>| {
            let length = field.map_or(u32::MAX, |bytes| bytes.len() as u32);
            mac.update(&length.to_be_bytes());
            mac.update(field.unwrap_or_default());
        };
        put(Some(b"parley-v1-request"));
        put(Some(kind.request_topic().as_bytes()));
        put(Some(key.as_bytes()));
        for (_, field) in &named {
            put(field.as_ref().map(String::as_bytes));
        }
        put(Some(&Sha256::digest(&value)));
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let mut all: Vec<(Cow<'static, str>, Vec<u8>)> = vec![("parley-version".into(), b"1".to_vec())];
        for (name, field) in named {
            all.extend(field.map(|field| (name.to_owned().into(), field.into_bytes())));
        }
        all.push(("key-id".into(), id.as_bytes().to_vec()));
        all.push(("signature".into(), signature.into_bytes()));
        Outgoing { topic: kind.request_topic(), key: key.as_bytes().to_vec(), value, headers: all }
    }

    /// A sign-up request with its headers: a name that nobody has.
    pub(super) fn sign_up(&self, name: &str, password: &str) -> (RequestHeaders, Request) {
        let user_id: UserId = name.parse().expect("a user id");
        let mut headers = self.headers(&Person { id: user_id.clone(), session: session() });
        headers.user_id = None;
        let password = password.to_owned().try_into().expect("a password");
        let sealed_password = self.sealing.seal(&password, &user_id, headers.request_id).expect("sealed");
        let request = AddUser {
            email: format!("{name}@example.com").parse().expect("an email"),
            user_name: name.parse().expect("a name"),
            sealed_password,
            user_id,
        };
        (headers, Request::AddUser(request))
    }

    pub(super) fn log_in(&self, user_id: &UserId, password: &str) -> (RequestHeaders, Request) {
        let mut headers = self.headers(&Person { id: user_id.clone(), session: session() });
        headers.user_id = None;
        let password = password.to_owned().try_into().expect("a password");
        let sealed_password = self.sealing.seal(&password, user_id, headers.request_id).expect("sealed");
        (headers, Request::Login(Login { user_id: user_id.clone(), sealed_password }))
    }

    /// Somebody who exists, without the cost of a sign-up.
    pub(super) fn person(&self, prefix: &str) -> Person {
        let id = unique(prefix);
        self.database.sql(&format!(
            "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('{id}', '{id}@example.com', '{id}', now())"
        ));
        Person { id: id.parse().expect("a user id"), session: session() }
    }

    pub(super) fn befriend(&self, a: &Person, b: &Person) {
        let (a, b) = (&a.id, &b.id);
        self.database
            .sql(&format!("INSERT INTO friendships VALUES ('{a}', '{b}', now()), ('{b}', '{a}', now())"));
    }

    /// A room of these, straight into the tables.
    pub(super) fn room(&self, people: &[&Person]) -> RoomId {
        let room = RoomId(uuid::Uuid::now_v7());
        let count = people.len();
        let maker = &people[0].id;
        self.database.sql(&format!(
            "INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count) VALUES ('{room}', 'r', '{maker}', now(), {count})"
        ));
        for person in people {
            let user = &person.id;
            self.database.sql(&format!(
                "INSERT INTO members (room_id, user_id, joined_seq, joined_at) VALUES ('{room}', '{user}', 0, now());
                 INSERT INTO user_rooms (user_id, room_id, read_seq, joined_seq, joined_at) VALUES ('{user}', '{room}', 0, 0, now())"
            ));
        }
        room
    }
}

/// A deadline that has passed, whatever a worker's clock says.
pub(super) fn passed() -> Timestamp {
    Timestamp::from_micros(Timestamp::now().as_micros() - 60_000_000)
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    pub(super) fn incoming(&self) -> Incoming<'_> {
        Incoming {
            topic: &self.topic,
            key: &self.key,
            value: &self.value,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name).unwrap_or_default()).into_owned()
    }
}

/// What a gateway would call an address, which is known here by this text.
pub(super) fn address(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A session key that nobody has used.
pub(super) fn session() -> SessionKey {
    SessionToken::fresh().expect("random bytes").key()
}

/// The topics of the sample; responses and events with fewer partitions than there, to start fast.
async fn topics(bootstrap: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a client");
    let mut names: Vec<(&str, i32)> = vec![(CHAT_EVENT, 3), (DEAD_LETTER, 1)];
    for kind in Kind::ALL {
        names.extend([(kind.request_topic(), partitions), (kind.response_topic(), 2)]);
    }
    let topics: Vec<NewTopic<'_>> =
        names.iter().map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(1))).collect();
    let results = admin.create_topics(&topics, &AdminOptions::new()).await.expect("the broker answers");
    for result in results {
        result.expect("the topic is made");
    }
}

/// Reads everything that workers write, from the beginning, as every gateway does: by assignment.
fn watch(bootstrap: &str, seen: Arc<Mutex<Vec<Seen>>>, stop: Arc<AtomicBool>) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "watch")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    let topics =
        Kind::ALL.iter().map(|kind| (kind.response_topic(), 2)).chain([(CHAT_EVENT, 3), (DEAD_LETTER, 1)]);
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
    }
    consumer.assign(&all).expect("assigned");
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let headers = message.headers().map(|headers| {
                headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
            });
            seen.lock().expect("no panic while locked").push(Seen {
                topic: message.topic().to_owned(),
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().unwrap_or_default().to_vec(),
                headers: headers.unwrap_or_default(),
                at: Instant::now(),
            });
        }
    });
}
