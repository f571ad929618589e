//! The gateway: HTTP requests in, Kafka records out, answers back over SSE (docs/protocol.md sections 2 and 3).
//!
//! ```text
//! POST ─► http ─► request topics ┄┄► worker ┄┄► response topics, chat-event
//!                                                    │
//! SSE  ◄─ outbox ◄─ shard ◄─ bounded queue ◄─ Kafka's thread (reads all partitions, joins no group)
//! ```
//!
//! A gateway holds no state that another one lacks: sessions, memberships and messages are PostgreSQL's, events are Kafka's, and a
//! browser that comes back may come to any of them.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod healthcheck;
pub(crate) mod hot;
mod http;
mod hub;
mod limits;
mod metrics;
mod pending;
mod run;
mod sender;
mod server;
mod session;
mod settings;
mod sse;

use clap::Subcommand;

pub use healthcheck::HealthcheckArgs;
pub use settings::{LimitArgs, RunArgs};

use crate::process::{Command, Exit, Process, ProcessArgs};

/// The description of the HTTP API: OpenAPI 3.1, JSON.
pub fn openapi() -> String {
    http::document()
}

/// `gateway`: serves browsers.
#[derive(Debug, clap::Parser)]
#[command(name = "gateway", about = "Serves Parley's web client, API and event streams", long_about = None)]
pub struct Gateway {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Serve until stopped
    Run(Box<RunArgs>),
    /// Ask a gateway whether it is ready, or whether the whole path answers
    Healthcheck(HealthcheckArgs),
}

impl Command for Gateway {
    fn process(&self) -> Option<&ProcessArgs> {
        match &self.command {
            Commands::Run(args) => Some(&args.process),
            Commands::Healthcheck(_) => None,
        }
    }

    async fn run(self, process: Process) -> Result<(), Exit> {
        match self.command {
            Commands::Run(args) => run::run(*args, process).await,
            Commands::Healthcheck(args) => healthcheck::run(args).await,
        }
    }
}
