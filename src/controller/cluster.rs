//! One Kafka cluster as one connection sees it: a shared client, one poller, and what it last saw.

mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use seen::Wanted;
use seen::{News, Seen, State};

use super::{
    ownership::SetKey,
    plan::{Live, LiveTopic, TopicConfig},
};
use crate::kafka::admin::{Admin, ApiError, CONFIGS_AT_ONCE, ConfigSource, Keys, PerTopic, TopicDescription};

/// A round may take at most this share of the time: after one that took a second come fifty of rest.
const POLL_SHARE: u32 = 50;
/// The longest rest all the same.
const POLL_MAX: Duration = Duration::from_secs(120);
/// The rest after a round that failed, which waited for the admin timeout already.
const POLL_FAILED: Duration = Duration::from_secs(1);
/// Topics that are looked at together: what is said of them takes memory until it is compared.
const LOOK_AT_ONCE: usize = 250;
/// Configuration, the larger answer, is read on every so many-th round.
const CONFIG_ROUNDS: u64 = 3;
/// The brokers' own settings change with a restart of theirs at most.
const BROKER_EVERY: Duration = Duration::from_secs(600);

/// One cluster behind one connection.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) admin: Admin,
    state: Mutex<State>,
}

impl Cluster {
    pub(crate) fn new(admin: Admin) -> Arc<Self> {
        Arc::new(Self { admin, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics that a set wants to be looked after; replaces what it wanted before.
    pub(crate) fn want(&self, key: &SetKey, topics: Wanted) {
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

    /// The cluster's id; asked for when not known yet.
    pub(crate) async fn id(&self) -> Result<String, ApiError> {
        if let Some(id) = self.lock().id.clone() {
            return Ok(id);
        }
        let id = self.admin.describe_cluster().await?.id;
        self.lock().id = Some(id.clone());
        Ok(id)
    }

    /// Whether the brokers are known to make topics that somebody merely asks for.
    pub(crate) fn auto_creates(&self) -> bool {
        self.lock().auto_create == Some(true)
    }

    /// What is known of the topics, not older than `since`; what is older or missing is asked for now.
    pub(crate) async fn observe(
        &self,
        topics: &BTreeSet<String>,
        since: Option<Instant>,
    ) -> Result<BTreeMap<String, Live>, ApiError> {
        let missing: Wanted = {
            let state = self.lock();
            let fresh = |topic: &String, keys: &Keys| {
                let seen = state.topics.get(topic);
                seen.is_some_and(|seen| since.is_none_or(|since| seen.at >= since) && seen.knows(keys))
            };
            state.keys_of(topics).into_iter().filter(|(topic, keys)| !fresh(topic, keys)).collect()
        };
        if !missing.is_empty() {
            let at = Instant::now();
            let seen = self.describe(&missing, true).await?;
            let mut state = self.lock();
            for (name, live) in seen {
                let keys = missing.get(&name).cloned().unwrap_or_default();
                state.topics.insert(name, Seen { live, at, keys });
            }
        }
        let state = self.lock();
        Ok(topics.iter().filter_map(|t| Some((t.clone(), state.topics.get(t)?.live.clone()))).collect())
    }

    /// Those of the topics that every broker shows with at least so many partitions, each with a leader.
    pub(crate) async fn known_everywhere(
        &self,
        grown: &BTreeMap<String, i32>,
    ) -> Result<BTreeSet<String>, ApiError> {
        let brokers = self.admin.describe_cluster().await?.brokers;
        let mut answers = Vec::with_capacity(brokers.len());
        for broker in brokers {
            answers.push(self.admin.describe_topics_by(broker, grown.keys().cloned().collect()).await?);
        }
        Ok(known_by_all(grown, &answers))
    }

    /// Topics as they are, with the values of the keys that are wanted, or without any.
    async fn describe(&self, topics: &Wanted, configs: bool) -> Result<BTreeMap<String, Live>, ApiError> {
        let described = self.admin.describe_topics(topics.keys().cloned().collect()).await?;
        let present = described.iter().filter(|(_, topic)| configs && topic.is_ok());
        let asked: Vec<(String, Keys)> = present
            .filter_map(|(name, _)| Some((name.clone(), Arc::clone(topics.get(name)?))))
            .filter(|(_, keys)| !keys.is_empty())
            .collect();
        let mut set = BTreeMap::new();
        for some in asked.chunks(CONFIGS_AT_ONCE) {
            let some = set_on_topics(self.admin.describe_configs(some.to_vec()).await?);
            let mut state = self.lock();
            set.extend(some.map(|(name, config)| (name, config.map(|config| state.shared(config)))));
        }
        let live = described.into_iter().map(|(name, outcome)| {
            let live = match outcome {
                Ok(topic) => Live::Present(live_topic(&topic, set.remove(&name))),
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
        let mut news = News::default();
        let outcome = self.look(configs, &mut news).await;
        let mut state = self.lock();
        match outcome {
            Ok(auto_create) => {
                // Back again, or other brokers: everybody should look.
                news.everybody |= state.error.take().is_some()
                    || state.auto_create.unwrap_or(false) != auto_create.unwrap_or(false);
                state.auto_create = auto_create;
                state.drop_unwanted();
                state.pack();
            }
            Err(error) => news.everybody |= state.error.replace(error).is_none(),
        }
        let concerned =
            |topics: &Wanted| news.everybody || topics.keys().any(|topic| news.changed.contains(topic));
        state.wanted.iter().filter(|(_, topics)| concerned(topics)).map(|(key, _)| key.clone()).collect()
    }

    /// Looks at everything that is wanted, a part of it at a time. Gives what the brokers say of making topics by themselves.
    async fn look(&self, configs: bool, news: &mut News) -> Result<Option<bool>, ApiError> {
        let cluster = self.admin.describe_cluster().await?;
        let wanted = {
            let mut state = self.lock();
            // Before anything that was seen there: nobody may take the topics of one cluster for those of another.
            let known = state.id.replace(cluster.id.clone());
            if known.is_some_and(|known| known != cluster.id) {
                news.everybody = true;
                state.topics.clear();
            }
            state.all_wanted()
        };
        let mut wanted = wanted.into_iter();
        loop {
            let some: Wanted = wanted.by_ref().take(LOOK_AT_ONCE).collect();
            if some.is_empty() {
                return Ok(self.look_at_broker(&cluster.brokers).await);
            }
            let at = Instant::now();
            let seen = self.describe(&some, configs).await?;
            self.lock().take_in(seen, at, configs.then_some(&some), &mut news.changed);
        }
    }

    /// Whether brokers make topics by themselves, as one of them says once in a while. It takes a right (DescribeConfigs
    /// on the cluster) that nothing else needs, so a refusal only leaves it unknown.
    async fn look_at_broker(&self, brokers: &[i32]) -> Option<bool> {
        let known = {
            let mut state = self.lock();
            let recent = state.asked_broker.is_some_and(|at| at.elapsed() < BROKER_EVERY);
            if recent {
                return state.auto_create;
            }
            state.asked_broker = Some(Instant::now());
            state.auto_create
        };
        match self.admin.describe_broker(*brokers.first()?).await {
            Ok(settings) => {
                let setting = settings.into_iter().find(|entry| entry.key == "auto.create.topics.enable")?;
                Some(setting.value? == "true")
            }
            Err(error) => {
                tracing::debug!(%error, "a broker's settings cannot be read");
                known
            }
        }
    }

    /// Why the cluster could not be reached in the last round.
    pub(crate) fn error(&self) -> Option<ApiError> {
        self.lock().error.clone()
    }
}

fn known_by_all(grown: &BTreeMap<String, i32>, answers: &[PerTopic<TopicDescription>]) -> BTreeSet<String> {
    let shows = |answer: &PerTopic<TopicDescription>, topic: &str, partitions: i32| {
        answer.iter().any(|(name, seen)| {
            let seen = seen.as_ref().ok().filter(|_| name == topic).map(|seen| live_topic(seen, None));
            seen.is_some_and(|seen| seen.led && seen.partitions >= partitions)
        })
    };
    let known = |(topic, partitions): &(&String, &i32)| {
        !answers.is_empty() && answers.iter().all(|answer| shows(answer, topic, **partitions))
    };
    grown.iter().filter(known).map(|(topic, _)| topic.clone()).collect()
}

/// Only the values set on the topics themselves are kept: the others are somebody else's, and by far the most.
fn set_on_topics(
    configs: PerTopic<Vec<crate::kafka::admin::ConfigEntry>>,
) -> impl Iterator<Item = (String, Result<BTreeMap<String, String>, ApiError>)> {
    configs.into_iter().map(|(name, entries)| {
        let set = entries.map(|entries| {
            let set = entries.into_iter().filter(|entry| entry.source == ConfigSource::Topic);
            set.filter_map(|entry| Some((entry.key, entry.value?))).collect()
        });
        (name, set)
    })
}

fn live_topic(topic: &TopicDescription, config: Option<Result<TopicConfig, ApiError>>) -> LiveTopic {
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    LiveTopic {
        id: topic.id.clone(),
        partitions: count(topic.partitions.len()),
        replicas: topic.partitions.iter().map(|p| count(p.replicas)).min().unwrap_or(0),
        settling: topic.partitions.iter().any(|p| p.in_sync < p.replicas),
        led: topic.partitions.iter().all(|p| p.has_leader),
        config: config.unwrap_or_else(|| Ok(TopicConfig::default())),
    }
}

#[cfg(test)]
mod tests;
