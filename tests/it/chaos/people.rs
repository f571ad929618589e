//! Who uses the system meanwhile: rooms of people who each listen and speak, on a schedule of their own (an open loop).
//! They behave as the web client does, and note everything that they were told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use hyper::Method;
use parley::{
    ids::{RequestId, RoomId, UserId},
    loadgen::{Actor, Client, ClientError, Message},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

#[cfg(test)]
mod tests;

/// How long one message is tried under its key.
const PATIENCE: Duration = crate::fixtures::DEADLINE;
/// Without a byte for so long, a heartbeat among them, a stream counts as dead. Heartbeats come every two seconds.
const SILENCE: Duration = Duration::from_secs(8);

/// One message that somebody meant to send.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) room: usize,
    pub(super) due: Instant,
    /// The request that the system said it took on.
    pub(super) accepted: Option<RequestId>,
    /// Neither taken on nor refused within [`PATIENCE`].
    pub(super) given_up: bool,
    /// Which of the room's members have heard it, a bit each.
    pub(super) heard: u32,
    /// When the last of them had.
    pub(super) whole: Option<Instant>,
}

/// Everything that people sent and were told.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By the number that stands in the message.
    pub(super) said: Vec<Said>,
    /// What was told of a room's number: always the same.
    pub(super) told: HashMap<(usize, i64), (RequestId, usize)>,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    pub(super) repeated: usize,
    pub(super) resyncs: usize,
    pub(super) reconnects: usize,
    live: usize,
}

/// One room and its members.
#[derive(Clone)]
pub(super) struct Circle {
    pub(super) room: RoomId,
    pub(super) members: Vec<Actor>,
}

pub(super) struct Crowd {
    pub(super) circles: Vec<Circle>,
    pub(super) gateways: Vec<SocketAddr>,
    pub(super) book: Arc<Mutex<Book>>,
    listeners: JoinSet<()>,
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().expect("nobody panics while it is held")
}

impl Crowd {
    /// Signs up, makes friends, opens rooms, and listens.
    pub(super) async fn gather(gateways: Vec<SocketAddr>, rooms: usize, members: usize) -> Self {
        let mut circles = Vec::new();
        let run = uuid::Uuid::new_v4().simple().to_string();
        for room in 0..rooms {
            let mut actors = Vec::new();
            for member in 0..members {
                let name: UserId = format!("c{}-{room}-{member}", &run[..8]).parse().expect("an id");
                let gateway = gateways[(room + member) % gateways.len()];
                actors.push(Actor::sign_up(gateway, name).await.expect("a sign-up"));
            }
            let others: Vec<UserId> = actors[1..].iter().map(|actor| actor.user.clone()).collect();
            actors[0].befriend(&others).await.expect("friends");
            let room = actors[0].open_room(&others, &format!("room {room}")).await.expect("a room");
            circles.push(Circle { room, members: actors });
        }
        let book = Arc::new(Mutex::new(Book::default()));
        let mut listeners = JoinSet::new();
        for (index, circle) in circles.iter().enumerate() {
            for (member, actor) in circle.members.iter().enumerate() {
                let ear = Ear {
                    client: actor.client.clone(),
                    gateways: gateways.clone(),
                    turn: index + member,
                    circle: index,
                    room: circle.room,
                    member,
                    members,
                    newest: 0,
                    live: false,
                    book: Arc::clone(&book),
                };
                listeners.spawn(ear.listen());
            }
        }
        let crowd = Self { circles, gateways, book, listeners };
        crate::fixtures::eventually("every listener to be live", || async {
            (locked(&crowd.book).live == rooms * members).then_some(())
        })
        .await;
        crowd
    }

    /// Who says the n-th message, in the n-th room after the first.
    pub(super) fn author(&self, n: usize) -> &Actor {
        let members = &self.circles[n % self.circles.len()].members;
        &members[(n / self.circles.len()) % members.len()]
    }

