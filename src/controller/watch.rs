//! The watches: sets and targets, as long as this process leads.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

use super::{
    kubernetes::WATCH,
    object::SetObject,
    ownership::{Claim, SetKey},
    queue::Queue,
    sets::{SetEntry, Sets},
    targets::{TargetKey, Targets},
};

/// Objects in one answer of a list: of a set with two hundred topics each takes a hundred kilobytes, and ten times that while it is
/// read.
const PAGE: u32 = 10;

/// Follows the objects that this leads to. The stream never ends; errors back off and are logged.
fn objects<K>(api: Api<K>, kind: String) -> impl Stream<Item = watcher::Event<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watching = watcher::Config::default().page_size(PAGE).timeout(WATCH);
    watcher(api, watching).default_backoff().filter_map(move |event| {
        let event =
            event.inspect_err(|error| tracing::warn!(kind, %error, "a watch failed and is tried again")).ok();
        std::future::ready(event)
    })
}

/// Keeps the sets of one scope up to date and queues every set that a change concerns.
pub(crate) async fn sets(
    client: Client,
    namespace: Option<String>,
    scope: usize,
    sets: Sets,
    queue: Arc<Queue>,
) {
    let api: Api<SetObject> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut events = std::pin::pin!(objects(api, SetObject::kind(&()).into_owned()));
    let mut listed: BTreeSet<SetKey> = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let entry = SetEntry::read(object);
                listed.insert(entry.key.clone());
                put(&sets, &queue, entry);
            }
            watcher::Event::Delete(object) => remove(&sets, &queue, &SetEntry::read(object).key),
            watcher::Event::InitDone => {
                let here = |key: &SetKey| namespace.as_ref().is_none_or(|ns| &key.namespace == ns);
                let gone: Vec<SetKey> = sets
                    .all()
                    .iter()
                    .map(|e| e.key.clone())
                    .filter(|k| here(k) && !listed.contains(k))
                    .collect();
                gone.iter().for_each(|key| remove(&sets, &queue, key));
                sets.listed(scope);
                if sets.complete() {
                    // Only now can it be said who owns what.
                    sets.all().iter().for_each(|entry| queue.push(&entry.key));
                }
            }
        }
    }
}

fn put(sets: &Sets, queue: &Queue, entry: SetEntry) {
    let (key, claim) = (entry.key.clone(), entry.claim.clone());
    let before = sets.get(&key).map(|before| before.claim.clone());
    if !sets.put(entry) {
        return;
    }
    queue.push(&key);
    if before.as_ref() != Some(&claim) {
        concerned(sets, queue, &key, before.iter().chain([&claim]));
    }
}

fn remove(sets: &Sets, queue: &Queue, key: &SetKey) {
    let before = sets.get(key).map(|entry| entry.claim.clone());
    sets.remove(key);
    queue.push(key);
    concerned(sets, queue, key, before.iter());
}

/// A claim that changed may pass topics and targets to, or take them from, any set that names them too.
fn concerned<'a>(sets: &Sets, queue: &Queue, key: &SetKey, claims: impl Iterator<Item = &'a Claim>) {
    let claims: Vec<&Claim> = claims.collect();
    for other in sets.others(key) {
        let shares = |claim: &&Claim| {
            !claim.topics.is_disjoint(&other.claim.topics)
                || (claim.key.namespace == other.key.namespace
                    && !claim.targets.is_disjoint(&other.claim.targets))
        };
        if claims.iter().any(shares) {
            queue.push(&other.key);
        }
    }
}

/// Keeps the targets of one kind in one scope up to date and queues the sets that scale them.
pub(crate) async fn targets(
    client: Client,
    resource: ApiResource,
    namespace: Option<String>,
    targets: Targets,
    sets: Sets,
    queue: Arc<Queue>,
) {
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let mut events = std::pin::pin!(objects(api, resource.kind.clone()));
    let mut listed: BTreeSet<TargetKey> = BTreeSet::new();
    let mut first = true;
    let wake = |key: &TargetKey| {
        for entry in sets.all() {
            if entry.claim.targets.iter().any(|target| &TargetKey::of(&entry.key.namespace, target) == key) {
                queue.push(&entry.key);
            }
        }
    };
    while let Some(event) = events.next().await {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let key = TargetKey::seen(&resource, &object);
                listed.insert(key.clone());
                if targets.put(key.clone(), &object) {
                    wake(&key);
                }
            }
            watcher::Event::Delete(object) => {
                let key = TargetKey::seen(&resource, &object);
                targets.remove(&key);
                wake(&key);
            }
            watcher::Event::InitDone => {
                for key in targets.keys(&resource, namespace.as_deref()) {
                    if !listed.contains(&key) {
                        targets.remove(&key);
                        wake(&key);
                    }
                }
                if std::mem::take(&mut first) {
                    targets.listed();
                    if targets.complete() {
                        sets.all().iter().for_each(|entry| queue.push(&entry.key));
                    }
                }
            }
        }
    }
}
