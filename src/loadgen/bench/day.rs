use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;
use hyper::Method;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    BenchError, Cores, PASSWORD, Quantiles, Stage, Target,
    crowd::Crowd,
    fanout::missing,
    idle::round,
    talk::{Talked, due},
    tally::{histogram, quantiles},
    usage::{Usage, background},
};
use crate::{
    ids::Timestamp,
    loadgen::{Client, ClientError},
};

/// What somebody does, and how many of a hundred do it.
const ACTIONS: [(&str, u32); 11] = [
    ("say", 64),
    ("read history", 10),
    ("list rooms", 6),
    ("list friends", 4),
    ("mark as read", 4),
    ("change status", 4),
    ("come and go with a stream", 3),
    ("add a friend", 2),
    ("open a room", 1),
    ("log in and out", 1),
    ("sign up", 1),
];
/// Without an answer for so long somebody gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much goes on.
#[derive(Debug, Clone, clap::Args)]
pub struct DayArgs {
    /// Actions a second, of all kinds
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// How long actions are due, in seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// How a mixed day went.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DayReport {
    /// Streams that listened throughout.
    pub streams: usize,
    /// Actions that were due, a second.
    pub rate: f64,
    /// By kind of action, from the moment it was due to the end of its last answer, with `wait` where there is a reply.
    pub actions: BTreeMap<&'static str, Done>,
    /// From the moment a message was due to its event on a stream.
    pub from_due_ms: Quantiles,
    /// Message events that arrived.
    pub deliveries: u64,
    /// Cores in use meanwhile.
    pub cores: Cores,
    /// Cores that others used before.
    pub background: f64,
    /// Messages that a member did not hear, counted per member.
    pub lost: u64,
    /// Messages heard twice.
    pub repeated: u64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

/// What became of one kind of action.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// How many were due.
    pub count: u64,
    /// How many of them were not answered as they should be.
    pub failed: u64,
    /// How long they took.
    pub millis: Quantiles,
}

/// Everything that was noted, by action.
type Notes = Arc<Mutex<BTreeMap<&'static str, (Histogram<u64>, u64)>>>;

/// All users of the stage listen, and do what people do in the course of a day, on a schedule of their own (an open loop), each
/// from an address of their own.
///
/// # Errors
/// When the streams cannot be opened or the process cannot be looked at.
pub async fn run_day(stage: &Stage, target: &Target, args: &DayArgs) -> Result<DayReport, BenchError> {
    let background = background(target.pid).await?;
    let crowd = Crowd::gather(stage, 0..stage.users, &[target.gateway]).await?;
    crowd.tally.measuring.store(true, Ordering::Relaxed);
    let before = Usage::now(target.pid)?;
    let notes = Notes::default();
    let (start, since) = (Instant::now(), Timestamp::now());
    let mut doing = JoinSet::new();
    let mut said = Talked { accepted: vec![0; stage.rooms() as usize], refused: 0 };
    for n in 0..due(args.rate, args.seconds) {
        let after = Duration::from_secs_f64(f64::from(n) / args.rate);
        sleep_until(start + after).await;
        let room = n % stage.rooms();
        let action = action_of(n);
        let person = Person::of(stage, target.gateway, room, n, since.after(after));
        let (notes, due) = (Arc::clone(&notes), start + after);
        doing.spawn(async move {
            let done = timeout(PATIENCE, person.act(action)).await;
            let good = matches!(done, Ok(Ok(true)));
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            let (took, failed) = notes.entry(action).or_insert_with(|| (histogram(), 0));
            took.saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
            *failed += u64::from(!good);
            (action == "say" && good).then_some(room)
        });
    }
    while let Some(done) = doing.join_next().await {
        if let Ok(Some(room)) = done {
            said.accepted[room as usize] += 1;
        }
    }
    crowd.hears(said.deliveries(stage, 1)).await;
    let (lost, repeated) = missing(stage, &crowd, &[&said]);
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    let done = |(action, (took, failed)): (&&'static str, &(Histogram<u64>, u64))| {
        (*action, Done { count: took.len(), failed: *failed, millis: quantiles(took) })
    };
    Ok(DayReport {
        streams: crowd.live(),
        rate: round(args.rate),
        actions: notes.iter().map(done).collect(),
        from_due_ms: crowd.tally.take_latency().0,
        deliveries: crowd.deliveries(),
        cores: Usage::now(target.pid)?.cores_since(&before),
        background,
        lost,
        repeated,
        breaches: crowd.tally.breaches(),
    })
}

