//! The plan of one topic.

use std::collections::BTreeSet;

use super::{Contended, Deed, Live, LiveTopic, Policies, config::merge};
use crate::{
    api::{
        AdoptionPolicy, DriftPolicy, PartitionIncreasePolicy, Reason, TopicOrigin, TopicState, TopicStatus,
        bounded_message,
    },
    controller::desired::DesiredTopic,
    kafka::admin::{ApiError, ConfigChange, NewTopic},
};

/// Whose topic it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This set's.
    Me,
    /// Another's: its namespace/name.
    Other(String),
    /// Not all sets have been listed yet.
    Unknown,
}

/// What to do about a topic and what to say of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    /// In the order in which they must happen.
    pub(crate) deeds: Vec<Deed>,
    /// The topic's status. With deeds: the memory that must stand before the first of them.
    pub(crate) status: TopicStatus,
    pub(crate) reason: Reason,
    /// The topic had been there and is gone: its data is lost.
    pub(crate) lost: bool,
    /// Somebody else changed what is declared.
    pub(crate) drifted: bool,
}

/// Plans one topic from what is wanted, what is remembered and what is there.
pub(crate) fn plan_topic(
    desired: &DesiredTopic,
    memory: Option<&TopicStatus>,
    live: &Live,
    owner: &Owner,
    policies: &Policies,
    contended: &Contended,
) -> TopicPlan {
    let planner = Planner { desired, memory, policies };
    match (owner, live) {
        (Owner::Unknown, _) => {
            planner.kept(TopicState::Unknown, Reason::Progressing, "waiting until all sets are known")
        }
        (Owner::Other(who), _) => planner.forgotten(
            TopicState::Conflict,
            Reason::OwnershipConflict,
            &format!("owned by {who}, which is older"),
        ),
        (Owner::Me, Live::Unknown(error)) => planner.failed(error),
        (Owner::Me, Live::Absent) => planner.absent(),
        (Owner::Me, Live::Present(topic)) => planner.present(topic, contended.get(&desired.name)),
    }
}

struct Planner<'a> {
    desired: &'a DesiredTopic,
    memory: Option<&'a TopicStatus>,
    policies: &'a Policies,
}

