//! The chat scenario: rooms with members who listen, and messages that arrive on a schedule of their own, whatever the system
//! does (an open loop). Latency counts from the moment a message was due, so a stall cannot hide (no coordinated omission).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use hyper::Method;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Actor, Audit, ClientError, Findings, Heard, SetupError};
use crate::ids::{RequestId, RoomId, UserId};

/// Messages under way at once, at most: beyond it the schedule slips, which the latency then shows.
const IN_FLIGHT: usize = 512;
/// How long one message is tried under its key before it counts as given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shape of a run.
#[derive(Debug, Clone, clap::Args)]
pub struct ChatArgs {
    /// Gateways, address:port, separated by commas; users are spread over them
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:30080")]
    pub gateways: Vec<SocketAddr>,
    /// Rooms
    #[arg(long, default_value_t = 4)]
    pub rooms: usize,
    /// Members of each room, every one of whom listens
    #[arg(long, default_value_t = 2)]
    pub members: usize,
    /// Messages a second, over all rooms
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// How long messages are due
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}

/// What came of a run.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatReport {
    /// Messages that were due.
    pub due: usize,
    /// Messages that the system accepted.
    pub accepted: usize,
    /// Messages given up: refused, or unknown after a minute.
    pub given_up: usize,
    /// What the audit found.
    pub findings: Findings,
    /// From the moment a message was due to its event at a listener, in milliseconds.
    pub p50_ms: f64,
    /// The same, 99 of 100.
    pub p99_ms: f64,
    /// The same, the worst.
    pub max_ms: f64,
    /// Streams that ended and were resumed.
    pub reconnects: u64,
    /// `reconnect` events: a gateway ended the stream itself and asked to come back, as one does that is about to stop.
    pub sent_away: u64,
    /// `resync` events: the gateway could not prove that nothing was missed.
    pub resyncs: u64,
    /// Streams whose connection ended before they did: of a gateway that was killed, or whose end somebody cut off.
    pub cut: u64,
    /// What gateways sent and must not send, the first few.
    pub breaches: Vec<String>,
}

impl ChatReport {
    /// Whether nothing was lost or doubled, and every byte of every stream was as it must be.
    pub fn clean(&self) -> bool {
        self.findings.clean() && self.breaches.is_empty()
    }
}

#[derive(Debug)]
struct Shared {
    audit: Audit,
    due: HashMap<RequestId, Instant>,
    early: HashMap<RequestId, Instant>,
    latency: Histogram<u64>,
    given_up: usize,
    reconnects: u64,
    sent_away: u64,
    resyncs: u64,
    cut: u64,
    breaches: Vec<String>,
    /// Listeners whose stream was live at least once.
    live: usize,
}

type State = Arc<Mutex<Shared>>;

