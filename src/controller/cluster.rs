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
/// Topics whose configuration is read at once: a broker tells some forty settings of each, of which few are set on it. All of ten
/// thousand topics took 150 MB.
const CONFIGS_AT_ONCE: usize = 250;
/// The brokers' own settings change with a restart of theirs at most.
const BROKER_EVERY: Duration = Duration::from_secs(600);

/// One cluster behind one connection.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) admin: Admin,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The cluster's id, once it has answered.
    id: Option<String>,
    /// Whether brokers make topics that somebody merely asks for; none while that is not known.
    auto_create: Option<bool>,
    /// When that was last asked.
    asked_broker: Option<Instant>,
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

    /// Those of the topics that every broker shows with at least so many partitions, each with a leader.
    pub(crate) async fn known_everywhere(
        &self,
        grown: &BTreeMap<String, i32>,
    ) -> Result<BTreeSet<String>, ApiError> {
        let brokers = self.admin.describe_cluster().await?.brokers;
        let mut answers = Vec::with_capacity(brokers.len());
        for broker in brokers {
            answers.push(self.admin.describe_topics_by(Some(broker), grown.keys().cloned().collect()).await?);
        }
        Ok(known_by_all(grown, &answers))
    }

    async fn describe(&self, topics: Vec<String>, configs: bool) -> Result<BTreeMap<String, Live>, ApiError> {
        let described = self.admin.describe_topics(topics).await?;
        let present: Vec<String> =
            described.iter().filter(|(_, topic)| topic.is_ok()).map(|(name, _)| name.clone()).collect();
        let mut set = BTreeMap::new();
        if configs {
            for some in present.chunks(CONFIGS_AT_ONCE) {
                set.extend(set_on_topics(self.admin.describe_configs(some.to_vec()).await?));
            }
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
        let wanted: Vec<String> = {
            let state = self.lock();
            state.wanted.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let at = Instant::now();
        let outcome = self.look(wanted, configs).await;
        let mut state = self.lock();
        match outcome {
            Ok(Looked { id, seen, auto_create }) => {
                // Back again, or another cluster under the same name, or other brokers: everybody should look.
                let everybody = state.error.take().is_some()
                    || state.id.as_ref().is_some_and(|known| *known != id)
                    || state.auto_create.unwrap_or(false) != auto_create.unwrap_or(false);
                state.id = Some(id);
                state.auto_create = auto_create;
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

    async fn look(&self, wanted: Vec<String>, configs: bool) -> Result<Looked, ApiError> {
        let cluster = self.admin.describe_cluster().await?;
        let seen = if wanted.is_empty() { BTreeMap::new() } else { self.describe(wanted, configs).await? };
        let auto_create = self.look_at_broker(&cluster.brokers).await;
        Ok(Looked { id: cluster.id, seen, auto_create })
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

/// What a round found.
struct Looked {
    id: String,
    seen: BTreeMap<String, Live>,
    auto_create: Option<bool>,
}

impl State {
    fn drop_unwanted(&mut self) {
        let wanted: BTreeSet<&String> = self.wanted.values().flatten().collect();
        self.topics.retain(|topic, _| wanted.contains(topic));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::admin::PartitionDescription;

    /// Partitions first, seen by all brokers, then the workers.
    #[test]
    fn growth_is_known_when_the_last_broker_knows_it() {
        let answer = |partitions: usize, has_leader: bool| -> PerTopic<TopicDescription> {
            let partition = PartitionDescription { replicas: 1, in_sync: 1, has_leader };
            let topic = TopicDescription { id: "id".to_owned(), partitions: vec![partition; partitions] };
            vec![("t".to_owned(), Ok(topic)), ("other".to_owned(), Err(ApiError::unseen("other")))]
        };
        let grown = BTreeMap::from([("t".to_owned(), 3), ("other".to_owned(), 1)]);
        let t = BTreeSet::from(["t".to_owned()]);
        assert_eq!(known_by_all(&grown, &[answer(3, true), answer(4, true)]), t);
        for late in [answer(2, true), answer(3, false), Vec::new()] {
            assert_eq!(known_by_all(&grown, &[answer(3, true), late]), BTreeSet::new());
        }
        assert_eq!(known_by_all(&grown, &[]), BTreeSet::new(), "nobody answered");
    }
}
