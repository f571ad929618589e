//! The plan, case by case.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    api::{PartitionIncreasePolicy, Reason, TopicOrigin, TopicState, TopicStatus},
    controller::desired::DesiredTopic,
};

fn policies() -> Policies {
    Policies {
        management: ManagementPolicy::Managed,
        drift: DriftPolicy::Revert,
        adoption: AdoptionPolicy::Always,
        spec_settled: true,
    }
}

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn desired(partitions: Option<i32>, replicas: Option<i32>, pairs: &[(&str, &str)]) -> DesiredTopic {
    DesiredTopic {
        name: "t".to_owned(),
        partitions,
        replicas,
        config: Ok(config(pairs)),
        unmanaged: BTreeSet::new(),
        increase: PartitionIncreasePolicy::Immediate,
    }
}

fn live(id: &str, partitions: i32, pairs: &[(&str, &str)]) -> Live {
    Live::Present(LiveTopic {
        id: id.to_owned(),
        partitions,
        replicas: 1,
        settling: false,
        led: true,
        config: Ok(config(pairs).into()),
    })
}

pub(super) fn memory(
    id: Option<&str>,
    state: TopicState,
    origin: Option<TopicOrigin>,
    keys: &[&str],
) -> TopicStatus {
    TopicStatus {
        name: "t".to_owned(),
        topic_id: id.map(str::to_owned),
        state,
        origin,
        owned_config: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..TopicStatus::default()
    }
}

fn ours(keys: &[&str]) -> TopicStatus {
    memory(Some("id"), TopicState::Ready, Some(TopicOrigin::Created), keys)
}

fn plan(desired: &DesiredTopic, memory: Option<&TopicStatus>, live: &Live, policies: &Policies) -> TopicPlan {
    plan_topic(desired, memory, live, &Owner::Me, policies, &Contended::new())
}

fn said(plan: &TopicPlan) -> (TopicState, Reason, usize) {
    (plan.status.state, plan.reason, plan.deeds.len())
}

#[test]
fn a_topic_that_is_not_there_is_created_and_remembered_first() {
    let made = plan(&desired(Some(3), None, &[("k", "v")]), None, &Live::Absent, &policies());
    let Deed::Create(topic) = &made.deeds[0] else { panic!("{made:?}") };
    assert_eq!(
        (topic.partitions, topic.replicas, topic.config.clone()),
        (Some(3), None, config(&[("k", "v")]))
    );
    assert_eq!(said(&made), (TopicState::Creating, Reason::Progressing, 1));
    assert_eq!(
        (made.status.topic_id.clone(), made.status.owned_config.clone()),
        (None, vec!["k".to_owned()])
    );
    assert!(!made.lost);
    // Found existing later, it counts as ours.
    let found = plan(
        &desired(Some(3), None, &[("k", "v")]),
        Some(&made.status),
        &live("id", 3, &[("k", "v")]),
        &policies(),
    );
    assert_eq!(found.status.origin, Some(TopicOrigin::Created));
    assert_eq!(said(&found), (TopicState::Ready, Reason::Reconciled, 0));
}

#[test]
fn a_lost_topic_is_made_anew_or_reported() {
    let wanted = desired(Some(1), None, &[]);
    let anew = plan(&wanted, Some(&ours(&[])), &Live::Absent, &policies());
    assert!(anew.lost);
    assert_eq!(anew.deeds.len(), 1);
    let report = Policies { drift: DriftPolicy::Report, ..policies() };
    let observe = Policies { management: ManagementPolicy::Observe, ..policies() };
    for policies in [report, observe] {
        let reported = plan(&wanted, Some(&ours(&[])), &Live::Absent, &policies);
        assert_eq!(said(&reported), (TopicState::Missing, Reason::DriftReported, 0));
        assert!(reported.drifted);
        assert_eq!(reported.status.topic_id.as_deref(), Some("id"), "what it was stays remembered");
        assert_eq!(plan(&wanted, Some(&reported.status), &Live::Absent, &policies), reported);
    }
}

/// Regression: a topic that was only looked at, and is gone when the set begins to write, was told as a loss, or never made.
#[test]
fn what_was_only_looked_at_is_no_loss() {
    let wanted = desired(Some(1), None, &[]);
    let seen = memory(Some("id"), TopicState::Missing, None, &[]);
    for drift in [DriftPolicy::Report, DriftPolicy::Revert] {
        let made = plan(&wanted, Some(&seen), &Live::Absent, &Policies { drift, ..policies() });
        assert_eq!(said(&made), (TopicState::Creating, Reason::Progressing, 1));
        assert!(!made.lost && made.status.topic_id.is_none(), "{:?}", made.status);
    }
}

