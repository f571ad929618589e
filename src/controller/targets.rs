//! The scale targets, watched from the start and stripped to the few numbers that matter.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};

use crate::api::ScaleTargetRef;

/// What is kept of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) uid: String,
    /// `spec.replicas`.
    pub(crate) wanted: Option<i32>,
    /// `status.replicas`.
    pub(crate) replicas: i32,
    /// `status.readyReplicas`.
    pub(crate) ready: i32,
}

impl Target {
    fn read(object: &DynamicObject) -> Self {
        let number =
            |part: &str, field: &str| object.data[part][field].as_i64().and_then(|n| i32::try_from(n).ok());
        Self {
            uid: object.uid().unwrap_or_default(),
            wanted: number("spec", "replicas"),
            replicas: number("status", "replicas").unwrap_or(0),
            ready: number("status", "readyReplicas").unwrap_or(0),
        }
    }
}

/// Where a target is: group, kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetKey {
    group: String,
    kind: String,
    pub(crate) namespace: String,
    name: String,
}

impl TargetKey {
    pub(crate) fn of(namespace: &str, target: &ScaleTargetRef) -> Self {
        Self {
            group: target.group().to_owned(),
            kind: target.kind.clone(),
            namespace: namespace.to_owned(),
            name: target.name.clone(),
        }
    }

    pub(crate) fn seen(resource: &ApiResource, object: &DynamicObject) -> Self {
        Self {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

/// All targets of the watched kinds. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets(Arc<RwLock<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    kinds: Vec<ApiResource>,
    targets: BTreeMap<TargetKey, Target>,
    /// How many watches have listed everything, of how many.
    listed: (usize, usize),
}

impl Targets {
    pub(crate) fn new(kinds: Vec<ApiResource>, watches: usize) -> Self {
        Self(Arc::new(RwLock::new(Inner { kinds, listed: (0, watches), ..Inner::default() })))
    }

    /// How to reach objects of the target's kind; none when the kind is not watched.
    pub(crate) fn resource(&self, target: &ScaleTargetRef) -> Option<ApiResource> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.kinds.iter().find(|kind| kind.group == target.group() && kind.kind == target.kind).cloned()
    }

    pub(crate) fn get(&self, key: &TargetKey) -> Option<Target> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).targets.get(key).cloned()
    }

    /// Whether a target that is not there is really not there.
    pub(crate) fn complete(&self) -> bool {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.listed.0 >= inner.listed.1
    }

    pub(crate) fn listed(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).listed.0 += 1;
    }

    /// Takes in what was seen. Whether anything that matters changed.
    pub(crate) fn put(&self, key: TargetKey, object: &DynamicObject) -> bool {
        let target = Target::read(object);
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.targets.insert(key, target.clone()) != Some(target)
    }

    pub(crate) fn remove(&self, key: &TargetKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).targets.remove(key);
    }

    /// The targets of one kind and, when given, one namespace: what a fresh list is compared with.
    pub(crate) fn keys(&self, resource: &ApiResource, namespace: Option<&str>) -> Vec<TargetKey> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let here = |key: &&TargetKey| {
            key.group == resource.group
                && key.kind == resource.kind
                && namespace.is_none_or(|ns| key.namespace == ns)
        };
        inner.targets.keys().filter(here).cloned().collect()
    }

    /// Notes a count that we have just written, so that the next decision does not rest on an older one.
    pub(crate) fn wrote(&self, key: &TargetKey, replicas: i32) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = inner.targets.get_mut(key) {
            target.wanted = Some(replicas);
        }
    }
}
