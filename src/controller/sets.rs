//! All sets that this install watches, as last seen: the input of every decision that spans sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use kube::ResourceExt as _;
use serde_json::Value;

use super::{
    object::SetObject,
    ownership::{Claim, SetKey},
};
use crate::api::{ChatTopicSet, KafkaConnection, ManagementPolicy};

/// One set as last seen.
#[derive(Debug)]
pub(crate) struct SetEntry {
    pub(crate) key: SetKey,
    pub(crate) claim: Claim,
    resource_version: String,
    /// The set, or why it cannot be read as one.
    pub(crate) object: Result<ChatTopicSet, String>,
    pub(crate) uid: String,
    /// Whether its deletion has been asked for.
    pub(crate) deleting: bool,
    /// Known of a set that cannot be read, too: it must not hold its namespace for ever.
    pub(crate) finalizers: Vec<String>,
}

impl SetEntry {
    /// Reads what the API server sent. Never fails: of a set that cannot be read, the topic names are taken where they
    /// can be, so that its topics stay claimed.
    pub(crate) fn read(object: SetObject) -> Self {
        let key = SetKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
        let resource_version = object.resource_version().unwrap_or_default();
        let uid = object.uid().unwrap_or_default();
        let deleting = object.metadata.deletion_timestamp.is_some();
        let created = object.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        let read = object.spec().map(|spec| {
            let mut set = ChatTopicSet::new("", spec);
            set.status = object.status();
            set
        });
        let mut claim = Claim {
            key: key.clone(),
            created,
            cluster_id: None,
            bootstrap: None,
            observes: false,
            topics: BTreeSet::new(),
            targets: BTreeSet::new(),
        };
        match &read {
            Ok(set) if set.status.is_some() || !object.has_status() => strict(&mut claim, set),
            _ => lenient(&mut claim, &object.loose()),
        }
        if deleting {
            claim.topics = BTreeSet::new();
        }
        let object = read.map(|set| ChatTopicSet { metadata: object.metadata, ..set });
        if let (Ok(set), false) = (&object, deleting) {
            claim.observes = set.spec.management_policy == ManagementPolicy::Observe;
            claim.targets = set.spec.workers.iter().map(|w| w.scale_target_ref.clone()).collect();
        }
        Self { key, claim, resource_version, object, uid, deleting, finalizers }
    }

    pub(crate) fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// Whether the other is an older state of the same object (KEP-5504: versions of one resource are ordered numbers).
    fn newer_than(&self, other: &Self) -> bool {
        let number = |entry: &Self| entry.resource_version.parse::<u128>().ok();
        self.uid == other.uid
            && matches!((number(self), number(other)), (Some(mine), Some(theirs)) if mine > theirs)
    }
}

/// Takes what a set claims from what it says.
fn strict(claim: &mut Claim, set: &ChatTopicSet) {
    let kafka = set.spec.kafka.as_ref();
    let remembered = set.status.as_ref().and_then(|status| status.cluster_id.as_deref());
    let required = kafka.and_then(KafkaConnection::required_cluster_id);
    claim.cluster_id = remembered.filter(|id| !id.is_empty()).or(required).map(str::to_owned);
    claim.bootstrap = kafka.map(|kafka| kafka.bootstrap_servers.clone());
    claim.topics = set.spec.topics.iter().map(|topic| topic.name.clone()).collect();
}

/// The same of one that cannot be read, where it can be seen.
fn lenient(claim: &mut Claim, data: &Value) {
    let id = |value: &Value| value.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    claim.cluster_id = id(&data["status"]["clusterId"]).or_else(|| id(&data["spec"]["kafka"]["clusterId"]));
    claim.bootstrap = data["spec"]["kafka"]["bootstrapServers"].as_str().map(str::to_owned);
    let topics = data["spec"]["topics"].as_array();
    claim.topics =
        topics.into_iter().flatten().filter_map(|topic| topic["name"].as_str()).map(str::to_owned).collect();
}

/// All sets. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets(Arc<RwLock<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<SetKey, Arc<SetEntry>>,
    /// Which of the watched scopes have been listed in full.
    listed: BTreeSet<usize>,
    scopes: usize,
}

