//! Sessions, and the tombstones of those that ended before they were opened.

use std::{collections::HashSet, time::Duration};

use super::{Conn, StoreError};
use crate::ids::{SessionKey, Timestamp, UserId};

/// A session lives at most this long, whatever happens.
pub const ABSOLUTE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A session that nobody uses for this long ends.
pub const IDLE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Ended rows (and tombstones) are kept this much longer than any session lives, so that "ended" is never mistaken for
/// "unknown".
pub const KEPT_AFTER_END: Duration = Duration::from_secs(7 * 24 * 3600);

const OPEN: &str = "
    INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
    SELECT session_key, user_id, $3, $3, $4
    FROM UNNEST($1::bytea[], $2::text[]) AS t (session_key, user_id)
    ORDER BY session_key
    ON CONFLICT DO NOTHING
    RETURNING session_key";

/// Opens sessions and gives the keys of those that opened: a key that is known already (ended before it began, or used
/// before) opens nothing. Keys must differ from each other.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn open(
    conn: &mut Conn,
    sessions: &[(SessionKey, &UserId)],
    now: Timestamp,
) -> Result<HashSet<SessionKey>, StoreError> {
    if sessions.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<SessionKey> = sqlx::query_scalar(OPEN)
        .bind(sessions.iter().map(|session| session.0).collect::<Vec<_>>())
        .bind(sessions.iter().map(|session| session.1).collect::<Vec<_>>())
        .bind(now)
        .bind(now.after(ABSOLUTE_LIFE))
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

const END: &str = "
    INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at, ended_at, end_reason)
    SELECT session_key, user_id, $3, $3, $4, $3, 'logout'
    FROM UNNEST($1::bytea[], $2::text[]) AS t (session_key, user_id)
    ORDER BY session_key
    ON CONFLICT (session_key) DO UPDATE
    SET ended_at = EXCLUDED.ended_at, end_reason = EXCLUDED.end_reason
    WHERE sessions.ended_at IS NULL";

/// Ends these sessions; one that is not known leaves a tombstone. Keys must differ from each other.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn end(
    conn: &mut Conn,
    sessions: &[(SessionKey, Option<&UserId>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    sqlx::query(END)
        .bind(sessions.iter().map(|session| session.0).collect::<Vec<_>>())
        .bind(sessions.iter().map(|session| session.1).collect::<Vec<_>>())
        .bind(now)
        .bind(now.after(ABSOLUTE_LIFE))
        .execute(conn)
        .await?;
    Ok(())
}

const END_ALL: &str = "
    UPDATE sessions SET ended_at = $2, end_reason = 'logout everywhere'
    WHERE user_id = ANY($1) AND ended_at IS NULL AND opened_at < $2";

/// Ends all sessions of these users that were opened before now. The users' rows are locked: a login that is under way is
/// either done before, and ended here, or begins after.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn end_all(conn: &mut Conn, users: &[&UserId], now: Timestamp) -> Result<(), StoreError> {
    if !users.is_empty() {
        sqlx::query(END_ALL).bind(users).bind(now).execute(conn).await?;
    }
    Ok(())
}
