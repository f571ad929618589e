//! The spec, parsed once: nothing downstream sees raw input.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::Wanted;
use crate::{
    api::{ChatTopicSetSpec, PartitionIncreasePolicy, TopicSpec, TopicStatus},
    kafka::admin::Keys,
};

/// One topic as it should be, with the defaults of the set worked in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DesiredTopic {
    pub(crate) name: String,
    /// None: the broker's default at creation, no opinion afterwards.
    pub(crate) partitions: Option<i32>,
    /// None: as above.
    pub(crate) replicas: Option<i32>,
    /// What to set, or why the configuration cannot be used.
    pub(crate) config: Result<BTreeMap<String, String>, String>,
    /// Keys that are somebody else's, whatever else is said of them.
    pub(crate) unmanaged: BTreeSet<String>,
    pub(crate) increase: PartitionIncreasePolicy,
}

/// Keys that reassignment tools set and clear while they work; set by anybody else they slow replication down.
const THROTTLES: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// The longest name of a key, as the resource bounds it elsewhere.
const KEY_MAX: usize = 249;
/// The longest value: Kafka's protocol counts it in sixteen bits with a sign.
const VALUE_MAX: usize = 32_767;

/// Whether Kafka can be asked about a key of this name at all. What it could not take would fail the call, and with it everybody who
/// is in it.
fn is_key(key: &str) -> bool {
    (1..=KEY_MAX).contains(&key.len()) && !key.contains('\0')
}

/// Whether a key is a replication throttle, which is never touched.
pub(crate) fn is_throttle(key: &str) -> bool {
    THROTTLES.contains(&key)
}

/// All topics of a spec, in the order of their names.
pub(crate) fn topics(spec: &ChatTopicSetSpec) -> Vec<DesiredTopic> {
    let mut topics: Vec<_> = spec.topics.iter().map(|topic| desired(spec, topic)).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

fn desired(spec: &ChatTopicSetSpec, topic: &TopicSpec) -> DesiredTopic {
    let defaults = spec.defaults.as_ref();
    let unmanaged: BTreeSet<String> = topic.unmanaged_config.iter().cloned().collect();
    let none = BTreeMap::new();
    let mut raw: BTreeMap<&String, &Value> = defaults.map_or(&none, |d| &d.config).iter().collect();
    raw.extend(&topic.config);
    DesiredTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.or_else(|| defaults.and_then(|d| d.partitions)),
        replicas: topic.replicas.or_else(|| defaults.and_then(|d| d.replicas)),
        config: raw
            .into_iter()
            .filter(|(key, value)| !unmanaged.contains(*key) && !value.is_null())
            .map(|(key, value)| Ok((key.clone(), config_value(key, value)?)))
            .collect(),
        unmanaged,
        increase: topic.partition_increase_policy,
    }
}

/// Kafka's text for a YAML value: strings as they are, integers and booleans as they are written.
fn config_value(key: &str, value: &Value) -> Result<String, String> {
    if is_throttle(key) {
        return Err(format!(
            "config {key}: replication throttles belong to reassignment tools and are never set here"
        ));
    }
    if !is_key(key) {
        let begin: String = key.chars().take(50).collect();
        return Err(format!("config {begin:?}: no key has such a name (1 to {KEY_MAX} bytes, no NUL)"));
    }
    let text = config_text(key, value)?;
    if text.contains('\0') || text.len() > VALUE_MAX {
        return Err(format!("config {key}: a value has at most {VALUE_MAX} bytes, and no NUL"));
    }
    Ok(text)
}

fn config_text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        Value::Number(number) => Err(format!(
            "config {key}: {number} has a fraction or is too large; write it in quotes if it is meant so"
        )),
        Value::Array(_) => {
            Err(format!("config {key}: a list; write its values as one string, separated by commas"))
        }
        Value::Object(_) => {
            Err(format!("config {key}: an object; only a string, an integer or a boolean can be set"))
        }
        Value::Null => Err(format!("config {key}: no value")),
    }
}

