use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    BenchError, Cores, Quantiles, Stage, Talk, Target,
    crowd::Crowd,
    fanout::missing,
    idle::round,
    usage::{Usage, resident},
};

/// Connections of the flood that are open at once.
const OPEN: usize = 4_000;

/// How hard it pours.
#[derive(Debug, Clone, clap::Args)]
pub struct FloodArgs {
    /// New connections a second
    #[arg(long, default_value_t = 10_000.0)]
    pub connects: f64,
}

/// How much the gateway may grow in a flood, MiB: its bound on connections at a few kilobytes each.
const GROWTH_MIB: f64 = 64.0;

/// What a flood of connections does to healthy clients.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FloodReport {
    /// Healthy streams beside it.
    pub streams: usize,
    /// Connections that were made.
    pub connected: u64,
    /// The same a second.
    pub connects_per_second: f64,
    /// Connections that were not.
    pub failed: u64,
    /// Messages of healthy clients that were accepted.
    pub accepted: u64,
    /// Those that were refused or not answered within 20 s.
    pub refused: u64,
    /// From stored to heard by the healthy ones, before the flood.
    pub before_ms: Quantiles,
    /// The same during it.
    pub during_ms: Quantiles,
    /// Messages that a healthy member did not hear.
    pub lost: u64,
    /// Resident memory of the gateway before.
    pub before_mib: f64,
    /// At its highest.
    pub peak_mib: f64,
    /// Cores in use during the flood.
    pub cores: Cores,
    /// What went wrong.
    pub breaches: Vec<String>,
}

impl FloodReport {
    /// What was promised and is not so.
    pub fn failings(&self, args: &FloodArgs) -> Vec<String> {
        let mut failings = self.breaches.clone();
        if self.lost > 0 {
            failings.push(format!("{} messages were lost", self.lost));
        }
        if self.failed > 0 {
            failings.push(format!("{} connections failed", self.failed));
        }
        // What was poured is part of the claim: a twentieth less, for the clock's granularity, is the same flood.
        if self.connects_per_second < args.connects * 0.95 {
            failings.push(format!("{} of {} connects a second", self.connects_per_second, args.connects));
        }
        if self.peak_mib > self.before_mib + GROWTH_MIB {
            failings.push(format!("the gateway grew from {} to {} MiB", self.before_mib, self.peak_mib));
        }
        failings
    }
}

/// A stream for each user of the stage and messages to them, while others connect, send half a request, and leave.
///
/// # Errors
/// When the streams cannot be opened or the process cannot be looked at.
pub async fn run_flood(
    stage: &Stage,
    target: &Target,
    talk: &Talk,
    args: &FloodArgs,
) -> Result<FloodReport, BenchError> {
    let crowd = Crowd::gather(stage, 0..stage.users, &[target.gateway]).await?;
    sleep(Duration::from_secs(1)).await;
    crowd.tally.measuring.store(true, Ordering::Relaxed);
    let quiet = talk.run(stage, target.gateway).await;
    crowd.hears(quiet.deliveries(stage, 1)).await;
    let before_ms = crowd.tally.take_latency().1;
    let (usage, before) = (Usage::now(target.pid)?, resident(target.pid)?);
    let time = Duration::from_secs(talk.seconds);
    let peak = async {
        let (start, mut peak) = (Instant::now(), before);
        while start.elapsed() < time {
            peak = peak.max(resident(target.pid).unwrap_or(0));
            sleep(Duration::from_millis(100)).await;
        }
        peak
    };
    let flood = pour(target.gateway, args.connects, time);
    let (talked, (connected, failed), peak) = tokio::join!(talk.run(stage, target.gateway), flood, peak);
    let cores = Usage::now(target.pid)?.cores_since(&usage);
    crowd.hears(quiet.deliveries(stage, 1) + talked.deliveries(stage, 1)).await;
    let mib = |bytes: u64| round(bytes as f64 / f64::from(1 << 20));
    Ok(FloodReport {
        streams: crowd.live(),
        connected,
        connects_per_second: round(connected as f64 / time.as_secs_f64()),
        failed,
        accepted: talked.total(),
        refused: quiet.refused + talked.refused,
        before_ms,
        during_ms: crowd.tally.take_latency().1,
        lost: missing(stage, &crowd, &[&quiet, &talked]).0,
        before_mib: mib(before),
        peak_mib: mib(peak),
        cores,
        breaches: crowd.tally.breaches(),
    })
}

/// Connects on schedule; gives how many connections were made and how many were not.
async fn pour(gateway: SocketAddr, rate: f64, time: Duration) -> (u64, u64) {
    let (connected, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let slots = Arc::new(Semaphore::new(OPEN));
    let start = Instant::now();
    let mut n = 0_u32;
    while start.elapsed() < time {
        sleep_until(start + Duration::from_secs_f64(f64::from(n) / rate)).await;
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let (connected, failed) = (Arc::clone(&connected), Arc::clone(&failed));
        tokio::spawn(async move {
            match timeout(Duration::from_secs(5), drop_in(gateway, n)).await {
                Ok(Ok(_socket)) => connected.fetch_add(1, Ordering::Relaxed),
                _ => failed.fetch_add(1, Ordering::Relaxed),
            };
            drop(slot);
        });
        n += 1;
    }
    // The last ones.
    let _ = slots.acquire_many(u32::try_from(OPEN).unwrap_or(1)).await;
    (connected.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
}

/// One connection from an address of its own range, so that ports do not run out; half of them send the start of a request.
async fn drop_in(gateway: SocketAddr, n: u32) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(n % 200).unwrap_or(0) + 1);
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let mut socket = socket.connect(gateway).await?;
    if n.is_multiple_of(2) {
        socket.write_all(b"GET /api/me HTTP/1.1\r\nhost: x\r\n").await?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_that_was_none_or_that_failed_is_told() {
        let none = Quantiles { p50: 1.0, p99: 1.0, p999: 1.0, max: 1.0 };
        let report = |connects_per_second, failed, lost| FloodReport {
            streams: 200,
            connected: 100_000,
            connects_per_second,
            failed,
            accepted: 200,
            refused: 0,
            before_ms: none,
            during_ms: none,
            lost,
            before_mib: 30.0,
            peak_mib: 31.0,
            cores: Cores { gateway: 0.0, loadgen: 0.0, others: 0.0 },
            breaches: Vec::new(),
        };
        let args = FloodArgs { connects: 10_000.0 };
        assert_eq!(report(9_600.0, 0, 0).failings(&args), [""; 0]);
        for bad in [report(9_400.0, 0, 0), report(10_000.0, 1, 0), report(10_000.0, 0, 1)] {
            assert_eq!(bad.failings(&args).len(), 1, "{bad:?}");
        }
    }
}
