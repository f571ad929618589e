use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    BenchError, Cores, Quantiles, Stage, Target,
    idle::round,
    tally::{Tally, histogram, quantiles},
    usage::{Usage, resident},
};
use crate::loadgen::{Client, Stream};

/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What comes of many who open their streams at once, as after a lunch break.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectReport {
    /// Streams.
    pub streams: u32,
    /// Streams a second that were due to be opened.
    pub due_per_second: f64,
    /// Streams a second that were live, from the first due moment until the last one was.
    pub per_second: f64,
    /// From the moment a stream was due until it heard `hello` with its user, in milliseconds; tries that were sent away included.
    pub from_due_ms: Quantiles,
    /// Tries that the gateway ended or refused before.
    pub sent_away: u64,
    /// Cores in use meanwhile.
    pub cores: Cores,
    /// Resident memory of the gateway at the end.
    pub resident_mib: f64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

struct Shared {
    tally: Tally,
    sent_away: AtomicU64,
    micros: Mutex<Histogram<u64>>,
}

/// Opens a stream for each user of the stage when it is due, whatever became of those before it (an open loop), and keeps it.
///
/// # Errors
/// When not all become live, or the process cannot be looked at.
pub async fn run_connect(stage: &Stage, target: &Target, rate: f64) -> Result<ConnectReport, BenchError> {
    let shared = Arc::new(Shared {
        tally: Tally::new(),
        sent_away: AtomicU64::new(0),
        micros: Mutex::new(histogram()),
    });
    let usage = Usage::now(target.pid)?;
    let start = Instant::now() + Duration::from_millis(100);
    let mut streams = JoinSet::new();
    for user in 0..stage.users {
        let due = start + Duration::from_secs_f64(f64::from(user) / rate.max(0.1));
        sleep_until(due).await;
        let client = Client::new(target.gateway);
        client.set_cookie(Some(stage.cookie(user)));
        let shared = Arc::clone(&shared);
        streams.spawn(async move {
            let mut stream = open(&client, &shared).await;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            shared.micros.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
            shared.tally.live.fetch_add(1, Ordering::Relaxed);
            while shared.tally.next(&mut stream).await.is_some() {}
        });
    }
    while shared.tally.live.load(Ordering::Relaxed) < stage.users as usize {
        if start.elapsed() > PATIENCE {
            let live = shared.tally.live.load(Ordering::Relaxed);
            let breaches = shared.tally.breaches();
            return Err(BenchError::Gather { live, of: stage.users as usize, breaches });
        }
        sleep(Duration::from_millis(10)).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cores = Usage::now(target.pid)?.cores_since(&usage);
    let from_due_ms = quantiles(&shared.micros.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(ConnectReport {
        streams: stage.users,
        due_per_second: rate,
        per_second: round(f64::from(stage.users) / seconds),
        from_due_ms,
        sent_away: shared.sent_away.load(Ordering::Relaxed),
        cores,
        resident_mib: round(resident(target.pid)? as f64 / f64::from(1 << 20)),
        breaches: shared.tally.breaches(),
    })
}

/// Tries until a stream is live, and waits in between as it is told to.
async fn open(client: &Client, shared: &Shared) -> Stream {
    let mut retry = Duration::from_secs(1);
    loop {
        match client.events(None).await {
            Ok(mut stream) => {
                while let Some(block) = shared.tally.next(&mut stream).await {
                    if let Some(millis) = block.retry {
                        retry = Duration::from_millis(millis);
                    }
                    if block.event == "hello" && block.data.contains("\"userId\":\"") {
                        return stream;
                    }
                }
            }
            Err(error) if error.is_breach() => shared.tally.breach(error.to_string()),
            // No room in the kernel's queue at the moment: tried again like one that was sent away.
            Err(_) => {}
        }
        shared.sent_away.fetch_add(1, Ordering::Relaxed);
        sleep(retry).await;
    }
}
