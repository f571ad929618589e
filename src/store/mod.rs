//! PostgreSQL, a file per subject: the only place that names sqlx.
//!
//! Statements are set-based: each takes a whole batch as arrays (`UNNEST`) and is run once for it. Functions take a
//! [`Conn`], which a pool's connection and a [`Tx`] both lend. Locks are taken in the order of keys, rooms before users, so
//! that two batches never wait for each other in a circle.

pub mod bare;
pub mod cleanup;
mod clock;
mod error;
pub mod friends;
pub mod inbox;
pub mod members;
pub mod messages;
mod migrate;
mod pool;
pub mod reads;
pub mod rooms;
pub mod sessions;
pub mod throttles;
mod types;
pub mod users;

pub use clock::Clock;
pub use error::StoreError;
pub use migrate::{migrate, missing_migrations};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use pool::usable;
pub use pool::{Database, DatabaseArgs, PoolState, SILENCE, answered};

/// A connection, from the pool or inside a transaction.
pub type Conn = sqlx::PgConnection;
/// A transaction: rolled back when dropped without a commit.
pub type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

/// The entry at a position that SQL counted from 1 (`WITH ORDINALITY`).
fn at<T>(entries: &mut [T], ordinality: i64) -> Option<&mut T> {
    entries.get_mut(usize::try_from(ordinality.checked_sub(1)?).ok()?)
}
