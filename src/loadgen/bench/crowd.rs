use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    BenchError, Stage,
    tally::{Ear, Tally},
};
use crate::{
    ids::Timestamp,
    loadgen::{Client, ClientError, Message},
};

/// Streams that are being opened at once: a gateway takes 200 of one address that it does not know yet.
pub(super) const OPENING: usize = 64;
/// After this long without a message no more are to come.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the crowd may take to be there.
const PATIENCE: Duration = Duration::from_secs(180);

/// Many listeners, each with one stream, which come back as browsers do: after `retry`, with their cursor.
#[derive(Debug)]
pub(in crate::loadgen) struct Crowd {
    pub(in crate::loadgen) tally: Arc<Tally>,
    /// By user, from the first on.
    pub(super) ears: Vec<Arc<Ear>>,
    tasks: JoinSet<()>,
}

/// The fields of a `message` event that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    seq: i64,
    message: &'a str,
    created_at: &'a str,
}

/// A message that somebody heard: its number, and when it was due and stored, in microseconds since 1970.
type Heard = (i64, i64, i64);

thread_local! {
    /// The message that was read last: whoever hears the same one finds it here.
    static READ: RefCell<Option<(Arc<Message>, Heard)>> = const { RefCell::new(None) };
}

/// What a message says; none when nobody of this run sent it.
fn read(block: &Arc<Message>) -> Option<Heard> {
    let known = |read: &Option<(Arc<Message>, Heard)>| {
        read.as_ref().filter(|(known, _)| Arc::ptr_eq(known, block)).map(|(_, heard)| *heard)
    };
    READ.with_borrow(known).or_else(|| {
        let said: Said<'_> = serde_json::from_str(&block.data).ok()?;
        let due = said.message.split(' ').next()?.parse().ok()?;
        let heard = (said.seq, due, said.created_at.parse::<Timestamp>().ok()?.as_micros());
        READ.set(Some((Arc::clone(block), heard)));
        Some(heard)
    })
}

impl Crowd {
    /// Opens the streams of these users and waits until all of them hear everything.
    pub(in crate::loadgen) async fn gather(
        stage: &Stage,
        users: impl Iterator<Item = u32>,
        gateways: &[SocketAddr],
    ) -> Result<Self, BenchError> {
        let mut crowd = Self { tally: Arc::new(Tally::new()), ears: Vec::new(), tasks: JoinSet::new() };
        let opening = Arc::new(Semaphore::new(OPENING));
        for user in users {
            let ear = Arc::new(Ear::default());
            crowd.ears.push(Arc::clone(&ear));
            let client = Client::new(gateways[0]);
            client.set_cookie(Some(stage.cookie(user)));
            let listener = Listener {
                client,
                gateways: gateways.to_vec(),
                opening: Arc::clone(&opening),
                ear,
                tally: Arc::clone(&crowd.tally),
            };
            crowd.tasks.spawn(listener.run());
        }
        let start = Instant::now();
        while crowd.live() < crowd.ears.len() {
            if start.elapsed() > PATIENCE {
                let (live, of) = (crowd.live(), crowd.ears.len());
                return Err(BenchError::Gather { live, of, breaches: crowd.tally.breaches() });
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(crowd)
    }

    pub(super) fn live(&self) -> usize {
        self.tally.live.load(Ordering::Relaxed)
    }

    pub(in crate::loadgen) fn deliveries(&self) -> u64 {
        self.tally.deliveries.load(Ordering::Relaxed)
    }

    /// Waits until this many messages were heard in all, or until nothing more comes for some time.
    pub(in crate::loadgen) async fn hears(&self, expected: u64) {
        let (mut heard, mut since) = (self.deliveries(), Instant::now());
        while heard < expected && since.elapsed() < SILENCE {
            sleep(Duration::from_millis(50)).await;
            if self.deliveries() > heard {
                (heard, since) = (self.deliveries(), Instant::now());
            }
        }
    }
}

struct Listener {
    client: Client,
    gateways: Vec<SocketAddr>,
    opening: Arc<Semaphore>,
    ear: Arc<Ear>,
    tally: Arc<Tally>,
}

impl Listener {
    async fn run(self) {
        let (mut cursor, mut turn, mut retry) = (None, 0, Duration::from_secs(1));
        loop {
            // Whoever was sent away by one stays with the next: balancers do not offer what is gone.
            let gateway = self.gateways[turn.min(self.gateways.len() - 1)];
            match self.listen(gateway, &mut cursor, &mut retry).await {
                Err(error) if error.is_breach() => self.tally.breach(error.to_string()),
                // A gateway that is gone or going before it answers: the next one is asked.
                Ok(()) | Err(_) => {}
            }
            sleep(retry).await;
            turn += 1;
            self.tally.returned();
        }
    }

    /// One stream from its opening to its end.
    async fn listen(
        &self,
        gateway: SocketAddr,
        cursor: &mut Option<String>,
        retry: &mut Duration,
    ) -> Result<(), ClientError> {
        let mut permit = self.opening.acquire().await.ok();
        let mut stream = self.client.at(gateway).events(cursor.as_deref()).await?;
        let mut live = Live { tally: &self.tally, counted: false };
        while let Some(block) = self.tally.next(&mut stream).await {
            cursor.clone_from(&block.id);
            if let Some(millis) = block.retry {
                *retry = Duration::from_millis(millis);
            }
            match block.event.as_str() {
                "hello" if block.data.contains("\"userId\":\"") => {
                    permit = None;
                    live.count();
                }
                "message" => self.message(&block),
                "resync" => drop(self.tally.resyncs.fetch_add(1, Ordering::Relaxed)),
                _ => {}
            }
        }
        drop(permit);
        Ok(())
    }

    fn message(&self, block: &Arc<Message>) {
        let now = Timestamp::now().as_micros();
        match read(block) {
            Some((seq, due, stored)) => {
                self.ear.hear(seq);
                self.tally.heard(now, due, stored);
            }
            None => self.tally.breach(format!("a message that nobody sent: {:.80}", block.data)),
        }
    }
}

/// Counts a stream as live for as long as it is.
struct Live<'a> {
    tally: &'a Tally,
    counted: bool,
}

impl Live<'_> {
    fn count(&mut self) {
        if !self.counted {
            self.counted = true;
            self.tally.live.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.tally.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
