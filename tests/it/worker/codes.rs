//! Every error code that each kind can give, provoked on real parts.

use std::collections::BTreeSet;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};
use parley::{
    ids::{RoomId, UserId},
    wire::{
        AddFriend, AddRoom, ChangeStatus, ErrorCode, Kind, LeaveRoom, ListFriends, ListRooms, Logout,
        MAX_IDS, MAX_MESSAGE_BYTES, Page, Request, RequestHeaders,
    },
};
use serde_json::json;

use super::world::{PASSWORD, Person, World, address, passed, session};
use crate::fixtures::{eventually, unique};

/// Beside what every kind gives: `invalid_request`, `deadline_exceeded`, and `idempotency_mismatch` unless it only reads.
fn own_codes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Login => &["unauthenticated", "wrong_credentials", "rate_limited"],
        Kind::AddUser => &["user_exists", "rate_limited"],
        Kind::Logout | Kind::ListRooms | Kind::ListFriends => &["unauthenticated"],
        Kind::ChangeStatus => &["unauthenticated", "user_not_found"],
        Kind::AddFriend => &["unauthenticated", "user_not_found", "too_large"],
        Kind::AddRoom => &[
            "unauthenticated",
            "user_not_found",
            "not_a_friend",
            "room_not_found",
            "not_a_member",
            "too_large",
        ],
        Kind::LeaveRoom => &["unauthenticated", "room_not_found", "not_a_member"],
        Kind::AddChat => &["unauthenticated", "room_not_found", "not_a_member", "too_large"],
    }
}

/// The people and rooms of one run.
struct Scene<'w> {
    world: &'w World,
    ann: Person,
    friend: Person,
    stranger: Person,
    ghost: Person,
    room: RoomId,
    full: RoomId,
}

fn ids(people: &[&Person]) -> Vec<UserId> {
    people.iter().map(|person| person.id.clone()).collect()
}

impl<'w> Scene<'w> {
    fn of(world: &'w World) -> Self {
        let (ann, friend, stranger) = (world.person("ann"), world.person("friend"), world.person("stranger"));
        world.befriend(&ann, &friend);
        let (room, full) = (world.room(&[&ann]), world.room(&[&ann]));
        world.database.sql(&format!("UPDATE rooms SET member_count = 10000 WHERE room_id = '{full}'"));
        let ghost = Person { id: unique("ghost").parse().unwrap(), session: session() };
        Self { world, ann, friend, stranger, ghost, room, full }
    }

    /// A request that Ann may make, and another of the same kind.
    fn pair(&self, kind: Kind) -> (RequestHeaders, Request, Request) {
        let user_id = self.ann.id.clone();
        let headers = self.world.headers(&self.ann);
        let (one, two) = match kind {
            Kind::Login => {
                let (headers, one) = self.world.log_in(&user_id, PASSWORD);
                return (headers, one, self.world.log_in(&self.friend.id, PASSWORD).1);
            }
            Kind::AddUser => {
                let (headers, one) = self.world.sign_up(&unique("new"), PASSWORD);
                let mut two = one.clone();
                if let Request::AddUser(add) = &mut two {
                    add.email = "other@example.com".parse().unwrap();
                }
                return (headers, one, two);
            }
            Kind::Logout => {
                let out = |everywhere| Request::Logout(Logout { user_id: Some(user_id.clone()), everywhere });
                (out(false), out(true))
            }
            Kind::ListRooms => {
                let list = Request::ListRooms(ListRooms { user_id, page: Page::default() });
                (list.clone(), list)
            }
            Kind::ListFriends => {
                let list = Request::ListFriends(ListFriends { user_id, page: Page::default() });
                (list.clone(), list)
            }
            Kind::ChangeStatus => (self.status(&self.ann, "one"), self.status(&self.ann, "two")),
            Kind::AddRoom => (self.open(&[&self.friend], None), self.open(&[&self.friend], Some(self.room))),
            Kind::LeaveRoom => {
                (self.leave(&self.ann, self.world.room(&[&self.ann])), self.leave(&self.ann, self.room))
            }
            Kind::AddChat => (self.ann.says(self.room, "one"), self.ann.says(self.room, "two")),
            Kind::AddFriend => {
                (self.befriend(&self.ann, ids(&[&self.friend])), self.befriend(&self.ann, ids(&[&self.ann])))
            }
        };
        (headers, one, two)
    }

