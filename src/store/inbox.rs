//! The inbox: what was answered to each request that changes state, and the events that came of it. A record that comes again
//! is answered from here and changes nothing.

use std::{collections::HashMap, time::Duration};

use super::{Conn, StoreError};
use crate::{
    ids::{RequestId, SessionKey, Timestamp, UserId},
    wire::{Event, Kind, Reply},
};

/// An `Idempotency-Key` holds for a day; a record may come again as long as its topic keeps it, which is three in the sample.
pub const KEPT: Duration = Duration::from_secs(4 * 24 * 3600);
/// Outcomes of dead-lettered requests outlive the retention of the dead-letter topic, so that a replay finds them.
pub const KEPT_DEAD: Duration = Duration::from_secs(35 * 24 * 3600);

/// A stored outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Of the client's fields.
    pub fingerprint: Vec<u8>,
    /// Of the record that was answered.
    pub deadline: Timestamp,
    /// Whether a record with a later deadline may still be run.
    pub gives_way: bool,
    /// What was answered.
    pub reply: Reply,
    /// What came of it.
    pub events: Vec<Event>,
}

/// An outcome to be stored.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct NewOutcome<'a> {
    pub request_id: RequestId,
    pub kind: Kind,
    pub user_id: Option<&'a UserId>,
    pub session_key: SessionKey,
    pub fingerprint: [u8; 32],
    pub deadline: Timestamp,
    pub reply: &'a Reply,
    pub events: &'a [Event],
    pub gives_way: bool,
    pub keep: Duration,
}

/// What is stored of some requests, and PostgreSQL's time when it was looked up.
#[derive(Debug)]
pub struct LookUp {
    /// PostgreSQL's time.
    pub now: Timestamp,
    /// By request.
    pub stored: HashMap<RequestId, Stored>,
}

#[derive(sqlx::FromRow)]
struct Row {
    now: Timestamp,
    request_id: Option<RequestId>,
    fingerprint: Option<Vec<u8>>,
    deadline: Option<Timestamp>,
    gives_way: Option<bool>,
    reply: Option<String>,
    events: Option<String>,
}

const LOOK_UP: &str = "
    SELECT clock_timestamp() AS now, i.request_id, i.fingerprint, i.deadline, i.gives_way,
           i.reply::text AS reply, i.events::text AS events
    FROM (VALUES (1)) AS one LEFT JOIN inbox i ON i.request_id = ANY($1)";

/// Looks these requests up. Its snapshot is younger than the locks that the transaction took before it.
///
/// # Errors
/// When PostgreSQL fails, or a stored outcome cannot be read back.
pub async fn look_up(conn: &mut Conn, requests: &[RequestId]) -> Result<LookUp, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(LOOK_UP).bind(requests).fetch_all(conn).await?;
    let mut found = LookUp { now: Timestamp::from_micros(0), stored: HashMap::new() };
    for row in rows {
        found.now = row.now;
        let (Some(id), Some(fingerprint), Some(deadline)) = (row.request_id, row.fingerprint, row.deadline)
        else {
            continue;
        };
        let unreadable = |error| StoreError::unreadable("a stored outcome", &error);
        let reply = Reply::decode(row.reply.unwrap_or_default().as_bytes()).map_err(unreadable)?;
        let events = serde_json::from_str(&row.events.unwrap_or_default()).map_err(unreadable)?;
        let gives_way = row.gives_way.unwrap_or_default();
        found.stored.insert(id, Stored { fingerprint, deadline, gives_way, reply, events });
    }
    Ok(found)
}

