//! The worker's own path, from a signed request in Kafka over PostgreSQL to its acknowledged reply and event, without HTTP and
//! SSE (`make bench`, docs/benchmarks.md): how late at a given rate, how many a second from a full backlog, and what of that
//! PostgreSQL, Kafka and argon2 alone would take. All that was sent is audited afterwards, record by record and row by row.

mod audit;
mod backlog;
mod cli;
mod cost;
mod ear;
mod ids;
mod latency;
pub mod limit;
mod logins;
mod make;
mod one_by_one;
mod open_loop;
mod place;
mod schedule;
mod streams;

pub use audit::Findings;
pub use backlog::{BacklogArgs, BacklogReport, run_backlog};
pub use cli::PathScenario;
pub use cost::{Cost, Processes};
pub use latency::Latency;
pub use logins::{LoginsArgs, LoginsReport, passwords_sql, run_logins};
pub use one_by_one::{OneByOneArgs, OneByOneReport, run_one_by_one};
pub use open_loop::{SaveArgs, SaveReport, run_save};
pub use place::{Place, Site};

use std::time::Duration;

use crate::{
    kafka::{KafkaFailure, ProduceError, admin::ApiError},
    loadgen::bench::BenchError,
    process::Exit,
    store::StoreError,
    wire::KeyFileError,
};

/// How long a run waits for what is still to come before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(240);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum PathError {
    #[error(transparent)]
    Settings(#[from] KeyFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Kafka(#[from] KafkaFailure),
    #[error("Kafka: {0}")]
    Admin(#[from] ApiError),
    #[error("a process cannot be looked at: {0}")]
    Process(#[from] std::io::Error),
    #[error(transparent)]
    Streams(#[from] BenchError),
    #[error("a thread of the load generator failed")]
    Thread,
    #[error("{0}")]
    Shape(&'static str),
    #[error(
        "only {there} of {wanted} {what} came within four minutes: does the worker run, and does it serve AddChat?"
    )]
    Late { what: &'static str, there: i64, wanted: i64 },
}

impl From<tokio::task::JoinError> for PathError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Thread
    }
}

impl From<PathError> for Exit {
    fn from(error: PathError) -> Self {
        Self::failure(error)
    }
}

/// Two digits are more than such a measurement has.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
