//! The database against requests: each table holds what was asked for, once, and nothing else of those who asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parley::{
    ids::{RequestId, RoomId, Timestamp, UserId},
    wire::{AddRoom, Kind, Request},
};
use serde_json::Value;

use super::{Load, array, changes::OPENED};
use crate::worker::world::World;

/// A timestamp as microseconds of the epoch.
fn micros(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000000)::bigint")
}

fn users<'a>(ids: impl IntoIterator<Item = &'a UserId>) -> String {
    array(ids.into_iter().map(|id| format!("'{id}'")), "text")
}

/// The rows of a query must be these, each once.
fn hold(world: &World, what: &str, table: &str, query: &str, mut want: Vec<String>) {
    let rows = world.database.sql(query);
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    want.sort_unstable();
    let missing: Vec<&String> = want.iter().filter(|row| !rows.contains(&row.as_str())).collect();
    let strange: Vec<&&str> = rows.iter().filter(|row| !want.iter().any(|w| w == *row)).collect();
    assert!(rows == want, "{what}: {table} lacks {missing:#?} and has {strange:#?}");
}

/// A room as it must be.
struct Room {
    by: UserId,
    /// Who is in it, and who has left (before any message).
    members: BTreeMap<UserId, bool>,
    version: i64,
}

impl Room {
    fn of(people: &[UserId]) -> Self {
        let members = people.iter().map(|user| (user.clone(), true)).collect();
        Self { by: people[0].clone(), members, version: 1 }
    }

    fn row(&self, id: RoomId) -> String {
        let member = |(user, in_it): (&UserId, &bool)| format!("{user}{}", if *in_it { "" } else { "-0" });
        let members: Vec<String> = self.members.iter().map(member).collect();
        let count = self.members.values().filter(|in_it| **in_it).count();
        format!("{id}|{}|{}|{count}|{}", self.by, self.version, members.join(","))
    }
}

fn room_of(reply: &Value) -> RoomId {
    reply["roomId"].as_str().unwrap_or_default().parse().expect("a room id")
}

type Replies = HashMap<RequestId, Value>;
type Stored = HashMap<RequestId, i64>;

impl Load {
    /// Gives the time, in microseconds, at which each outcome of the inbox was stored: its effects have it too.
    pub(super) fn audit_database(&self, world: &World, replies: &Replies, what: &str) -> Stored {
        let stored = self.outcomes(world, what);
        self.messages(world, replies, what);
        self.users_and_friends(world, replies, &stored, what);
        self.rooms_and_members(world, replies, what);
        self.sessions_and_throttles(world, replies, &stored, what);
        stored
    }

    /// Every change of state but a message left its outcome in the inbox.
    fn outcomes(&self, world: &World, what: &str) -> Stored {
        let others = || self.sent.iter().filter(|sent| sent.request.kind() != Kind::AddChat);
        let ids = array(others().map(|sent| format!("'{}'", sent.id())), "uuid");
        let at = micros("stored_at");
        let rows =
            world.database.sql(&format!("SELECT request_id, {at} FROM inbox WHERE request_id = ANY({ids})"));
        let row = |line: &str| {
            let (id, at) = line.split_once('|').expect("two columns");
            (id.parse().expect("an id"), at.parse().expect("a time"))
        };
        let stored: Stored = rows.lines().map(row).collect();
        for sent in others() {
            let (id, kind) = (sent.id(), sent.request.kind());
            assert!(stored.contains_key(&id), "{what}: {id} ({kind}) left no outcome");
        }
        stored
    }