impl Sets {
    /// For so many watched scopes (namespaces, or one for all).
    pub(crate) fn new(scopes: usize) -> Self {
        Self(Arc::new(RwLock::new(Inner { scopes, ..Inner::default() })))
    }

    /// Takes in what was seen; an older state than the known one is left out. Returns whether anything changed.
    pub(crate) fn put(&self, entry: SetEntry) -> bool {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.entries.get(&entry.key)
            && (known.newer_than(&entry) || known.resource_version == entry.resource_version)
        {
            return false;
        }
        inner.entries.insert(entry.key.clone(), Arc::new(entry));
        true
    }

    pub(crate) fn remove(&self, key: &SetKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).entries.remove(key);
    }

    /// One scope has been listed in full.
    pub(crate) fn listed(&self, scope: usize) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).listed.insert(scope);
    }

    /// Whether every scope has been listed: before that, nobody can say who is the oldest.
    pub(crate) fn complete(&self) -> bool {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.listed.len() >= inner.scopes
    }

    pub(crate) fn get(&self, key: &SetKey) -> Option<Arc<SetEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<SetEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries.values().cloned().collect()
    }

    /// How many sets cannot be read.
    pub(crate) fn malformed(&self) -> usize {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.entries.values().filter(|entry| entry.object.is_err()).count()
    }

    /// Every set but one.
    pub(crate) fn others(&self, key: &SetKey) -> Vec<Arc<SetEntry>> {
        self.all().into_iter().filter(|entry| &entry.key != key).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(value: Value) -> SetEntry {
        SetEntry::read(serde_json::from_value(value).unwrap())
    }

    fn set(version: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet",
            "metadata": {"namespace": "ns", "name": "s", "uid": "u", "resourceVersion": version},
            "spec": spec, "status": {"clusterId": "c"},
        })
    }

    #[test]
    fn of_a_set_that_does_not_parse_the_names_stay_claimed() {
        let read = entry(set(
            "1",
            json!({"topics": [{"name": "a", "partitions": "many"}, {"no": 1}, {"name": "b"}]}),
        ));
        assert!(read.object.is_err());
        assert_eq!(read.claim.topics, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(read.claim.cluster_id.as_deref(), Some("c"));
    }

    /// A set claims the same whether its types or its text is asked, so that a status that was lost changes no claim.
    #[test]
    fn what_is_claimed_does_not_depend_on_how_it_is_read() {
        let spec = json!({
            "kafka": {"bootstrapServers": "k:9092", "clusterId": "wanted"},
            "topics": [{"name": "a"}, {"name": "b"}],
        });
        for (status, cluster) in [
            (json!({"clusterId": "c"}), "c"),
            (json!({"clusterId": ""}), "wanted"),
            (json!({"clusterId": "c", "topics": 7}), "c"),
            (json!(7), "wanted"),
            (json!(null), "wanted"),
        ] {
            let mut value = set("1", spec.clone());
            value["status"] = status;
            let claim = entry(value).claim;
            assert_eq!(claim.cluster_id.as_deref(), Some(cluster));
            assert_eq!(claim.bootstrap.as_deref(), Some("k:9092"));
            assert_eq!(claim.topics, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        }
    }

    #[test]
    fn a_set_being_deleted_claims_nothing() {
        let mut value = set("1", json!({"topics": [{"name": "a"}]}));
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(entry(value).claim.topics.is_empty());
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let sets = Sets::new(1);
        let topics = |n: &str| json!({"topics": [{"name": n}]});
        assert!(sets.put(entry(set("10", topics("new")))));
        assert!(!sets.put(entry(set("9", topics("old")))));
        assert!(!sets.put(entry(set("10", topics("new")))));
        assert!(sets.put(entry(set("11", topics("newer")))));
        let key = SetKey { namespace: "ns".to_owned(), name: "s".to_owned() };
        assert!(sets.get(&key).unwrap().claim.topics.contains("newer"));
        assert!(!sets.complete());
        sets.listed(0);
        assert!(sets.complete());
    }
}
