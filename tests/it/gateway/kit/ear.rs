use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parley::{
    ids::RoomId,
    loadgen::{ClientError, Message, Stream},
};

use super::Person;
use crate::fixtures::{DEADLINE, eventually};

/// A stream, with what it heard so far.
pub(crate) struct Ear {
    stream: Stream,
    pub(crate) heard: Vec<Arc<Message>>,
}

impl Ear {
    /// Opens the stream, from a cursor when one is given.
    pub(crate) async fn open(person: &Person, gateway: SocketAddr, cursor: Option<&str>) -> Self {
        let stream = person.client.at(gateway).events(cursor).await.expect("a stream");
        Self { stream, heard: Vec::new() }
    }

    /// Opens the stream and reads up to the end of its beginning: `hello` with a user, or what became of the cursor. A gateway that
    /// cannot say whose it is (a database that is slow) tells to come back: so it does, as a browser would.
    pub(crate) async fn live(person: &Person, gateway: SocketAddr, cursor: Option<&str>) -> Self {
        let begun = |block: &Message| match cursor {
            Some(_) => ["resumed", "resync"].contains(&block.event.as_str()),
            None => block.event == "hello" && block.data.contains("userId\":\""),
        };
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let mut ear = Self::open(person, gateway, cursor).await;
            while let Some(block) = ear.next().await {
                if begun(&block) {
                    return ear;
                }
            }
            assert!(ear.heard.iter().any(|block| block.retry.is_some()), "it tells when: {}", ear.summary());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("no stream of {} began within {DEADLINE:?}", person.id);
    }

    /// Waits for a gateway to say of a person's streams that they are over for good (204). One that cannot say whose a stream is (a
    /// database that is slow) tells to come again: so it does.
    pub(crate) async fn never(person: &Person, gateway: SocketAddr) {
        eventually("a browser to be told to stop", || async {
            match person.client.at(gateway).events(None).await {
                Err(ClientError::Status(204)) => return Some(()),
                Err(error) => panic!("{error}"),
                Ok(stream) => {
                    let mut ear = Self { stream, heard: Vec::new() };
                    while let Some(block) = ear.next().await {
                        assert_ne!(block.event, "hello", "{}", block.data);
                    }
                }
            }
            None
        })
        .await;
    }

    /// The next block; `None` at the end of the stream. Fails when the stream breaks its grammar or HTTP's, or is cut: no test here
    /// kills a gateway that somebody listens to.
    pub(crate) async fn next(&mut self) -> Option<Arc<Message>> {
        let next = tokio::time::timeout(DEADLINE, self.stream.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing within {DEADLINE:?}: {}", self.summary()));
        let block = next.unwrap_or_else(|error| panic!("{error}, after {}", self.summary()))?;
        self.heard.push(Arc::clone(&block));
        Some(block)
    }

    /// Reads up to a block; fails when it does not come.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Arc<Message> {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            match self.next().await {
                Some(block) if wanted(&block) => return block,
                Some(_) => {}
                None => panic!("the stream ended before {what}: {}", self.summary()),
            }
        }
        panic!("no {what} within {DEADLINE:?}: {}", self.summary());
    }

    /// The last blocks, cut short.
    fn summary(&self) -> String {
        let last = self.heard.iter().rev().take(12).rev();
        last.map(|block| format!("\n  {} {:.80} {:?}", block.event, block.data, block.id)).collect()
    }

    /// Reads until the stream ends.
    pub(crate) async fn run_out(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Reads up to a message with this number of this room.
    pub(crate) async fn message(&mut self, room: RoomId, seq: i64) -> Arc<Message> {
        self.until(&format!("message {seq}"), |block| seq_of(block, room) == Some(seq)).await
    }

    /// The cursor after the last block.
    pub(crate) fn cursor(&self) -> String {
        self.stream.last_id().expect("an id").to_owned()
    }

    /// The numbers of a room's messages, as they came.
    pub(crate) fn seqs(&self, room: RoomId) -> Vec<i64> {
        self.heard.iter().filter_map(|block| seq_of(block, room)).collect()
    }

    /// How often each event came.
    pub(crate) fn count(&self, event: &str) -> usize {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for block in &self.heard {
            *counts.entry(block.event.as_str()).or_default() += 1;
        }
        counts.get(event).copied().unwrap_or(0)
    }
}

/// The number of a message of this room.
pub(crate) fn seq_of(block: &Message, room: RoomId) -> Option<i64> {
    if block.event != "message" {
        return None;
    }
    let data: serde_json::Value = serde_json::from_str(&block.data).expect("JSON");
    (data["roomId"] == room.to_string()).then(|| data["seq"].as_i64()).flatten()
}
