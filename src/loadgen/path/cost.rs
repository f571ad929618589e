use std::io;

use tokio::time::Instant;

use super::round;
use crate::loadgen::procfs;

/// The processes that are measured.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Processes {
    /// The processes of the workers
    #[arg(long = "worker-pid", value_delimiter = ',')]
    pub worker_pids: Vec<u32>,
    /// PostgreSQL's first process
    #[arg(long)]
    pub postgres_pid: Option<u32>,
    /// The broker's process
    #[arg(long)]
    pub broker_pid: Option<u32>,
    /// The gateway's process, where one takes part
    #[arg(long)]
    pub gateway_pid: Option<u32>,
}

/// What these and the whole machine have used so far, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    at: Instant,
    worker: f64,
    postgres: f64,
    broker: f64,
    gateway: f64,
    loadgen: f64,
    machine: f64,
}

/// Processor time of something that was done many times, in microseconds for each time.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Of the workers.
    pub worker: f64,
    /// Of PostgreSQL, all its processes.
    pub postgres: f64,
    /// Of the broker.
    pub broker: f64,
    /// Of the gateway, where one takes part.
    pub gateway: f64,
    /// Of the load generator.
    pub loadgen: f64,
    /// Worker, PostgreSQL and broker.
    pub system: f64,
    /// Cores that everybody else on the machine used meanwhile: how disturbed the figures are.
    pub foreign_cores: f64,
}

impl Processes {
    pub(super) fn sample(&self) -> io::Result<Sample> {
        let used = |pid: Option<u32>| pid.map_or(Ok(0.0), procfs::family);
        let workers: io::Result<Vec<f64>> = self.worker_pids.iter().map(|pid| used(Some(*pid))).collect();
        Ok(Sample {
            at: Instant::now(),
            worker: workers?.iter().sum(),
            postgres: used(self.postgres_pid)?,
            broker: used(self.broker_pid)?,
            gateway: used(self.gateway_pid)?,
            loadgen: procfs::of("self")?.own,
            machine: procfs::machine()?,
        })
    }
}

impl Sample {
    /// What was used since, shared by `count`.
    pub(super) fn cost_since(&self, before: &Self, count: u64) -> Cost {
        let each = |now: f64, then: f64| round((now - then).max(0.0) * 1e6 / count.max(1) as f64);
        let cost = Cost {
            worker: each(self.worker, before.worker),
            postgres: each(self.postgres, before.postgres),
            broker: each(self.broker, before.broker),
            gateway: each(self.gateway, before.gateway),
            loadgen: each(self.loadgen, before.loadgen),
            system: 0.0,
            foreign_cores: 0.0,
        };
        let known = |of: &Self| of.worker + of.postgres + of.broker + of.gateway + of.loadgen;
        let foreign = (self.machine - before.machine) - (known(self) - known(before));
        let span = (self.at - before.at).as_secs_f64().max(0.001);
        Cost {
            system: round(cost.worker + cost.postgres + cost.broker),
            foreign_cores: round((foreign / span).max(0.0)),
            ..cost
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_become_microseconds_for_each_and_the_rest_is_foreign() {
        let at = Instant::now();
        let before = Sample {
            at,
            worker: 1.0,
            postgres: 2.0,
            broker: 3.0,
            gateway: 0.0,
            loadgen: 4.0,
            machine: 100.0,
        };
        let after = Sample {
            at: at + Duration::from_secs(10),
            worker: 2.0,
            postgres: 4.0,
            broker: 3.5,
            gateway: 1.0,
            loadgen: 4.5,
            machine: 110.0,
        };
        let cost = after.cost_since(&before, 100_000);
        assert_eq!((cost.worker, cost.postgres, cost.broker, cost.loadgen), (10.0, 20.0, 5.0, 5.0));
        assert_eq!((cost.gateway, cost.system, cost.foreign_cores), (10.0, 35.0, 0.5));
    }
}