    fn status(&self, who: &Person, text: &str) -> Request {
        Request::ChangeStatus(ChangeStatus { user_id: who.id.clone(), status: text.parse().unwrap() })
    }

    fn open(&self, with: &[&Person], room_id: Option<RoomId>) -> Request {
        let user_id = self.ann.id.clone();
        Request::AddRoom(AddRoom { user_id, friend_id: ids(with), room_name: None, room_id })
    }

    fn leave(&self, who: &Person, room_id: RoomId) -> Request {
        Request::LeaveRoom(LeaveRoom { user_id: who.id.clone(), room_id })
    }

    fn befriend(&self, who: &Person, friend_id: Vec<UserId>) -> Request {
        Request::AddFriend(AddFriend { user_id: who.id.clone(), friend_id })
    }

    /// Requests that are refused for what they ask, by whom.
    fn refused(&self) -> Vec<(&Person, Request)> {
        let (ann, ghost) = (&self.ann, &self.ghost);
        let (nowhere, theirs) = (RoomId(uuid::Uuid::now_v7()), self.world.room(&[&self.stranger]));
        let many: Vec<UserId> = (0..=MAX_IDS).map(|n| format!("user{n}").parse().unwrap()).collect();
        vec![
            (ghost, self.status(ghost, "boo")),
            (ghost, self.befriend(ghost, ids(&[ann]))),
            (ann, self.befriend(ann, many)),
            (ann, self.open(&[ghost], None)),
            (ann, self.open(&[&self.stranger], None)),
            (ann, self.open(&[&self.friend], Some(nowhere))),
            (ann, self.open(&[&self.friend], Some(theirs))),
            (ann, self.open(&[&self.friend], Some(self.full))),
            (ann, self.leave(ann, nowhere)),
            (ann, self.leave(ann, theirs)),
            (ann, ann.says(nowhere, "x")),
            (ann, ann.says(theirs, "x")),
            (ann, ann.says(self.room, &"x".repeat(MAX_MESSAGE_BYTES + 1))),
        ]
    }

