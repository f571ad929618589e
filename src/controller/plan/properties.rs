//! The plan against a simulated Kafka: properties over any observed state.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{config::same_value, tests::memory, *};
use crate::{
    api::{PartitionIncreasePolicy, TopicOrigin, TopicState, TopicStatus},
    controller::{desired::DesiredTopic, fuzzing::perform},
    kafka::admin::{ApiError, ConfigChange},
};

fn keys() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn values() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(keys(), prop::sample::select(vec!["1", "2"]).prop_map(str::to_owned), 0..4)
}

pub(in crate::controller) fn any_desired() -> impl Strategy<Value = DesiredTopic> {
    (
        prop::option::of(1..6_i32),
        prop::option::of(1..3_i32),
        prop_oneof![9 => values().prop_map(Ok), 1 => Just(Err("bad".to_owned()))],
        prop::collection::btree_set(keys(), 0..2),
        any::<bool>(),
    )
        .prop_map(|(partitions, replicas, config, unmanaged, manual)| DesiredTopic {
            name: "t".to_owned(),
            partitions,
            replicas,
            config: config.map(|c| c.into_iter().filter(|(k, _)| !unmanaged.contains(k)).collect()),
            unmanaged,
            increase: if manual {
                PartitionIncreasePolicy::Manual
            } else {
                PartitionIncreasePolicy::Immediate
            },
        })
}

/// What a broker may answer in place of what was asked for.
fn any_error() -> impl Strategy<Value = ApiError> {
    prop_oneof![Just(ApiError::unseen("t")), Just(ApiError::refused_for_tests())]
}

pub(in crate::controller) fn any_live() -> impl Strategy<Value = Live> {
    let config = prop_oneof![7 => values().prop_map(|values| Ok::<_, ApiError>(values.into())), 1 => any_error().prop_map(Err)];
    let present = (
        prop::sample::select(vec!["id", "x"]),
        1..6_i32,
        1..3_i32,
        any::<bool>(),
        prop::bool::weighted(0.8),
        config,
    );
    prop_oneof![
        2 => Just(Live::Absent),
        1 => any_error().prop_map(Live::Unknown),
        8 => present.prop_map(|(id, partitions, replicas, settling, led, config)| Live::Present(LiveTopic {
            id: id.to_owned(), partitions, replicas, settling, led, config,
        })),
    ]
}

/// Every state that a status may have.
const STATES: [TopicState; 14] = [
    TopicState::Ready,
    TopicState::Creating,
    TopicState::Updating,
    TopicState::Drifted,
    TopicState::PartitionsAboveSpec,
    TopicState::ReplicationFactorDiffers,
    TopicState::Invalid,
    TopicState::Unauthorized,
    TopicState::Conflict,
    TopicState::NotAdopted,
    TopicState::Missing,
    TopicState::Released,
    TopicState::Failed,
    TopicState::Unknown,
];

pub(in crate::controller) fn any_memory() -> impl Strategy<Value = Option<TopicStatus>> {
    let origins = vec![None, Some(TopicOrigin::Created), Some(TopicOrigin::Adopted)];
    prop::option::of(
        (
            prop::option::of(prop::sample::select(vec!["id", "x"])),
            prop::sample::select(STATES.to_vec()),
            prop::sample::select(origins),
            prop::collection::btree_set(keys(), 0..4),
        )
            .prop_map(|(id, state, origin, keys)| TopicStatus {
                owned_config: keys.into_iter().collect(),
                ..memory(id, state, origin, &[])
            }),
    )
}

pub(in crate::controller) fn any_policies() -> impl Strategy<Value = Policies> {
    (
        prop::sample::select(vec![ManagementPolicy::Managed, ManagementPolicy::Observe]),
        prop::sample::select(vec![DriftPolicy::Revert, DriftPolicy::Report]),
        prop::sample::select(vec![
            AdoptionPolicy::Always,
            AdoptionPolicy::IfIdentical,
            AdoptionPolicy::Never,
        ]),
        any::<bool>(),
    )
        .prop_map(|(management, drift, adoption, spec_settled)| Policies {
            management,
            drift,
            adoption,
            spec_settled,
        })
}

fn any_contended() -> impl Strategy<Value = Contended> {
    prop_oneof![
        3 => Just(Contended::new()),
        1 => prop::collection::btree_set(keys(), 1..3).prop_map(|keys| Contended::from([("t".to_owned(), keys)])),
    ]
}

fn any_owner() -> impl Strategy<Value = Owner> {
    prop_oneof![8 => Just(Owner::Me), 1 => Just(Owner::Other("ns/older".to_owned())), 1 => Just(Owner::Unknown)]
}

