use sqlx::Row as _;

use super::Reads;
use crate::{
    ids::{SessionKey, Timestamp, UserId},
    store::{StoreError, sessions::IDLE_LIFE},
    wire::User,
};

/// A session as it stands in its row. A key without a row is *unknown*: nobody has logged in with it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Whose it is; `None` for the tombstone of a logout that came before its login.
    pub user_id: Option<UserId>,
    /// Since when.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended, or when its time ran out.
    pub ended_at: Option<Timestamp>,
}

/// A session whose time is over counts as ended, absolute or idle ($2, in seconds), whether or not the clean-up has met it.
const SESSION: &str = "
    SELECT user_id, opened_at, expires_at,
           coalesce(ended_at, CASE WHEN least(expires_at, idle_at) <= now() THEN least(expires_at, idle_at) END) AS ended_at
    FROM (SELECT *, seen_at + $2 * interval '1 second' AS idle_at FROM sessions WHERE session_key = $1) s";

const SEEN: &str = "
    UPDATE sessions SET seen_at = now()
    WHERE session_key = $1 AND ended_at IS NULL AND seen_at < now() - interval '5 minutes'";

const USER: &str = "
    SELECT email, user_name, user_status, join_date, login_date, logout_date
    FROM users WHERE user_id = $1";

impl Reads {
    /// The session of this key; `None` when it is unknown.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn session(&self, key: &SessionKey) -> Result<Option<SessionRow>, StoreError> {
        let query = sqlx::query(SESSION).bind(key).bind(IDLE_LIFE.as_secs_f64());
        let Some(row) = query.fetch_optional(&self.database.pool).await? else { return Ok(None) };
        Ok(Some(SessionRow {
            user_id: row.try_get("user_id")?,
            opened_at: row.try_get("opened_at")?,
            expires_at: row.try_get("expires_at")?,
            ended_at: row.try_get("ended_at")?,
        }))
    }

    /// Notes that the session is in use; at most every five minutes is written.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn seen(&self, key: &SessionKey) -> Result<(), StoreError> {
        sqlx::query(SEEN).bind(key).execute(&self.database.pool).await?;
        Ok(())
    }

    /// A user as replies show them; `None` when there is none.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn user(&self, user: &UserId) -> Result<Option<User>, StoreError> {
        let Some(row) = sqlx::query(USER).bind(user).fetch_optional(&self.database.pool).await? else {
            return Ok(None);
        };
        Ok(Some(User {
            user_id: user.clone(),
            email: row.try_get("email")?,
            user_name: row.try_get("user_name")?,
            user_status: row.try_get("user_status")?,
            join_date: row.try_get("join_date")?,
            login_date: row.try_get("login_date")?,
            logout_date: row.try_get("logout_date")?,
        }))
    }
}
