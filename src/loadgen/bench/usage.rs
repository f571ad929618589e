use std::{fs, io, time::Duration};

use tokio::time::Instant;

/// `/proc` counts processor time in these; 100 a second on every Linux machine, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and the whole machine have used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    at: Instant,
    gateway: f64,
    own: f64,
    machine: f64,
}

/// Cores in use between two looks.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cores {
    /// By the gateway.
    pub gateway: f64,
    /// By the load generator.
    pub loadgen: f64,
    /// By everything else on the machine: Kafka, PostgreSQL, the worker, and whoever has no part in it.
    pub others: f64,
}

impl Usage {
    pub(super) fn now(gateway: u32) -> io::Result<Self> {
        let machine = fs::read_to_string("/proc/stat")?;
        let line = machine.lines().next().unwrap_or_default();
        // user, nice, system, then idle and iowait (left out), irq, softirq.
        let fields: Vec<f64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let busy = [0, 1, 2, 5, 6].iter().filter_map(|n| fields.get(*n)).sum::<f64>() / TICKS_PER_SECOND;
        let (gateway, own) = (processor(&gateway.to_string())?, processor("self")?);
        Ok(Self { at: Instant::now(), gateway, own, machine: busy })
    }

    /// Seconds of processor time that the gateway used since.
    pub(super) fn gateway_since(&self, before: &Self) -> f64 {
        self.gateway - before.gateway
    }

    pub(super) fn cores_since(&self, before: &Self) -> Cores {
        let span = (self.at - before.at).as_secs_f64().max(0.001);
        let round = |seconds: f64| (seconds / span * 100.0).round() / 100.0;
        let (gateway, own) = (self.gateway - before.gateway, self.own - before.own);
        let others = (self.machine - before.machine - gateway - own).max(0.0);
        Cores { gateway: round(gateway), loadgen: round(own), others: round(others) }
    }
}

/// Seconds of processor time of a process.
fn processor(pid: &str) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything but ends with the last parenthesis; user and system time are fields 14 and 15 (proc(5)).
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().unwrap_or(0.0));
    Ok((fields.next().unwrap_or(0.0) + fields.next().unwrap_or(0.0)) / TICKS_PER_SECOND)
}

/// Resident memory of a process in bytes.
pub(super) fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("process {pid} has ended")))
}

/// What others use while nothing is asked of the system: how disturbed the figures are.
pub(super) async fn background(gateway: u32) -> io::Result<f64> {
    let before = Usage::now(gateway)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(Usage::now(gateway)?.cores_since(&before).others)
}