/// Regression: a key that left the spec while a broker did not know the topic was forgotten without having been reset.
#[test]
fn a_key_is_remembered_while_its_topic_may_be_there_after_all() {
    let wanted = desired(Some(1), None, &[("b", "2")]);
    let absent = plan(&wanted, Some(&ours(&["a", "b"])), &Live::Absent, &policies());
    assert_eq!(absent.status.owned_config, ["a", "b"]);
    let back = plan(&wanted, Some(&absent.status), &live("id", 1, &[("a", "1"), ("b", "2")]), &policies());
    assert_eq!(said(&back).2, 1, "its reset: {:?}", back.deeds);
}

/// Regression: the memory that is written before a creation forgot that the topic had been there, so that after a first
/// try that failed the loss was told as a creation like any other.
#[test]
fn a_loss_is_remembered_until_the_topic_is_there_again() {
    let wanted = desired(Some(1), None, &[("k", "v")]);
    let adopted = memory(Some("id"), TopicState::Ready, Some(TopicOrigin::Adopted), &["k"]);
    let first = plan(&wanted, Some(&adopted), &Live::Absent, &policies());
    assert_eq!(said(&first), (TopicState::Creating, Reason::Progressing, 1));
    // Refused, or not answered: the next round knows as much.
    let second = plan(&wanted, Some(&first.status), &Live::Absent, &policies());
    assert!(second.lost);
    assert_eq!((&second.status, second.deeds.len()), (&first.status, 1));
    let refused = Live::Unknown(crate::kafka::admin::ApiError::unseen("t"));
    let kept = plan(&wanted, Some(&first.status), &refused, &policies());
    assert_eq!(kept.status.topic_id.as_deref(), Some("id"));
    let bad = DesiredTopic { config: Err("a list".to_owned()), ..wanted.clone() };
    assert_eq!(plan(&bad, Some(&adopted), &Live::Absent, &policies()).status.topic_id.as_deref(), Some("id"));
    // There again under another id, it is ours; under the same it never was away, and stays what it was.
    let anew = plan(&wanted, Some(&first.status), &live("new", 1, &[("k", "v")]), &policies());
    assert_eq!(
        (anew.status.topic_id.as_deref(), anew.status.origin),
        (Some("new"), Some(TopicOrigin::Created))
    );
    let same = plan(&wanted, Some(&first.status), &live("id", 1, &[("k", "v")]), &policies());
    assert_eq!(
        (same.status.topic_id.as_deref(), same.status.origin),
        (Some("id"), Some(TopicOrigin::Adopted))
    );
    assert_eq!((said(&anew), said(&same)), (said(&same), (TopicState::Ready, Reason::Reconciled, 0)));
}

#[test]
fn adoption() {
    let wanted = desired(Some(2), Some(1), &[("k", "v")]);
    let with = |adoption| Policies { adoption, ..policies() };
    let (same, other) = (live("x", 2, &[("k", "v"), ("foreign", "1")]), live("x", 2, &[("k", "w")]));
    for (adoption, live, state, deeds) in [
        (AdoptionPolicy::Always, &same, TopicState::Ready, 0),
        (AdoptionPolicy::Always, &other, TopicState::Updating, 1),
        (AdoptionPolicy::IfIdentical, &same, TopicState::Ready, 0),
        (AdoptionPolicy::IfIdentical, &other, TopicState::NotAdopted, 0),
        (AdoptionPolicy::Never, &same, TopicState::NotAdopted, 0),
    ] {
        let planned = plan(&wanted, None, live, &with(adoption));
        assert_eq!((planned.status.state, planned.deeds.len()), (state, deeds), "{adoption:?}");
        let adopted = (state != TopicState::NotAdopted).then_some(TopicOrigin::Adopted);
        assert_eq!(planned.status.origin, adopted);
        assert_eq!(planned.status.topic_id.is_some(), adopted.is_some());
    }
    // Under another id it is another topic: what is remembered is void.
    let recreated =
        plan(&wanted, Some(&ours(&["k", "old"])), &live("new", 2, &[("k", "v"), ("old", "1")]), &policies());
    assert_eq!(recreated.status.origin, Some(TopicOrigin::Adopted));
    assert_eq!(
        said(&recreated),
        (TopicState::Ready, Reason::Reconciled, 0),
        "key old is nobody's of ours now"
    );
}

#[test]
fn looking_is_not_taking() {
    let observe = Policies { management: ManagementPolicy::Observe, ..policies() };
    let wanted = desired(Some(4), None, &[("k", "v")]);
    let seen = plan(&wanted, None, &live("x", 2, &[]), &observe);
    assert_eq!(said(&seen), (TopicState::Drifted, Reason::DriftReported, 0));
    assert_eq!((seen.status.origin, seen.status.owned_config.len()), (None, 0));
    let never = Policies { adoption: AdoptionPolicy::Never, ..policies() };
    let later = plan(&wanted, Some(&seen.status), &live("x", 2, &[]), &never);
    assert_eq!(later.status.state, TopicState::NotAdopted, "having looked at it does not make it ours");
}