    /// Refusals of sign-up and login, which depend on what happened before.
    async fn with_passwords(&self) -> Vec<(Kind, String)> {
        let sql = |text: String| self.world.database.sql(&text);
        let mut given = Vec::new();
        let mut ask = async |headers: &RequestHeaders, request: &Request| {
            let reply = self.world.ask(headers, request).await;
            given.push((request.kind(), reply["errorCode"].as_str().unwrap_or("ok").to_owned()));
        };
        let (headers, sign_up) = self.world.sign_up(&unique("member"), PASSWORD);
        ask(&headers, &sign_up).await;
        let user = sign_up.user().unwrap().clone();
        let (headers, again) = self.world.sign_up(user.as_str(), PASSWORD);
        ask(&headers, &again).await;
        let (mut headers, crowd) = self.world.sign_up(&unique("crowd"), PASSWORD);
        let address = address(&unique("address"));
        let block = |subject: String| {
            let row = "INSERT INTO throttles VALUES";
            sql(format!("{row} ('{subject}', 9, now() + interval '1 hour', now() + interval '1 day')"))
        };
        block(format!("sign-up:{address}"));
        headers.client_address = Some(address);
        ask(&headers, &crowd).await;
        let (headers, wrong) = self.world.log_in(&user, "wrong horse battery");
        ask(&headers, &wrong).await;
        let (headers, ended) = self.world.log_in(&user, PASSWORD);
        sql(format!(
            "INSERT INTO sessions (session_key, opened_at, seen_at, expires_at, ended_at)
             VALUES (decode('{}', 'hex'), now(), now(), now() + interval '1 day', now())",
            headers.session_key
        ));
        ask(&headers, &ended).await;
        sql(format!("DELETE FROM throttles WHERE subject = 'user:{user}'"));
        block(format!("user:{user}"));
        let (headers, often) = self.world.log_in(&user, PASSWORD);
        ask(&headers, &often).await;
        given
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_gives_every_code_of_its_own_and_no_other() {
    let world = World::shared().await;
    let scene = Scene::of(world);
    let mut given: BTreeSet<(Kind, String)> = BTreeSet::new();
    let mut ask = async |kind: Kind, headers: &RequestHeaders, request: &Request| {
        let reply = world.ask(headers, request).await;
        given.insert((kind, reply["errorCode"].as_str().unwrap_or("ok").to_owned()));
    };
    for (who, request) in scene.refused() {
        ask(request.kind(), &world.headers(who), &request).await;
    }
    for kind in Kind::ALL {
        let (mut late, request, _) = scene.pair(kind);
        late.deadline = passed();
        ask(kind, &late, &request).await;
        let (mut nobody, request, _) = scene.pair(kind);
        if !matches!(kind, Kind::Login | Kind::AddUser) {
            nobody.user_id = None;
            ask(kind, &nobody, &request).await;
        }
        // Somebody who asks in another's name.
        let (mut other, request, _) = scene.pair(kind);
        other.user_id = Some(scene.stranger.id.clone());
        ask(kind, &other, &request).await;
        // Something that is no such request.
        let headers = world.headers(&scene.ann);
        world.produce(&world.signed_bytes(&headers, kind, scene.ann.id.as_str(), json!([1]))).await;
        assert_eq!(world.reply(headers.request_id).await["errorCode"], "invalid_request", "{kind}");
    }
    // Last, for a logout ends Ann's session.
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_read()) {
        let (headers, one, two) = scene.pair(kind);
        world.ask(&headers, &one).await;
        world.produce(&world.record(&headers, &two)).await;
        let second = eventually("a second reply", || async {
            world.replies_to(headers.request_id).into_iter().nth(1)
        });
        let code = second.await.0["errorCode"].as_str().unwrap_or("ok").to_owned();
        given.insert((kind, code));
    }
    given.extend(scene.with_passwords().await);
    given.retain(|(_, code)| code != "ok");
    let mut wanted: BTreeSet<(Kind, String)> = BTreeSet::new();
    for kind in Kind::ALL {
        let mut codes = vec!["invalid_request", "deadline_exceeded"];
        codes.extend((!kind.is_read()).then_some("idempotency_mismatch"));
        codes.extend(own_codes(kind));
        wanted.extend(codes.into_iter().map(|code| (kind, code.to_owned())));
    }
    assert_eq!(given, wanted);
    // In the tests below.
    let elsewhere = ["internal", "unavailable"];
    let known: BTreeSet<&str> = wanted.iter().map(|(_, code)| code.as_str()).chain(elsewhere).collect();
    assert_eq!(known, ErrorCode::ALL.iter().map(|code| code.as_str()).collect(), "a code that no kind gives");
}

/// What PostgreSQL will not take, or holds and cannot be read back, in every table that a kind needs.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_says_internal_of_what_can_never_be_stored_or_read() {
    let world = World::own(1).await;
    let _worker = world.worker(&[]).ready().await;
    let scene = Scene::of(&world);
    let ann = &scene.ann.id;
    let (headers, sign_up) = world.sign_up(&unique("member"), PASSWORD);
    let member = world.ask(&headers, &sign_up).await["user"]["userId"].as_str().expect("a user").to_owned();
    let mut asked: Vec<(RequestHeaders, Request)> = vec![world.log_in(&member.parse().unwrap(), PASSWORD)];
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Login) {
        let (headers, request, _) = scene.pair(kind);
        // Ann's friend is one already, so that nothing would be written.
        let befriend = || scene.befriend(&scene.ann, ids(&[&scene.stranger]));
        asked.push((headers, if kind == Kind::AddFriend { befriend() } else { request }));
    }
    world.database.sql(&format!(
        "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('No Id', 'e@example.com', 'n', now());
         INSERT INTO friendships VALUES ('{ann}', 'No Id', now());
         INSERT INTO members (room_id, user_id, joined_seq, joined_at) VALUES ('{}', 'No Id', 0, now());
         ALTER TABLE users ADD CHECK (user_id NOT LIKE 'new%' AND user_status <> 'one') NOT VALID;
         ALTER TABLE sessions ADD CHECK (user_id NOT IN ('{ann}', '{member}')) NOT VALID;
         ALTER TABLE friendships ADD CHECK (user_id <> '{ann}') NOT VALID;
         ALTER TABLE rooms ADD CHECK (created_by <> '{ann}' OR member_count <> 2) NOT VALID;
         ALTER TABLE members ADD CHECK (left_seq IS NULL) NOT VALID;
         ALTER TABLE messages ADD CHECK (writer_id <> '{ann}') NOT VALID",
        scene.room
    ));
    for (headers, request) in &asked {
        let reply = world.ask(headers, request).await;
        assert_eq!(reply["errorCode"], "internal", "{}: {reply}", request.kind());
    }
    eventually("each to be kept for people to look at", || async {
        (world.dead_letters().len() == Kind::ALL.len()).then_some(())
    })
    .await;
}

