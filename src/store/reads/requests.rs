use sqlx::Row as _;

use super::Reads;
use crate::{
    ids::{RequestId, SessionKey, UserId},
    store::StoreError,
    wire::{Body, Kind, Reply},
};

/// What was answered to a request, as it is stored with the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// The conversation.
    pub kind: Kind,
    /// The reply's value: JSON.
    pub value: Vec<u8>,
}

/// Bound to the session or the user that asked: others do not learn that it exists.
const INBOX: &str = "
    SELECT kind, reply::text AS reply FROM inbox
    WHERE request_id = $1 AND (session_key = $2 OR user_id = $3)";

/// A message is always written by a user, so its writer is who asked.
/// A message's row knows its writer, who must have asked in an open session.
const MESSAGE: &str = "
    SELECT room_id, seq, writer_id, message, created_at
    FROM messages WHERE request_id = $1 AND writer_id = $2 LIMIT 1";

impl Reads {
    /// The stored reply to a request of this session or user; `None` when there is none (yet).
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn reply(
        &self,
        request: RequestId,
        session: &SessionKey,
        user: Option<&UserId>,
    ) -> Result<Option<StoredReply>, StoreError> {
        let query = sqlx::query(INBOX).bind(request).bind(session).bind(user);
        if let Some(row) = query.fetch_optional(&self.database.pool).await? {
            let kind: String = row.try_get("kind")?;
            let value: String = row.try_get("reply")?;
            return Ok(Some(StoredReply {
                kind: kind.parse().map_err(|error| StoreError::unreadable("a kind", &error))?,
                value: value.into_bytes(),
            }));
        }
        let query = sqlx::query(MESSAGE).bind(request).bind(user);
        let Some(row) = query.fetch_optional(&self.database.pool).await? else { return Ok(None) };
        let body = Body::AddChat {
            room_id: row.try_get("room_id")?,
            seq: row.try_get("seq")?,
            message: row.try_get("message")?,
            created_at: row.try_get("created_at")?,
        };
        let reply = Reply { user_id: Some(row.try_get("writer_id")?), result: Ok(body) };
        Ok(Some(StoredReply { kind: Kind::AddChat, value: reply.encode() }))
    }
}
