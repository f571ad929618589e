//! The worker's commands: the service itself, and what people run by hand beside it.

mod connection;
mod dead_letter;
mod keys;
mod request;
mod say;
mod trace;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::RunArgs;
use crate::{
    process::{Command, Exit, Process, ProcessArgs},
    store::{self, DatabaseArgs},
};

/// Runs the chat logic: takes requests from Kafka, keeps state in PostgreSQL, answers through Kafka
#[derive(Debug, Parser)]
#[command(name = "worker")]
pub struct Worker {
    #[command(subcommand)]
    command: WorkerCommand,
}

#[derive(Debug, Subcommand)]
enum WorkerCommand {
    /// Serve the partitions that the consumer group gives
    Run(Box<RunArgs>),
    /// Apply the missing migrations, as the owner of the database
    Migrate {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Make the four key files in a folder; what is there is left alone
    Keys {
        /// The folder, made if it is not there
        folder: PathBuf,
    },
    /// Look at dead letters and run them again
    #[command(subcommand)]
    DeadLetter(Box<dead_letter::DeadLetterCommand>),
    /// Send one signed request and print its reply
    Request(Box<request::RequestArgs>),
    /// Find everything that is known of a request
    Trace(Box<trace::TraceArgs>),
}

impl Command for Worker {
    fn process(&self) -> Option<&ProcessArgs> {
        match &self.command {
            WorkerCommand::Run(args) => Some(&args.process),
            _ => None,
        }
    }

    async fn run(self, process: Process) -> Result<(), Exit> {
        match self.command {
            WorkerCommand::Run(args) => super::run(*args, process).await,
            WorkerCommand::Migrate { database } => migrate(&database).await,
            WorkerCommand::Keys { folder } => keys::make(&folder),
            WorkerCommand::DeadLetter(command) => dead_letter::run(*command).await,
            WorkerCommand::Request(args) => request::run(*args).await,
            WorkerCommand::Trace(args) => trace::run(*args).await,
        }
    }
}

async fn migrate(database: &DatabaseArgs) -> Result<(), Exit> {
    let url = database.url().map_err(Exit::settings)?;
    let applied = store::migrate(&url).await.map_err(|error| match error {
        store::StoreError::Settings(line) => Exit::Settings(line),
        other => Exit::failure(format!("the migrations were not applied: {other}")),
    })?;
    tracing::info!(applied, "the database is up to date");
    Ok(())
}
