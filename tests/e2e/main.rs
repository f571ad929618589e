//! End-to-end tests on a whole Parley: real pods on a real cluster, real Kafka and PostgreSQL, a real Chromium.
//! `make test` starts the system in namespaces of its own and runs these there.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says how far it came"
)]

mod browser;
mod bundle;
mod cluster;
mod demo;
mod garbage;
mod growth;
mod preview;
