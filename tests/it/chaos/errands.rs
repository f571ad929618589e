//! What people do beside talking: they change their status, make friends, open rooms, log in on another machine and out again, and
//! look at their lists. One thing after another each, and each is followed until the system has told what became of it: nobody waits
//! for the answer at the call, so every outcome is learnt later, by `GET /api/requests/{id}` at whatever gateway answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use hyper::Method;
use parley::{
    ids::{RequestId, RoomId, SessionToken, UserId},
    loadgen::{Actor, Answer, Client, PASSWORD},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::people::Crowd;

/// How long one errand is tried, and its outcome asked for.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two errands of a person.
const PAUSE: Duration = Duration::from_secs(2);
/// Outcomes that are asked for at once in the end: each that nobody knows takes 40 s.
pub(super) const ASKED_AT_ONCE: usize = 16;
/// Rooms that are opened in a run at most: what a run holds must not grow for hours.
const MOST_ROOMS: usize = 40;

/// What somebody wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Status(String),
    Friend(UserId),
    /// A room of this name with a friend.
    Room(String),
    /// Another friend in that room.
    Guest(String),
    /// To leave that room.
    Leave(String),
    /// A session of this key, in hex.
    Login(String),
    Logout(String),
}

/// One request that changes state, and what its author learnt.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) who: UserId,
    pub(super) wish: Wish,
    pub(super) request: RequestId,
    /// Whether the system said for certain that it took it on.
    pub(super) certain: bool,
    /// The reply by its id, asked for at the end of the run.
    pub(super) reply: Option<Value>,
}

/// Who asks for the outcome of what.
struct Open {
    errand: Errand,
    client: Client,
}

/// Everything that was done, and the promises that were broken meanwhile.
#[derive(Default)]
struct Notes {
    done: Vec<Open>,
    broken: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Errands {
    gateways: Vec<SocketAddr>,
    notes: Arc<Mutex<Notes>>,
    count: Arc<AtomicUsize>,
    rooms: Arc<AtomicUsize>,
}

/// One person on errands.
struct Runner {
    errands: Errands,
    me: Actor,
    /// Whom to make friends with.
    strangers: Vec<UserId>,
    /// Whom to open rooms with; empty for whoever has too few friends.
    friends: Vec<UserId>,
    home: RoomId,
    turn: usize,
}

impl Errands {
    pub(super) fn new(crowd: &Crowd) -> Self {
        Self {
            gateways: crowd.gateways.clone(),
            notes: Arc::default(),
            count: Arc::default(),
            rooms: Arc::default(),
        }
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        note(&mut self.notes.lock().expect("nobody panics while it is held"));
    }

