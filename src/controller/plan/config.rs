//! Three-way merge of topic configuration: what the spec says, what an earlier spec of ours set, what is live.

use std::collections::{BTreeMap, BTreeSet};

use crate::{controller::desired::is_throttle, kafka::admin::ConfigChange};

/// What a merge comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merge {
    /// What to ask of Kafka; sets before resets, each in the order of the keys.
    pub(crate) changes: Vec<ConfigChange>,
    /// Keys that differ and are left so, because somebody keeps setting them back.
    pub(crate) contended: Vec<String>,
    /// What must be remembered as ours before anything is asked: every key of the spec, and keys not yet reset.
    pub(crate) owned: BTreeSet<String>,
}

/// Merges. `live` holds only the values set on the topic itself: an inherited value is no value of the topic, so a key
/// of the spec is set even where the broker's default happens to be the same.
pub(crate) fn merge(
    desired: &BTreeMap<String, String>,
    remembered: &BTreeSet<String>,
    unmanaged: &BTreeSet<String>,
    live: &BTreeMap<String, String>,
    contended: &BTreeSet<String>,
) -> Merge {
    let mut merge = Merge { owned: desired.keys().cloned().collect(), ..Merge::default() };
    for (key, value) in desired {
        if live.get(key).is_some_and(|now| same_value(now, value)) {
            continue;
        }
        if contended.contains(key) {
            merge.contended.push(key.clone());
        } else {
            merge.changes.push(ConfigChange::Set { key: key.clone(), value: value.clone() });
        }
    }
    for key in remembered {
        let ours_to_reset = !desired.contains_key(key) && !unmanaged.contains(key) && !is_throttle(key);
        if ours_to_reset && live.contains_key(key) {
            merge.changes.push(ConfigChange::Reset { key: key.clone() });
            merge.owned.insert(key.clone());
        }
    }
    merge
}

/// Whether Kafka would take two texts for the same value: numbers by their value, booleans without regard to case,
/// lists without regard to order and blanks.
pub(crate) fn same_value(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    if a == b {
        return true;
    }
    if let (Ok(a), Ok(b)) = (a.parse::<i128>(), b.parse::<i128>()) {
        return a == b;
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.total_cmp(&b).is_eq();
    }
    if a.contains(',') || b.contains(',') {
        let items = |text: &str| -> Vec<String> {
            let mut items: Vec<_> =
                text.split(',').map(|item| item.trim().to_owned()).filter(|i| !i.is_empty()).collect();
            items.sort_unstable();
            items.dedup();
            items
        };
        return items(a) == items(b);
    }
    let boolean = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    boolean(a) && a.eq_ignore_ascii_case(b)
}

/// A finite number in the forms that Kafka's parser and Rust's share.
fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_compared_as_kafka_means_them() {
        for (a, b, same) in [
            ("1", "1.0", true),
            ("1e3", "1000", true),
            (" 7 ", "7", true),
            ("compact,delete", "delete, compact", true),
            ("delete", "delete,", true),
            ("TRUE", "true", true),
            ("9223372036854775807", "9223372036854775806", false),
            ("1", "2", false),
            ("a", "A", false),
            ("", "0", false),
            ("compact", "compact,delete", false),
            ("inf", "INF", false),
        ] {
            assert_eq!(same_value(a, b), same, "{a:?} {b:?}");
            assert_eq!(same_value(b, a), same, "{b:?} {a:?}");
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|k| (*k).to_owned()).collect()
    }

    #[test]
    fn three_ways() {
        let merged = merge(
            &map(&[("same", "1"), ("changed", "2"), ("new", "3"), ("fought", "4")]),
            &set(&["same", "changed", "dropped", "dropped-and-gone", "given-away"]),
            &set(&["given-away"]),
            &map(&[
                ("same", "1.0"),
                ("changed", "9"),
                ("dropped", "9"),
                ("given-away", "9"),
                ("foreign", "9"),
                ("fought", "9"),
            ]),
            &set(&["fought"]),
        );
        let set_to = |key: &str, value: &str| ConfigChange::Set { key: key.into(), value: value.into() };
        assert_eq!(
            merged.changes,
            [set_to("changed", "2"), set_to("new", "3"), ConfigChange::Reset { key: "dropped".into() }]
        );
        assert_eq!(merged.contended, ["fought"]);
        assert_eq!(merged.owned, set(&["same", "changed", "new", "fought", "dropped"]));
    }

    fn keys() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned)
    }

    fn values() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map(
            keys(),
            prop::sample::select(vec!["1", "2", "x"]).prop_map(str::to_owned),
            0..5,
        )
    }

    proptest! {
        /// One round makes it true, a second finds nothing to do, and no foreign key is ever named.
        #[test]
        fn converges_and_leaves_others_alone(
            desired in values(),
            live in values(),
            remembered in prop::collection::btree_set(keys(), 0..5),
            unmanaged in prop::collection::btree_set(keys(), 0..3),
        ) {
            let desired: BTreeMap<_, _> = desired.into_iter().filter(|(k, _)| !unmanaged.contains(k)).collect();
            let none = BTreeSet::new();
            let first = merge(&desired, &remembered, &unmanaged, &live, &none);
            let mut after = live.clone();
            for change in &first.changes {
                prop_assert!(desired.contains_key(change.key()) || remembered.contains(change.key()));
                prop_assert!(!unmanaged.contains(change.key()));
                match change {
                    ConfigChange::Set { key, value } => { after.insert(key.clone(), value.clone()); }
                    ConfigChange::Reset { key } => { after.remove(key); }
                }
            }
            let second = merge(&desired, &first.owned, &unmanaged, &after, &none);
            prop_assert_eq!(&second.changes, &[]);
            prop_assert_eq!(second.owned, desired.keys().cloned().collect::<BTreeSet<_>>());
            for (key, value) in &live {
                if !desired.contains_key(key) && !remembered.contains(key) {
                    prop_assert_eq!(after.get(key), Some(value));
                }
            }
        }
    }
}
