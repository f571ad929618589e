//! Conditions: six types, always all present, with reasons from a closed set.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The condition types of a set. `Reconciling` and `Stalled` are kstatus's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The summary of all others.
    Ready,
    /// Every topic is as declared.
    TopicsReady,
    /// Every worker has the replicas that were wanted.
    WorkersReady,
    /// Something is under way.
    Reconciling,
    /// Nothing will change until a person does something.
    Stalled,
    /// Somebody changed what this set declares.
    Drifted,
}

impl ConditionType {
    /// All types, in the order in which they stand in the status.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::TopicsReady, Self::WorkersReady, Self::Reconciling, Self::Stalled, Self::Drifted];

    /// The name as it stands in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::TopicsReady => "TopicsReady",
            Self::WorkersReady => "WorkersReady",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Drifted => "Drifted",
        }
    }
}

/// Why a condition has its status. A closed set: users may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the words of the contract and say themselves")]
pub enum Reason {
    Reconciled,
    Progressing,
    KafkaUnreachable,
    AuthorizationFailed,
    PartitionsAboveSpec,
    ReplicationFactorDiffers,
    InvalidConfig,
    OwnershipConflict,
    ClusterIdMismatch,
    AdoptionRefused,
    DriftReported,
    TargetNotFound,
    ReplicasContended,
    LagUnknown,
    GroupRebalancing,
    Stuck,
    FinalizerTimedOut,
    Paused,
    Observing,
}

impl Reason {
    /// The word as it stands in `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconciled => "Reconciled",
            Self::Progressing => "Progressing",
            Self::KafkaUnreachable => "KafkaUnreachable",
            Self::AuthorizationFailed => "AuthorizationFailed",
            Self::PartitionsAboveSpec => "PartitionsAboveSpec",
            Self::ReplicationFactorDiffers => "ReplicationFactorDiffers",
            Self::InvalidConfig => "InvalidConfig",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::ClusterIdMismatch => "ClusterIdMismatch",
            Self::AdoptionRefused => "AdoptionRefused",
            Self::DriftReported => "DriftReported",
            Self::TargetNotFound => "TargetNotFound",
            Self::ReplicasContended => "ReplicasContended",
            Self::LagUnknown => "LagUnknown",
            Self::GroupRebalancing => "GroupRebalancing",
            Self::Stuck => "Stuck",
            Self::FinalizerTimedOut => "FinalizerTimedOut",
            Self::Paused => "Paused",
            Self::Observing => "Observing",
        }
    }

    /// Whether the state it names ends only when a person changes something, in the set or in the cluster
    /// (kstatus: `Stalled`); the others pass by themselves or by another try.
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::AuthorizationFailed
                | Self::ReplicationFactorDiffers
                | Self::InvalidConfig
                | Self::OwnershipConflict
                | Self::ClusterIdMismatch
                | Self::AdoptionRefused
                | Self::ReplicasContended
                | Self::Stuck
                | Self::FinalizerTimedOut
        )
    }
}

/// The status of a condition; `None` in [`Verdict::status`] is `Unknown`.
fn status_word(status: Option<bool>) -> &'static str {
    match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// What is to be said about one condition, before times are put to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which condition.
    pub kind: ConditionType,
    /// True, false or (None) unknown.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// The same in words, cut to [`MESSAGE_MAX`] characters when written.
    pub message: String,
}

/// The longest message written anywhere in the status, in characters.
pub const MESSAGE_MAX: usize = 256;

/// Cuts a text to [`MESSAGE_MAX`] characters, the last of which is then an ellipsis.
pub fn bounded_message(text: &str) -> String {
    if text.chars().count() <= MESSAGE_MAX {
        return text.to_owned();
    }
    text.chars().take(MESSAGE_MAX - 1).chain(std::iter::once('…')).collect()
}

/// Puts times to verdicts: `lastTransitionTime` moves only when the status does, so that an unchanged set gives the
/// very conditions that it had.
pub fn conditions(
    old: &[Condition],
    verdicts: &[Verdict],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .iter()
        .map(|verdict| {
            let status = status_word(verdict.status);
            let since = old
                .iter()
                .find(|c| c.type_ == verdict.kind.as_str() && c.status == status)
                .map_or(Time(now), |c| c.last_transition_time.clone());
            Condition {
                type_: verdict.kind.as_str().to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.as_str().to_owned(),
                message: bounded_message(&verdict.message),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Option<bool>, message: &str) -> Verdict {
        Verdict {
            kind: ConditionType::Ready,
            status,
            reason: Reason::Reconciled,
            message: message.to_owned(),
        }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let then = Timestamp::from_second(1_000).unwrap();
        let later = Timestamp::from_second(2_000).unwrap();
        let first = conditions(&[], &[verdict(Some(true), "a")], Some(1), then);
        let same = conditions(&first, &[verdict(Some(true), "b")], Some(2), later);
        assert_eq!(same[0].last_transition_time, Time(then));
        assert_eq!(same[0].message, "b");
        assert_eq!(same[0].observed_generation, Some(2));
        let other = conditions(&first, &[verdict(None, "c")], Some(2), later);
        assert_eq!((other[0].status.as_str(), &other[0].last_transition_time), ("Unknown", &Time(later)));
    }

    #[test]
    fn messages_are_cut_by_characters() {
        let long = "ä".repeat(MESSAGE_MAX + 1);
        let cut = bounded_message(&long);
        assert_eq!(cut.chars().count(), MESSAGE_MAX);
        assert!(cut.ends_with('…'));
        assert_eq!(bounded_message("short"), "short");
    }
}