/// The action of a number: in every hundred each as often as its share, spread over it.
fn action_of(n: u32) -> &'static str {
    // 37 and 100 have no divisor in common.
    let mut left = n * 37 % 100;
    for (action, share) in ACTIONS {
        if left < share {
            return action;
        }
        left -= share;
    }
    ACTIONS[0].0
}

/// Somebody at their browser.
struct Person {
    client: Client,
    stage: Stage,
    user: u32,
    /// Another member of the room.
    other: u32,
    room: u32,
    /// Names what they make.
    n: u32,
    /// When what they do was due.
    due: Timestamp,
}

impl Person {
    fn of(stage: &Stage, gateway: SocketAddr, room: u32, n: u32, due: Timestamp) -> Self {
        let turn = n / stage.rooms();
        let (user, other) = (stage.member(room, turn), stage.member(room, turn + 1));
        let [_, high, middle, low] = (user + 256).to_be_bytes();
        let client = Client::new(gateway).coming_from(Ipv4Addr::new(127, high + 1, middle, low));
        client.set_cookie(Some(stage.cookie(user)));
        Self { client, stage: stage.clone(), user, other, room, n, due }
    }

    /// Whether it was answered as it should be.
    async fn act(&self, action: &str) -> Result<bool, ClientError> {
        let room = format!("/api/rooms/{}", self.stage.room(self.room));
        let messages = format!("{room}/messages");
        let friend = format!("{}-{}", self.stage.seed, self.other);
        match action {
            "say" => {
                let body = json!({ "message": format!("{} of a mixed day", self.due.as_micros()) });
                let told = self.client.json(Method::POST, &messages, &[], &body).await?;
                Ok(told.status == 202 && told.json()["accepted"].is_null())
            }
            "read history" => self.get(&messages).await,
            "list rooms" => self.ask(Method::GET, "/api/rooms", Value::Null).await,
            "list friends" => self.ask(Method::GET, "/api/friends", Value::Null).await,
            "mark as read" => self.ask(Method::PUT, &format!("{room}/read"), json!({"seq": 1})).await,
            "change status" => self.ask(Method::PUT, "/api/me/status", json!({"status": "at it"})).await,
            "add a friend" => self.ask(Method::POST, "/api/friends", json!({"friendId": [friend]})).await,
            "open a room" => {
                let known = self.ask(Method::POST, "/api/friends", json!({"friendId": [friend]})).await?;
                let room = json!({"friendId": [friend], "roomName": format!("day {}", self.n)});
                Ok(known && self.ask(Method::POST, "/api/rooms", room).await?)
            }
            "log in and out" => {
                let body =
                    json!({"userId": format!("{}-{}", self.stage.seed, self.user), "password": PASSWORD});
                self.client.set_cookie(None);
                let open = self.ask(Method::POST, "/api/session", body).await?;
                Ok(open && self.ask(Method::DELETE, "/api/session", Value::Null).await?)
            }
            "sign up" => {
                let id = format!("{}-n{}", self.stage.seed, self.n);
                let body = json!({"userId": id, "password": PASSWORD, "email": format!("{id}@example.com"), "userName": id});
                self.client.set_cookie(None);
                self.ask(Method::POST, "/api/users", body).await
            }
            _ => {
                let mut stream = self.client.events(None).await?;
                while let Some(block) = stream.next().await? {
                    if block.event == "hello" && block.data.contains("\"userId\":\"") {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    async fn get(&self, path: &str) -> Result<bool, ClientError> {
        Ok(self.client.get(path).await?.status == 200)
    }

    /// Waits for the reply.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<bool, ClientError> {
        const WAIT: [(&str, &str); 1] = [("prefer", "wait=20")];
        let answer = if method == Method::GET {
            self.client.send(method, path, &WAIT, None).await?
        } else {
            // A change without a body says that it is JSON too.
            self.client.json(method, path, &WAIT, &body).await?
        };
        Ok(matches!(answer.status, 200 | 204))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_actions_hold_each_as_often_as_its_share() {
        assert_eq!(ACTIONS.iter().map(|(_, share)| share).sum::<u32>(), 100);
        for (action, share) in ACTIONS {
            let times = (300..400).filter(|n| action_of(*n) == action).count();
            assert_eq!(times, share as usize, "{action}");
        }
    }
}
