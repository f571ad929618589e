//! What the parts can do alone, on the same machine and in the same run: no system that is made of them can be faster.

mod broker;
mod hash;
mod postgres;
mod stream;
pub(super) mod topics;

pub use broker::{BrokerArgs, BrokerReport, Flow, run_broker};
pub(super) use hash::stored;
pub use hash::{HashArgs, HashReport, run_hash};
pub use postgres::{PostgresArgs, PostgresReport, run_postgres};
pub use stream::{StreamArgs, StreamReport, run_stream};
