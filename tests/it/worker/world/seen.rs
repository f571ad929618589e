//! What workers wrote, as it is read from Kafka.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parley::{
    ids::RequestId,
    wire::{CHAT_EVENT, DEAD_LETTER, Event, Incoming, Kind, open_event, open_reply},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use serde_json::Value;

use super::World;
use crate::fixtures::eventually;

/// A record that a worker wrote.
#[derive(Debug, Clone)]
pub(in crate::worker) struct Seen {
    pub(in crate::worker) topic: String,
    pub(in crate::worker) key: Vec<u8>,
    pub(in crate::worker) value: Vec<u8>,
    pub(in crate::worker) headers: Vec<(String, Vec<u8>)>,
    /// When we saw it.
    pub(in crate::worker) at: Instant,
}

impl Seen {
    pub(in crate::worker) fn incoming(&self) -> Incoming<'_> {
        Incoming {
            topic: &self.topic,
            key: &self.key,
            value: &self.value,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }

    pub(in crate::worker) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub(in crate::worker) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name).unwrap_or_default()).into_owned()
    }
}

impl World {
    /// The value of the first reply to a request.
    pub(in crate::worker) async fn reply(&self, id: RequestId) -> Value {
        eventually(&format!("a reply to {id}"), || async {
            self.replies_to(id).into_iter().next().map(|(v, _)| v)
        })
        .await
    }

    /// All replies to a request so far, and whether each is a replay. Every one must be signed.
    pub(in crate::worker) fn replies_to(&self, id: RequestId) -> Vec<(Value, bool)> {
        let id = id.to_string();
        let replies = |seen: &Seen| {
            if seen.header("request-id") != Some(id.as_bytes()) {
                return None;
            }
            Kind::of_response_topic(&seen.topic)?;
            let opened = open_reply(&self.replies, &seen.incoming()).expect("a signed reply");
            Some((serde_json::from_slice(&seen.value).expect("JSON"), opened.replayed))
        };
        self.locked().iter().filter_map(replies).collect()
    }

    /// Every request that has a reply, and when the first came.
    pub(in crate::worker) fn answered(&self) -> HashMap<RequestId, Instant> {
        let mut answered = HashMap::new();
        for seen in self.locked().iter() {
            if let (Some(_), Ok(id)) = (Kind::of_response_topic(&seen.topic), seen.text("request-id").parse())
            {
                answered.entry(id).or_insert(seen.at);
            }
        }
        answered
    }

    /// All events of a request so far, in no order between partitions. Every one must be signed.
    pub(in crate::worker) fn events_of(&self, id: RequestId) -> Vec<Event> {
        self.events().into_iter().filter(|(cause, _)| *cause == Some(id)).map(|(_, event)| event).collect()
    }

    /// All events so far with the request that each came of.
    pub(in crate::worker) fn events(&self) -> Vec<(Option<RequestId>, Event)> {
        let open = |seen: &Seen| {
            let opened = open_event(&self.replies, &seen.incoming()).expect("a signed event");
            (opened.request_id, opened.event)
        };
        self.locked().iter().filter(|seen| seen.topic == CHAT_EVENT).map(open).collect()
    }

    pub(in crate::worker) fn dead_letters(&self) -> Vec<Seen> {
        self.locked().iter().filter(|seen| seen.topic == DEAD_LETTER).cloned().collect()
    }

    /// All that workers wrote so far.
    pub(in crate::worker) fn written(&self) -> Vec<Seen> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("no panic while locked")
    }
}

/// Reads everything that workers write, from the beginning, as every gateway does: by assignment.
pub(super) fn watch(bootstrap: &str, seen: Arc<Mutex<Vec<Seen>>>, stop: Arc<AtomicBool>) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "watch")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    let topics =
        Kind::ALL.iter().map(|kind| (kind.response_topic(), 2)).chain([(CHAT_EVENT, 3), (DEAD_LETTER, 1)]);
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
    }
    consumer.assign(&all).expect("assigned");
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let headers = message.headers().map(|headers| {
                headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
            });
            seen.lock().expect("no panic while locked").push(Seen {
                topic: message.topic().to_owned(),
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().unwrap_or_default().to_vec(),
                headers: headers.unwrap_or_default(),
                at: Instant::now(),
            });
        }
    });
}
