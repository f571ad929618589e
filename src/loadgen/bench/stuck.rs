use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    BenchError, Cores, Quantiles, Stage, Talk, Target,
    crowd::{Crowd, OPENING},
    idle::round,
    metrics,
    usage::{Usage, resident},
};

/// How long filling, or having the last of them cut, may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a message that fills: the longest that there is, nearly.
const FILLING: u32 = 16_000;

/// Where the gateway's own account is, and how often the phases come.
#[derive(Debug, Clone, clap::Args)]
pub struct StuckArgs {
    /// The gateway's admin address, for its metrics
    #[arg(long)]
    pub admin: SocketAddr,
    /// Phases of each sort
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
}

/// What readers that do not read cost those that do: phases without and with them take turns in one run.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StuckReport {
    /// Streams that read.
    pub healthy: usize,
    /// Streams that were stuck, in the phase that had the fewest of them.
    pub stuck: u64,
    /// Streams that were opened and then not read, or at one byte a second, in each phase beside.
    pub opened: Vec<usize>,
    /// How many of them the gateway ended as `slow` by its own account: all that were opened, when all were stuck.
    pub slow: Vec<u64>,
    /// Bytes that waited in the gateway for them when each phase beside began to be measured, all buffers of the kernel being full.
    pub queued_bytes: Vec<u64>,
    /// From stored to heard by the healthy ones, phase by phase: alone.
    pub alone_ms: Vec<Quantiles>,
    /// The same beside the stuck ones.
    pub beside_ms: Vec<Quantiles>,
    /// Median of the phases' p50, beside by alone.
    pub p50_ratio: f64,
    /// Median of the phases' p99, beside by alone.
    pub p99_ratio: f64,
    /// Deliveries to healthy ones, in phases alone and beside.
    pub deliveries: [u64; 2],
    /// Cores in use in the last phase beside stuck ones.
    pub cores: Cores,
    /// Resident memory of the gateway at its highest.
    pub resident_mib: f64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

impl StuckReport {
    /// Whether it measured what it is for: in each phase all were opened, nearly all of them were stuck, and events waited for them in
    /// the gateway from the beginning.
    pub fn measured(&self, stage: &Stage) -> bool {
        let wanted = u64::from(stage.users / 2);
        let phases = self.opened.iter().zip(&self.slow).zip(&self.queued_bytes);
        !self.opened.is_empty()
            && phases.into_iter().all(|((opened, slow), queued)| {
                *opened as u64 == wanted && *slow * 20 >= wanted * 19 && *queued > 0
            })
    }
}

