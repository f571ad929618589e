use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::{
    BenchError, Cores, Quantiles, Stage, Talk, Target,
    crowd::Crowd,
    idle::round,
    usage::{Usage, resident},
};

/// What readers that do not read cost those that do: phases without and with them take turns in one run.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StuckReport {
    /// Streams that read.
    pub healthy: usize,
    /// Streams that do not, or one byte a second.
    pub stuck: usize,
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

/// The even users of the stage listen; in every second phase the odd ones open streams and do not read them.
///
/// # Errors
/// When streams cannot be opened or the process cannot be looked at.
pub async fn run_stuck(
    stage: &Stage,
    target: &Target,
    talk: &Talk,
    rounds: u32,
) -> Result<StuckReport, BenchError> {
    let crowd = Crowd::gather(stage, (0..stage.users).step_by(2), &[target.gateway]).await?;
    sleep(Duration::from_secs(1)).await;
    crowd.tally.measuring.store(true, Ordering::Relaxed);
    talk_once(&crowd, stage, target, talk).await;
    let (mut alone, mut beside, mut deliveries, mut peak) = (Vec::new(), Vec::new(), [0, 0], 0);
    let mut usage = Usage::now(target.pid)?;
    let mut cores = usage.cores_since(&usage);
    for _ in 0..rounds {
        let (quantiles, heard) = talk_once(&crowd, stage, target, talk).await;
        alone.push(quantiles);
        deliveries[0] += heard;
        let mut stuck = JoinSet::new();
        for user in (1..stage.users).step_by(2) {
            stuck.spawn(stick(stage.cookie(user), target.gateway, user % 20 == 1));
        }
        sleep(Duration::from_secs(3)).await;
        usage = Usage::now(target.pid)?;
        let (quantiles, heard) = talk_once(&crowd, stage, target, talk).await;
        cores = Usage::now(target.pid)?.cores_since(&usage);
        peak = peak.max(resident(target.pid)?);
        beside.push(quantiles);
        deliveries[1] += heard;
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
        stuck: (stage.users / 2) as usize,
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

/// A stream that is opened and then not read, or at one byte a second. Ends by being aborted.
async fn stick(cookie: String, gateway: SocketAddr, drips: bool) {
    let Ok(mut socket) = open(&cookie, gateway).await else { return };
    let mut byte = [0];
    loop {
        if drips && !matches!(socket.read(&mut byte).await, Ok(1)) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn open(cookie: &str, gateway: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Little fits before the gateway notices.
    socket.set_recv_buffer_size(4_096)?;
    let mut socket = socket.connect(gateway).await?;
    let head = format!("GET /api/events HTTP/1.1\r\nhost: {gateway}\r\ncookie: {cookie}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    Ok(socket)
}
