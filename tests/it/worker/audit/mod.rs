//! Load that changes state in every way there is, and the audit of what came of it: replies, database and events are held
//! against what was asked, however often workers died meanwhile.

mod changes;
mod effects;
mod events;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use events::Heard;
use parley::{
    ids::{RequestId, RoomId, SessionKey, UserId},
    wire::{Kind, Outgoing, Request, RequestHeaders},
};
use serde_json::Value;

use super::world::{Person, World};
use crate::fixtures::{DEADLINE, eventually};

/// A worker that was killed is missed for a while; nothing may time out meanwhile.
const PATIENCE: Duration = DEADLINE.saturating_mul(4);

/// A request that was sent, and what must come of it.
struct Sent {
    headers: RequestHeaders,
    request: Request,
    /// What the answer may be: `ok`, or the code of a refusal.
    codes: &'static [&'static str],
    /// Who hears of it, each at least once; nobody hears of anything else.
    heard: Vec<Heard>,
}

/// Requests that were sent, and the state that they began with.
pub(super) struct Load {
    people: Vec<Person>,
    /// Rooms of all of them, in which they talk.
    rooms: Vec<RoomId>,
    /// Rooms of some of them that grow and are left, and who was in each at first.
    planted: Vec<(RoomId, Vec<UserId>)>,
    /// Sessions that were open at first, and whose they were.
    opened: Vec<(SessionKey, UserId)>,
    /// Pairs whose room was asked for, by the first of them.
    pairs: HashSet<UserId>,
    /// The version of each who changed something that friends see.
    versions: HashMap<UserId, i64>,
    /// Failures and sign-ups that must be counted, by the subject of the throttle.
    throttles: BTreeMap<String, i64>,
    sent: Vec<Sent>,
    /// How often everything but a message was asked for.
    rounds: usize,
    prepared: Vec<Outgoing>,
}

impl Load {
    /// Sends `count` messages, and everything else that changes state for each ten of them.
    pub(super) async fn send(&mut self, world: &World, count: usize) {
        self.prepare(world, count);
        self.send_prepared(world).await;
    }

    /// Makes the records: that needs PostgreSQL, their sending does not.
    pub(super) fn prepare(&mut self, world: &World, count: usize) {
        let mut records: Vec<Outgoing> = Vec::new();
        for n in 0..count {
            let who = self.people[n % self.people.len()].clone();
            let room = self.rooms[n % self.rooms.len()];
            let says = who.says(room, &format!("message {}", self.sent.len()));
            records.push(self.push(world, world.headers(&who), says, &["ok"], vec![Heard::Message]));
            if n % 10 == 0 {
                records.extend(self.changes(world));
            }
        }
        self.prepared.extend(records);
    }

    pub(super) async fn send_prepared(&mut self, world: &World) {
        world.produce_all(&std::mem::take(&mut self.prepared)).await;
    }

    fn push(
        &mut self,
        world: &World,
        mut headers: RequestHeaders,
        request: Request,
        codes: &'static [&'static str],
        heard: Vec<Heard>,
    ) -> Outgoing {
        headers.deadline = headers.deadline.after(PATIENCE);
        let record = world.record(&headers, &request);
        self.sent.push(Sent { headers, request, codes, heard });
        record
    }

    /// Waits until everything is answered, and holds replies, database and events against what was asked.
    pub(super) async fn audit(&self, world: &World, what: &str) {
        eventually(&format!("{what}: an answer to everything"), || async {
            let answered = world.answered();
            self.sent.iter().all(|sent| answered.contains_key(&sent.id())).then_some(())
        })
        .await;
        let replies = self.audit_replies(world, what);
        let stored = self.audit_database(world, &replies, what);
        self.audit_events(world, &replies, &stored, what).await;
    }

    /// How many requests of this kind were sent.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.sent.iter().filter(|sent| sent.request.kind() == kind).count()
    }

    /// The requests of this kind that have their outcome in the database.
    pub(super) fn done(&self, world: &World, kind: Kind) -> Vec<RequestId> {
        let ids = self.sent.iter().filter(|sent| sent.request.kind() == kind);
        let ids = array(ids.map(|sent| format!("'{}'", sent.id())), "uuid");
        let rows = world.database.sql(&format!(
            "SELECT request_id FROM messages WHERE request_id = ANY({ids}) UNION SELECT request_id FROM inbox WHERE request_id = ANY({ids})"
        ));
        rows.lines().map(|line| line.parse().expect("an id")).collect()
    }

    /// How much of what was sent has its outcome in the database.
    pub(super) fn committed(&self, world: &World) -> usize {
        Kind::ALL.into_iter().map(|kind| self.done(world, kind).len()).sum()
    }

    /// The answer to each request. All answers to one are alike, and one at most looks like the first.
    fn audit_replies(&self, world: &World, what: &str) -> HashMap<RequestId, Value> {
        let check = |sent: &Sent| {
            let (id, kind) = (sent.id(), sent.request.kind());
            let replies = world.replies_to(id);
            let first = &replies[0].0;
            let code = first["errorCode"].as_str().unwrap_or("ok");
            assert_eq!(first["isSuccess"], code == "ok", "{what}: {id} ({kind}) {first}");
            assert!(sent.codes.contains(&code), "{what}: {id} ({kind}) {first}");
            assert!(
                replies.iter().all(|(value, _)| value == first),
                "{what}: replies to {id} ({kind}) differ: {replies:?}"
            );
            let unmarked = replies.iter().filter(|(_, replayed)| !replayed).count();
            assert!(unmarked <= 1, "{what}: {id} was answered {unmarked} times as if for the first time");
            (id, first.clone())
        };
        self.sent.iter().map(check).collect()
    }
}

impl Sent {
    fn id(&self) -> RequestId {
        self.headers.request_id
    }
}

/// An SQL array of these expressions.
fn array(items: impl Iterator<Item = String>, of: &str) -> String {
    format!("ARRAY[{}]::{of}[]", items.collect::<Vec<_>>().join(","))
}