const STORE: &str = "
    INSERT INTO inbox (request_id, kind, user_id, session_key, fingerprint, deadline, reply, events, gives_way, stored_at, keep_until)
    SELECT request_id, kind, user_id, session_key, fingerprint, deadline, reply::jsonb, events::jsonb, gives_way, $10,
           $10 + kept * interval '1 second'
    FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::text[], $8::text[], $9::boolean[], $11::bigint[])
        AS t (request_id, kind, user_id, session_key, fingerprint, deadline, reply, events, gives_way, kept)
    ORDER BY request_id
    ON CONFLICT (request_id) DO UPDATE
    SET session_key = EXCLUDED.session_key, deadline = EXCLUDED.deadline, reply = EXCLUDED.reply, events = EXCLUDED.events,
        gives_way = EXCLUDED.gives_way, stored_at = EXCLUDED.stored_at, keep_until = EXCLUDED.keep_until
    WHERE inbox.gives_way AND inbox.deadline < EXCLUDED.deadline AND inbox.fingerprint = EXCLUDED.fingerprint";

/// Stores outcomes, in the transaction of their effects. Requests must differ from each other.
///
/// # Errors
/// [`StoreError::Conflict`] when another owner of the partition stored one of them first: nothing of this transaction may
/// stand then.
pub async fn store(conn: &mut Conn, outcomes: &[NewOutcome<'_>], now: Timestamp) -> Result<(), StoreError> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let text = |json: Vec<u8>| String::from_utf8(json).unwrap_or_default();
    let events = |events: &[Event]| text(serde_json::to_vec(events).unwrap_or_else(|_| b"[]".to_vec()));
    let done = sqlx::query(STORE)
        .bind(outcomes.iter().map(|outcome| outcome.request_id).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.kind.as_str()).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.user_id).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.session_key).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.fingerprint).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.deadline).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| text(outcome.reply.encode())).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| events(outcome.events)).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.gives_way).collect::<Vec<_>>())
        .bind(now)
        .bind(
            outcomes.iter().map(|o| i64::try_from(o.keep.as_secs()).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        )
        .execute(conn)
        .await?;
    if usize::try_from(done.rows_affected()) == Ok(outcomes.len()) {
        return Ok(());
    }
    Err(StoreError::conflict("an outcome was stored by another owner of the partition"))
}

const FORGET: &str = "DELETE FROM inbox WHERE request_id = ANY($1) AND gives_way";

/// Takes away refusals that gave way: their requests have another outcome now, which stands elsewhere (AddChat's in
/// `messages`).
///
/// # Errors
/// When PostgreSQL fails.
pub async fn forget(conn: &mut Conn, requests: &[RequestId]) -> Result<(), StoreError> {
    if !requests.is_empty() {
        sqlx::query(FORGET).bind(requests).execute(conn).await?;
    }
    Ok(())
}

// Only a refusal: what was done stays done.
const GIVE_WAY: &str = "
    UPDATE inbox SET gives_way = true, fingerprint = $2
    WHERE request_id = $1 AND reply->>'isSuccess' = 'false'";

/// An operator lets the stored refusal of a dead-lettered request give way to a record with a later deadline and this
/// fingerprint. Whether there was one.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn give_way(
    conn: &mut Conn,
    request: RequestId,
    fingerprint: [u8; 32],
) -> Result<bool, StoreError> {
    let done = sqlx::query(GIVE_WAY).bind(request).bind(fingerprint).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// What stands about a request, for people.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Trace {
    /// Where: `inbox` or `messages`.
    pub place: String,
    /// When it was stored.
    pub at: Timestamp,
    /// Its kind.
    pub kind: String,
    /// Who asked.
    pub user_id: Option<UserId>,
    /// The reply's value, or the message's place in its room.
    pub outcome: String,
}

const TRACE: &str = "
    SELECT 'inbox' AS place, stored_at AS at, kind, user_id, reply::text AS outcome FROM inbox WHERE request_id = $1
    UNION ALL
    SELECT 'messages', created_at, 'AddChat', writer_id, 'room ' || room_id || ' seq ' || seq FROM messages WHERE request_id = $1";

/// All outcomes of a request: one, or none.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn trace(conn: &mut Conn, request: RequestId) -> Result<Vec<Trace>, StoreError> {
    Ok(sqlx::query_as(TRACE).bind(request).fetch_all(conn).await?)
}
