use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{Incarnation, Positions, Source, Start, Status, poll::Command};
use crate::{
    ids::Timestamp,
    kafka::{
        KafkaSettings,
        admin::{Admin, ApiError, OffsetSpec, TopicDescription},
    },
};

/// How soon the brokers are asked again while something is missing.
const SOON: Duration = Duration::from_millis(500);
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The task's side: which partitions there are, and what is wrong.
pub(super) struct Watcher {
    admin: Admin,
    sources: Vec<Source>,
    refresh: Duration,
    positions: Positions,
    commands: mpsc::Sender<Command>,
    tell: watch::Sender<Status>,
    cluster: Option<String>,
    known: BTreeMap<&'static str, Known>,
    /// Topics that were there at the first look: only these begin where their source says.
    at_start: Option<BTreeSet<&'static str>>,
}

/// A partition that is to be read.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    topic: &'static str,
    partition: i32,
    /// Where; at 0 when it was not there at the start.
    start: Option<Start>,
}

impl Wanted {
    fn back(&self) -> Option<Duration> {
        match self.start {
            Some(Start::Back(span)) => Some(span),
            _ => None,
        }
    }
}

/// What is known of a topic that exists.
struct Known {
    incarnation: Arc<Incarnation>,
    /// Partitions that are read.
    assigned: BTreeSet<i32>,
    /// How many partitions there were at the first look: later ones begin at 0.
    at_first: i32,
}

impl Watcher {
    pub(super) fn new(
        settings: &KafkaSettings,
        sources: Vec<Source>,
        refresh: Duration,
        positions: Positions,
        commands: mpsc::Sender<Command>,
        tell: watch::Sender<Status>,
    ) -> Result<Self, ApiError> {
        let admin = Admin::new(settings, TIMEOUT, Arc::new(|_, _, _| {}))?;
        let known = BTreeMap::new();
        Ok(Self { admin, sources, refresh, positions, commands, tell, cluster: None, known, at_start: None })
    }

    pub(super) async fn run(mut self) {
        loop {
            let status = match self.look().await {
                Ok(status) => status,
                Err(error) => {
                    let before = self.tell.borrow().clone();
                    Status { unreachable: Some(error.to_string()), ..before }
                }
            };
            let calm = status.stands() && status.missing.is_empty();
            self.tell.send_if_modified(|told| {
                let changed = *told != status;
                *told = status;
                changed
            });
            tokio::time::sleep(if calm { self.refresh } else { SOON }).await;
        }
    }

    async fn look(&mut self) -> Result<Status, ApiError> {
        let cluster = match &self.cluster {
            Some(cluster) => cluster.clone(),
            None => self.admin.describe_cluster().await?.id,
        };
        self.cluster = Some(cluster.clone());
        let names = self.sources.iter().map(|source| source.topic.to_owned()).collect();
        let described = self.admin.describe_topics(names).await?;
        let mut status = Status::default();
        let mut present = Vec::new();
        for source in self.sources.clone() {
            match described.iter().find(|(name, _)| name == source.topic) {
                Some((_, Ok(topic))) => present.push((source, topic)),
                Some((_, Err(error))) if error.is_unknown_topic() => {
                    status.missing.push(source.topic);
                    if self.known.remove(source.topic).is_some() {
                        self.order(Command::Forget(source.topic));
                    }
                }
                Some((_, Err(error))) => return Err(error.clone()),
                None => status.missing.push(source.topic),
            }
        }
        if self.at_start.is_none() {
            self.at_start = Some(present.iter().map(|(source, _)| source.topic).collect());
        }
        let mut wanted = Vec::new();
        for (source, topic) in present {
            wanted.extend(self.follow(source, topic, &cluster));
            let led = topic.partitions.iter().enumerate().filter(|(_, partition)| !partition.has_leader);
            status.leaderless.extend(led.map(|(n, _)| format!("{}/{n}", source.topic)));
        }
        let ends = self.ends(&wanted).await;
        for (topic, partition, end) in &ends {
            self.positions.set_end(topic, *partition, *end);
        }
        let count = wanted.len();
        status.unresolved = count - self.begin(wanted, &ends).await;
        Ok(status)
    }

