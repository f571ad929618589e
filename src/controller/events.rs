//! Events (events.k8s.io/v1). kube's own recorder aggregates without the note and would lose the second topic's name;
//! this one counts only what is the same in every word.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::ownership::SetKey;

/// What an event is about. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EventReason {
    TopicCreated,
    PartitionsIncreased,
    ConfigChanged,
    TopicDeleted,
    TopicLost,
    Scaled,
    ScaleContended,
    Refused,
}

impl EventReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TopicCreated => "TopicCreated",
            Self::PartitionsIncreased => "PartitionsIncreased",
            Self::ConfigChanged => "ConfigChanged",
            Self::TopicDeleted => "TopicDeleted",
            Self::TopicLost => "TopicLost",
            Self::Scaled => "Scaled",
            Self::ScaleContended => "ScaleContended",
            Self::Refused => "Refused",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::TopicLost | Self::ScaleContended | Self::Refused => "Warning",
            _ => "Normal",
        }
    }
}

/// The longest note, in bytes, that the API server takes.
const NOTE_MAX: usize = 1_024;
/// An event that was sent this long ago is sent as a new one.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// The most series remembered; older ones go first.
const SERIES_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    uid: String,
    reason: EventReason,
    note: String,
}

#[derive(Clone, Debug)]
struct Series {
    event: String,
    count: i32,
    last: Timestamp,
}

/// What an event is about.
struct About<'a> {
    api_version: &'static str,
    kind: &'static str,
    key: &'a SetKey,
    uid: Option<String>,
}

/// Sends events and remembers what it has sent lately.
pub(crate) struct Recorder {
    client: Client,
    instance: String,
    series: Mutex<HashMap<SeriesKey, Series>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Recorder {
    pub(crate) fn new(client: Client, instance: String) -> Self {
        Self { client, instance, series: Mutex::default() }
    }

    /// Sends an event about a set. An event that cannot be sent is logged and forgotten: nothing depends on it.
    pub(crate) async fn send(&self, set: &SetKey, uid: &str, reason: EventReason, note: &str) {
        let about = About {
            api_version: "parley.dev/v1alpha1",
            kind: "ChatTopicSet",
            key: set,
            uid: Some(uid.to_owned()),
        };
        self.tell(&about, reason, note).await;
    }

    /// The same about the lease, for what concerns no set.
    pub(crate) async fn send_about_lease(&self, lease: &SetKey, reason: EventReason, note: &str) {
        let about = About { api_version: "coordination.k8s.io/v1", kind: "Lease", key: lease, uid: None };
        self.tell(&about, reason, note).await;
    }

    async fn tell(&self, about: &About<'_>, reason: EventReason, note: &str) {
        let note = bounded_note(note);
        let kind = about.kind;
        tracing::info!(kind, name = %about.key, reason = reason.as_str(), "{note}");
        if let Err(error) = self.try_send(about, reason, note).await {
            tracing::debug!(kind, name = %about.key, %error, "an event could not be sent");
        }
    }

    async fn try_send(
        &self,
        about: &About<'_>,
        reason: EventReason,
        note: String,
    ) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &about.key.namespace);
        let key = SeriesKey { uid: about.uid.clone().unwrap_or_else(|| about.key.to_string()), reason, note };
        let known = self.series.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let series = match known.filter(|series| now.duration_since(series.last) < SERIES) {
            Some(series) => {
                let series = Series { count: series.count.saturating_add(1), last: now, ..series };
                let patch = json!({"series": EventSeries { count: series.count, last_observed_time: MicroTime(now) }});
                api.patch(&series.event, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                series
            }
            None => {
                let event = self.event(about, &key, now);
                let name = event.metadata.name.clone().unwrap_or_default();
                api.create(&PostParams::default(), &event).await?;
                Series { event: name, count: 1, last: now }
            }
        };
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, series);
        if all.len() > SERIES_MAX {
            all.retain(|_, series| now.duration_since(series.last) < SERIES);
        }
        if all.len() > SERIES_MAX {
            all.clear();
        }
        Ok(())
    }

    fn event(&self, about: &About<'_>, key: &SeriesKey, now: Timestamp) -> Event {
        let SetKey { namespace, name } = about.key;
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some("parley.dev/controller".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(key.reason.as_str().to_owned()),
            reason: Some(key.reason.as_str().to_owned()),
            type_: Some(key.reason.kind().to_owned()),
            note: Some(key.note.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(about.api_version.to_owned()),
                kind: Some(about.kind.to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: about.uid.clone(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// Cuts a note to what the API server takes, at a character's border.
fn bounded_note(note: &str) -> String {
    if note.len() <= NOTE_MAX {
        return note.to_owned();
    }
    let mut end = NOTE_MAX - '…'.len_utf8();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_by_bytes_at_a_character() {
        let cut = bounded_note(&"ä".repeat(NOTE_MAX));
        assert!(cut.len() <= NOTE_MAX && cut.ends_with('…'));
        assert_eq!(bounded_note("short"), "short");
    }
}
