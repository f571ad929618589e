//! The deeds of a plan, asked of Kafka in as few calls as there are kinds of deeds.

use std::collections::BTreeMap;

use super::plan::{Deed, TopicPlan};
use crate::{
    api::{Reason, TopicState},
    kafka::admin::{Admin, ApiError, CHANGES_AT_ONCE, ConfigChange, NewTopic, PerTopic},
};

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

/// One request to Kafka.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    Create(Vec<NewTopic>),
    Grow(Vec<(String, usize)>),
    Configure(Vec<(String, Vec<ConfigChange>)>),
}

/// The requests that plans come to, in the order in which they are safe: topics first, then partitions, then configuration.
/// Nothing is asked of a topic that is not there yet, and nothing here takes anything away.
fn calls(plans: &[TopicPlan]) -> Vec<Call> {
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
    let create = create.chunks(CHANGES_AT_ONCE).map(|batch| Call::Create(batch.to_vec()));
    let grow = grow.chunks(CHANGES_AT_ONCE).map(|batch| Call::Grow(batch.to_vec()));
    let configure = configure.chunks(CHANGES_AT_ONCE).map(|batch| Call::Configure(batch.to_vec()));
    create.chain(grow).chain(configure).collect()
}

/// Asks for everything. One topic's refusal does not stop the others.
pub(crate) async fn apply(admin: &Admin, plans: &[TopicPlan]) -> Done {
    let mut done = Done::default();
    for call in calls(plans) {
        match call {
            Call::Create(topics) => {
                let names = topics.iter().map(|t| t.name.clone()).collect();
                let outcome = admin.create_topics(topics, false).await;
                done.created.extend(outcomes(names, outcome, ApiError::is_topic_exists));
            }
            Call::Grow(topics) => {
                let names = topics.iter().map(|(name, _)| name.clone()).collect();
                let outcome = admin.create_partitions(topics, false).await;
                done.grown.extend(outcomes(names, outcome, |_| false));
            }
            Call::Configure(topics) => {
                let names = topics.iter().map(|(name, _)| name.clone()).collect();
                let outcome = admin.alter_configs(topics, false).await;
                done.configured.extend(outcomes(names, outcome, |_| false));
            }
        }
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

    /// Whether the topic was there already when it was to be made.
    pub(crate) fn was_there(&self, topic: &str) -> bool {
        matches!(self.created.get(topic), Some(Outcome::WasThere))
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
    use proptest::prelude::*;

    use super::*;
    use crate::controller::{
        fuzzing::perform,
        plan::{
            Contended, Live, Owner, plan_topic,
            properties::{any_desired, any_live, any_memory, any_policies},
        },
    };

    proptest! {
        /// The order is safe: call by call, Kafka would take each one, never asked about a topic before it is there, and what
        /// comes out is what each plan by itself would have made. Every deed is asked for once, and no call is too large.
        #[test]
        fn the_order_of_calls_is_safe(
            topics in prop::collection::vec((any_desired(), any_live(), any_memory()), 0..250),
            policies in any_policies(),
        ) {
            let mut live = BTreeMap::new();
            let mut plans = Vec::new();
            for (i, (mut wanted, before, mut memory)) in topics.into_iter().enumerate() {
                wanted.name = format!("t{i}");
                memory.iter_mut().for_each(|memory| memory.name.clone_from(&wanted.name));
                let plan =
                    plan_topic(&wanted, memory.as_ref(), &before, &Owner::Me, &policies, &Contended::new());
                live.insert(wanted.name, before);
                plans.push(plan);
            }
            let each: BTreeMap<String, Live> =
                plans.iter().map(|plan| (plan.name.clone(), perform(&live[&plan.name], &plan.deeds))).collect();
            let mut asked = 0;
            let mut last = 0;
            for call in calls(&plans) {
                let (kind, deeds): (u8, Vec<(String, Deed)>) = match call {
                    Call::Create(topics) => {
                        (0, topics.into_iter().map(|t| (t.name.clone(), Deed::Create(t))).collect())
                    }
                    Call::Grow(topics) => {
                        let grow = |(name, to)| (name, Deed::Grow(i32::try_from(to).unwrap()));
                        (1, topics.into_iter().map(grow).collect())
                    }
                    Call::Configure(topics) => {
                        (2, topics.into_iter().map(|(name, changes)| (name, Deed::Configure(changes))).collect())
                    }
                };
                prop_assert!(kind >= last, "a call of kind {} after one of kind {}", kind, last);
                prop_assert!(!deeds.is_empty() && deeds.len() <= CHANGES_AT_ONCE);
                last = kind;
                asked += deeds.len();
                for (name, deed) in deeds {
                    let after = perform(&live[&name], &[deed]);
                    live.insert(name, after);
                }
            }
            prop_assert_eq!(asked, plans.iter().map(|plan| plan.deeds.len()).sum::<usize>());
            prop_assert_eq!(live, each);
        }
    }

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
        assert!(!done.was_there("a") && done.was_there("b"));
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