/// Regression: a password that no memory could be had for was called wrong, and counted against the account.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_memory_to_hash_is_unavailable_and_nobodys_fault() {
    let world = World::own(1).await;
    // The allocator takes a gigabyte's place at the start, which a limit that comes later does not take back.
    let exactly = [("MIMALLOC_ARENA_RESERVE", "0")];
    let worker = world.worker_with("Login,AddUser", &[], &exactly).ready().await;
    let (known, stranger) = (world.person("known"), world.person("stranger"));
    let hash: PasswordHash = Argon2::default().hash_password(PASSWORD.as_bytes()).expect("a hash");
    world.database.sql(&format!("INSERT INTO credentials VALUES ('{}', '{hash}')", known.id));
    // A hash takes 19 MiB.
    limit_data(worker.pid(), Some(8 << 20));
    let new = unique("new");
    for (headers, request) in [
        world.log_in(&known.id, PASSWORD),
        world.log_in(&stranger.id, PASSWORD),
        world.sign_up(&new, PASSWORD),
    ] {
        let reply = world.ask(&headers, &request).await;
        assert_eq!(reply["errorCode"], "unavailable", "{}: {reply}", request.kind());
    }
    assert_eq!(world.database.sql("SELECT count(*) FROM throttles"), "0", "nobody did anything wrong");
    limit_data(worker.pid(), None);
    for (headers, request) in [world.log_in(&known.id, PASSWORD), world.sign_up(&new, PASSWORD)] {
        let reply = world.ask(&headers, &request).await;
        assert_eq!(reply["isSuccess"], true, "{}: {reply}", request.kind());
    }
}

/// How much more memory a process may take for its data, with prlimit(1): so much more than it has, or any.
fn limit_data(pid: u32, more: Option<u64>) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let now = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB"));
    let now: u64 = now.expect("its data").parse().expect("a number");
    let limit = more.map_or("unlimited".to_owned(), |more| ((now << 10) + more).to_string());
    let mut prlimit = std::process::Command::new("prlimit");
    // The hard limit stays, so that it can be lifted again.
    let set = prlimit.arg(format!("--pid={pid}")).arg(format!("--data={limit}:unlimited")).status();
    assert!(set.expect("prlimit runs").success());
}
