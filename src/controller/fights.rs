//! Keys that somebody else keeps setting back: after some rounds the controller stops and says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::plan::Contended;

/// More reverts of one key than this …
const REVERTS: usize = 3;
/// … within this time are a fight.
const WITHIN: Duration = Duration::from_secs(600);

/// The reverts of one set, by topic and key. Forgotten with a new spec, with which the user takes sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fights {
    generation: Option<i64>,
    reverts: BTreeMap<(String, String), Vec<Instant>>,
    contended: Contended,
}

impl Fights {
    /// The keys that are no longer fought for under this spec.
    pub(crate) fn contended(&self, generation: Option<i64>) -> Contended {
        if self.generation == generation { self.contended.clone() } else { Contended::new() }
    }

    /// Notes that a key was set back to what is declared.
    pub(crate) fn reverted(&mut self, generation: Option<i64>, topic: &str, key: &str, now: Instant) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        let times = self.reverts.entry((topic.to_owned(), key.to_owned())).or_default();
        times.retain(|then| now.duration_since(*then) < WITHIN);
        times.push(now);
        if times.len() > REVERTS {
            let keys: &mut BTreeSet<String> = self.contended.entry(topic.to_owned()).or_default();
            keys.insert(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_revert_within_ten_minutes_is_the_last() {
        let mut fights = Fights::default();
        let start = Instant::now();
        for minute in 0..3 {
            fights.reverted(Some(1), "t", "k", start + Duration::from_secs(60 * minute));
            assert!(fights.contended(Some(1)).is_empty());
        }
        fights.reverted(Some(1), "t", "other", start);
        fights.reverted(Some(1), "t", "k", start + Duration::from_secs(180));
        assert_eq!(fights.contended(Some(1))["t"], BTreeSet::from(["k".to_owned()]));
        assert!(fights.contended(Some(2)).is_empty(), "a new spec is a new try");
        fights.reverted(Some(2), "t", "k", start + Duration::from_secs(200));
        assert!(fights.contended(Some(2)).is_empty());
    }

    #[test]
    fn rare_reverts_are_no_fight() {
        let mut fights = Fights::default();
        let start = Instant::now();
        for hour in 0..20 {
            fights.reverted(Some(1), "t", "k", start + Duration::from_secs(3_600 * hour));
        }
        assert!(fights.contended(Some(1)).is_empty());
    }
}