    /// Everybody runs errands until told to stop; ends when each has come to an end.
    pub(super) async fn run(&self, crowd: &Crowd, stop: &CancellationToken) {
        let all: Vec<&UserId> =
            crowd.circles.iter().flat_map(|circle| circle.members.iter().map(|actor| &actor.user)).collect();
        let mut running = JoinSet::new();
        for (n, circle) in crowd.circles.iter().enumerate() {
            for (member, me) in circle.members.iter().enumerate() {
                let place = n * circle.members.len() + member;
                // Only those who come later, so that nobody else makes the same friends.
                let strangers = all.iter().skip((n + 1) * circle.members.len());
                let runner = Runner {
                    errands: self.clone(),
                    me: me.clone(),
                    strangers: strangers.map(|user| (*user).clone()).collect(),
                    friends: if member == 0 {
                        circle.members[1..].iter().map(|actor| actor.user.clone()).collect()
                    } else {
                        Vec::new()
                    },
                    home: circle.room,
                    turn: place,
                };
                running.spawn(runner.run(stop.clone()));
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("an errand comes to an end");
        }
    }

    /// What became of each, asked for once more now that all is over: known as unknown is not good enough any more.
    pub(super) async fn outcomes(&self) -> (Vec<Errand>, Vec<String>) {
        let (open, mut broken) = {
            let mut notes = self.notes.lock().expect("nobody panics while it is held");
            (std::mem::take(&mut notes.done), std::mem::take(&mut notes.broken))
        };
        let ask = async |(n, Open { mut errand, client }): (usize, Open)| {
            errand.reply = outcome(&client, &self.gateways, n, errand.request, errand.certain).await;
            errand
        };
        let asked = stream::iter(open.into_iter().enumerate()).map(ask).buffered(ASKED_AT_ONCE);
        let errands: Vec<Errand> = asked.collect().await;
        let unknown = errands.iter().filter(|errand| errand.certain && errand.reply.is_none());
        broken.extend(unknown.map(|errand| format!("nobody tells what became of {errand:?}")));
        (errands, broken)
    }
}

/// The reply to a request by its id, at one gateway after another. One that was perhaps never taken on may be unknown to all.
pub(super) async fn outcome(
    client: &Client,
    gateways: &[SocketAddr],
    mut turn: usize,
    request: RequestId,
    certain: bool,
) -> Option<Value> {
    let begun = Instant::now();
    let path = format!("/api/requests/{request}");
    let patience = if certain { PATIENCE } else { Duration::from_secs(40) };
    while begun.elapsed() < patience {
        turn += 1;
        let there = client.at(gateways[turn % gateways.len()]);
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(5), there.get(&path)).await
            && answer.status == 200
        {
            return Some(answer.json());
        }
        sleep(Duration::from_millis(200)).await;
    }
    None
}

impl Runner {
    async fn run(mut self, stop: CancellationToken) {
        // Not all at once.
        sleep(PAUSE / 18 * u32::try_from(self.turn % 18).expect("few")).await;
        for nth in 0_usize.. {
            if stop.is_cancelled() {
                return;
            }
            match nth % 5 {
                0 => self.status().await,
                1 => self.lists().await,
                2 => self.befriend().await,
                3 => self.open_room().await,
                _ => self.session().await,
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// A browser of mine at the next gateway.
    fn next(&mut self, client: &Client) -> Client {
        self.turn += 1;
        client.at(self.errands.gateways[self.turn % self.errands.gateways.len()])
    }

    fn broken(&self, what: String) {
        self.errands.note(|notes| notes.broken.push(what));
    }

    async fn status(&mut self) {
        let status = format!("errand {}", self.errands.count.fetch_add(1, Ordering::Relaxed));
        let body = json!({"status": status});
        self.change(Method::PUT, "/api/me/status", Some(body), Wish::Status(status)).await;
    }

    async fn befriend(&mut self) {
        if self.strangers.is_empty() {
            return;
        }
        let friend = self.strangers[self.turn % self.strangers.len()].clone();
        let body = json!({"friendId": [friend]});
        self.change(Method::POST, "/api/friends", Some(body), Wish::Friend(friend)).await;
    }

    async fn open_room(&mut self) {
        if self.friends.is_empty() || self.errands.rooms.fetch_add(1, Ordering::Relaxed) >= MOST_ROOMS {
            return;
        }
        let name = format!("errand {}", self.errands.count.fetch_add(1, Ordering::Relaxed));
        let body = json!({"friendId": self.friends[..1], "roomName": name});
        let opened = self.change(Method::POST, "/api/rooms", Some(body), Wish::Room(name.clone())).await;
        let Some(room) = opened.and_then(|reply| Some(reply["roomId"].as_str()?.to_owned())) else { return };
        let members = format!("/api/rooms/{room}/members");
        let body = json!({"friendId": self.friends[1..]});
        self.change(Method::POST, &members, Some(body), Wish::Guest(name.clone())).await;
        self.change(Method::DELETE, &format!("{members}/me"), None, Wish::Leave(name)).await;
    }

    /// A change under a key of its own, tried until it is taken on and followed until its reply is known; a reply that says yes.
    async fn change(&mut self, method: Method, path: &str, body: Option<Value>, wish: Wish) -> Option<Value> {
        let client = self.me.client.clone();
        let request = self.taken_on(&client, method, path, body.as_ref(), &wish).await?;
        self.follow(wish, request, true, client).await
    }

    async fn taken_on(
        &mut self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wish: &Wish,
    ) -> Option<RequestId> {
        let key = format!("errand-{}", self.errands.count.fetch_add(1, Ordering::Relaxed));
        let cookie = client.cookie();
        let begun = Instant::now();
        let mut tries = 0;
        let mut told = None;
        while begun.elapsed() < PATIENCE {
            tries += 1;
            // A logout takes the cookie, also where it is not known whether it was taken on.
            client.set_cookie(cookie.clone());
            let there = self.next(client);
            let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
            let body = body.map(Value::to_string);
            let headers = if body.is_some() { &headers[..1] } else { &headers[..] };
            let asking = there.send(method.clone(), path, headers, body);
            if let Ok(Ok(answer)) = timeout(Duration::from_secs(5), asking).await {
                // The id of a request is made of its key.
                if let (202, Some(request)) = (answer.status, request_of(&answer))
                    && told.replace(request).is_some_and(|before| before != request)
                {
                    self.broken(format!("{wish:?} of {} was given two ids", self.me.user));
                }
                match taken(&answer) {
                    Taken::On(request) => {
                        client.set_cookie(cookie);
                        return Some(request);
                    }
                    Taken::Perhaps | Taken::Not => {}
                    // The try before this one has ended the session.
                    Taken::Refused(401) if tries > 1 && matches!(wish, Wish::Logout(_)) => return None,
                    Taken::Refused(status) => {
                        let told = answer.json();
                        self.broken(format!(
                            "{wish:?} of {} was refused with {status}: {told}",
                            self.me.user
                        ));
                        return None;
                    }
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.broken(format!("{wish:?} of {} was neither taken on nor refused", self.me.user));
        None
    }

    /// Waits until the reply is known, and notes it down to be asked for again at the end; the reply when it says yes.
    async fn follow(
        &mut self,
        wish: Wish,
        request: RequestId,
        certain: bool,
        client: Client,
    ) -> Option<Value> {
        self.turn += 1;
        let reply = outcome(&client, &self.errands.gateways, self.turn, request, certain).await;
        let done = reply.clone().filter(|reply| reply["isSuccess"] == true);
        let errand = Errand { who: self.me.user.clone(), wish, request, certain, reply };
        self.errands.note(|notes| notes.done.push(Open { errand, client }));
        done
    }

    /// Logs in on another machine, looks who it is there, and logs out.
    async fn session(&mut self) {
        let machine = Client::new(self.errands.gateways[0]);
        let login = json!({"userId": self.me.user, "password": PASSWORD});
        let there = self.next(&machine);
        let asking = there.json(Method::POST, "/api/session", &[], &login);
        let Ok(Ok(answer)) = timeout(Duration::from_secs(5), asking).await else { return };
        let certain = matches!(taken(&answer), Taken::On(_));
        // A login takes no key. One that was not heard of opens a session that nobody has the key to.
        let (Some(request), Some(session)) = (request_of(&answer), session_of(&machine)) else { return };
        if self.follow(Wish::Login(session.clone()), request, certain, machine.clone()).await.is_none() {
            return;
        }
        self.is_known(&machine, true).await;
        let wish = Wish::Logout(session);
        let left = machine.cookie();
        let taken_on = self.taken_on(&machine, Method::DELETE, "/api/session", None, &wish).await;
        machine.set_cookie(left);
        let Some(request) = taken_on else { return };
        if self.follow(wish, request, true, machine.clone()).await.is_some() {
            self.is_known(&machine, false).await;
        }
    }

    /// `GET /api/me` knows a session that a login opened, and soon none that a logout ended.
    async fn is_known(&mut self, machine: &Client, known: bool) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let there = self.next(machine);
            if let Ok(Ok(answer)) = timeout(Duration::from_secs(5), there.get("/api/me")).await {
                match (answer.status, known) {
                    (200, true) if answer.json()["userId"] == json!(self.me.user) => return,
                    (401, false) => return,
                    (200 | 401, true) => {
                        let told = answer.json();
                        self.broken(format!("an opened session of {} is {told}", self.me.user));
                        return;
                    }
                    _ => {}
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.broken(format!("a session of {} is known: {}, for too long", self.me.user, !known));
    }

    /// Asks for rooms and friends, as often as it takes: a list that was not seen is simply asked for again.
    async fn lists(&mut self) {
        for (path, field) in [("/api/rooms?limit=100", "rooms"), ("/api/friends?limit=100", "friend")] {
            let begun = Instant::now();
            loop {
                if begun.elapsed() > PATIENCE {
                    self.broken(format!("{} cannot be had by {}", path, self.me.user));
                    return;
                }
                let there = self.next(&self.me.client.clone());
                let asking = there.send(Method::GET, path, &[("prefer", "wait=3")], None);
                let answer = timeout(Duration::from_secs(6), asking).await;
                if let Some(answer) = answer.ok().and_then(Result::ok).filter(|answer| answer.status == 200) {
                    let told = answer.json();
                    let entries = told[field].as_array().map_or(0, Vec::len);
                    let home = field == "friend" || told.to_string().contains(&self.home.to_string());
                    if entries == 0 || !home {
                        self.broken(format!("{path} of {} leaves out what there is: {told}", self.me.user));
                    }
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
        }
    }
}

/// What an answer says of a request.
enum Taken {
    On(RequestId),
    Perhaps,
    Not,
    Refused(u16),
}

fn request_of(answer: &Answer) -> Option<RequestId> {
    answer.json()["requestId"].as_str().and_then(|id| id.parse().ok())
}

fn taken(answer: &Answer) -> Taken {
    match (answer.status, request_of(answer)) {
        (202, Some(_)) if answer.json()["accepted"] == "unknown" => Taken::Perhaps,
        (202, Some(request)) => Taken::On(request),
        (202 | 429 | 503, _) => Taken::Not,
        (status, _) => Taken::Refused(status),
    }
}

/// The key of the session that a browser's cookie is for, in hex.
fn session_of(client: &Client) -> Option<String> {
    let cookie = client.cookie()?;
    let token: SessionToken = cookie.split_once('=')?.1.parse().ok()?;
    Some(token.key().to_string())
}
