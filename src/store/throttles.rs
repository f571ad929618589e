//! Who tried too often: accounts and addresses that failed, and until when they are not looked at. Stored, so that it
//! survives restarts and holds for all workers.

use std::{collections::HashMap, time::Duration};

use super::{Conn, StoreError};
use crate::ids::Timestamp;

/// How a kind of subject is slowed down: the first `free` failures cost nothing, then each doubles the wait, up to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "said above")]
pub struct Rule {
    pub free: i32,
    pub most: Duration,
    /// After this long without a failure all is forgotten.
    pub forget: Duration,
}

/// Failures of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "said above")]
pub struct Failures {
    pub subject: String,
    pub count: i32,
    pub rule: Rule,
}

const BLOCKED: &str = "SELECT subject, blocked_until FROM throttles WHERE subject = ANY($1) AND blocked_until > clock_timestamp()";

/// Those of these subjects that must wait, and until when.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn blocked(conn: &mut Conn, subjects: &[String]) -> Result<HashMap<String, Timestamp>, StoreError> {
    if subjects.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, Timestamp)> = sqlx::query_as(BLOCKED).bind(subjects).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

const COUNT: &str = "
    INSERT INTO throttles AS old (subject, failures, blocked_until, forget_at)
    SELECT subject, failures, $4, $4 + forget * interval '1 second'
    FROM UNNEST($1::text[], $2::integer[], $3::double precision[]) AS t (subject, failures, forget)
    ORDER BY subject COLLATE \"C\"
    ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN old.forget_at < $4 THEN EXCLUDED.failures ELSE old.failures + EXCLUDED.failures END,
        forget_at = EXCLUDED.forget_at";

// 2^20 seconds are 12 days: far above every bound, far below an overflow.
const BLOCK: &str = "
    UPDATE throttles SET blocked_until =
        $4 + least(t.most, power(2, least(greatest(throttles.failures - t.free, 0), 20)) - 1) * interval '1 second'
    FROM UNNEST($1::text[], $2::integer[], $3::double precision[]) AS t (subject, free, most)
    WHERE throttles.subject = t.subject";

/// Counts failures and blocks who has too many. Subjects must differ from each other.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn fail(conn: &mut Conn, failures: &[Failures], now: Timestamp) -> Result<(), StoreError> {
    if failures.is_empty() {
        return Ok(());
    }
    let subjects: Vec<&str> = failures.iter().map(|f| f.subject.as_str()).collect();
    let counts: Vec<i32> = failures.iter().map(|f| f.count).collect();
    let free: Vec<i32> = failures.iter().map(|f| f.rule.free).collect();
    let most: Vec<f64> = failures.iter().map(|f| f.rule.most.as_secs_f64()).collect();
    let forget: Vec<f64> = failures.iter().map(|f| f.rule.forget.as_secs_f64()).collect();
    sqlx::query(COUNT).bind(&subjects).bind(&counts).bind(&forget).bind(now).execute(&mut *conn).await?;
    sqlx::query(BLOCK).bind(&subjects).bind(&free).bind(&most).bind(now).execute(conn).await?;
    Ok(())
}

const CLEAR: &str = "DELETE FROM throttles WHERE subject = ANY($1)";

/// Forgets these subjects: they have shown who they are.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn clear(conn: &mut Conn, subjects: &[String]) -> Result<(), StoreError> {
    if !subjects.is_empty() {
        sqlx::query(CLEAR).bind(subjects).execute(conn).await?;
    }
    Ok(())
}