/// The even users of the stage listen; in every second phase the odd ones open streams and do not read them. Such a phase has three
/// parts: long messages until the kernel's buffers are full and the gateway has to keep what comes; the messages that are measured;
/// and long ones again until the gateway has ended every stuck stream.
///
/// # Errors
/// When streams cannot be opened or the process cannot be looked at.
pub async fn run_stuck(
    stage: &Stage,
    target: &Target,
    talk: &Talk,
    args: &StuckArgs,
) -> Result<StuckReport, BenchError> {
    let crowd = Crowd::gather(stage, (0..stage.users).step_by(2), &[target.gateway]).await?;
    sleep(Duration::from_secs(1)).await;
    crowd.tally.measuring.store(true, Ordering::Relaxed);
    talk_once(&crowd, stage, target, talk).await;
    let (mut alone, mut beside, mut deliveries, mut peak) = (Vec::new(), Vec::new(), [0, 0], 0);
    let (mut all_opened, mut slow, mut queued_bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut usage = Usage::now(target.pid)?;
    let mut cores = usage.cores_since(&usage);
    for _ in 0..args.rounds {
        let (quantiles, heard) = talk_once(&crowd, stage, target, talk).await;
        alone.push(quantiles);
        deliveries[0] += heard;
        let before = metrics::ask(args.admin).await?;
        let shared = Arc::new(Shared { opening: Semaphore::new(OPENING), opened: AtomicUsize::new(0) });
        let mut stuck = JoinSet::new();
        for user in (1..stage.users).step_by(2) {
            stuck.spawn(stick(stage.cookie(user), target.gateway, user % 20 == 1, Arc::clone(&shared)));
        }
        let (wanted, start) = (u64::from(stage.users / 2), Instant::now());
        while (shared.opened.load(Ordering::Relaxed) as u64) < wanted && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        // A kilobyte for each of them: not only the first few wait.
        let full = |said: metrics::Said| said.queued > wanted * 1_024 || said.slow > before.slow;
        queued_bytes.push(fill(&crowd, stage, target, args.admin, full).await?.queued);
        usage = Usage::now(target.pid)?;
        let (quantiles, heard) = talk_once(&crowd, stage, target, talk).await;
        cores = Usage::now(target.pid)?.cores_since(&usage);
        peak = peak.max(resident(target.pid)?);
        beside.push(quantiles);
        deliveries[1] += heard;
        let over = |said: metrics::Said| said.slow >= before.slow + wanted;
        slow.push(fill(&crowd, stage, target, args.admin, over).await?.slow - before.slow);
        all_opened.push(shared.opened.load(Ordering::Relaxed));
        stuck.shutdown().await;
        sleep(Duration::from_secs(2)).await;
    }
    let ratio = |of: fn(&Quantiles) -> f64| {
        let median = |phases: &[Quantiles]| {
            let mut values: Vec<f64> = phases.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        round(median(&beside) / median(&alone).max(0.001))
    };
    Ok(StuckReport {
        healthy: crowd.live(),
        stuck: slow.iter().copied().min().unwrap_or(0),
        opened: all_opened,
        slow,
        queued_bytes,
        p50_ratio: ratio(|quantiles| quantiles.p50),
        p99_ratio: ratio(|quantiles| quantiles.p99),
        alone_ms: alone,
        beside_ms: beside,
        deliveries,
        cores,
        resident_mib: round(peak as f64 / f64::from(1 << 20)),
        breaches: crowd.tally.breaches(),
    })
}

/// One phase: what the healthy ones measured, and how much they heard.
async fn talk_once(crowd: &Crowd, stage: &Stage, target: &Target, talk: &Talk) -> (Quantiles, u64) {
    let before = crowd.deliveries();
    let talked = talk.run(stage, target.gateway).await;
    crowd.hears(before + talked.deliveries(stage, 2)).await;
    (crowd.tally.take_latency().1, crowd.deliveries() - before)
}

/// Long messages to every room, a second's worth at a time, until the gateway's account is as wanted or patience ends; that account.
/// What they took is forgotten.
async fn fill(
    crowd: &Crowd,
    stage: &Stage,
    target: &Target,
    admin: SocketAddr,
    wanted: impl Fn(metrics::Said) -> bool,
) -> Result<metrics::Said, BenchError> {
    // Four to each room a second: 64 KB for each stream.
    let talk = Talk { rate: f64::from(stage.rooms()) * 4.0, seconds: 1, message_bytes: FILLING };
    let start = Instant::now();
    loop {
        let said = metrics::ask(admin).await?;
        if wanted(said) || start.elapsed() > PATIENCE {
            return Ok(said);
        }
        talk_once(crowd, stage, target, &talk).await;
    }
}

/// What the stuck ones of a phase share.
struct Shared {
    opening: Semaphore,
    /// Streams that the gateway took and told whose they are.
    opened: AtomicUsize,
}

/// A stream that is opened and then not read, or at one byte a second. Ends by being aborted.
async fn stick(cookie: String, gateway: SocketAddr, drips: bool, shared: Arc<Shared>) {
    let permit = shared.opening.acquire().await;
    let Ok(mut socket) = open(&cookie, gateway).await else { return };
    drop(permit);
    shared.opened.fetch_add(1, Ordering::Relaxed);
    let mut byte = [0];
    loop {
        if drips && !matches!(socket.read(&mut byte).await, Ok(1)) {
            // The gateway has cut it; the others do not even notice.
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Opens a stream and reads no more of it than whose it is.
async fn open(cookie: &str, gateway: SocketAddr) -> std::io::Result<TcpStream> {
    const KNOWN: &[u8] = b"\"userId\":\"";
    let socket = TcpSocket::new_v4()?;
    // Little fits before the gateway notices.
    socket.set_recv_buffer_size(4_096)?;
    let mut socket = socket.connect(gateway).await?;
    let head = format!("GET /api/events HTTP/1.1\r\nhost: {gateway}\r\ncookie: {cookie}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut seen = Vec::new();
    // One that is refused ends before.
    while !seen.ends_with(KNOWN) {
        seen.push(socket.read_u8().await?);
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_stuck_ones_measured_nothing() {
        let stage = Stage { seed: "x".into(), users: 40, room_size: 10 };
        let idle = Quantiles { p50: 1.0, p99: 1.0, p999: 1.0, max: 1.0 };
        let cores = Cores { gateway: 0.0, loadgen: 0.0, others: 0.0 };
        let report = |opened: usize, slow: u64, queued: u64| StuckReport {
            healthy: 20,
            stuck: slow,
            opened: vec![20, opened],
            slow: vec![20, slow],
            queued_bytes: vec![1 << 20, queued],
            alone_ms: vec![idle],
            beside_ms: vec![idle],
            p50_ratio: 1.0,
            p99_ratio: 1.0,
            deliveries: [1, 1],
            cores,
            resident_mib: 1.0,
            breaches: Vec::new(),
        };
        assert!(report(20, 20, 1).measured(&stage) && report(20, 19, 1).measured(&stage));
        assert!(!report(20, 0, 1).measured(&stage), "the kernel's buffers took it all");
        assert!(!report(20, 18, 1).measured(&stage) && !report(12, 20, 1).measured(&stage));
        assert!(!report(20, 20, 0).measured(&stage));
    }
}
