//! The load generator: open-loop load, and the audit of what came of it.
//!
//! It stands outside of what it measures: its HTTP and SSE client shares no code with the gateway.

mod actor;
mod audit;
pub mod bench;
mod chat;
mod client;
mod grammar;
pub mod path;
mod procfs;
mod run;
mod sse;
mod stream;

pub use actor::{Actor, PASSWORD, SetupError};
pub use audit::{Audit, Findings, Heard};
pub use chat::{ChatArgs, ChatReport, run_chat};
pub use client::{Answer, Client, ClientError};
pub use grammar::Grammar;
pub use run::LoadgenCli;
pub use sse::{Message, Parser};
pub use stream::Stream;
