//! Who owns a topic or a scale target when several sets name it: the oldest, and of equals the first by
//! namespace/name. Pure.
//!
//! The identity of a topic is (cluster id, topic name): two bootstrap names may lead to one cluster. A set that only
//! observes owns nothing, and one that is being deleted passes its topics on.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::plan::Owner;
use crate::api::ScaleTargetRef;

/// A set's name: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Display for SetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one set lays claim to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) key: SetKey,
    pub(crate) created: Option<Timestamp>,
    /// The Kafka cluster, as far as it is known: observed now, remembered in status, or demanded by the spec.
    pub(crate) cluster_id: Option<String>,
    /// Where the set says its cluster is; none for the controller's own connection.
    pub(crate) bootstrap: Option<String>,
    /// It only reports: it names topics but never owns one.
    pub(crate) observes: bool,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) targets: BTreeSet<ScaleTargetRef>,
}

impl Claim {
    /// Whether both are about one cluster; none when that cannot be known yet.
    fn same_cluster(&self, other: &Self) -> Option<bool> {
        match (&self.cluster_id, &other.cluster_id) {
            (Some(a), Some(b)) => Some(a == b),
            _ if self.bootstrap == other.bootstrap => Some(true),
            _ => None,
        }
    }

    /// Whether this claim goes before the other's. A creation time that is missing is the youngest.
    fn before(&self, other: &Self) -> bool {
        let rank = |claim: &Self| (claim.created.is_none(), claim.created, claim.key.clone());
        rank(self) < rank(other)
    }
}

/// Who owns a topic that `mine` names, judged against the claims of all other sets.
pub(crate) fn topic_owner(mine: &Claim, others: &[&Claim], topic: &str) -> Owner {
    let rival = others.iter().filter(|other| {
        !other.observes
            && other.topics.contains(topic)
            && mine.same_cluster(other) == Some(true)
            && other.before(mine)
    });
    oldest(rival)
}

/// Who owns a scale target that `mine` names. Targets live in the namespace of their set.
pub(crate) fn target_owner(mine: &Claim, others: &[&Claim], target: &ScaleTargetRef) -> Owner {
    let same = |other: &ScaleTargetRef| {
        other.group() == target.group() && other.kind == target.kind && other.name == target.name
    };
    let rival = others.iter().filter(|other| {
        !other.observes
            && other.key.namespace == mine.key.namespace
            && other.targets.iter().any(same)
            && other.before(mine)
    });
    oldest(rival)
}

/// Whether any other set in the same cluster names the topic, whatever its age: its data is not ours to delete then.
pub(crate) fn named_elsewhere(mine: &Claim, others: &[&Claim], topic: &str) -> Option<SetKey> {
    others
        .iter()
        .find(|other| {
            // A cluster not known may be this one: err to leaving the data alone.
            mine.same_cluster(other) != Some(false) && other.topics.contains(topic)
        })
        .map(|other| other.key.clone())
}

fn oldest<'a>(rivals: impl Iterator<Item = &'a &'a Claim>) -> Owner {
    rivals
        .reduce(|a, b| if b.before(a) { b } else { a })
        .map_or(Owner::Me, |owner| Owner::Other(owner.key.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, created: Option<i64>, cluster: Option<&str>) -> Claim {
        Claim {
            key: SetKey { namespace: "ns".to_owned(), name: name.to_owned() },
            created: created.map(|s| Timestamp::from_second(s).unwrap()),
            cluster_id: cluster.map(str::to_owned),
            bootstrap: Some(name.to_owned()),
            observes: false,
            topics: BTreeSet::from(["t".to_owned()]),
            targets: BTreeSet::new(),
        }
    }

    #[test]
    fn the_oldest_owns_and_ties_go_by_name() {
        let (a, b) = (claim("a", Some(2), Some("c")), claim("b", Some(1), Some("c")));
        assert_eq!(topic_owner(&a, &[&b], "t"), Owner::Other("ns/b".to_owned()));
        assert_eq!(topic_owner(&b, &[&a], "t"), Owner::Me);
        let (a, b) = (claim("a", Some(1), Some("c")), claim("b", Some(1), Some("c")));
        assert_eq!(topic_owner(&a, &[&b], "t"), Owner::Me);
        assert_eq!(topic_owner(&b, &[&a], "t"), Owner::Other("ns/a".to_owned()));
        let c = claim("c", None, Some("c"));
        assert_eq!(topic_owner(&c, &[&a, &b], "t"), Owner::Other("ns/a".to_owned()));
        assert_eq!(topic_owner(&a, &[&c], "t"), Owner::Me);
    }

    #[test]
    fn other_clusters_and_other_topics_do_not_matter() {
        let mine = claim("m", Some(9), Some("c"));
        assert_eq!(topic_owner(&mine, &[&claim("o", Some(1), Some("d"))], "t"), Owner::Me);
        assert_eq!(topic_owner(&mine, &[&claim("o", Some(1), None)], "t"), Owner::Me);
        assert_eq!(topic_owner(&mine, &[&claim("o", Some(1), Some("c"))], "other"), Owner::Me);
        let watching = Claim { observes: true, ..claim("o", Some(1), Some("c")) };
        assert_eq!(topic_owner(&mine, &[&watching], "t"), Owner::Me);
    }

    #[test]
    fn one_bootstrap_name_is_one_cluster_before_its_id_is_known() {
        let at = |name: &str, created| Claim { bootstrap: None, ..claim(name, Some(created), None) };
        assert_eq!(topic_owner(&at("b", 2), &[&at("a", 1)], "t"), Owner::Other("ns/a".to_owned()));
    }

    #[test]
    fn data_named_by_anybody_else_is_not_ours_to_delete() {
        let mine = claim("m", Some(1), Some("c"));
        let younger = claim("y", Some(9), Some("c"));
        assert_eq!(named_elsewhere(&mine, &[&younger], "t"), Some(younger.key.clone()));
        assert!(named_elsewhere(&mine, &[&claim("u", Some(9), None)], "t").is_some());
        assert_eq!(named_elsewhere(&mine, &[&claim("d", Some(9), Some("d"))], "t"), None);
    }

    #[test]
    fn a_target_has_one_worker_in_its_namespace() {
        let target = |version: &str| ScaleTargetRef {
            api_version: version.to_owned(),
            kind: "Deployment".to_owned(),
            name: "w".to_owned(),
        };
        let with = |name: &str, created| Claim {
            targets: BTreeSet::from([target("apps/v1")]),
            ..claim(name, Some(created), None)
        };
        let (old, new) = (with("old", 1), with("new", 2));
        assert_eq!(target_owner(&new, &[&old], &target("apps/v1beta1")), Owner::Other("ns/old".to_owned()));
        let watching = Claim { observes: true, ..old.clone() };
        assert_eq!(target_owner(&new, &[&watching], &target("apps/v1")), Owner::Me, "looking takes nothing");
        let mut elsewhere = old.clone();
        elsewhere.key.namespace = "other".to_owned();
        assert_eq!(target_owner(&new, &[&elsewhere], &target("apps/v1")), Owner::Me);
    }
}
