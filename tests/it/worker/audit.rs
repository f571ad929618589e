use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use parley::{
    ids::{RequestId, RoomId},
    wire::{AddFriend, AddRoom, ChangeStatus, Event, LeaveRoom, Outgoing, Request},
};

use super::world::{PASSWORD, Person, World};
use crate::fixtures::{eventually, unique};

/// A worker that was killed is missed for a while; nothing may time out meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// Requests that were sent, and what must have come of them however often workers died meanwhile.
pub(super) struct Load {
    people: Vec<Person>,
    rooms: Vec<RoomId>,
    /// What was sent: the id, and what it asked.
    sent: Vec<(RequestId, Request)>,
    /// When everything was sent, in order.
    times: Vec<Instant>,
    prepared: Vec<Outgoing>,
}

impl Load {
    /// Four people who are friends in a ring, and two rooms of all of them.
    pub(super) fn new(world: &World) -> Self {
        let people: Vec<Person> = (0..4).map(|_| world.person("load")).collect();
        for n in 0..people.len() {
            world.befriend(&people[n], &people[(n + 1) % people.len()]);
        }
        let everybody: Vec<&Person> = people.iter().collect();
        let rooms = vec![world.room(&everybody), world.room(&everybody)];
        Self { people, rooms, sent: Vec::new(), times: Vec::new(), prepared: Vec::new() }
    }

