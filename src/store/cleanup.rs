//! Removes what nobody will ask for again, in small batches that skip what somebody else holds: never a long lock.

use super::{
    Database, SILENCE, StoreError, answered,
    sessions::{IDLE_LIFE, KEPT_AFTER_END},
};

/// Rows that one statement removes at most.
const BATCH: i64 = 1_000;

/// A table with rows whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the tables of the schema")]
pub enum Expiring {
    Inbox,
    Sessions,
    Throttles,
}

impl Expiring {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inbox, Self::Sessions, Self::Throttles];

    /// The table's name.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Sessions => "sessions",
            Self::Throttles => "throttles",
        }
    }

    const fn statement(self) -> &'static str {
        match self {
            Self::Inbox => {
                "DELETE FROM inbox WHERE request_id IN (
                     SELECT request_id FROM inbox WHERE keep_until < now() - $2 * interval '1 second'
                     ORDER BY keep_until LIMIT $1 FOR UPDATE SKIP LOCKED)"
            }
            Self::Sessions => {
                "DELETE FROM sessions WHERE session_key IN (
                     SELECT session_key FROM sessions WHERE expires_at < now() - $2 * interval '1 second'
                     ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
            }
            Self::Throttles => {
                "DELETE FROM throttles WHERE subject IN (
                     SELECT subject FROM throttles WHERE forget_at < now() - $2 * interval '1 second'
                     ORDER BY forget_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
            }
        }
    }
}

/// Removes one batch: how many rows, and whether there may be more.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn remove(database: &Database, what: Expiring) -> Result<(u64, bool), StoreError> {
    let slack = if what == Expiring::Sessions { KEPT_AFTER_END.as_secs_f64() } else { 0.0 };
    batch(database, what.statement(), slack).await
}

const END_IDLE: &str = "
    UPDATE sessions SET ended_at = now(), end_reason = 'idle'
    WHERE session_key IN (
        SELECT session_key FROM sessions WHERE ended_at IS NULL AND seen_at < now() - $2 * interval '1 second'
        ORDER BY seen_at LIMIT $1 FOR UPDATE SKIP LOCKED)";

/// Ends one batch of sessions that nobody has used for [`IDLE_LIFE`]: how many, and whether there may be more.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn end_idle(database: &Database) -> Result<(u64, bool), StoreError> {
    batch(database, END_IDLE, IDLE_LIFE.as_secs_f64()).await
}

/// Runs a statement for as many rows as a batch has, with a time in seconds: how many there were, and whether there may be more.
async fn batch(
    database: &Database,
    statement: &'static str,
    seconds: f64,
) -> Result<(u64, bool), StoreError> {
    let mut connection = database.connection().await?;
    let running = sqlx::query(statement).bind(BATCH).bind(seconds).execute(&mut *connection);
    let rows = answered(SILENCE, async { Ok(running.await?.rows_affected()) }).await?;
    Ok((rows, i64::try_from(rows).is_ok_and(|rows| rows >= BATCH)))
}
