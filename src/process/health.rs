use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{IntGaugeVec, Opts};
use serde::Serialize;

use super::metrics::Registry;

/// What a process depends on, by name, and whether it has it: the content of `/readyz`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    states: Arc<Mutex<BTreeMap<&'static str, State>>>,
    gauge: IntGaugeVec,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct State {
    ready: bool,
    /// Whether the process is unready without it. Topics, for example, may come later: `helm install --wait` must end.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// One dependency, as held by the part of the program that looks after it.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: &'static str,
    health: Health,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) ready: bool,
    dependencies: BTreeMap<&'static str, State>,
}

impl Health {
    /// Knows of no dependency yet, and is not ready.
    pub(super) fn new(registry: &Registry) -> Self {
        let opts = Opts::new("parley_ready", "Whether a dependency is there (1) or not (0), by its name.");
        let gauge = IntGaugeVec::new(opts, &["dependency"]);
        #[expect(clippy::expect_used, reason = "the name and label are constants and valid")]
        let gauge = gauge.expect("a valid metric");
        let _ = registry.register(gauge.clone());
        Self { states: Arc::default(), gauge }
    }

    /// Without it the process is not ready. Not there until it says so.
    pub fn required(&self, name: &'static str) -> Dependency {
        self.add(name, true)
    }

    /// Told in `/readyz`, but the process is ready without it.
    pub fn optional(&self, name: &'static str) -> Dependency {
        self.add(name, false)
    }

    fn add(&self, name: &'static str, required: bool) -> Dependency {
        self.set(name, State { ready: false, required, reason: Some("not reached yet".into()) });
        Dependency { name, health: self.clone() }
    }

    fn set(&self, name: &'static str, state: State) {
        self.gauge.with_label_values(&[name]).set(i64::from(state.ready));
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(name, state);
    }

    /// Whether everything required is there. As long as nothing is known to be required, the process has not come that far.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    pub(super) fn report(&self) -> Report {
        let dependencies = self.states.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut required = dependencies.values().filter(|state| state.required).peekable();
        let ready = required.peek().is_some() && required.all(|state| state.ready);
        Report { ready, dependencies }
    }
}

impl Dependency {
    /// It is there.
    pub fn ready(&self) {
        self.update(true, None);
    }

    /// It is not, and why: one line for people, without secrets. Logged when it changes.
    pub fn unready(&self, reason: impl Into<String>) {
        self.update(false, Some(reason.into()));
    }

    fn update(&self, ready: bool, reason: Option<String>) {
        let health = &self.health;
        let before = health.states.lock().unwrap_or_else(PoisonError::into_inner).get(self.name).cloned();
        let required = before.as_ref().is_none_or(|state| state.required);
        let state = State { ready, required, reason };
        if before.as_ref() == Some(&state) {
            return;
        }
        let name = self.name;
        match (&state.reason, before.is_some_and(|state| state.ready)) {
            (Some(reason), _) => tracing::warn!(dependency = name, %reason, "dependency is not ready"),
            (None, false) => tracing::info!(dependency = name, "dependency is ready"),
            (None, true) => {}
        }
        health.set(name, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_everything_required_is() {
        let health = Health::new(&Registry::new());
        assert!(!health.is_ready(), "whoever asks at once must not take it for one that lacks nothing");
        let topics = health.optional("topics");
        assert!(!health.is_ready());
        let kafka = health.required("kafka");
        assert!(!health.is_ready());
        kafka.ready();
        assert!(health.is_ready(), "topics are optional");
        topics.ready();
        kafka.unready("connection refused");
        assert!(!health.is_ready());
        let json = serde_json::to_value(health.report()).unwrap();
        assert_eq!(json["dependencies"]["kafka"]["reason"], "connection refused");
        assert_eq!(json["ready"], false);
    }
}
