//! Statements of the load generator: what PostgreSQL does with the rows of messages when nothing else is asked of it, and what
//! stands in it afterwards. No service runs them.

use super::{Conn, Database, StoreError, messages::Append};
use crate::ids::{RequestId, RoomId, Seq, Timestamp};

const APPEND: &str = "
    INSERT INTO messages (room_id, seq, request_id, writer_id, message, client_message_id, created_at)
    SELECT room_id, seq, request_id, writer_id, message, client_message_id, $7
    FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[])
        AS t (room_id, seq, request_id, writer_id, message, client_message_id)
    ON CONFLICT (request_id, room_id) DO NOTHING
    RETURNING seq";

/// Inserts rows that are numbered already, in one statement and so in one transaction; those of a known request are left out.
/// Gives how many went in.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn append(
    conn: &mut Conn,
    messages: &[(Append<'_>, Seq)],
    created_at: Timestamp,
) -> Result<usize, StoreError> {
    let rows: Vec<Seq> = sqlx::query_scalar(APPEND)
        .bind(messages.iter().map(|(ask, _)| ask.room_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.request_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.writer_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.message).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.client_message_id).collect::<Vec<_>>())
        .bind(created_at)
        .fetch_all(conn)
        .await?;
    Ok(rows.len())
}

const NUMBER: &str = "UPDATE rooms SET last_seq = last_seq + 1 WHERE room_id = $1 RETURNING last_seq";

const INSERT: &str = "
    INSERT INTO messages (room_id, seq, request_id, writer_id, message, client_message_id, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Appends one message in a transaction of its own, as a plain service does: number, insert, commit.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn append_one(
    database: &Database,
    ask: &Append<'_>,
    created_at: Timestamp,
) -> Result<Seq, StoreError> {
    let mut tx = database.begin().await?;
    let seq: Seq = sqlx::query_scalar(NUMBER).bind(ask.room_id).fetch_one(&mut *tx).await?;
    sqlx::query(INSERT)
        .bind(ask.room_id)
        .bind(seq)
        .bind(ask.request_id)
        .bind(ask.writer_id)
        .bind(ask.message)
        .bind(ask.client_message_id)
        .bind(created_at)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(seq)
}

/// A message as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct Standing {
    pub room_id: RoomId,
    pub seq: Seq,
    pub request_id: RequestId,
}

const STANDING: &str = "
    SELECT room_id, seq, request_id FROM messages WHERE room_id = ANY($1) ORDER BY room_id, seq";

/// All messages of these rooms, by room and number.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn standing(conn: &mut Conn, rooms: &[RoomId]) -> Result<Vec<Standing>, StoreError> {
    Ok(sqlx::query_as(STANDING).bind(rooms).fetch_all(conn).await?)
}