    /// Sends `count` messages, and one of everything else that changes state for each ten of them.
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
            records.push(self.push(world, &who, who.says(room, &format!("message {}", self.sent.len()))));
            if n % 10 == 0 {
                records.extend(self.changes(world, &who));
            }
        }
        self.prepared.extend(records);
    }

    pub(super) async fn send_prepared(&mut self, world: &World) {
        world.produce_all(&std::mem::take(&mut self.prepared)).await;
        self.times.resize(self.sent.len(), Instant::now());
    }

    /// The longest that anything sent waited for its answer; all of it is answered.
    pub(super) fn longest_wait(&self, world: &World) -> Duration {
        let answered = world.answered();
        let wait = |((id, _), sent): (&(RequestId, Request), &Instant)| {
            answered[id].saturating_duration_since(*sent)
        };
        self.sent.iter().zip(&self.times).map(wait).max().unwrap_or_default()
    }

    fn changes(&mut self, world: &World, who: &Person) -> Vec<Outgoing> {
        let friend =
            &self.people[(self.people.iter().position(|p| p.id == who.id).expect("one of them") + 1) % 4];
        let stranger = world.person("late");
        let left = LeaveRoom { user_id: who.id.clone(), room_id: world.room(&[who, friend]) };
        let (friend_id, stranger_id) = (friend.id.clone(), stranger.id);
        let status = format!("status {}", self.sent.len());
        let requests = [
            Request::AddFriend(AddFriend { user_id: who.id.clone(), friend_id: vec![stranger_id] }),
            Request::ChangeStatus(ChangeStatus {
                user_id: who.id.clone(),
                status: status.parse().expect("a status"),
            }),
            Request::AddRoom(AddRoom {
                user_id: who.id.clone(),
                friend_id: vec![friend_id],
                room_name: None,
                room_id: None,
            }),
            Request::LeaveRoom(left),
        ];
        let mut records: Vec<Outgoing> =
            requests.into_iter().map(|request| self.push(world, who, request)).collect();
        let (mut headers, request) = world.sign_up(&unique("new"), PASSWORD);
        headers.deadline = headers.deadline.after(PATIENCE);
        records.push(world.record(&headers, &request));
        self.sent.push((headers.request_id, request));
        records
    }

    fn push(&mut self, world: &World, who: &Person, request: Request) -> Outgoing {
        let mut headers = world.headers(who);
        headers.deadline = headers.deadline.after(PATIENCE);
        let record = world.record(&headers, &request);
        self.sent.push((headers.request_id, request));
        record
    }

    /// Waits until everything is answered, and holds database, replies and events against what was asked.
    pub(super) async fn audit(&self, world: &World, what: &str) {
        let all: HashSet<RequestId> = self.sent.iter().map(|(id, _)| *id).collect();
        eventually(&format!("{what}: an answer to everything"), || async {
            let answered = world.answered();
            all.iter().all(|id| answered.contains_key(id)).then_some(())
        })
        .await;
        self.audit_replies(world, what);
        self.audit_messages(world, what);
        let friends = world.database.sql(
            "SELECT count(*) FROM friendships f WHERE NOT EXISTS
                 (SELECT FROM friendships g WHERE g.user_id = f.friend_id AND g.friend_id = f.user_id)",
        );
        assert_eq!(friends, "0", "{what}: a friendship is one-sided");
        let members = world.database.sql(
            "SELECT count(*) FROM rooms r WHERE member_count <> (SELECT count(*) FROM members m WHERE m.room_id = r.room_id AND left_seq IS NULL)",
        );
        assert_eq!(members, "0", "{what}: members are miscounted");
        // Every change of state left its outcome, once.
        for chats in [true, false] {
            let of_table =
                |(_, request): &&(RequestId, Request)| matches!(request, Request::AddChat(_)) == chats;
            let ids: Vec<String> =
                self.sent.iter().filter(of_table).map(|(id, _)| format!("'{id}'::uuid")).collect();
            let table = if chats { "messages" } else { "inbox" };
            let rows = world.database.sql(&format!(
                "SELECT count(*), count(DISTINCT request_id) FROM {table} WHERE request_id = ANY(ARRAY[{}])",
                ids.join(",")
            ));
            assert_eq!(rows, format!("{0}|{0}", ids.len()), "{what}: outcomes in {table}");
        }
    }

    /// How much of what was sent has its outcome in the database.
    pub(super) fn committed(&self, world: &World) -> usize {
        let ids: Vec<String> = self.sent.iter().map(|(id, _)| format!("'{id}'::uuid")).collect();
        let rows = world.database.sql(&format!(
            "SELECT (SELECT count(*) FROM messages WHERE request_id = ANY(ids)) + (SELECT count(*) FROM inbox WHERE request_id = ANY(ids))
             FROM (SELECT ARRAY[{}] AS ids) t",
            ids.join(",")
        ));
        rows.parse().expect("a count")
    }

    fn audit_replies(&self, world: &World, what: &str) {
        for (id, request) in &self.sent {
            let replies = world.replies_to(*id);
            let first = &replies[0].0;
            assert_eq!(first["isSuccess"], true, "{what}: {id} ({}) {first}", request.kind());
            assert!(
                replies.iter().all(|(value, _)| value == first),
                "{what}: replies to {id} differ: {replies:?}"
            );
            let unmarked = replies.iter().filter(|(_, replayed)| !replayed).count();
            assert!(unmarked <= 1, "{what}: {id} was answered {unmarked} times as if for the first time");
        }
    }

    fn audit_messages(&self, world: &World, what: &str) {
        for room in &self.rooms {
            let dense = world.database.sql(&format!(
                "SELECT count(*) = max(seq) AND min(seq) = 1 AND max(seq) = (SELECT last_seq FROM rooms WHERE room_id = '{room}')
                 FROM messages WHERE room_id = '{room}'"
            ));
            assert_eq!(dense, "t", "{what}: numbers of {room} are not dense");
        }
        let mut heard: HashMap<RequestId, Event> = HashMap::new();
        // A reader who drops doubles by room and number sees every message in order.
        let mut newest: HashMap<RoomId, i64> = HashMap::new();
        for (_, event) in world.events() {
            let Event::Message { request_id, room_id, seq, .. } = &event else { continue };
            let newest = newest.entry(*room_id).or_default();
            assert!(seq.0 <= *newest + 1, "{what}: {seq} of {room_id} was heard after {newest}");
            *newest = (*newest).max(seq.0);
            if let Some(before) = heard.get(request_id) {
                assert_eq!(*before, event, "{what}: two events of one message differ");
            }
            heard.insert(*request_id, event);
        }
        for (id, request) in &self.sent {
            let Request::AddChat(chat) = request else { continue };
            let Some(Event::Message { message, .. }) = heard.get(id) else {
                panic!("{what}: nobody heard of {id}")
            };
            assert_eq!(message, chat.message.as_str());
        }
    }
}
