//! The gateway under load (`make bench-gateway`): what an idle stream costs, how fast and how evenly events arrive, what slow
//! readers, a drain and a flood do to the others. Everything goes the whole way over HTTP, worker and Kafka; every byte of every
//! stream is checked against the grammar.

mod connect;
mod crowd;
mod day;
mod drain;
mod fanout;
mod flood;
mod idle;
mod metrics;
mod stage;
mod stuck;
mod talk;
mod tally;
mod topics;
mod usage;

use std::net::SocketAddr;

pub use connect::{ConnectReport, run_connect};
pub(super) use crowd::Crowd;
pub use day::{DayArgs, DayReport, run_day};
pub use drain::{DrainReport, Leaving, run_drain};
pub use fanout::{FanoutReport, Round, run_fanout};
pub use flood::{FloodArgs, FloodReport, run_flood};
pub use idle::{IdleReport, run_idle};
pub(super) use stage::PASSWORD;
pub use stage::Stage;
pub use stuck::{StuckArgs, StuckReport, run_stuck};
pub use talk::Talk;
pub use tally::Quantiles;
pub use topics::make_topics;
pub(super) use topics::{new_topic, topics_there};
pub use usage::Cores;

use super::ClientError;

/// The gateway that is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// Its address
    #[arg(long)]
    pub gateway: SocketAddr,
    /// Its process
    #[arg(long)]
    pub pid: u32,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The streams could not be opened.
    #[error("only {live} of {of} streams are live after three minutes; breaches: {breaches:?}")]
    Gather {
        /// Live ones.
        live: usize,
        /// Wanted ones.
        of: usize,
        /// What went wrong.
        breaches: Vec<String>,
    },
    /// The gateway's process cannot be looked at, or has ended.
    #[error("the gateway's process cannot be looked at: {0}")]
    Process(#[from] std::io::Error),
    /// The gateway does not say how its streams stand.
    #[error("the gateway's metrics cannot be read, see --admin: {0}")]
    Admin(#[source] ClientError),
    /// The process did not end.
    #[error("the drained gateway still runs after two minutes")]
    NoEnd,
}
