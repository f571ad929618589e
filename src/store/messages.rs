//! Messages: a room is a log, and the row of a message is the outcome of its request.

use super::{Conn, StoreError};
use crate::ids::{RequestId, RoomId, Seq, Timestamp, UserId};

/// One request to append, as it came.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct Append<'a> {
    pub request_id: RequestId,
    pub room_id: RoomId,
    pub writer_id: &'a UserId,
    pub message: &'a str,
    pub client_message_id: Option<&'a str>,
}

/// What is known about one such request, under the lock of its room.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Known {
    /// Whether the writer is a member now.
    pub member: bool,
    /// The message that this request wrote before, if any, and its content.
    pub seq: Option<Seq>,
    /// Who wrote it.
    pub writer_id: Option<UserId>,
    /// What it says.
    pub message: Option<String>,
    /// The client's own id of it.
    pub client_message_id: Option<String>,
    /// When it was written.
    pub created_at: Option<Timestamp>,
}

const LOOK_UP: &str = "
    SELECT m.user_id IS NOT NULL AS member,
           w.seq, w.writer_id, w.message, w.client_message_id, w.created_at
    FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS t (request_id, room_id, writer_id, n)
    LEFT JOIN members m ON m.room_id = t.room_id AND m.user_id = t.writer_id AND m.left_seq IS NULL
    LEFT JOIN messages w ON w.request_id = t.request_id AND w.room_id = t.room_id
    ORDER BY t.n";

/// Looks these requests up, in their order. Its snapshot is younger than the locks that the transaction took before it.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn look_up(conn: &mut Conn, asked: &[Append<'_>]) -> Result<Vec<Known>, StoreError> {
    let rows: Vec<Known> = sqlx::query_as(LOOK_UP)
        .bind(asked.iter().map(|ask| ask.request_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|ask| ask.room_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|ask| ask.writer_id).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    if rows.len() == asked.len() {
        return Ok(rows);
    }
    Err(StoreError::Refused(format!("{} requests gave {} rows", asked.len(), rows.len())))
}

const APPEND: &str = "
    WITH bumped AS (
        UPDATE rooms SET last_seq = t.last_seq
        FROM UNNEST($8::uuid[], $9::bigint[]) AS t (room_id, last_seq)
        WHERE rooms.room_id = t.room_id
    )
    INSERT INTO messages (room_id, seq, request_id, writer_id, message, client_message_id, created_at)
    SELECT room_id, seq, request_id, writer_id, message, client_message_id, $7
    FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[])
        AS t (room_id, seq, request_id, writer_id, message, client_message_id)";

/// Appends messages under their numbers and moves the rooms' newest numbers, in rooms that this transaction has locked.
///
/// # Errors
/// When PostgreSQL fails; [`StoreError::Conflict`] when a number or a request is there already.
pub async fn append(
    conn: &mut Conn,
    messages: &[(Append<'_>, Seq)],
    created_at: Timestamp,
    newest: &[(RoomId, Seq)],
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query(APPEND)
        .bind(messages.iter().map(|(ask, _)| ask.room_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.request_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.writer_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.message).collect::<Vec<_>>())
        .bind(messages.iter().map(|(ask, _)| ask.client_message_id).collect::<Vec<_>>())
        .bind(created_at)
        .bind(newest.iter().map(|(room, _)| *room).collect::<Vec<_>>())
        .bind(newest.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}