#[test]
fn differences_that_cannot_be_mended_do_not_stop_those_that_can() {
    let above =
        plan(&desired(Some(2), None, &[("k", "v")]), Some(&ours(&["k"])), &live("id", 5, &[]), &policies());
    assert_eq!(said(&above), (TopicState::PartitionsAboveSpec, Reason::PartitionsAboveSpec, 1));
    assert!(matches!(above.deeds[0], Deed::Configure(_)));
    let replicas = plan(&desired(Some(2), Some(3), &[]), Some(&ours(&[])), &live("id", 1, &[]), &policies());
    assert_eq!(said(&replicas), (TopicState::ReplicationFactorDiffers, Reason::ReplicationFactorDiffers, 1));
    assert_eq!(replicas.deeds, [Deed::Grow(2)]);
    let mut invalid = desired(Some(2), None, &[]);
    invalid.config = Err("config k: a list".to_owned());
    let planned = plan(&invalid, Some(&ours(&["k"])), &live("id", 1, &[("k", "v")]), &policies());
    assert_eq!(said(&planned), (TopicState::Invalid, Reason::InvalidConfig, 1));
    assert_eq!(planned.status.owned_config, ["k"], "nothing is forgotten for a bad value");
}

#[test]
fn a_running_reassignment_is_no_error() {
    let settling = Live::Present(LiveTopic {
        id: "id".to_owned(),
        partitions: 1,
        replicas: 2,
        settling: true,
        led: true,
        config: Ok(std::sync::Arc::default()),
    });
    let planned = plan(&desired(Some(1), Some(1), &[]), Some(&ours(&[])), &settling, &policies());
    assert_eq!(said(&planned), (TopicState::Ready, Reason::Reconciled, 0));
}

#[test]
fn drift_is_reverted_or_reported_and_a_new_spec_is_neither() {
    let wanted = desired(Some(1), None, &[("k", "v")]);
    let changed = live("id", 1, &[("k", "w")]);
    let revert = plan(&wanted, Some(&ours(&["k"])), &changed, &policies());
    assert_eq!((revert.deeds.len(), revert.drifted), (1, true));
    let report = Policies { drift: DriftPolicy::Report, ..policies() };
    let reported = plan(&wanted, Some(&ours(&["k"])), &changed, &report);
    assert_eq!(said(&reported), (TopicState::Drifted, Reason::DriftReported, 0));
    assert!(reported.drifted);
    let new_spec = Policies { spec_settled: false, ..report };
    let planned = plan(&wanted, Some(&ours(&["k"])), &changed, &new_spec);
    assert_eq!((planned.deeds.len(), planned.drifted), (1, false));
}

#[test]
fn a_fight_is_not_fought() {
    let contended = Contended::from([("t".to_owned(), BTreeSet::from(["k".to_owned()]))]);
    let wanted = desired(Some(1), None, &[("k", "v")]);
    let planned = plan_topic(
        &wanted,
        Some(&ours(&["k"])),
        &live("id", 1, &[("k", "w")]),
        &Owner::Me,
        &policies(),
        &contended,
    );
    assert_eq!(said(&planned), (TopicState::Drifted, Reason::DriftReported, 0));
    assert!(planned.drifted);
}

#[test]
fn manual_growth_waits_for_a_person() {
    let wanted = DesiredTopic { increase: PartitionIncreasePolicy::Manual, ..desired(Some(4), None, &[]) };
    let planned = plan(&wanted, Some(&ours(&[])), &live("id", 2, &[]), &policies());
    assert_eq!(said(&planned), (TopicState::Drifted, Reason::DriftReported, 0));
}

#[test]
fn what_is_not_ours_is_left_alone_and_not_remembered() {
    let wanted = desired(Some(4), None, &[("k", "v")]);
    let other = Owner::Other("ns/older".to_owned());
    let planned =
        plan_topic(&wanted, Some(&ours(&["k"])), &live("id", 2, &[]), &other, &policies(), &Contended::new());
    assert_eq!(said(&planned), (TopicState::Conflict, Reason::OwnershipConflict, 0));
    assert_eq!((planned.status.topic_id, planned.status.origin), (None, None));
    assert!(planned.status.message.is_some_and(|m| m.contains("ns/older")));
    let unknown = plan_topic(
        &wanted,
        Some(&ours(&["k"])),
        &live("id", 2, &[]),
        &Owner::Unknown,
        &policies(),
        &Contended::new(),
    );
    assert_eq!(unknown.deeds, []);
    assert_eq!(unknown.status.topic_id.as_deref(), Some("id"));
}
