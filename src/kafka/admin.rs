//! Kafka's admin calls, batched, without blocking the runtime.
//!
//! One [`Admin`] stands for one cluster and one set of credentials and is shared by everything that talks to it.

use std::{sync::Arc, time::Duration};

use rdkafka::types::RDKafkaErrorCode;

pub use super::admin_types::{
    ApiError, ClusterDescription, ConfigChange, ConfigEntry, ConfigSource, GroupDescription, GroupState,
    Keys, NewTopic, OffsetSpec, PartitionDescription, TopicDescription,
};
use super::{
    KafkaSettings,
    admin_types::{Reply, Request},
    coordinated::Coordinated,
    ffi::Native,
    gathered::{AboutTopic, Gathered},
};

/// One result per topic that was asked about.
pub type PerTopic<T> = Vec<(String, Result<T, ApiError>)>;

/// One offset per partition: topic, partition, offset (none: the group has committed nothing there).
pub type Offsets = Vec<(String, i32, Result<Option<i64>, ApiError>)>;

/// Told how each call went: the API's name, how long it took, and the error's name.
pub type Observer = Arc<dyn Fn(&'static str, Duration, Option<&ApiError>) + Send + Sync>;

/// How much time is left for calls, asked before each: zero when nothing may be sent any more.
pub type TimeLeft = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A client for admin calls. Clones share one connection; [`Admin::close`] ends it for all of them.
#[derive(Clone)]
pub struct Admin {
    native: Arc<Native>,
    groups: Arc<Coordinated>,
    lanes: Arc<Lanes>,
    settings: KafkaSettings,
    timeout: Duration,
    left: Option<TimeLeft>,
    observer: Observer,
}

/// After a request that was not answered: looks for a broker first, and gives up when there is none.
pub(super) async fn met(native: &Arc<Native>, timeout: Duration) -> Result<(), ApiError> {
    if !native.in_doubt() {
        return Ok(());
    }
    let blocking = Arc::clone(native);
    let meeting = tokio::task::spawn_blocking(move || blocking.meet(timeout.min(MEETING)));
    tokio::select! {
        biased;
        () = native.closed() => Err(closed()),
        met = meeting => met.unwrap_or_else(|_| Err(closed())),
    }
}

pub(super) fn closed() -> ApiError {
    ApiError::new(RDKafkaErrorCode::BrokerDestroy, "the client was closed".to_owned())
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// How the brokers know us.
pub(super) const CLIENT_ID: &str = "parley-controller";

/// How long a broker is looked for before a request, after one that was not answered.
const MEETING: Duration = Duration::from_secs(5);

/// The most topics or groups in one describe: keeps requests and answers well under the brokers' 100 MB and one
/// answer's parsing in the milliseconds.
const BATCH: usize = 1_000;
/// The most topics in one call that changes some: a broker works on a call as a whole, and it must be done well within the
/// admin timeout.
pub const CHANGES_AT_ONCE: usize = 100;
/// The most topics whose configuration is read at once: of one whose every key is asked for a broker tells some forty, each with where
/// it comes from. All of ten thousand topics took 150 MB.
pub const CONFIGS_AT_ONCE: usize = 250;

/// The calls that callers of one moment share.
struct Lanes {
    describe: Gathered<String, TopicDescription>,
    configs: Gathered<(String, Keys), Vec<ConfigEntry>>,
    create: Gathered<NewTopic, ()>,
    grow: Gathered<(String, usize), ()>,
    alter: Gathered<(String, Vec<ConfigChange>), ()>,
    delete: Gathered<String, ()>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            describe: Gathered::new(BATCH),
            configs: Gathered::new(CONFIGS_AT_ONCE),
            create: Gathered::new(CHANGES_AT_ONCE),
            grow: Gathered::new(CHANGES_AT_ONCE),
            alter: Gathered::new(CHANGES_AT_ONCE),
            delete: Gathered::new(CHANGES_AT_ONCE),
        }
    }
}

