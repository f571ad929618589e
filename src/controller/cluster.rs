//! One Kafka cluster as one connection sees it: a shared client, one poller, and what it last saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ownership::SetKey,
    plan::{Live, LiveTopic},
};
use crate::kafka::admin::{Admin, ApiError, ConfigSource, PerTopic, TopicDescription};

/// A round may take at most this share of the time: after one that took a second come fifty of rest.
const POLL_SHARE: u32 = 50;
/// The longest rest all the same.
const POLL_MAX: Duration = Duration::from_secs(120);
/// The rest after a round that failed, which waited for the admin timeout already.
const POLL_FAILED: Duration = Duration::from_secs(1);
/// Configuration, the larger answer, is read on every so many-th round.
const CONFIG_ROUNDS: u64 = 3;

/// One cluster behind one connection.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) admin: Admin,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The cluster's id and number of brokers, once it has answered.
    identity: Option<(String, usize)>,
    /// Why the last round failed; none when it did not.
    error: Option<ApiError>,
    topics: BTreeMap<String, Seen>,
    wanted: BTreeMap<SetKey, BTreeSet<String>>,
}

#[derive(Debug)]
struct Seen {
    live: Live,
    at: Instant,
}

impl Cluster {
    pub(crate) fn new(admin: Admin) -> Arc<Self> {
        Arc::new(Self { admin, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics that a set wants to be looked after; replaces what it wanted before.
    pub(crate) fn want(&self, key: &SetKey, topics: BTreeSet<String>) {
        let mut state = self.lock();
        if state.wanted.get(key) == Some(&topics) {
            return;
        }
        state.wanted.insert(key.clone(), topics);
        state.drop_unwanted();
    }

    /// The set wants nothing more. Returns whether nobody does.
    pub(crate) fn unwant(&self, key: &SetKey) -> bool {
        let mut state = self.lock();
        state.wanted.remove(key);
        state.drop_unwanted();
        state.wanted.is_empty()
    }

    /// The cluster's id and number of brokers; asked for when not known yet.
    pub(crate) async fn identity(&self) -> Result<(String, usize), ApiError> {
        if let Some(identity) = self.lock().identity.clone() {
            return Ok(identity);
        }
        let cluster = self.admin.describe_cluster().await?;
        let identity = (cluster.id, cluster.brokers);
        self.lock().identity = Some(identity.clone());
        Ok(identity)
    }

    /// What is known of the topics, not older than `since`; what is older or missing is asked for now.
    pub(crate) async fn observe(
        &self,
        topics: &BTreeSet<String>,
        since: Option<Instant>,
    ) -> Result<BTreeMap<String, Live>, ApiError> {
        let fresh = |seen: &Seen| since.is_none_or(|since| seen.at >= since);
        let missing: Vec<String> = {
            let state = self.lock();
            topics.iter().filter(|t| !state.topics.get(*t).is_some_and(fresh)).cloned().collect()
        };
        if !missing.is_empty() {
            let at = Instant::now();
            let seen = self.describe(missing, true).await?;
            let mut state = self.lock();
            for (name, live) in seen {
                state.topics.insert(name, Seen { live, at });
            }
        }
        let state = self.lock();
        Ok(topics.iter().filter_map(|t| Some((t.clone(), state.topics.get(t)?.live.clone()))).collect())
    }

    async fn describe(&self, topics: Vec<String>, configs: bool) -> Result<BTreeMap<String, Live>, ApiError> {
        let described = self.admin.describe_topics(topics).await?;
        let present: Vec<String> =
            described.iter().filter(|(_, topic)| topic.is_ok()).map(|(name, _)| name.clone()).collect();
        let mut configs = if configs && !present.is_empty() {
            set_on_topics(self.admin.describe_configs(present).await?)
        } else {
            BTreeMap::new()
        };
        let live = described.into_iter().map(|(name, outcome)| {
            let live = match outcome {
                Ok(topic) => Live::Present(live_topic(&topic, configs.remove(&name))),
                Err(error) if error.is_unknown_topic() => Live::Absent,
                Err(error) => Live::Unknown(error),
            };
            (name, live)
        });
        Ok(live.collect())
    }

    /// Looks at everything that is wanted, again and again, and tells which sets are concerned by what has changed.
    /// Ends only by being dropped.
    pub(crate) async fn poll(&self, every: Duration, changed: impl Fn(&BTreeSet<SetKey>)) {
        let mut round: u64 = 0;
        loop {
            let started = Instant::now();
            let concerned = self.round(round.is_multiple_of(CONFIG_ROUNDS)).await;
            changed(&concerned);
            round = round.wrapping_add(1);
            let pause = if self.lock().error.is_some() {
                POLL_FAILED
            } else {
                (started.elapsed() * POLL_SHARE).min(POLL_MAX).max(every)
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self, configs: bool) -> BTreeSet<SetKey> {
        let wanted: Vec<String> = {
            let state = self.lock();
            state.wanted.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let at = Instant::now();
        let outcome = self.look(wanted, configs).await;
        let mut state = self.lock();
        match outcome {
            Ok((identity, seen)) => {
                // Back again, or another cluster under the same name: everybody should look.
                let everybody = state.error.take().is_some()
                    || state.identity.as_ref().is_some_and(|i| i.0 != identity.0);
                state.identity = Some(identity);
                let mut changed = BTreeSet::new();
                for (name, mut live) in seen {
                    let before = state.topics.get(&name);
                    if before.is_some_and(|before| before.at > at) {
                        continue; // looked at meanwhile, after a change
                    }
                    if !configs {
                        keep_config(&mut live, before.map(|b| &b.live));
                    }
                    if before.is_none_or(|before| before.live != live) {
                        changed.insert(name.clone());
                    }
                    state.topics.insert(name, Seen { live, at });
                }
                state.drop_unwanted();
                let concerned = |topics: &BTreeSet<String>| everybody || !topics.is_disjoint(&changed);
                state
                    .wanted
                    .iter()
                    .filter(|(_, topics)| concerned(topics))
                    .map(|(key, _)| key.clone())
                    .collect()
            }
            Err(error) => {
                let news = state.error.is_none();
                state.error = Some(error);
                if news { state.wanted.keys().cloned().collect() } else { BTreeSet::new() }
            }
        }
    }

    async fn look(
        &self,
        wanted: Vec<String>,
        configs: bool,
    ) -> Result<((String, usize), BTreeMap<String, Live>), ApiError> {
        let cluster = self.admin.describe_cluster().await?;
        let seen = if wanted.is_empty() { BTreeMap::new() } else { self.describe(wanted, configs).await? };
        Ok(((cluster.id, cluster.brokers), seen))
    }

    /// Why the cluster could not be reached in the last round.
    pub(crate) fn error(&self) -> Option<ApiError> {
        self.lock().error.clone()
    }
}

impl State {
    fn drop_unwanted(&mut self) {
        let wanted: BTreeSet<&String> = self.wanted.values().flatten().collect();
        self.topics.retain(|topic, _| wanted.contains(topic));
    }
}

/// A round without configuration says nothing new of it, unless the topic is another one now.
fn keep_config(live: &mut Live, before: Option<&Live>) {
    if let (Live::Present(now), Some(Live::Present(then))) = (live, before)
        && now.id == then.id
    {
        now.config.clone_from(&then.config);
    }
}

/// Only the values set on the topics themselves are kept: the others are somebody else's, and by far the most.
fn set_on_topics(
    configs: PerTopic<Vec<crate::kafka::admin::ConfigEntry>>,
) -> BTreeMap<String, Result<BTreeMap<String, String>, ApiError>> {
    configs
        .into_iter()
        .map(|(name, entries)| {
            let set = entries.map(|entries| {
                entries
                    .into_iter()
                    .filter(|entry| entry.source == ConfigSource::Topic)
                    .filter_map(|entry| Some((entry.key, entry.value?)))
                    .collect()
            });
            (name, set)
        })
        .collect()
}

fn live_topic(
    topic: &TopicDescription,
    config: Option<Result<BTreeMap<String, String>, ApiError>>,
) -> LiveTopic {
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    LiveTopic {
        id: topic.id.clone(),
        partitions: count(topic.partitions.len()),
        replicas: topic.partitions.iter().map(|p| count(p.replicas)).min().unwrap_or(0),
        settling: topic.partitions.iter().any(|p| p.in_sync < p.replicas),
        led: topic.partitions.iter().all(|p| p.has_leader),
        config: config.unwrap_or_else(|| Ok(BTreeMap::new())),
    }
}
