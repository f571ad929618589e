//! Gathers what the verdict is made of: what people sent and were told, the rows of PostgreSQL, the records of Kafka. Shares no code
//! with what it judges but the opening of signed records.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use parley::wire::{CHAT_EVENT, Event, Incoming, Keyring, Kind, open_event, open_reply};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{
    evidence::{Answer, Counts, Entry, Evidence, Replies, text},
    people::Crowd,
    stage::Stage,
};
use crate::fixtures::{DEADLINE, keys_dir};

impl Stage {
    /// Waits until everybody has heard all that is stored and every request has its reply, and judges. What has not come by then
    /// does not come any more.
    pub(super) async fn judge(&self, crowd: &Crowd) -> Result<Counts, Vec<String>> {
        let begun = Instant::now();
        loop {
            let evidence = block_in_place(|| self.evidence(crowd));
            if evidence.complete() || begun.elapsed() > DEADLINE {
                return evidence.judge();
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn evidence(&self, crowd: &Crowd) -> Evidence {
        let rows = self.rows();
        let (replies, events) = (self.replies(&[Kind::AddChat]), self.events());
        let book = crowd.book.lock().expect("nobody panics while it is held");
        let said = || book.said.iter().enumerate();
        let all = |room: usize| (1 << crowd.circles[room].members.len()) - 1;
        let unheard: BTreeSet<String> =
            said().filter(|(_, said)| said.heard != all(said.room)).map(|(n, _)| text(n)).collect();
        let heard = book.told.iter().map(|((circle, seq), (request, n))| Entry {
            room: crowd.circles[*circle].room.to_string(),
            seq: *seq,
            request: *request,
            text: text(*n),
        });
        Evidence {
            said: book.said.len(),
            given_up: book.said.iter().filter(|said| said.given_up).count(),
            accepted: said().filter_map(|(n, said)| Some((n, said.accepted?))).collect(),
            broken: book.broken.clone(),
            heard: heard.collect(),
            unheard,
            rows,
            replies,
            events,
        }
    }

    fn rows(&self) -> Vec<Entry> {
        let sql = "SELECT room_id, seq, request_id, message FROM messages ORDER BY room_id, seq";
        let text = self.postgres().query(sql);
        let rows = text.lines().map(|line| {
            let mut columns = line.splitn(4, '|');
            let mut next = || columns.next().expect("four columns").to_owned();
            let (room, seq, request, text) = (next(), next(), next(), next());
            Entry {
                room,
                seq: seq.parse().expect("a number"),
                request: request.parse().expect("an id"),
                text,
            }
        });
        rows.collect()
    }

    /// All replies of these kinds, by request. Unsigned ones are none.
    pub(super) fn replies(&self, kinds: &[Kind]) -> Replies {
        let keys = Keyring::load(&keys_dir().join("reply-keys.json")).expect("keys");
        let mut replies = Replies::new();
        for kind in kinds {
            self.read(kind.response_topic(), |record| {
                let opened = open_reply(&keys, record).expect("a signed reply");
                let value: serde_json::Value = serde_json::from_slice(record.value).expect("JSON");
                replies.entry(opened.request_id).or_default().push(Answer {
                    success: value["isSuccess"] == true,
                    code: value["errorCode"].as_str().map(str::to_owned),
                    value: record.value.to_vec(),
                    replayed: opened.replayed,
                });
            });
        }
        replies
    }

    fn events(&self) -> Vec<Entry> {
        let keys = Keyring::load(&keys_dir().join("reply-keys.json")).expect("keys");
        let mut events = Vec::new();
        self.read(CHAT_EVENT, |record| {
            let opened = open_event(&keys, record).expect("a signed event");
            let Event::Message { room_id, seq, request_id, message, .. } = opened.event else { return };
            events.push(Entry {
                room: room_id.to_string(),
                seq: seq.0,
                request: request_id,
                text: message.to_string(),
            });
        });
        events
    }

    /// Reads a topic from its beginning to where it ends now.
    fn read(&self, topic: &str, mut each: impl FnMut(&Incoming<'_>)) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap())
            .set("group.id", "verdict")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let wait = Duration::from_secs(60);
        let metadata = consumer.fetch_metadata(Some(topic), wait).expect("the brokers answer");
        let mut all = TopicPartitionList::new();
        let mut left = BTreeMap::new();
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), wait).expect("offsets");
            assert_eq!(
                low, 0,
                "{topic} has lost its beginning: nothing can be concluded from what it does not hold"
            );
            if high > low {
                all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
                left.insert(partition.id(), high);
            }
        }
        consumer.assign(&all).expect("assigned");
        while !left.is_empty() {
            let message = match consumer.poll(DEADLINE) {
                Some(Ok(message)) => message,
                // Brokers that have just come back are not there for every call; it asks again by itself.
                Some(Err(error)) => {
                    eprintln!("{topic}: {error}");
                    continue;
                }
                None => panic!("{topic} cannot be read"),
            };
            let headers = message.headers().expect("headers");
            each(&Incoming {
                topic: message.topic(),
                key: message.key().unwrap_or_default(),
                value: message.payload().unwrap_or_default(),
                headers: headers
                    .iter()
                    .map(|header| (header.key, header.value.unwrap_or_default()))
                    .collect(),
            });
            if left.get(&message.partition()).is_some_and(|high| message.offset() + 1 >= *high) {
                left.remove(&message.partition());
            }
        }
    }
}
