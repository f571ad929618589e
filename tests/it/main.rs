//! Integration tests, all in one program: real Kafka brokers, a real PostgreSQL, a real API server, started by the fixtures on
//! free loopback ports and stopped when this program ends.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod attack;
mod chaos;
mod charts;
mod controller;
mod edges;
mod fixtures;
mod gateway;
mod index;
mod migration;
mod outages;
mod path;
mod roles;
mod settings;
mod stack;
mod supply;
mod templates;
#[cfg(feature = "otlp")]
mod tracing;
mod worker;