impl Admin {
    /// Makes a client; connecting happens in the background, and calls wait for it.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(settings: &KafkaSettings, timeout: Duration, observer: Observer) -> Result<Self, ApiError> {
        let mut config = settings.client(CLIENT_ID);
        // Which broker takes admin requests; asked for every ten seconds at most.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        // Every topic that is described is kept for so long, some 450 bytes of each: long enough for a call that is made of two
        // requests, and no longer, for whoever describes ten thousand does so some hundred at a time.
        config.set("metadata.max.age.ms", "250");
        let native = Native::start(&config).map_err(refused)?;
        let settings = settings.clone();
        Ok(Self {
            native,
            groups: Arc::default(),
            lanes: Arc::default(),
            settings,
            timeout,
            left: None,
            observer,
        })
    }

    /// Gives no call more time than is left, and sends none when nothing is.
    #[must_use]
    pub fn within(self, left: TimeLeft) -> Self {
        Self { left: Some(left), ..self }
    }

    /// Ends every call under way with an error and drops what is queued. For good: make a new client afterwards.
    pub fn close(&self) {
        self.native.close();
        self.groups.close();
    }

    async fn ask(&self, request: Request) -> Result<Reply, ApiError> {
        self.observed(request.api(), |left| async move {
            met(&self.native, left()).await?;
            // librdkafka counts in milliseconds, and takes 0 for its own default.
            if left() < Duration::from_millis(1) {
                let none = "no time is left for it".to_owned();
                return Err(ApiError::new(RDKafkaErrorCode::OperationTimedOut, none));
            }
            let outcome = self.native.submit(&request, left())?.await.unwrap_or_else(|_| Err(closed()));
            self.native.noted(&outcome);
            outcome
        })
        .await
    }

    async fn ask_coordinator(&self, group: &str, request: Request) -> Result<Reply, ApiError> {
        self.observed(request.api(), |left| async move {
            self.groups.ask(&self.settings, group, &request, left).await
        })
        .await
    }

    /// Makes a call within the time that there is for it, which it is given as what is left, and tells how it went.
    async fn observed<F>(
        &self,
        api: &'static str,
        call: impl FnOnce(Box<dyn Fn() -> Duration + Send + Sync>) -> F,
    ) -> Result<Reply, ApiError>
    where
        F: Future<Output = Result<Reply, ApiError>>,
    {
        let started = std::time::Instant::now();
        let timeout = self.left.as_ref().map_or(self.timeout, |left| left().min(self.timeout));
        let outcome = call(Box::new(move || timeout.saturating_sub(started.elapsed()))).await;
        (self.observer)(api, started.elapsed(), outcome.as_ref().err());
        outcome
    }

    /// Asks about topics in as few calls as they fit in, each shared with whoever asks the same at that time.
    async fn per_topic<T: AboutTopic, R>(
        &self,
        lane: &Gathered<T, R>,
        items: Vec<T>,
        request: impl Fn(Vec<T>) -> Request,
        reply: impl Fn(Reply) -> Option<PerTopic<R>>,
    ) -> Result<PerTopic<R>, ApiError> {
        let (request, reply) = (&request, &reply);
        let call = |batch| async move { reply(self.ask(request(batch)).await?).ok_or_else(mismatch) };
        let mut all = Vec::with_capacity(items.len());
        let mut items = items.into_iter();
        loop {
            let batch: Vec<T> = items.by_ref().take(lane.most()).collect();
            if batch.is_empty() {
                return Ok(all);
            }
            all.extend(lane.ask(batch, call).await?);
        }
    }

    /// The cluster's id and size.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ApiError> {
        match self.ask(Request::DescribeCluster).await? {
            Reply::Cluster(cluster) => Ok(cluster),
            _ => Err(mismatch()),
        }
    }

    /// Ids, partitions and replicas of topics; a topic that does not exist is an error of that topic.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn describe_topics(&self, topics: Vec<String>) -> Result<PerTopic<TopicDescription>, ApiError> {
        let request = |topics| Request::DescribeTopics { topics, broker: None };
        self.per_topic(&self.lanes.describe, topics, request, described).await
    }

    /// The same as one broker knows it: each learns of a change by itself, a moment later than the others.
    ///
    /// # Errors
    /// When that broker does not answer in time.
    pub async fn describe_topics_by(
        &self,
        broker: i32,
        topics: Vec<String>,
    ) -> Result<PerTopic<TopicDescription>, ApiError> {
        let mut all = Vec::with_capacity(topics.len());
        for some in topics.chunks(BATCH) {
            let request = Request::DescribeTopics { topics: some.to_vec(), broker: Some(broker) };
            all.extend(described(self.ask(request).await?).ok_or_else(mismatch)?);
        }
        Ok(all)
    }

    /// The effective configuration of one broker.
    ///
    /// # Errors
    /// When that broker does not answer in time, or refuses (it takes DescribeConfigs on the cluster).
    pub async fn describe_broker(&self, id: i32) -> Result<Vec<ConfigEntry>, ApiError> {
        match self.ask(Request::DescribeBroker(id)).await? {
            Reply::Configs(configs) => configs.into_iter().next().ok_or_else(mismatch)?.1,
            _ => Err(mismatch()),
        }
    }

    /// The effective configuration of topics: of each these keys, or with none of them all that there are.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn describe_configs(
        &self,
        topics: Vec<(String, Keys)>,
    ) -> Result<PerTopic<Vec<ConfigEntry>>, ApiError> {
        self.per_topic(&self.lanes.configs, topics, Request::DescribeConfigs, |reply| match reply {
            Reply::Configs(topics) => Some(topics),
            _ => None,
        })
        .await
    }

    /// Creates topics; with `validate_only` the broker only says what it would answer.
    ///
    /// # Errors
    /// When no broker answers in time; whether something was created is then unknown.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<PerTopic<()>, ApiError> {
        let alone = Gathered::new(CHANGES_AT_ONCE);
        let lane = if validate_only { &alone } else { &self.lanes.create };
        self.per_topic(lane, topics, |topics| Request::CreateTopics { topics, validate_only }, topics_reply)
            .await
    }

    /// Grows topics to the given total number of partitions.
    ///
    /// # Errors
    /// When no broker answers in time; whether something has grown is then unknown.
    pub async fn create_partitions(
        &self,
        topics: Vec<(String, usize)>,
        validate_only: bool,
    ) -> Result<PerTopic<()>, ApiError> {
        let alone = Gathered::new(CHANGES_AT_ONCE);
        let lane = if validate_only { &alone } else { &self.lanes.grow };
        self.per_topic(
            lane,
            topics,
            |topics| Request::CreatePartitions { topics, validate_only },
            topics_reply,
        )
        .await
    }

    /// Changes configuration key by key (KIP-339), never touching what is not named.
    ///
    /// # Errors
    /// When no broker answers in time; whether something was changed is then unknown.
    pub async fn alter_configs(
        &self,
        changes: Vec<(String, Vec<ConfigChange>)>,
        validate_only: bool,
    ) -> Result<PerTopic<()>, ApiError> {
        let alone = Gathered::new(CHANGES_AT_ONCE);
        let lane = if validate_only { &alone } else { &self.lanes.alter };
        self.per_topic(
            lane,
            changes,
            |changes| Request::AlterConfigs { changes, validate_only },
            topics_reply,
        )
        .await
    }

    /// Deletes topics by name.
    ///
    /// # Errors
    /// When no broker answers in time; whether something was deleted is then unknown.
    pub async fn delete_topics(&self, topics: Vec<String>) -> Result<PerTopic<()>, ApiError> {
        self.per_topic(&self.lanes.delete, topics, Request::DeleteTopics, topics_reply).await
    }

    /// Where consumer groups stand.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn describe_groups(&self, groups: Vec<String>) -> Result<PerTopic<GroupDescription>, ApiError> {
        let mut all = Vec::with_capacity(groups.len());
        for some in groups.chunks(BATCH) {
            match self.ask_coordinator(&some[0], Request::DescribeGroups(some.to_vec())).await? {
                Reply::Groups(groups) => all.extend(groups),
                _ => return Err(mismatch()),
            }
        }
        Ok(all)
    }

    /// What a group has committed for the given partitions.
    ///
    /// # Errors
    /// When the group's coordinator does not answer in time, or refuses.
    pub async fn group_offsets(
        &self,
        group: String,
        partitions: Vec<(String, i32)>,
    ) -> Result<Offsets, ApiError> {
        let asked = group.clone();
        offsets_reply(self.ask_coordinator(&asked, Request::GroupOffsets { group, partitions }).await?)
    }

    /// The first or the next offset of the given partitions.
    ///
    /// # Errors
    /// When a leader does not answer in time.
    pub async fn list_offsets(
        &self,
        spec: OffsetSpec,
        partitions: Vec<(String, i32)>,
    ) -> Result<Offsets, ApiError> {
        offsets_reply(self.ask(Request::ListOffsets { spec, partitions }).await?)
    }
}

pub(super) fn refused(error: rdkafka::error::KafkaError) -> ApiError {
    ApiError::new(RDKafkaErrorCode::InvalidArgument, error.to_string())
}

fn topics_reply(reply: Reply) -> Option<PerTopic<()>> {
    match reply {
        Reply::Topics(topics) => Some(topics),
        _ => None,
    }
}

fn described(reply: Reply) -> Option<PerTopic<TopicDescription>> {
    match reply {
        Reply::Described(topics) => Some(topics),
        _ => None,
    }
}

fn offsets_reply(reply: Reply) -> Result<Offsets, ApiError> {
    match reply {
        Reply::Offsets(offsets) => Ok(offsets),
        _ => Err(mismatch()),
    }
}

fn mismatch() -> ApiError {
    ApiError::new(RDKafkaErrorCode::Fail, "the client answered another question".to_owned())
}