impl Planner<'_> {
    fn plan(&self, status: TopicStatus, reason: Reason, message: &str) -> TopicPlan {
        let message = (!message.is_empty()).then(|| bounded_message(message));
        TopicPlan {
            name: self.desired.name.clone(),
            deeds: Vec::new(),
            status: TopicStatus { name: self.desired.name.clone(), message, ..status },
            reason,
            lost: false,
            drifted: false,
        }
    }

    /// Says something and keeps everything that is remembered.
    fn kept(&self, state: TopicState, reason: Reason, message: &str) -> TopicPlan {
        let memory = self.memory.cloned().unwrap_or_default();
        // What is about to be created must stay so: found existing later, it counts as ours.
        let state = if memory.state == TopicState::Creating { TopicState::Creating } else { state };
        self.plan(TopicStatus { state, ..memory }, reason, message)
    }

    /// The same of a topic that is not there: what it was stays remembered, so that its loss is told when it is made anew,
    /// however many tries that takes and whoever leads by then.
    fn missing(&self, state: TopicState, reason: Reason, message: &str) -> TopicPlan {
        let plan = self.kept(state, reason, message);
        TopicPlan { status: TopicStatus { partitions: None, replicas: None, ..plan.status }, ..plan }
    }

    /// Says something about a topic that is not ours.
    fn forgotten(&self, state: TopicState, reason: Reason, message: &str) -> TopicPlan {
        self.plan(TopicStatus { state, ..TopicStatus::default() }, reason, message)
    }

    fn failed(&self, error: &ApiError) -> TopicPlan {
        if error.is_authorization() {
            let message = format!("Describe on the topic is refused: {error}");
            return self.kept(TopicState::Unauthorized, Reason::AuthorizationFailed, &message);
        }
        self.kept(TopicState::Failed, Reason::KafkaUnreachable, &error.message)
    }

    fn absent(&self) -> TopicPlan {
        if !self.policies.writes() {
            let plan = self.missing(TopicState::Missing, Reason::DriftReported, "does not exist");
            return TopicPlan { drifted: self.memory.is_some_and(|m| m.topic_id.is_some()), ..plan };
        }
        // Without an origin it was only looked at: somebody else's that is gone.
        let ours = self.memory.filter(|m| m.origin.is_some() && m.topic_id.is_some());
        let lost = ours.is_some();
        if lost && self.policies.drift == DriftPolicy::Report {
            let plan = self.missing(
                TopicState::Missing,
                Reason::DriftReported,
                "was deleted; driftPolicy says to report only",
            );
            return TopicPlan { drifted: true, ..plan };
        }
        let config = match &self.desired.config {
            Ok(config) => config.clone(),
            Err(why) => return self.missing(TopicState::Invalid, Reason::InvalidConfig, why),
        };
        let mut owned: BTreeSet<String> = config.keys().cloned().collect();
        owned.extend(ours.iter().flat_map(|memory| memory.owned_config.iter().cloned()));
        let status = TopicStatus {
            state: TopicState::Creating,
            // Which one was lost, and whose it and its keys were should it be there after all.
            topic_id: ours.and_then(|m| m.topic_id.clone()),
            origin: ours.and_then(|m| m.origin),
            owned_config: owned.into_iter().collect(),
            ..TopicStatus::default()
        };
        let create = Deed::Create(NewTopic {
            name: self.desired.name.clone(),
            partitions: self.desired.partitions,
            replicas: self.desired.replicas,
            config,
        });
        TopicPlan { deeds: vec![create], lost, ..self.plan(status, Reason::Progressing, "being created") }
    }

    fn present(&self, live: &LiveTopic, contended: Option<&BTreeSet<String>>) -> TopicPlan {
        // Without an origin it was only looked at, never taken.
        let memory = self.memory.filter(|m| m.origin.is_some() && m.topic_id.as_ref() == Some(&live.id));
        // An id that stands there meanwhile is that of the one that was lost.
        let creating =
            self.memory.filter(|m| m.state == TopicState::Creating && m.topic_id.as_ref() != Some(&live.id));
        let (origin, remembered) = match (memory, creating) {
            (Some(m), _) => (m.origin, &m.owned_config[..]),
            (None, Some(m)) => (Some(TopicOrigin::Created), &m.owned_config[..]),
            (None, None) if self.policies.writes() => (Some(TopicOrigin::Adopted), &[][..]),
            (None, None) => (None, &[][..]),
        };
        let found = memory.is_none() && creating.is_none();
        let remembered: BTreeSet<String> = remembered.iter().cloned().collect();
        let findings = self.findings(live, &remembered, contended);
        if found && self.policies.writes() && !self.may_adopt(&findings) {
            let seen = TopicStatus {
                state: TopicState::NotAdopted,
                partitions: Some(live.partitions),
                replicas: Some(live.replicas),
                ..TopicStatus::default()
            };
            let why = match self.policies.adoption {
                AdoptionPolicy::Never => "exists already; adoptionPolicy is Never".to_owned(),
                _ => format!("exists already and differs: {}", findings.differences().join("; ")),
            };
            return self.plan(seen, Reason::AdoptionRefused, &why);
        }
        let status = TopicStatus {
            topic_id: Some(live.id.clone()),
            partitions: Some(live.partitions),
            replicas: Some(live.replicas),
            origin,
            owned_config: findings.owned.iter().cloned().collect(),
            ..TopicStatus::default()
        };
        self.judged(status, &findings, &remembered)
    }

    fn may_adopt(&self, findings: &Findings) -> bool {
        match self.policies.adoption {
            AdoptionPolicy::Always => true,
            AdoptionPolicy::IfIdentical => findings.differences().is_empty(),
            AdoptionPolicy::Never => false,
        }
    }

    fn findings(
        &self,
        live: &LiveTopic,
        remembered: &BTreeSet<String>,
        contended: Option<&BTreeSet<String>>,
    ) -> Findings {
        let mut findings = Findings { owned: remembered.clone(), led: live.led, ..Findings::default() };
        if let Some(want) = self.desired.partitions {
            findings.grow = (want > live.partitions).then_some((live.partitions, want));
            findings.above = (want < live.partitions).then_some((live.partitions, want));
        }
        if let Some(want) = self.desired.replicas {
            findings.replicas = (want != live.replicas && !live.settling).then_some((live.replicas, want));
        }
        match (&self.desired.config, &live.config) {
            (Err(why), _) => findings.invalid = Some(why.clone()),
            (Ok(_), Err(error)) => findings.unreadable = Some(error.clone()),
            (Ok(desired), Ok(values)) => {
                let merged = merge(
                    desired,
                    remembered,
                    &self.desired.unmanaged,
                    values,
                    contended.unwrap_or(&BTreeSet::new()),
                );
                findings.owned = merged.owned;
                findings.config = merged.changes;
                findings.contended = merged.contended;
            }
        }
        findings
    }

    /// Turns findings into deeds and words.
    fn judged(&self, status: TopicStatus, findings: &Findings, remembered: &BTreeSet<String>) -> TopicPlan {
        // The same spec was true before: whatever differs now is somebody else's doing.
        let was_true = self.memory.is_some_and(|m| {
            m.topic_id == status.topic_id
                && matches!(
                    m.state,
                    TopicState::Ready
                        | TopicState::Drifted
                        | TopicState::PartitionsAboveSpec
                        | TopicState::ReplicationFactorDiffers
                )
        });
        let drift = was_true && self.policies.spec_settled;
        let report_only = !self.policies.writes() || (drift && self.policies.drift == DriftPolicy::Report);
        let drifted = (drift && !findings.config.is_empty()) || !findings.contended.is_empty();

        let mut deeds = Vec::new();
        let mut waits = Vec::new();
        if let Some((_, to)) = findings.grow {
            if self.desired.increase == PartitionIncreasePolicy::Manual {
                waits.push("partitionIncreasePolicy is Manual");
            } else if self.policies.writes() {
                deeds.push(Deed::Grow(to));
            }
        }
        if !findings.config.is_empty() && !report_only {
            deeds.push(Deed::Configure(findings.config.clone()));
        }
        // Nothing of ours is written by a set that does not write, so nothing is remembered either.
        let owned = if self.policies.writes() {
            status.owned_config.clone()
        } else {
            remembered.iter().cloned().collect()
        };
        let (state, reason, mut message) = findings.worst(report_only, !deeds.is_empty());
        message.extend(waits.iter().map(|w| (*w).to_owned()));
        let state = if deeds.is_empty() || state != TopicState::Ready { state } else { TopicState::Updating };
        let plan =
            self.plan(TopicStatus { state, owned_config: owned, ..status }, reason, &message.join("; "));
        TopicPlan { deeds, drifted, ..plan }
    }
}

