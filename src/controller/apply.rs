//! The deeds of a plan, asked of Kafka in as few calls as there are kinds of deeds.

use std::collections::BTreeMap;

use super::plan::{Deed, TopicPlan};
use crate::{
    api::{Reason, TopicState},
    kafka::admin::{Admin, ApiError, NewTopic, PerTopic},
};

/// The most topics in one call that makes or grows topics: a broker works on a call as a whole, and it must be done
/// well within the admin timeout.
const CREATE_BATCH: usize = 100;

/// What came of each deed.
#[derive(Debug, Default)]
pub(crate) struct Done {
    created: BTreeMap<String, Outcome>,
    grown: BTreeMap<String, Outcome>,
    configured: BTreeMap<String, Outcome>,
}

#[derive(Debug)]
enum Outcome {
    Did,
    /// Somebody else was faster: just as good, but not our doing.
    WasThere,
    Failed(ApiError),
}

/// Asks for everything: topics first, then partitions, then configuration. One topic's refusal does not stop the others.
pub(crate) async fn apply(admin: &Admin, plans: &[TopicPlan]) -> Done {
    let (mut create, mut grow, mut configure): (Vec<NewTopic>, Vec<_>, Vec<_>) = Default::default();
    for plan in plans {
        for deed in &plan.deeds {
            match deed {
                Deed::Create(topic) => create.push(topic.clone()),
                Deed::Grow(to) => grow.push((plan.name.clone(), usize::try_from(*to).unwrap_or(0))),
                Deed::Configure(changes) => configure.push((plan.name.clone(), changes.clone())),
            }
        }
    }
    let mut done = Done::default();
    for batch in create.chunks(CREATE_BATCH) {
        let names = batch.iter().map(|t| t.name.clone()).collect();
        let outcome = admin.create_topics(batch.to_vec(), false).await;
        done.created.extend(outcomes(names, outcome, ApiError::is_topic_exists));
    }
    for batch in grow.chunks(CREATE_BATCH) {
        let names = batch.iter().map(|(name, _)| name.clone()).collect();
        let outcome = admin.create_partitions(batch.to_vec(), false).await;
        done.grown.extend(outcomes(names, outcome, |_| false));
    }
    if !configure.is_empty() {
        let names = configure.iter().map(|(name, _)| name.clone()).collect();
        let outcome = admin.alter_configs(configure, false).await;
        done.configured.extend(outcomes(names, outcome, |_| false));
    }
    done
}

/// One outcome for each name: a call that failed as a whole failed for each.
fn outcomes(
    names: Vec<String>,
    outcome: Result<PerTopic<()>, ApiError>,
    was_there: impl Fn(&ApiError) -> bool,
) -> BTreeMap<String, Outcome> {
    match outcome {
        Err(error) => names.into_iter().map(|name| (name, Outcome::Failed(error.clone()))).collect(),
        Ok(topics) => topics
            .into_iter()
            .map(|(name, outcome)| {
                let outcome = match outcome {
                    Ok(()) => Outcome::Did,
                    Err(error) if was_there(&error) => Outcome::WasThere,
                    Err(error) => Outcome::Failed(error),
                };
                (name, outcome)
            })
            .collect(),
    }
}

impl Done {
    fn all(&self) -> impl Iterator<Item = (&'static str, &BTreeMap<String, Outcome>)> {
        [
            ("Creating the topic", &self.created),
            ("Adding partitions", &self.grown),
            ("Changing the configuration", &self.configured),
        ]
        .into_iter()
    }

    /// Whether this very deed was done by us.
    pub(crate) fn did(&self, topic: &str, deed: &Deed) -> bool {
        let outcomes = match deed {
            Deed::Create(_) => &self.created,
            Deed::Grow(_) => &self.grown,
            Deed::Configure(_) => &self.configured,
        };
        matches!(outcomes.get(topic), Some(Outcome::Did))
    }

    /// Whether anything failed.
    pub(crate) fn failed(&self) -> bool {
        self.all().any(|(_, outcomes)| outcomes.values().any(|o| matches!(o, Outcome::Failed(_))))
    }

    /// What to say of a topic of which a deed failed.
    pub(crate) fn error(&self, topic: &str) -> Option<(TopicState, Reason, String)> {
        let (what, error) = self.all().find_map(|(what, outcomes)| match outcomes.get(topic) {
            Some(Outcome::Failed(error)) => Some((what, error)),
            _ => None,
        })?;
        let (state, reason) = if error.is_authorization() {
            (TopicState::Unauthorized, Reason::AuthorizationFailed)
        } else if error.is_invalid_request() {
            (TopicState::Invalid, Reason::InvalidConfig)
        } else {
            (TopicState::Failed, Reason::KafkaUnreachable)
        };
        Some((state, reason, format!("{what} failed: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strimzi `shReconcileOnTopicExistsException`: who lost the race to create a topic has what it wanted, and has
    /// not done it.
    #[test]
    fn a_topic_that_was_there_is_no_failure() {
        let error = ApiError::topic_exists_for_tests();
        let answered = Ok(vec![("a".to_owned(), Ok(())), ("b".to_owned(), Err(error))]);
        let created = outcomes(vec!["a".to_owned(), "b".to_owned()], answered, ApiError::is_topic_exists);
        let done = Done { created, ..Done::default() };
        let create = |name: &str| {
            Deed::Create(NewTopic {
                name: name.to_owned(),
                partitions: None,
                replicas: None,
                config: BTreeMap::new(),
            })
        };
        assert!(done.did("a", &create("a")) && !done.did("b", &create("b")));
        assert!(!done.failed());
        assert_eq!(done.error("b"), None);
    }

    /// A call that was not answered failed for each of its topics.
    #[test]
    fn no_answer_is_a_failure_of_each() {
        let grown = outcomes(vec!["a".to_owned()], Err(ApiError::unseen("a")), |_| false);
        let done = Done { grown, ..Done::default() };
        assert!(done.failed());
        let (state, reason, message) = done.error("a").unwrap();
        assert_eq!((state, reason), (TopicState::Failed, Reason::KafkaUnreachable));
        assert!(message.starts_with("Adding partitions failed"), "{message}");
    }
}