    /// Speaks at this rate until told to stop, and waits until each message is taken on, refused or given up.
    pub(super) async fn speak(&self, rate: f64, mut stop: tokio::sync::oneshot::Receiver<()>) {
        let start = Instant::now();
        let mut sends = JoinSet::new();
        for n in 0_u32.. {
            let due = start + Duration::from_secs_f64(f64::from(n) / rate);
            tokio::select! {
                () = sleep_until(due) => {}
                _ = &mut stop => break,
            }
            let n = n as usize;
            let circle = n % self.circles.len();
            locked(&self.book).said.push(Said {
                room: circle,
                due,
                accepted: None,
                given_up: false,
                heard: 0,
                whole: None,
            });
            let voice = Voice {
                client: self.author(n).client.clone(),
                gateways: self.gateways.clone(),
                room: self.circles[circle].room,
                book: Arc::clone(&self.book),
            };
            sends.spawn(voice.say(n, due));
        }
        while sends.join_next().await.is_some() {}
    }

    /// The moment by which every room had heard whole a message that was due after `since`.
    pub(super) async fn heard_since(&self, since: Instant) -> Instant {
        loop {
            let all = {
                let book = locked(&self.book);
                (0..self.circles.len()).all(|room| {
                    let whole = (1_u32 << self.circles[room].members.len()) - 1;
                    let after = book.said.iter().rev().take_while(|said| said.due > since);
                    after.filter(|said| said.room == room).any(|said| said.heard == whole)
                })
            };
            if all {
                return Instant::now();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long messages that were due in this time took to the last member of their room, in milliseconds; what has not arrived
    /// has taken until now.
    pub(super) fn took(&self, from: Instant, to: Instant) -> Vec<f64> {
        let book = locked(&self.book);
        let due =
            book.said.iter().rev().skip_while(|said| said.due >= to).take_while(|said| said.due >= from);
        due.map(|said| said.whole.unwrap_or_else(Instant::now).duration_since(said.due).as_secs_f64() * 1e3)
            .collect()
    }

    pub(super) fn hush(&mut self) {
        self.listeners.abort_all();
    }
}

struct Voice {
    client: Client,
    gateways: Vec<SocketAddr>,
    room: RoomId,
    book: Arc<Mutex<Book>>,
}

impl Voice {
    /// One message, under one key, at one gateway after another until one says what became of it.
    async fn say(self, n: usize, due: Instant) {
        let path = format!("/api/rooms/{}/messages", self.room);
        let key = format!("chaos-{n}");
        let body = json!({"message": format!("chaos {n}")});
        let mut turn = n;
        let mut before = None;
        while due.elapsed() < PATIENCE {
            let client = self.client.at(self.gateways[turn % self.gateways.len()]);
            turn += 1;
            let headers = [("idempotency-key", key.as_str())];
            let asking = client.json(Method::POST, &path, &headers, &body);
            if let Ok(Ok(answer)) = timeout(Duration::from_secs(5), asking).await {
                let told = answer.json();
                let request: Option<RequestId> = told["requestId"].as_str().and_then(|id| id.parse().ok());
                // The id of a request is made of its key.
                if let Some(id) = request
                    && before.replace(id).is_some_and(|before| before != id)
                {
                    locked(&self.book).broken.push(format!("message {n} was given two ids"));
                }
                match (answer.status, request) {
                    (202, Some(id)) if told["accepted"] != "unknown" => {
                        locked(&self.book).said[n].accepted = Some(id);
                        return;
                    }
                    (202 | 429 | 503, _) => {}
                    (status, _) => {
                        let what = format!("message {n} was refused with {status}: {told}");
                        locked(&self.book).broken.push(what);
                        return;
                    }
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        locked(&self.book).said[n].given_up = true;
    }
}

struct Ear {
    client: Client,
    gateways: Vec<SocketAddr>,
    turn: usize,
    circle: usize,
    room: RoomId,
    member: usize,
    /// How many the room has.
    members: usize,
    /// The number of the newest message of the room that it knows.
    newest: i64,
    live: bool,
    book: Arc<Mutex<Book>>,
}

impl Ear {
    /// Hears at one gateway after another, from where it was, until it is aborted.
    async fn listen(mut self) {
        let mut cursor: Option<String> = None;
        loop {
            let client = self.next_gateway();
            if let Err(error) = self.hear_one(&client, &mut cursor).await
                && error.is_breach()
            {
                // A connection that is cut, though inside an event, is what killing and freezing bring about; wrong bytes are not.
                let what = format!("a stream of {} in room {}: {error}", self.member, self.circle);
                locked(&self.book).broken.push(what);
            }
            locked(&self.book).reconnects += 1;
            sleep(Duration::from_millis(150)).await;
        }
    }

    /// One stream, until it ends or falls silent.
    async fn hear_one(&mut self, client: &Client, cursor: &mut Option<String>) -> Result<(), ClientError> {
        let Ok(opened) = timeout(SILENCE, client.events(cursor.as_deref())).await else { return Ok(()) };
        let mut stream = opened?;
        while let Ok(block) = timeout(SILENCE, stream.next()).await {
            let Some(block) = block? else { break };
            if block.id.is_some() {
                cursor.clone_from(&block.id);
            }
            self.take(&block).await;
        }
        Ok(())
    }

    fn next_gateway(&mut self) -> Client {
        self.turn += 1;
        self.client.at(self.gateways[self.turn % self.gateways.len()])
    }

    async fn take(&mut self, block: &Message) {
        match block.event.as_str() {
            "message" => {
                let data: Value = serde_json::from_str(&block.data).expect("JSON");
                if data["roomId"] == self.room.to_string() {
                    self.hear(&data, true);
                }
            }
            "hello" if !self.live && block.data.contains("\"userId\":\"") => {
                self.live = true;
                locked(&self.book).live += 1;
            }
            "resync" => {
                locked(&self.book).resyncs += 1;
                self.read_history().await;
            }
            "session-ended" => {
                let what = format!("the session of {} was ended: {}", self.member, block.data);
                locked(&self.book).broken.push(what);
            }
            _ => {}
        }
    }

    /// What the stream cannot prove to have told is read; it goes on from there.
    async fn read_history(&mut self) {
        loop {
            let client = self.next_gateway();
            let path = format!("/api/rooms/{}/messages?after={}&limit=100", self.room, self.newest);
            let page = timeout(SILENCE, client.get(&path)).await;
            let Some(answer) = page.ok().and_then(Result::ok).filter(|answer| answer.status == 200) else {
                sleep(Duration::from_millis(200)).await;
                continue;
            };
            let page = answer.json();
            for message in page["messages"].as_array().expect("a list") {
                self.hear(message, false);
            }
            if page["next"].is_null() {
                return;
            }
        }
    }

    fn hear(&mut self, data: &Value, live: bool) {
        let seq = data["seq"].as_i64().expect("a number");
        let id: RequestId = data["requestId"].as_str().expect("an id").parse().expect("an id");
        let text = data["message"].as_str().expect("a text");
        let n: usize = text.strip_prefix("chaos ").expect("one of ours").parse().expect("a number");
        let mut book = locked(&self.book);
        let whom = (self.circle, self.member);
        if *book.told.entry((self.circle, seq)).or_insert((id, n)) != (id, n) {
            book.broken.push(format!("{whom:?}: number {seq} of the room is two messages"));
        }
        if live && seq > self.newest + 1 {
            book.broken.push(format!("{whom:?}: {seq} came after {} without a resync", self.newest));
        }
        if seq <= self.newest {
            book.repeated += 1;
        }
        self.newest = self.newest.max(seq);
        let said = &mut book.said[n];
        said.heard |= 1 << self.member;
        if said.whole.is_none() && said.heard == (1 << self.members) - 1 {
            said.whole = Some(Instant::now());
        }
    }
}