fn with<T>(state: &State, change: impl FnOnce(&mut Shared) -> T) -> T {
    change(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Sets the stage, sends, waits until every listener has everything (or patience ends), and judges.
///
/// # Errors
/// When the stage cannot be set.
pub async fn run_chat(args: &ChatArgs) -> Result<ChatReport, SetupError> {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants and legal: 1 µs to 5 min, three significant digits"
    )]
    let latency = Histogram::new_with_bounds(1, 300_000_000, 3).expect("legal bounds");
    let state: State = Arc::new(Mutex::new(Shared {
        audit: Audit::default(),
        due: HashMap::new(),
        early: HashMap::new(),
        latency,
        given_up: 0,
        reconnects: 0,
        sent_away: 0,
        resyncs: 0,
        cut: 0,
        breaches: Vec::new(),
        live: 0,
    }));
    let stage = set_stage(args, &state).await?;
    let mut listeners = JoinSet::new();
    for actor in stage.iter().flat_map(|(_, actors)| actors) {
        listeners.spawn(listen(actor.clone(), Arc::clone(&state)));
    }
    // Who is not live yet hears of what came before only by reading the room's history, which is not what this measures.
    let wanted = listeners.len();
    let end = Instant::now() + PATIENCE;
    loop {
        let live = with(&state, |s| s.live);
        if live >= wanted {
            break;
        }
        if Instant::now() > end {
            return Err(SetupError::NotLive { live, wanted });
        }
        sleep(Duration::from_millis(50)).await;
    }
    let due = send_all(args, &stage, &state).await;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !with(&state, |s| s.audit.complete()) {
        sleep(Duration::from_millis(100)).await;
    }
    listeners.abort_all();
    Ok(with(&state, |s| {
        let at = |quantile| Duration::from_micros(s.latency.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        ChatReport {
            due,
            accepted: s.audit.accepted_count(),
            given_up: s.given_up,
            findings: s.audit.findings(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            reconnects: s.reconnects,
            sent_away: s.sent_away,
            resyncs: s.resyncs,
            cut: s.cut,
            breaches: s.breaches.clone(),
        }
    }))
}

/// Users, friendships and rooms of this run alone.
async fn set_stage(args: &ChatArgs, state: &State) -> Result<Vec<(RoomId, Vec<Actor>)>, SetupError> {
    let run = uuid::Uuid::now_v7().simple().to_string();
    let mut stage = Vec::new();
    for room in 0..args.rooms {
        let mut actors = Vec::new();
        for member in 0..args.members {
            let gateway = args.gateways[(room + member) % args.gateways.len()];
            let name = format!("load-{}-{room}-{member}", &run[20..]);
            #[expect(clippy::expect_used, reason = "made of legal characters only, and short")]
            let user = name.parse().expect("a legal user id");
            actors.push(Actor::sign_up(gateway, user).await?);
        }
        let users: Vec<UserId> = actors.iter().map(|actor| actor.user.clone()).collect();
        actors[0].befriend(&users[1..]).await?;
        let id = actors[0].open_room(&users[1..], &format!("load {room}")).await?;
        with(state, |s| s.audit.room(id, users));
        stage.push((id, actors));
    }
    Ok(stage)
}

/// Sends each message when it is due; returns how many were.
async fn send_all(args: &ChatArgs, stage: &[(RoomId, Vec<Actor>)], state: &State) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bounded count")]
    let count = (args.rate * args.seconds as f64) as usize;
    let start = Instant::now() + Duration::from_millis(500);
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut sends = JoinSet::new();
    for n in 0..count {
        let due = start + Duration::from_secs_f64(n as f64 / args.rate);
        sleep_until(due).await;
        let (room, actors) = &stage[n % stage.len()];
        let actor = actors[(n / stage.len()) % actors.len()].clone();
        let (room, state, slots) = (*room, Arc::clone(state), Arc::clone(&slots));
        sends.spawn(async move {
            let _slot = slots.acquire_owned().await;
            send_one(&actor, room, n, due, &state).await;
        });
    }
    while sends.join_next().await.is_some() {}
    count
}

/// Sends under one key until the system takes it on, and writes down what it was taken on as.
async fn send_one(actor: &Actor, room: RoomId, n: usize, due: Instant, state: &State) {
    let path = format!("/api/rooms/{room}/messages");
    let key = format!("{room}-{n}-{}", actor.user);
    let body = json!({ "message": format!("message {n} of {}", actor.user) });
    let headers = [("idempotency-key", key.as_str())];
    let mut pause = Duration::from_millis(50);
    while due.elapsed() < PATIENCE {
        let attempt = actor.client.json(Method::POST, &path, &headers, &body);
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(20), attempt).await {
            let id = answer.json()["requestId"].as_str().and_then(|id| id.parse::<RequestId>().ok());
            match (answer.status, id) {
                // "accepted": "unknown" is settled by asking again under the same key.
                (202, Some(id)) if answer.json()["accepted"] != "unknown" => {
                    return with(state, |s| s.accept(id, room, due));
                }
                (202 | 429 | 500..=599, _) => {}
                _ => break,
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    with(state, |s| s.given_up += 1);
}

impl Shared {
    fn accept(&mut self, id: RequestId, room: RoomId, due: Instant) {
        self.audit.accepted(id, room);
        self.due.insert(id, due);
        // The event may have come before the 202.
        if let Some(heard) = self.early.remove(&id) {
            self.record(due, heard);
        }
    }

    fn hear(&mut self, by: &UserId, heard: Heard, at: Instant) {
        match self.due.get(&heard.request_id).copied() {
            Some(due) => self.record(due, at),
            None => drop(self.early.entry(heard.request_id).or_insert(at)),
        }
        self.audit.heard(by, heard);
    }

    fn ended(&mut self, error: &ClientError) {
        self.cut += u64::from(error.is_cut());
        if error.is_breach() && self.breaches.len() < 10 {
            self.breaches.push(error.to_string());
        }
    }

    fn record(&mut self, due: Instant, heard: Instant) {
        let micros = heard.saturating_duration_since(due).as_micros();
        self.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
    }
}

/// Listens as one user, resuming from the last cursor, until aborted.
async fn listen(actor: Actor, state: State) {
    let (mut cursor, mut live) = (None, false);
    loop {
        if let Err(error) = listen_once(&actor, &state, &mut cursor, &mut live).await {
            with(&state, |s| s.ended(&error));
        }
        with(&state, |s| s.reconnects += 1);
        sleep(Duration::from_millis(200)).await;
    }
}

/// One stream from its opening to its end.
async fn listen_once(
    actor: &Actor,
    state: &State,
    cursor: &mut Option<String>,
    live: &mut bool,
) -> Result<(), ClientError> {
    let mut stream = actor.client.events(cursor.as_deref()).await?;
    while let Some(block) = stream.next().await? {
        let at = Instant::now();
        // A stream's first blocks may have no id yet: the one of the stream before stays in force.
        if block.id.is_some() {
            cursor.clone_from(&block.id);
        }
        match block.event.as_str() {
            "message" => {
                if let Some(heard) = read(&block.data) {
                    with(state, |s| s.hear(&actor.user, heard, at));
                }
            }
            "hello" if !*live && block.data.contains("\"userId\":\"") => {
                *live = true;
                with(state, |s| s.live += 1);
            }
            "reconnect" => with(state, |s| s.sent_away += 1),
            "resync" => with(state, |s| s.resyncs += 1),
            _ => {}
        }
    }
    Ok(())
}

fn read(data: &str) -> Option<Heard> {
    let value: serde_json::Value = serde_json::from_str(data).ok()?;
    Some(Heard {
        room_id: value["roomId"].as_str()?.parse().ok()?,
        seq: crate::ids::Seq(value["seq"].as_i64()?),
        request_id: value["requestId"].as_str()?.parse().ok()?,
    })
}
