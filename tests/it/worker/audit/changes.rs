//! One of everything that changes state, but for messages. A new kind that does belongs here (docs/new-kind.md).

use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use parley::{
    ids::{RoomId, SessionKey, UserId},
    wire::{
        AddFriend, AddRoom, ChangeStatus, EndedSession, LeaveRoom, Logout, Outgoing, Request, RequestHeaders,
    },
};

use super::{Load, events::Heard};
use crate::{
    fixtures::unique,
    worker::world::{PASSWORD, Person, World, address, session},
};

/// Planted sessions were opened at this second of the epoch.
pub(super) const OPENED: i64 = 1_000_000_000;

/// A hash of older parameters: cheap to verify, and to be replaced when its owner logs in.
fn weak_hash() -> &'static str {
    static WEAK: OnceLock<String> = OnceLock::new();
    WEAK.get_or_init(|| {
        let weak = Params::new(8, 1, 1, None).expect("parameters");
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, weak);
        weak.hash_password(PASSWORD.as_bytes()).expect("a hash").to_string()
    })
}

fn fresh(prefix: &str) -> Person {
    Person { id: unique(prefix).parse().expect("a user id"), session: session() }
}

/// SQL that makes users of these.
fn users(people: &[&Person]) -> String {
    let row = |person: &&Person| format!("('{0}', '{0}@example.com', '{0}', now())", person.id);
    let rows: Vec<String> = people.iter().map(row).collect();
    format!("INSERT INTO users (user_id, email, user_name, join_date) VALUES {};", rows.join(","))
}

/// SQL that makes a room of these.
fn room(id: RoomId, people: &[&Person]) -> String {
    let mut sql = format!(
        "INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count) VALUES ('{id}', 'r', '{}', now(), {});",
        people[0].id,
        people.len()
    );
    for Person { id: user, .. } in people {
        sql += &format!(
            "INSERT INTO members (room_id, user_id, joined_seq, joined_at) VALUES ('{id}', '{user}', 0, now());
             INSERT INTO user_rooms (user_id, room_id, read_seq, joined_seq, joined_at) VALUES ('{user}', '{id}', 0, 0, now());"
        );
    }
    sql
}

/// SQL that opens a session.
fn open(key: SessionKey, user: &UserId) -> String {
    format!(
        "INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
         VALUES (decode('{key}', 'hex'), '{user}', to_timestamp({OPENED}), now(), now() + interval '1 day');"
    )
}

fn open_room(by: &Person, friends: &[&Person], room_id: Option<RoomId>) -> Request {
    let friend_id = friends.iter().map(|friend| friend.id.clone()).collect();
    Request::AddRoom(AddRoom { user_id: by.id.clone(), friend_id, room_name: None, room_id })
}

fn log_out(user: Option<&Person>, everywhere: bool) -> Request {
    Request::Logout(Logout { user_id: user.map(|person| person.id.clone()), everywhere })
}

fn ids(people: &[&Person]) -> Vec<UserId> {
    people.iter().map(|person| person.id.clone()).collect()
}

/// Headers of somebody whom the gateway does not know (yet).
fn unknown(world: &World, session: SessionKey) -> RequestHeaders {
    let mut headers = world.headers(&Person { session, ..fresh("unknown") });
    headers.user_id = None;
    headers
}

impl Load {
    /// Four people with passwords who are friends in a ring, and two rooms of all of them.
    pub(in crate::worker) fn new(world: &World) -> Self {
        let people: Vec<Person> = (0..4).map(|_| fresh("load")).collect();
        let everybody: Vec<&Person> = people.iter().collect();
        let rooms: Vec<RoomId> = (0..2).map(|_| RoomId(uuid::Uuid::now_v7())).collect();
        let mut sql = users(&everybody);
        for (n, Person { id, .. }) in people.iter().enumerate() {
            let next = &people[(n + 1) % people.len()].id;
            sql += &format!(
                "INSERT INTO credentials VALUES ('{id}', '{}');
                 INSERT INTO friendships VALUES ('{id}', '{next}', now()), ('{next}', '{id}', now());",
                weak_hash()
            );
        }
        rooms.iter().for_each(|id| sql += &room(*id, &everybody));
        world.database.sql(&sql);
        Self {
            people,
            rooms,
            planted: Vec::new(),
            opened: Vec::new(),
            pairs: Default::default(),
            versions: Default::default(),
            throttles: Default::default(),
            sent: Vec::new(),
            rounds: 0,
            prepared: Vec::new(),
        }
    }

    /// Everything once, by one of the people after another. What is asked of one user, session or room comes in this order, for
    /// it has one key; so it is known what must come of it.
    pub(super) fn changes(&mut self, world: &World) -> Vec<Outgoing> {
        let at = |n: usize| self.people[(self.rounds + n) % self.people.len()].clone();
        let (who, next, before) = (at(0), at(1), at(3));
        self.rounds += 1;
        let (late, later, gone) = (fresh("late"), fresh("later"), fresh("gone"));
        let [left, grown] = [(); 2].map(|()| RoomId(uuid::Uuid::now_v7()));
        let others = [session(), session()];
        let mut sql = users(&[&late, &later, &gone]) + &room(left, &[&who, &next]) + &room(grown, &[&who]);
        for key in [gone.session, others[0], others[1]] {
            sql += &open(key, &gone.id);
            self.opened.push((key, gone.id.clone()));
        }
        world.database.sql(&sql);
        self.planted.push((left, ids(&[&who, &next])));
        self.planted.push((grown, ids(&[&who])));

        let mut records = self.changes_of_friends(world, &who, &[&late, &later], &next);
        records.extend(self.changes_of_rooms(world, &who, (&next, &before), left, grown));
        records.extend(self.log_ins(world, &who));
        records.extend(self.log_outs(world, &gone, others[0]));
        records
    }