/// All the ways in which a present topic may differ from what is declared.
#[derive(Debug, Default)]
struct Findings {
    grow: Option<(i32, i32)>,
    above: Option<(i32, i32)>,
    replicas: Option<(i32, i32)>,
    invalid: Option<String>,
    unreadable: Option<ApiError>,
    config: Vec<ConfigChange>,
    contended: Vec<String>,
    owned: BTreeSet<String>,
    led: bool,
}

impl Findings {
    /// Each difference in words.
    fn differences(&self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(
            self.grow.or(self.above).map(|(is, want)| format!("partitions are {is}, declared {want}")),
        );
        all.extend(self.replicas.map(|(is, want)| format!("replicas are {is}, declared {want}")));
        all.extend(self.invalid.clone());
        all.extend(
            self.unreadable.as_ref().map(|error| format!("its configuration cannot be read: {error}")),
        );
        all.extend(self.config.iter().map(|change| match change {
            ConfigChange::Set { key, value } => format!("{key} is not {value}"),
            ConfigChange::Reset { key } => format!("{key} should not be set"),
        }));
        all.extend(
            self.contended.iter().map(|key| format!("{key} is set back again and again by somebody else")),
        );
        all
    }

    /// The state, reason and words of the gravest finding; differences that deeds are about to mend count as none.
    fn worst(&self, report_only: bool, mending: bool) -> (TopicState, Reason, Vec<String>) {
        let manual_growth = self.grow.is_some() && !mending;
        if let Some(why) = &self.invalid {
            return (TopicState::Invalid, Reason::InvalidConfig, vec![why.clone()]);
        }
        if let Some(error) = &self.unreadable {
            let (state, reason) = if error.is_authorization() {
                (TopicState::Unauthorized, Reason::AuthorizationFailed)
            } else {
                (TopicState::Failed, Reason::KafkaUnreachable)
            };
            return (state, reason, vec![format!("DescribeConfigs on the topic failed: {error}")]);
        }
        if let Some((is, want)) = self.replicas {
            let message = format!("has {is} replicas, declared {want}; Parley does not move replicas");
            return (TopicState::ReplicationFactorDiffers, Reason::ReplicationFactorDiffers, vec![message]);
        }
        if let Some((is, want)) = self.above {
            let message = format!("has {is} partitions, declared {want}; Kafka cannot take partitions away");
            return (TopicState::PartitionsAboveSpec, Reason::PartitionsAboveSpec, vec![message]);
        }
        if manual_growth || !self.contended.is_empty() || (report_only && !self.differences().is_empty()) {
            return (TopicState::Drifted, Reason::DriftReported, self.differences());
        }
        if mending {
            return (TopicState::Ready, Reason::Progressing, self.differences());
        }
        if !self.led {
            return (
                TopicState::Updating,
                Reason::Progressing,
                vec!["a partition has no leader yet, or is not known to all brokers yet".to_owned()],
            );
        }
        (TopicState::Ready, Reason::Reconciled, Vec::new())
    }
}
