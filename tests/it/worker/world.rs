mod scene;
mod seen;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parley::{
    ids::{RequestId, RoomId, SessionKey, SessionToken, Timestamp, UserId},
    kafka::{Delivery, KafkaSettings, Producer, ProducerSettings},
    wire::{
        AddChat, CHAT_EVENT, DEAD_LETTER, Keyring, Kind, Outgoing, Request, RequestHeaders, SealingKeys,
        request_record,
    },
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
pub(super) use seen::Seen;
use seen::watch;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fixtures::{Binary, DEADLINE, Database, Kafka, Postgres, keys_dir, unique};

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