    /// Compares a topic with what is known of it; gives what is to be read anew, and from where.
    fn follow(&mut self, source: Source, topic: &TopicDescription, cluster: &str) -> Vec<Wanted> {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let same = self.known.get(source.topic).map(|known| known.incarnation.topic == topic.id);
        if same == Some(false) {
            tracing::warn!(topic = source.topic, "the topic was made anew: reading it from its beginning");
            self.order(Command::Forget(source.topic));
        }
        if same != Some(true) {
            let early = self.at_start.as_ref().is_some_and(|start| start.contains(source.topic));
            let at_first = if early && same.is_none() { count } else { 0 };
            let incarnation = Arc::new(Incarnation { cluster: cluster.to_owned(), topic: topic.id.clone() });
            self.known.insert(source.topic, Known { incarnation, assigned: BTreeSet::new(), at_first });
            // A topic that vanishes and comes back later is a new one.
            if let Some(start) = &mut self.at_start {
                start.remove(source.topic);
            }
        }
        let Some(known) = self.known.get(source.topic) else { return Vec::new() };
        let new = (0..count).filter(|partition| !known.assigned.contains(partition));
        let start = |partition| if partition < known.at_first { Some(source.start) } else { None };
        new.map(|partition| Wanted { topic: source.topic, partition, start: start(partition) }).collect()
    }

    /// Finds where each partition begins, and has it read from there; gives how many are read now.
    async fn begin(&mut self, wanted: Vec<Wanted>, ends: &[(String, i32, i64)]) -> usize {
        let since = self.since(&wanted).await;
        let mut by_topic: BTreeMap<&'static str, Vec<(i32, i64)>> = BTreeMap::new();
        for Wanted { topic, partition, start } in wanted {
            let end = || {
                let found = ends.iter().find(|(name, p, _)| name == topic && *p == partition);
                found.map(|(_, _, end)| *end)
            };
            let offset = match start {
                None => Some(0),
                Some(Start::End) => end(),
                Some(Start::Back(_)) => match since.get(&(topic, partition)) {
                    // Nothing that young: what comes from now on.
                    Some(found) => found.or_else(end),
                    None => None,
                },
            };
            by_topic.entry(topic).or_default().extend(offset.map(|offset| (partition, offset)));
        }
        // All are ordered before the first answer is waited for: the thread looks for orders between two polls only, and would take
        // as long for each topic as a poll without records takes.
        let mut ordered = Vec::with_capacity(by_topic.len());
        for (topic, partitions) in by_topic {
            let Some(known) = self.known.get(topic).filter(|_| !partitions.is_empty()) else { continue };
            let assigned: Vec<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
            let (done, answer) = oneshot::channel();
            let incarnation = Arc::clone(&known.incarnation);
            self.order(Command::Assign { topic, incarnation, partitions, done });
            ordered.push((topic, assigned, answer));
        }
        let mut begun = 0;
        for (topic, assigned, answer) in ordered {
            if answer.await.is_ok()
                && let Some(known) = self.known.get_mut(topic)
            {
                begun += assigned.len();
                known.assigned.extend(assigned);
            }
        }
        begun
    }

    /// The first offset of the time that each partition is to be read back to; a partition whose leader does not answer is absent.
    async fn since(&self, wanted: &[Wanted]) -> BTreeMap<(&'static str, i32), Option<i64>> {
        let mut found = BTreeMap::new();
        let spans: BTreeSet<Duration> = wanted.iter().filter_map(|wanted| wanted.back()).collect();
        for span in spans {
            let back = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            let since = OffsetSpec::Since(Timestamp::now().as_micros() / 1_000 - back);
            let of_span = wanted.iter().filter(|wanted| wanted.back() == Some(span));
            let asked: Vec<_> =
                of_span.clone().map(|wanted| (wanted.topic.to_owned(), wanted.partition)).collect();
            match self.admin.list_offsets(since, asked).await {
                Ok(answers) => {
                    for (name, partition, offset) in answers {
                        let wanted = of_span.clone().find(|w| w.topic == name && w.partition == partition);
                        if let (Some(wanted), Ok(offset)) = (wanted, offset) {
                            found.insert((wanted.topic, partition), offset);
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot find offsets by time"),
            }
        }
        found
    }

    /// How far each partition reaches, of those that are read and those that are to be. What cannot be found out is absent.
    async fn ends(&self, wanted: &[Wanted]) -> Vec<(String, i32, i64)> {
        let read = self.positions.all().into_iter();
        let asked: Vec<(String, i32)> = read
            .chain(wanted.iter().map(|wanted| (wanted.topic, wanted.partition)))
            .map(|(topic, partition)| (topic.to_owned(), partition))
            .collect();
        if asked.is_empty() {
            return Vec::new();
        }
        match self.admin.list_offsets(OffsetSpec::Latest, asked).await {
            Ok(ends) => ends.into_iter().filter_map(|(topic, p, end)| Some((topic, p, end.ok()??))).collect(),
            Err(error) => {
                tracing::debug!(%error, "cannot see how far the partitions reach");
                Vec::new()
            }
        }
    }

    fn order(&self, command: Command) {
        // The thread ends only with the reader, whose drop aborts this task as well.
        let _ = self.commands.send(command);
    }
}
