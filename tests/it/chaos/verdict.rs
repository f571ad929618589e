//! What was promised, held against what there is: what people sent and were told, the rows of PostgreSQL, the records of Kafka.
//! Shares no code with what it judges but the opening of signed records.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use parley::{
    ids::RequestId,
    wire::{CHAT_EVENT, Event, Incoming, Keyring, Kind, open_event, open_reply},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};

use super::{people::Crowd, stage::Stage};
use crate::fixtures::{eventually, keys_dir};

/// A message as PostgreSQL holds it.
struct Row {
    room: String,
    seq: i64,
    request: RequestId,
    text: String,
}

/// A reply record.
struct Answer {
    success: bool,
    code: Option<String>,
    value: Vec<u8>,
    replayed: bool,
}

/// What was counted, when nothing is wrong.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) said: usize,
    pub(super) accepted: usize,
    pub(super) stored: usize,
    pub(super) expired: usize,
    pub(super) given_up: usize,
    pub(super) replays: usize,
}

impl Stage {
    fn rows(&self) -> Vec<Row> {
        let sql = "SELECT room_id, seq, request_id, message FROM messages ORDER BY room_id, seq";
        let text = self.postgres().query(sql);
        let rows = text.lines().map(|line| {
            let mut columns = line.splitn(4, '|');
            let mut next = || columns.next().expect("four columns").to_owned();
            let (room, seq, request, text) = (next(), next(), next(), next());
            Row { room, seq: seq.parse().expect("a number"), request: request.parse().expect("an id"), text }
        });
        rows.collect()
    }

    /// Waits until everybody has heard all that is stored and every request has its reply, and judges.
    pub(super) async fn judge(&self, crowd: &Crowd) -> Result<Counts, Vec<String>> {
        let accepted: Vec<(usize, RequestId)> = {
            let book = crowd.book.lock().expect("nobody panics while it is held");
            let said = book.said.iter().enumerate();
            said.filter_map(|(n, said)| Some((n, said.accepted?))).collect()
        };
        let replies = eventually("a reply to every request", || async {
            let replies = tokio::task::block_in_place(|| self.replies());
            accepted.iter().all(|(_, id)| replies.contains_key(id)).then_some(replies)
        })
        .await;
        let rows = self.rows();
        let heard = |row: &Row| {
            let n: usize = row.text.strip_prefix("chaos ").expect("one of ours").parse().expect("a number");
            let book = crowd.book.lock().expect("nobody panics while it is held");
            let said = &book.said[n];
            said.heard == (1 << crowd.circles[said.room].members.len()) - 1
        };
        eventually("everybody to have heard everything", || async { rows.iter().all(heard).then_some(()) })
            .await;

        let mut wrong = Vec::new();
        let mut counts = Counts { accepted: accepted.len(), stored: rows.len(), ..Counts::default() };
        dense(&rows, &mut wrong);
        let stored: HashMap<RequestId, &Row> = rows.iter().map(|row| (row.request, row)).collect();
        for (n, id) in &accepted {
            let answers = &replies[id];
            let row = stored.get(id).filter(|row| row.text == format!("chaos {n}"));
            let good: Vec<&Answer> = answers.iter().filter(|answer| answer.success).collect();
            if good.is_empty() == row.is_some() {
                wrong.push(format!(
                    "message {n} ({id}): {} good answers, stored: {}",
                    good.len(),
                    row.is_some()
                ));
            }
            if good.iter().any(|answer| answer.value != good[0].value) {
                wrong.push(format!("message {n} ({id}) has answers that differ"));
            }
            if good.iter().filter(|answer| !answer.replayed).count() > 1 {
                wrong.push(format!("message {n} ({id}) was answered twice as if for the first time"));
            }
            counts.replays += answers.iter().filter(|answer| answer.replayed).count();
            if row.is_none() {
                counts.expired += 1;
                let codes: BTreeSet<&str> =
                    answers.iter().filter_map(|answer| answer.code.as_deref()).collect();
                if codes != BTreeSet::from(["deadline_exceeded"]) {
                    wrong.push(format!("message {n} ({id}) was not done because of {codes:?}"));
                }
            }
        }
        self.events(&rows, &mut wrong);
        let book = crowd.book.lock().expect("nobody panics while it is held");
        counts.said = book.said.len();
        counts.given_up = book.said.iter().filter(|said| said.given_up).count();
        wrong.extend(book.broken.iter().cloned());
        if wrong.is_empty() { Ok(counts) } else { Err(wrong) }
    }

    /// All replies to messages, by request. Unsigned ones are none.
    fn replies(&self) -> HashMap<RequestId, Vec<Answer>> {
        let keys = Keyring::load(&keys_dir().join("reply-keys.json")).expect("keys");
        let mut replies: HashMap<RequestId, Vec<Answer>> = HashMap::new();
        self.read(Kind::AddChat.response_topic(), |record| {
            let opened = open_reply(&keys, record).expect("a signed reply");
            let value: serde_json::Value = serde_json::from_slice(record.value).expect("JSON");
            replies.entry(opened.request_id).or_default().push(Answer {
                success: value["isSuccess"] == true,
                code: value["errorCode"].as_str().map(str::to_owned),
                value: record.value.to_vec(),
                replayed: opened.replayed,
            });
        });
        replies
    }

    /// Every stored message was told, as it is. Not always in order: two workers may have a room while partitions are added, and
    /// gateways read from PostgreSQL what is late. The order that people hear is judged where they hear it.
    fn events(&self, rows: &[Row], wrong: &mut Vec<String>) {
        let keys = Keyring::load(&keys_dir().join("reply-keys.json")).expect("keys");
        let mut told: BTreeMap<(String, i64), (RequestId, String)> = BTreeMap::new();
        self.read(CHAT_EVENT, |record| {
            let opened = open_event(&keys, record).expect("a signed event");
            let Event::Message { room_id, seq, request_id, message, .. } = opened.event else { return };
            let room = room_id.to_string();
            let this = (request_id, message.to_string());
            if *told.entry((room.clone(), seq.0)).or_insert_with(|| this.clone()) != this {
                wrong.push(format!("two events tell of {seq} of room {room}, and differ"));
            }
        });
        for row in rows {
            if told.get(&(row.room.clone(), row.seq)) != Some(&(row.request, row.text.clone())) {
                wrong.push(format!("no event tells of {} of room {}: {}", row.seq, row.room, row.text));
            }
        }
        if told.len() != rows.len() {
            wrong.push(format!("{} messages were told, {} are stored", told.len(), rows.len()));
        }
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
            if high > low {
                all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
                left.insert(partition.id(), high);
            }
        }
        consumer.assign(&all).expect("assigned");
        while !left.is_empty() {
            let Some(Ok(message)) = consumer.poll(Duration::from_secs(60)) else {
                panic!("{topic} cannot be read")
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

/// A room's numbers are 1, 2, 3, and no message is there twice.
fn dense(rows: &[Row], wrong: &mut Vec<String>) {
    let mut texts = BTreeSet::new();
    let mut last: HashMap<&str, i64> = HashMap::new();
    for row in rows {
        if !texts.insert(&row.text) {
            wrong.push(format!("{} is stored twice", row.text));
        }
        let last = last.entry(&row.room).or_default();
        if row.seq != *last + 1 {
            wrong.push(format!("room {}: {} follows {last}", row.room, row.seq));
        }
        *last = row.seq;
    }
}