    /// Two new friends and one who is a friend already; and a status that all of them hear of.
    fn changes_of_friends(
        &mut self,
        world: &World,
        who: &Person,
        new: &[&Person],
        friend: &Person,
    ) -> Vec<Outgoing> {
        let both = |them: &&Person| {
            [(who, *them), (*them, who)].map(|(a, b)| Heard::Friend(a.id.clone(), b.id.clone()))
        };
        let heard = new.iter().flat_map(both).collect();
        let friend_id = ids(&[new, &[friend]].concat());
        let add = Request::AddFriend(AddFriend { user_id: who.id.clone(), friend_id });
        let version = self.versions.entry(who.id.clone()).or_insert(1);
        *version += 1;
        let (status, version) = (format!("status {version}"), *version);
        let status = status.parse().expect("a status");
        let change = Request::ChangeStatus(ChangeStatus { user_id: who.id.clone(), status });
        vec![
            self.push(world, world.headers(who), add, &["ok"], heard),
            self.push(world, world.headers(who), change, &["ok"], vec![Heard::Status { version }]),
        ]
    }

    /// The room with a friend, a new room with two, one that grows, and one that is left.
    fn changes_of_rooms(
        &mut self,
        world: &World,
        who: &Person,
        (next, before): (&Person, &Person),
        left: RoomId,
        grown: RoomId,
    ) -> Vec<Outgoing> {
        let opened = |people: &[&Person]| Heard::Room {
            joined: ids(people),
            left: Vec::new(),
            members: people.len() as i64,
            version: 1,
        };
        let joins = |person: &Person, members| Heard::Room {
            joined: ids(&[person]),
            left: Vec::new(),
            members,
            version: members,
        };
        let leaves = Heard::Room { joined: Vec::new(), left: ids(&[who]), members: 1, version: 2 };
        let leave = Request::LeaveRoom(LeaveRoom { user_id: who.id.clone(), room_id: left });
        // There is one room between two: it opens once.
        let pair = self.pairs.insert(who.id.clone()).then(|| opened(&[who, next]));
        let requests = [
            (open_room(who, &[next], None), Vec::from_iter(pair)),
            (open_room(who, &[next, before], None), vec![opened(&[who, next, before])]),
            (open_room(who, &[next], Some(grown)), vec![joins(next, 2)]),
            (open_room(who, &[before, next], Some(grown)), vec![joins(before, 3)]),
            // Nobody new: nothing changes, and nobody hears of it.
            (open_room(who, &[next], Some(grown)), Vec::new()),
            (leave, vec![leaves]),
        ];
        let push = |(request, heard)| self.push(world, world.headers(who), request, &["ok"], heard);
        requests.into_iter().map(push).collect()
    }

    /// A sign-up, a login, one that somebody ends whether it has begun or not, and one with a wrong name.
    fn log_ins(&mut self, world: &World, who: &Person) -> Vec<Outgoing> {
        // Few enough that nobody has to wait: twenty failures of an address are free.
        let address = address(&format!("{}-{}", self.people[0].id, self.rounds / 10));
        let (mut sign_up, new) = world.sign_up(&unique("new"), PASSWORD);
        sign_up.client_address = Some(address.clone());
        let (login, right) = world.log_in(&who.id, PASSWORD);
        let (raced, begin) = world.log_in(&who.id, PASSWORD);
        let end = unknown(world, raced.session_key);
        let nobody = fresh("nobody").id;
        let (mut guess, wrong) = world.log_in(&nobody, PASSWORD);
        guess.client_address = Some(address.clone());
        for subject in [format!("sign-up:{address}"), format!("address:{address}"), format!("user:{nobody}")]
        {
            *self.throttles.entry(subject).or_default() += 1;
        }
        let ended = Heard::Ended(EndedSession::SessionKey(raced.session_key));
        vec![
            self.push(world, sign_up, new, &["ok"], Vec::new()),
            self.push(world, login, right, &["ok"], Vec::new()),
            self.push(world, raced, begin, &["ok", "unauthenticated"], Vec::new()),
            self.push(world, end, log_out(None, false), &["ok"], vec![ended]),
            self.push(world, guess, wrong, &["wrong_credentials"], Vec::new()),
        ]
    }

    /// The end of one session of somebody, of all the others of theirs, and of one that nobody has opened.
    fn log_outs(&mut self, world: &World, gone: &Person, other: SessionKey) -> Vec<Outgoing> {
        let never = unknown(world, session());
        let elsewhere = world.headers(&Person { session: other, ..gone.clone() });
        let ended = |who| vec![Heard::Ended(who)];
        let (one, none) =
            (EndedSession::SessionKey(gone.session), EndedSession::SessionKey(never.session_key));
        let all = EndedSession::UserId(gone.id.clone());
        vec![
            self.push(world, world.headers(gone), log_out(Some(gone), false), &["ok"], ended(one)),
            self.push(world, elsewhere, log_out(Some(gone), true), &["ok"], ended(all)),
            self.push(world, never, log_out(None, false), &["ok"], ended(none)),
        ]
    }
}
