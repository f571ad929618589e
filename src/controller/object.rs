//! A set as the API server sends it. Its text is read as a set or, when it is none, as whatever it is: never as both, for the tree of
//! a set of two hundred topics takes ten times the memory of what is kept of it.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};

use crate::api::{ChatTopicSet, ChatTopicSetSpec, ChatTopicSetStatus};

/// The metadata that matters, and the rest as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SetObject {
    #[serde(default, deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<Box<RawValue>>,
}

impl SetObject {
    /// What it declares, or why that cannot be read.
    pub(crate) fn spec(&self) -> Result<ChatTopicSetSpec, String> {
        let text = self.spec.as_ref().ok_or("no spec")?.get();
        // The error of the text would name a column of a line that nobody sees.
        let why = |_| match serde_json::from_value::<ChatTopicSetSpec>(value(Some(text))) {
            Ok(_) => "spec: it cannot be read".to_owned(),
            Err(error) => format!("spec: {error}"),
        };
        let mut spec: ChatTopicSetSpec = serde_json::from_str(text).map_err(why)?;
        spec.topics.shrink_to_fit();
        Ok(spec)
    }

    /// What is remembered of it. One that cannot be read is one that was lost: the controller then errs to leaving things alone.
    pub(crate) fn status(&self) -> Option<ChatTopicSetStatus> {
        let mut status: ChatTopicSetStatus = serde_json::from_str(self.status.as_ref()?.get()).ok()?;
        // A list that was read one by one has room for half as many again, and one of a single key for four.
        status.topics.shrink_to_fit();
        status.topics.iter_mut().for_each(|topic| topic.owned_config.shrink_to_fit());
        Some(status)
    }

    /// Spec and status whatever they are.
    pub(crate) fn loose(&self) -> Value {
        let text = |part: &Option<Box<RawValue>>| value(part.as_deref().map(RawValue::get));
        json!({"spec": text(&self.spec), "status": text(&self.status)})
    }

    /// Whether there is a status, readable or not.
    pub(crate) fn has_status(&self) -> bool {
        self.status.is_some()
    }
}

fn value(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Without who set which field, which is larger than all else, and without what others noted.
fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        finalizers: Option<Vec<String>>,
        annotations: Option<BTreeMap<String, Option<String>>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    let ours = |(key, value): (String, Option<String>)| Some((key, value?));
    let annotations = slim.annotations.map(|all| {
        all.into_iter().filter(|(key, _)| key.starts_with("parley.dev/")).filter_map(ours).collect()
    });
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        generation: slim.generation,
        creation_timestamp: slim.creation_timestamp,
        deletion_timestamp: slim.deletion_timestamp,
        finalizers: slim.finalizers,
        annotations,
        ..ObjectMeta::default()
    })
}

impl Resource for SetObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        ChatTopicSet::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ChatTopicSet::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ChatTopicSet::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ChatTopicSet::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const SET: &str = r#"{
        "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet",
        "metadata": {"name": "s", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 2,
            "annotations": {"parley.dev/take-scale": "w=1", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
        "spec": {"topics": [{"name": "a", "config": {"retention.ms": 1.5}}]},
        "status": {"clusterId": "c"}}"#;

    /// In a list and in a watch, which bring it in their own ways.
    #[test]
    fn a_set_comes_alone_in_a_list_and_in_a_watch() {
        let alone: SetObject = serde_json::from_str(SET).unwrap();
        let list = format!(
            r#"{{"kind": "ChatTopicSetList", "apiVersion": "parley.dev/v1alpha1", "metadata": {{"resourceVersion": "9"}}, "items": [{SET}]}}"#
        );
        let list: ObjectList<SetObject> = serde_json::from_str(&list).unwrap();
        let watch: WatchEvent<SetObject> =
            serde_json::from_str(&format!(r#"{{"type": "MODIFIED", "object": {SET}}}"#)).unwrap();
        let WatchEvent::Modified(watched) = watch else { panic!("{watch:?}") };
        let parsed: Value = serde_json::from_str(SET).unwrap();
        let from_value: SetObject = serde_json::from_value(parsed).unwrap();
        for set in [alone, list.items[0].clone(), watched, from_value] {
            assert_eq!(set.spec().unwrap().topics[0].name, "a");
            assert_eq!(set.status().unwrap().cluster_id.as_deref(), Some("c"));
            assert_eq!(set.loose()["spec"]["topics"][0]["config"]["retention.ms"], 1.5);
            let metadata = set.metadata;
            assert_eq!((metadata.generation, metadata.resource_version.as_deref()), (Some(2), Some("7")));
            assert_eq!(
                metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(),
                ["parley.dev/take-scale"]
            );
        }
    }

    #[test]
    fn what_is_no_set_says_why() {
        let set = |text: &str| serde_json::from_str::<SetObject>(text).unwrap();
        assert_eq!(set(r#"{"metadata": {}}"#).spec().unwrap_err(), "no spec");
        let bad = set(
            r#"{"metadata": {}, "spec": {"topics": [{"name": "a", "partitions": "many"}]}, "status": 7}"#,
        );
        let why = bad.spec().unwrap_err();
        assert!(why.starts_with("spec: ") && !why.contains("column"), "{why}");
        assert_eq!((bad.status(), bad.has_status()), (None, true));
        assert_eq!(bad.loose()["spec"]["topics"][0]["partitions"], "many");
    }
}
