//! What a cluster was last seen to hold, and what of it is new.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use crate::{
    controller::{
        ownership::SetKey,
        plan::{Live, TopicConfig},
    },
    kafka::admin::{ApiError, Keys},
};

/// Topics that are looked after, and the keys of their configuration that matter: those that are declared or were once set. What
/// else is set on a topic is somebody else's, and a broker that is asked for all tells some forty keys of each.
pub(crate) type Wanted = BTreeMap<String, Keys>;

#[derive(Debug, Default)]
pub(super) struct State {
    /// The cluster's id, once it has answered.
    pub(super) id: Option<String>,
    /// Whether brokers make topics that somebody merely asks for; none while that is not known.
    pub(super) auto_create: Option<bool>,
    /// When that was last asked.
    pub(super) asked_broker: Option<Instant>,
    /// Why the last round failed; none when it did not.
    pub(super) error: Option<ApiError>,
    pub(super) topics: BTreeMap<String, Seen>,
    /// How many topics there were when that was last [packed](State::pack).
    packed: usize,
    /// Every configuration that some topic has, once.
    pub(super) configs: BTreeSet<TopicConfig>,
    pub(super) wanted: BTreeMap<SetKey, Wanted>,
}

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) live: Live,
    pub(super) at: Instant,
    /// Those of its configuration that were asked for.
    pub(super) keys: Keys,
}

impl Seen {
    /// Whether all of these keys were asked for, of a topic that has any.
    pub(super) fn knows(&self, keys: &Keys) -> bool {
        self.live.present().is_none() || keys.is_subset(&self.keys)
    }
}

/// What a round found that sets should know.
#[derive(Default)]
pub(super) struct News {
    /// Something that concerns every set.
    pub(super) everybody: bool,
    /// Topics that are not as they were.
    pub(super) changed: BTreeSet<String>,
}

impl State {
    /// Takes in what was seen at a time, with the keys that were asked for or without configuration, and notes what is not as it was.
    pub(super) fn take_in(
        &mut self,
        seen: BTreeMap<String, Live>,
        at: Instant,
        asked: Option<&Wanted>,
        changed: &mut BTreeSet<String>,
    ) {
        for (name, mut live) in seen {
            let keys = asked.and_then(|asked| asked.get(&name));
            let before = self.topics.get(&name);
            if before.is_some_and(|before| before.at > at) {
                continue; // looked at meanwhile, after a change
            }
            if let (Some(keys), Some(before)) = (keys, before)
                && !before.keys.is_subset(keys)
                && self.keys_of([&name]).values().any(|now| !now.is_subset(keys))
            {
                continue; // more is wanted by now than was asked for
            }
            let keys = match (asked, before) {
                (Some(_), _) => keys.cloned().unwrap_or_default(),
                (None, Some(before)) if keep_config(&mut live, &before.live) => Arc::clone(&before.keys),
                (None, _) => Keys::default(),
            };
            match self.topics.get_mut(&name) {
                // It stays where it is in memory: made anew with each look, ten thousand would lie among what is free.
                Some(before) if before.live == live => (before.at, before.keys) = (at, keys),
                _ => {
                    changed.insert(name.clone());
                    self.topics.insert(name, Seen { live, at, keys });
                }
            }
        }
    }

    /// Everything that anybody wants.
    pub(super) fn all_wanted(&self) -> Wanted {
        let mut all = Wanted::new();
        for (topic, keys) in self.wanted.values().flatten() {
            let known = all.entry(topic.clone()).or_insert_with(|| Arc::clone(keys));
            join(known, keys);
        }
        all
    }

    /// The keys that anybody wants to know of these topics.
    pub(super) fn keys_of<'a>(&self, topics: impl IntoIterator<Item = &'a String>) -> Wanted {
        let mut all = Wanted::new();
        for topic in topics {
            let keys = all.entry(topic.clone()).or_default();
            self.wanted.values().filter_map(|wanted| wanted.get(topic)).for_each(|more| join(keys, more));
        }
        all
    }

    /// The same configuration, as everybody has it who has the same.
    pub(super) fn shared(&mut self, config: BTreeMap<String, String>) -> TopicConfig {
        if let Some(known) = self.configs.get(&config) {
            return Arc::clone(known);
        }
        let config = Arc::new(config);
        self.configs.insert(Arc::clone(&config));
        config
    }

    pub(super) fn drop_unwanted(&mut self) {
        let wanted: BTreeSet<&String> = self.wanted.values().flat_map(BTreeMap::keys).collect();
        self.topics.retain(|topic, _| wanted.contains(topic));
        self.configs.retain(|config| Arc::strong_count(config) > 1);
    }

    /// The nodes of a tree to which topics were added in order are half empty; of one that is made at once they are full.
    pub(super) fn pack(&mut self) {
        if self.packed != self.topics.len() {
            self.topics = std::mem::take(&mut self.topics).into_iter().collect();
            self.packed = self.topics.len();
        }
    }
}

/// A round without configuration says nothing new of it, unless the topic is another one now.
fn keep_config(live: &mut Live, before: &Live) -> bool {
    if let (Live::Present(now), Live::Present(then)) = (live, before)
        && now.id == then.id
    {
        now.config.clone_from(&then.config);
        return true;
    }
    false
}

/// Adds keys to keys, without a copy where nothing is added.
fn join(keys: &mut Keys, more: &Keys) {
    if keys.is_empty() {
        *keys = Arc::clone(more);
    } else if !more.is_subset(keys) {
        Arc::make_mut(keys).extend(more.iter().cloned());
    }
}