/// What is remembered for the topic as it is: under its id, or as about to be created.
fn ours<'a>(remembered: Option<&'a TopicStatus>, live: &LiveTopic) -> Option<&'a TopicStatus> {
    remembered.filter(|m| m.topic_id.as_ref() == Some(&live.id) || m.state == TopicState::Creating)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// One round makes true all that can be made true; a second finds nothing to do and says the same again.
    #[test]
    fn converges_in_one_round(
        wanted in any_desired(),
        before in any_live(),
        remembered in any_memory(),
        policies in any_policies(),
        contended in any_contended(),
        owner in any_owner(),
    ) {
        let plan = |memory: Option<&TopicStatus>, live: &Live, policies: &Policies| {
            plan_topic(&wanted, memory, live, &owner, policies, &contended)
        };
        let first = plan(remembered.as_ref(), &before, &policies);
        let after = perform(&before, &first.deeds);
        let settled = Policies { spec_settled: true, ..policies };
        let second = plan(Some(&first.status), &after, &policies);
        prop_assert_eq!(&second.deeds, &[], "{:?}", first);
        let third = plan(Some(&second.status), &after, &settled);
        prop_assert_eq!(&third.deeds, &[]);
        let fourth = plan(Some(&third.status), &after, &settled);
        prop_assert_eq!(&fourth.status, &third.status);

        if let (Live::Present(b), Live::Present(a)) = (&before, &after) {
            prop_assert!(a.partitions >= b.partitions);
            prop_assert_eq!(a.replicas, b.replicas);
            let memory = ours(remembered.as_ref(), b);
            let owned: BTreeSet<&String> = memory.iter().flat_map(|m| &m.owned_config).collect();
            if let (Ok(was), Ok(is)) = (&b.config, &a.config) {
                let named = wanted.config.clone().unwrap_or_default();
                for key in was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)) {
                    prop_assert!(named.contains_key(key) || owned.contains(key), "{} is nobody's of ours", key);
                    prop_assert!(!wanted.unmanaged.contains(key));
                }
            } else {
                prop_assert_eq!(&b.config, &a.config, "configured blindly");
            }
        }
        if let (TopicState::Ready, Ok(config), Live::Present(topic)) = (second.status.state, &wanted.config, &after) {
            prop_assert!(topic.led, "Ready without a leader");
            for (key, value) in config {
                let live = topic.config.as_ref().unwrap();
                prop_assert!(live.get(key).is_some_and(|now| same_value(now, value)), "Ready, but {} differs", key);
            }
            prop_assert!(wanted.partitions.is_none_or(|n| n == topic.partitions));
        }
    }

    /// Nothing is asked for by a set that does not write or own, nor of a topic of which nothing is known, nor is a key set
    /// that somebody else fights for.
    #[test]
    fn nothing_is_asked_for_without_a_reason(
        wanted in any_desired(),
        live in any_live(),
        remembered in any_memory(),
        policies in any_policies(),
        contended in any_contended(),
        owner in any_owner(),
    ) {
        let plan = plan_topic(&wanted, remembered.as_ref(), &live, &owner, &policies, &contended);
        if !policies.writes() || owner != Owner::Me || matches!(live, Live::Unknown(_)) {
            prop_assert_eq!(&plan.deeds, &[]);
        }
        let remembers = |status: &TopicStatus| {
            (status.topic_id.clone(), status.origin, status.owned_config.clone(), status.state == TopicState::Creating)
        };
        let before = remembered.clone().unwrap_or_default();
        match (&owner, &live) {
            (Owner::Other(_), _) => prop_assert_eq!(remembers(&plan.status), remembers(&TopicStatus::default())),
            // What cannot be known now may not be forgotten for it.
            (Owner::Unknown, _) | (Owner::Me, Live::Unknown(_)) => {
                prop_assert_eq!(remembers(&plan.status), remembers(&before));
            }
            // Of what was merely looked at there is no loss.
            (Owner::Me, Live::Absent) if before.origin.is_some() || !policies.writes() => {
                prop_assert_eq!(&plan.status.topic_id, &before.topic_id, "the loss is forgotten");
            }
            (Owner::Me, Live::Absent | Live::Present(_)) => {}
        }
        for deed in &plan.deeds {
            if let Deed::Configure(changes) = deed {
                let fought = contended.get("t").cloned().unwrap_or_default();
                let sets = changes.iter().filter(|change| matches!(change, ConfigChange::Set { .. }));
                prop_assert!(sets.map(ConfigChange::key).all(|key| !fought.contains(key)), "{:?}", changes);
            }
        }
    }

    /// What a plan asks for stands in the memory that is written before: the creation as such, and every key that is set.
    /// A key that is to be reset stays there.
    #[test]
    fn memory_covers_the_deeds(
        wanted in any_desired(), live in any_live(), remembered in any_memory(), policies in any_policies(),
    ) {
        let plan = plan_topic(&wanted, remembered.as_ref(), &live, &Owner::Me, &policies, &Contended::new());
        for deed in &plan.deeds {
            let keys: Vec<&str> = match deed {
                Deed::Create(topic) => {
                    prop_assert_eq!(plan.status.state, TopicState::Creating);
                    prop_assert_eq!(plan.lost, plan.status.topic_id.is_some());
                    topic.config.keys().map(String::as_str).collect()
                }
                Deed::Configure(changes) => changes.iter().map(ConfigChange::key).collect(),
                Deed::Grow(_) => Vec::new(),
            };
            for key in keys {
                prop_assert!(plan.status.owned_config.iter().any(|owned| owned == key), "{} is not remembered", key);
            }
        }
    }
}
