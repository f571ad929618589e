use serde::Serialize;
use sqlx::Row as _;

use super::Reads;
use crate::{
    ids::{RequestId, RoomId, Seq, Timestamp, UserId},
    store::StoreError,
};

/// A message of a room: the same fields as in a `message` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in docs/protocol.md section 1")]
pub struct Message {
    #[schema(value_type = uuid::Uuid)]
    pub room_id: RoomId,
    #[schema(value_type = i64)]
    pub seq: Seq,
    #[schema(value_type = String)]
    pub writer_id: UserId,
    pub message: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = uuid::Uuid)]
    pub request_id: RequestId,
}

/// Which messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOf {
    /// The newest ones.
    Newest,
    /// The newest ones before this number.
    Before(Seq),
    /// The oldest ones after this number.
    After(Seq),
}

/// A page of a room's messages, ascending by `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more in the direction that was asked for.
    pub more: bool,
}

const SPAN: &str = "SELECT joined_seq, left_seq FROM members WHERE room_id = $1 AND user_id = $2";

const AFTER: &str = "
    SELECT seq, writer_id, message, request_id, created_at
    FROM messages WHERE room_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";

const BEFORE: &str = "
    SELECT seq, writer_id, message, request_id, created_at
    FROM messages WHERE room_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq DESC LIMIT $4";

/// Never backwards, never past the newest message; a member only.
const READ: &str = "
    UPDATE user_rooms u SET read_seq = greatest(u.read_seq, least($3, r.last_seq))
    FROM rooms r WHERE r.room_id = u.room_id AND u.room_id = $1 AND u.user_id = $2 AND u.left_seq IS NULL";

impl Reads {
    /// A page of a room's messages that this user may see; `None` when they never were a member, or there is no such room.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn messages(
        &self,
        room: RoomId,
        user: &UserId,
        page: PageOf,
        limit: usize,
    ) -> Result<Option<MessagePage>, StoreError> {
        let span = sqlx::query(SPAN).bind(room).bind(user).fetch_optional(&self.database.pool).await?;
        let Some(span) = span else { return Ok(None) };
        let joined: i64 = span.try_get("joined_seq")?;
        let left: i64 = span.try_get::<Option<i64>, _>("left_seq")?.unwrap_or(i64::MAX - 1);
        let (sql, low, high) = match page {
            PageOf::Newest => (BEFORE, joined, left + 1),
            PageOf::Before(seq) => (BEFORE, joined, seq.0.min(left + 1)),
            PageOf::After(seq) => (AFTER, seq.0.max(joined), left),
        };
        // One more than asked for tells whether there are more.
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let query = sqlx::query(sql).bind(room).bind(low).bind(high).bind(wanted);
        let rows = query.fetch_all(&self.database.pool).await?;
        let more = rows.len() > limit;
        let read: Result<Vec<Message>, StoreError> =
            rows.iter().take(limit).map(|row| message(room, row)).collect();
        let mut messages = read?;
        messages.sort_by_key(|message| message.seq);
        Ok(Some(MessagePage { messages, more }))
    }

    /// The messages of a room with `after < seq < before`, at most `limit`, ascending. Without a check of membership: for the
    /// hub, which checks it for each receiver.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn messages_between(
        &self,
        room: RoomId,
        after: Seq,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = sqlx::query(AFTER).bind(room).bind(after.0).bind(before.0 - 1).bind(limit);
        query.fetch_all(&self.database.pool).await?.iter().map(|row| message(room, row)).collect()
    }

    /// Moves a member's read mark up to `seq`; `false` when they are no member.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn mark_read(&self, room: RoomId, user: &UserId, seq: Seq) -> Result<bool, StoreError> {
        let query = sqlx::query(READ).bind(room).bind(user).bind(seq.0);
        Ok(query.execute(&self.database.pool).await?.rows_affected() > 0)
    }
}

fn message(room: RoomId, row: &sqlx::postgres::PgRow) -> Result<Message, StoreError> {
    Ok(Message {
        room_id: room,
        seq: row.try_get("seq")?,
        writer_id: row.try_get("writer_id")?,
        message: row.try_get("message")?,
        created_at: row.try_get("created_at")?,
        request_id: row.try_get("request_id")?,
    })
}