/// The topics, each with the keys that are declared or remembered.
pub(crate) fn wanted(desired: &[DesiredTopic], memory: &BTreeMap<&str, &TopicStatus>) -> Wanted {
    // Most topics of a set ask for the same.
    let mut all: BTreeSet<Keys> = BTreeSet::new();
    let mut shared = |keys: BTreeSet<String>| {
        let keys = all.get(&keys).cloned().unwrap_or_else(|| Keys::new(keys));
        all.insert(Keys::clone(&keys));
        keys
    };
    let keys = |topic: &DesiredTopic| {
        let owned = memory.get(topic.name.as_str()).into_iter().flat_map(|memory| &memory.owned_config);
        // A status is anybody's to edit who may.
        let keys = topic.config.iter().flat_map(BTreeMap::keys).chain(owned).filter(|key| is_key(key));
        keys.cloned().collect()
    };
    desired.iter().map(|topic| (topic.name.clone(), shared(keys(topic)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> ChatTopicSetSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn defaults_hold_until_a_topic_says_otherwise() {
        let spec = spec(json!({
            "defaults": {"partitions": 2, "replicas": 3, "config": {"a": "1", "b": 2, "c": true}},
            "topics": [
                {"name": "z"},
                {"name": "a", "partitions": 5, "config": {"b": "x"}, "unmanagedConfig": ["c"]},
            ],
        }));
        let topics = topics(&spec);
        let config = |i: usize| topics[i].config.clone().unwrap().into_iter().collect::<Vec<_>>();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            (topics[0].name.as_str(), topics[0].partitions, topics[0].replicas),
            ("a", Some(5), Some(3))
        );
        assert_eq!(config(0), [pair("a", "1"), pair("b", "x")]);
        assert_eq!((topics[1].name.as_str(), topics[1].partitions), ("z", Some(2)));
        assert_eq!(config(1), [pair("a", "1"), pair("b", "2"), pair("c", "true")]);
    }

    #[test]
    fn a_bad_value_is_the_fault_of_its_topic_alone() {
        for bad in [json!(1.5), json!([1]), json!({"x": 1})] {
            let spec = spec(json!({"topics": [{"name": "bad", "config": {"k": bad}}, {"name": "good"}]}));
            let topics = topics(&spec);
            assert!(topics[0].config.as_ref().is_err_and(|why| why.starts_with("config k: ")), "{topics:?}");
            assert_eq!(topics[1].config, Ok(BTreeMap::new()));
        }
        for (key, value) in
            [("", "1"), ("a\0", "1"), (&*"k".repeat(250), "1"), ("k", "a\0"), ("k", &*"v".repeat(40_000))]
        {
            let topics = topics(&spec(json!({"topics": [{"name": "bad", "config": {key: value}}]})));
            let why = topics[0].config.as_ref().unwrap_err();
            assert!(why.starts_with("config ") && why.len() < 200, "{why}");
        }
        let throttled = spec(json!({"topics": [{"name": "t", "config": {THROTTLES[0]: "*"}}]}));
        assert!(topics(&throttled)[0].config.is_err());
    }

    /// What cannot be asked about would fail the call in which it is asked, for everybody.
    #[test]
    fn only_keys_that_can_be_asked_about_are_wanted() {
        let spec =
            spec(json!({"topics": [{"name": "t", "config": {"a": 1}}, {"name": "u", "config": {"": 1}}]}));
        let owned = ["b", "", "c\0"].map(str::to_owned).into();
        let memory = TopicStatus { name: "u".to_owned(), owned_config: owned, ..TopicStatus::default() };
        let wanted = wanted(&topics(&spec), &BTreeMap::from([("u", &memory)]));
        let keys: Vec<Vec<&str>> =
            wanted.values().map(|keys| keys.iter().map(String::as_str).collect()).collect();
        assert_eq!(keys, [["a"], ["b"]]);
    }

    #[test]
    fn large_integers_keep_every_digit() {
        let spec = spec(json!({"topics": [{"name": "t", "config": {"k": i64::MAX, "n": -1}}]}));
        let config = topics(&spec)[0].config.clone().unwrap();
        assert_eq!((config["k"].as_str(), config["n"].as_str()), ("9223372036854775807", "-1"));
    }
}
