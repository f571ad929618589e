//! The worker: poll → decode → handle in one transaction → reply → commit.

mod attempt;
mod batch;
pub mod commands;
mod fault;
mod handlers;
mod hashing;
mod job;
mod metrics;
#[cfg(test)]
mod model;
mod parts;
mod pipeline;
mod run;
mod settings;
mod stored;
mod traced;

pub(crate) use handlers::batches;
pub use metrics::WorkerMetrics;
pub use run::run;
pub use settings::{GroupProtocol, KeyArgs, RunArgs};