    /// One message for each request, as its reply says; numbers without holes.
    fn messages(&self, world: &World, replies: &Replies, what: &str) {
        let rooms = array(self.rooms.iter().map(|room| format!("'{room}'")), "uuid");
        let want = self.sent.iter().filter_map(|sent| {
            let Request::AddChat(chat) = &sent.request else { return None };
            let (id, reply) = (sent.id(), &replies[&sent.id()]);
            let at: Timestamp = reply["createdAt"].as_str()?.parse().expect("a time");
            let (room, writer, text) = (chat.room_id, &chat.writer_id, chat.message.as_str());
            Some(format!("{id}|{room}|{writer}|{text}|{}|{}", reply["seq"], at.as_micros()))
        });
        let at = micros("created_at");
        let query = format!(
            "SELECT request_id, room_id, writer_id, message, seq, {at} FROM messages WHERE room_id = ANY({rooms})"
        );
        hold(world, what, "messages", &query, want.collect());
        let of_room = "FROM messages m WHERE m.room_id = r.room_id";
        let holes = world.database.sql(&format!(
            "SELECT room_id FROM rooms r WHERE room_id = ANY({rooms}) AND (last_seq <> (SELECT count(*) {of_room})
                 OR last_seq <> (SELECT coalesce(max(seq), 0) {of_room}))"
        ));
        assert_eq!(holes, "", "{what}: numbers are not dense");
    }

    /// Each status was set once, and the last one stands; who signed up is there; friends are mutual.
    fn users_and_friends(&self, world: &World, replies: &Replies, stored: &Stored, what: &str) {
        let mut people: BTreeMap<&UserId, (i64, &str, Option<i64>)> =
            self.people.iter().map(|person| (&person.id, (1, "", None))).collect();
        let (mut signed_up, mut strangers, mut friends) = (Vec::new(), Vec::new(), Vec::new());
        for sent in &self.sent {
            let at = stored.get(&sent.id()).copied();
            let reply = &replies[&sent.id()];
            match &sent.request {
                Request::ChangeStatus(change) => {
                    let (version, status, _) = people.get_mut(&change.user_id).expect("one of them");
                    (*version, *status) = (*version + 1, change.status.as_str());
                    assert_eq!(reply["status"], *status, "{what}: {reply}");
                }
                Request::Login(login) if reply["isSuccess"] == true => {
                    people.get_mut(&login.user_id).expect("one of them").2 = at;
                }
                Request::AddUser(add) => signed_up.push((
                    &add.user_id,
                    format!("{0}|{0}@example.com|{0}|1|{1}|t", add.user_id, at.expect("stored")),
                )),
                Request::AddFriend(add) => {
                    let results: Vec<&str> =
                        (0..3).filter_map(|n| reply["friendId"][n]["result"].as_str()).collect();
                    assert_eq!(results, ["added", "added", "already"], "{what}: {reply}");
                    for stranger in &add.friend_id[..2] {
                        strangers.push(stranger);
                        let at = at.expect("stored");
                        friends.push(format!("{}|{stranger}|{at}", add.user_id));
                        friends.push(format!("{stranger}|{}|{at}", add.user_id));
                    }
                }
                _ => {}
            }
        }
        let row = |(user, (version, status, login)): (&&UserId, &(i64, &str, Option<i64>))| {
            format!("{user}|{version}|{status}|{}", login.map(|at| at.to_string()).unwrap_or_default())
        };
        let want = people.iter().map(row).collect();
        let ids = users(people.keys().copied());
        let login = micros("login_date");
        let query =
            format!("SELECT user_id, version, user_status, {login} FROM users WHERE user_id = ANY({ids})");
        hold(world, what, "users", &query, want);
        let ids = users(signed_up.iter().map(|(id, _)| *id));
        let (joined, today) = (micros("join_date"), "password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'");
        let query = format!(
            "SELECT user_id, email, user_name, version, {joined}, {today} FROM users LEFT JOIN credentials USING (user_id)
             WHERE user_id = ANY({ids})"
        );
        hold(world, what, "sign-ups", &query, signed_up.iter().map(|(_, row)| row.clone()).collect());
        // Whoever logged in has a hash of today's parameters.
        let logged_in: Vec<&UserId> =
            people.iter().filter(|(_, (.., at))| at.is_some()).map(|(id, _)| *id).collect();
        let query = format!(
            "SELECT count(*) FROM credentials WHERE user_id = ANY({}) AND {today}",
            users(logged_in.clone())
        );
        assert_eq!(world.database.sql(&query), logged_in.len().to_string(), "{what}: hashes were replaced");
        let (ids, since) = (users(strangers), micros("since"));
        let query = format!(
            "SELECT user_id, friend_id, {since} FROM friendships WHERE user_id = ANY({ids}) OR friend_id = ANY({ids})"
        );
        hold(world, what, "friendships", &query, friends);
    }

    /// Rooms were opened as asked and no others, each change of membership was made once, and all tables agree on it.
    fn rooms_and_members(&self, world: &World, replies: &Replies, what: &str) {
        let everybody: Vec<UserId> = self.people.iter().map(|person| person.id.clone()).collect();
        let mut rooms: BTreeMap<RoomId, Room> =
            self.rooms.iter().map(|room| (*room, Room::of(&everybody))).collect();
        rooms.extend(self.planted.iter().map(|(room, people)| (*room, Room::of(people))));
        let mut pairs: BTreeSet<String> = BTreeSet::new();
        for sent in &self.sent {
            let reply = &replies[&sent.id()];
            match &sent.request {
                Request::AddRoom(AddRoom { user_id, friend_id, room_id: Some(grows), .. }) => {
                    assert_eq!(room_of(reply), *grows, "{what}: {user_id} adds to it");
                    let room = rooms.get_mut(grows).expect("a room that was planted");
                    let before = room.members.len();
                    room.members.extend(friend_id.iter().map(|friend| (friend.clone(), true)));
                    room.version += i64::from(room.members.len() > before);
                    assert_eq!(reply["memberCount"], room.members.len(), "{what}: {reply}");
                }
                Request::AddRoom(AddRoom { user_id, friend_id, room_id: None, .. }) => {
                    let mut people = vec![user_id.clone()];
                    people.extend(friend_id.iter().cloned());
                    let is_new = rooms.insert(room_of(reply), Room::of(&people)).is_none();
                    people.sort();
                    let pair = people.len() == 2;
                    let first =
                        pair && pairs.insert(format!("{}|{}|{}", people[0], people[1], room_of(reply)));
                    assert_eq!(is_new, first || !pair, "{what}: {reply}");
                }
                Request::LeaveRoom(leave) => {
                    let room = rooms.get_mut(&leave.room_id).expect("a room that was planted");
                    room.members.insert(leave.user_id.clone(), false);
                    room.version += 1;
                }
                _ => {}
            }
        }
        let ids = users(&everybody);
        let members = "SELECT string_agg(user_id || coalesce('-' || left_seq, ''), ',' ORDER BY user_id)
                       FROM members m WHERE m.room_id = r.room_id";
        let query = format!(
            "SELECT room_id, created_by, version, member_count, ({members}) FROM rooms r WHERE created_by = ANY({ids})"
        );
        hold(world, what, "rooms", &query, rooms.iter().map(|(id, room)| room.row(*id)).collect());
        let query = format!(
            "SELECT user_low, user_high, room_id FROM room_pairs WHERE user_low = ANY({ids}) OR user_high = ANY({ids})"
        );
        hold(world, what, "room_pairs", &query, pairs.into_iter().collect());
        let apart = world.database.sql(
            "SELECT count(*) FROM members m FULL JOIN user_rooms u USING (room_id, user_id)
             WHERE (m.joined_seq, m.left_seq) IS DISTINCT FROM (u.joined_seq, u.left_seq)
                 OR m.user_id IS NULL OR u.user_id IS NULL",
        );
        assert_eq!(apart, "0", "{what}: rooms and users disagree on who is where");
    }

    /// Sessions were opened and ended once and by whom it was asked; failures were counted once.
    fn sessions_and_throttles(&self, world: &World, replies: &Replies, stored: &Stored, what: &str) {
        let opened = OPENED * 1_000_000;
        // By key: whose, opened and ended when, and why.
        let mut sessions: BTreeMap<String, (String, i64, String)> = BTreeMap::new();
        for (key, user) in &self.opened {
            sessions.insert(key.to_string(), (user.to_string(), opened, "|".to_owned()));
        }
        let logins = self.sent.iter().filter(|sent| replies[&sent.id()]["isSuccess"] == true);
        for sent in logins.clone() {
            if let Request::Login(login) = &sent.request {
                let row = (login.user_id.to_string(), stored[&sent.id()], "|".to_owned());
                let before = sessions.insert(sent.headers.session_key.to_string(), row);
                assert!(before.is_none(), "{what}: a session was opened twice");
            }
        }
        for sent in logins {
            let Request::Logout(logout) = &sent.request else { continue };
            let (key, at) = (sent.headers.session_key.to_string(), stored[&sent.id()]);
            let session = sessions.entry(key).or_insert((String::new(), at, String::new()));
            session.2 = format!("{at}|logout");
            if let Some(user) = logout.user_id.as_ref().filter(|_| logout.everywhere) {
                let open =
                    |(whose, _, ended): &&mut (String, i64, String)| whose == user.as_str() && ended == "|";
                sessions
                    .values_mut()
                    .filter(open)
                    .for_each(|(.., ended)| *ended = format!("{at}|logout everywhere"));
            }
        }
        let keys = array(sessions.keys().map(|key| format!("decode('{key}', 'hex')")), "bytea");
        let people = users(
            self.people.iter().map(|person| &person.id).chain(self.opened.iter().map(|(_, user)| user)),
        );
        let (from, to) = (micros("opened_at"), micros("ended_at"));
        let query = format!(
            "SELECT encode(session_key, 'hex'), user_id, {from}, {to}, end_reason FROM sessions
             WHERE session_key = ANY({keys}) OR user_id = ANY({people})"
        );
        let row = |(key, (whose, from, ended)): (&String, &(String, i64, String))| {
            format!("{key}|{whose}|{from}|{ended}")
        };
        hold(world, what, "sessions", &query, sessions.iter().map(row).collect());
        // Those of who logged in are not there: they have shown who they are.
        let accounts = self.people.iter().map(|person| format!("'user:{}'", person.id));
        let subjects =
            array(self.throttles.keys().map(|subject| format!("'{subject}'")).chain(accounts), "text");
        let query = format!("SELECT subject, failures FROM throttles WHERE subject = ANY({subjects})");
        let want = self.throttles.iter().map(|(subject, failures)| format!("{subject}|{failures}"));
        hold(world, what, "throttles", &query, want.collect());
    }
}
