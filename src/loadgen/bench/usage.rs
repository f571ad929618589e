use std::{fs, io, time::Duration};

use tokio::time::Instant;

use crate::loadgen::procfs;

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
        let (gateway, own) = (procfs::of(&gateway.to_string())?.own, procfs::of("self")?.own);
        Ok(Self { at: Instant::now(), gateway, own, machine: procfs::machine()? })
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
