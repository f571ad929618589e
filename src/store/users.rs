//! Users: who they are, and the version that state events carry.

use std::collections::{HashMap, HashSet};

use super::{Conn, StoreError};
use crate::{
    ids::{Timestamp, UserId},
    wire::{FriendEntry, User},
};

/// A row of `users`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct UserRow {
    pub user_id: UserId,
    pub email: String,
    pub user_name: String,
    pub user_status: String,
    pub join_date: Timestamp,
    pub login_date: Option<Timestamp>,
    pub logout_date: Option<Timestamp>,
    pub version: i64,
}

/// What a sign-up brings.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct NewUser<'a> {
    pub user_id: &'a UserId,
    pub email: &'a str,
    pub user_name: &'a str,
    pub password_hash: &'a str,
}

impl UserRow {
    /// As replies show it.
    pub fn to_wire(&self) -> User {
        User {
            user_id: self.user_id.clone(),
            email: self.email.clone(),
            user_name: self.user_name.clone(),
            user_status: self.user_status.clone(),
            join_date: self.join_date,
            login_date: self.login_date,
            logout_date: self.logout_date,
        }
    }

    /// As friends see it.
    pub fn to_friend(&self) -> FriendEntry {
        FriendEntry {
            user_id: self.user_id.clone(),
            user_name: self.user_name.clone(),
            user_status: self.user_status.clone(),
        }
    }
}

const LOCK: &str = "
    SELECT user_id, email, user_name, user_status, join_date, login_date, logout_date, version
    FROM users WHERE user_id = ANY($1) ORDER BY user_id FOR NO KEY UPDATE";

/// Locks these users' rows, in the order of their ids, until the transaction ends. Unknown ones are left out.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn lock(conn: &mut Conn, users: &[&UserId]) -> Result<HashMap<UserId, UserRow>, StoreError> {
    let rows: Vec<UserRow> = sqlx::query_as(LOCK).bind(users).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.user_id.clone(), row)).collect())
}

const KNOWN: &str = "SELECT user_id FROM users WHERE user_id = ANY($1)";

/// Those of these ids that are users.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn known(conn: &mut Conn, users: &[&UserId]) -> Result<HashSet<UserId>, StoreError> {
    let rows: Vec<UserId> = sqlx::query_scalar(KNOWN).bind(users).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

const ADD: &str = "
    WITH input AS (
        SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[])
            AS t (user_id, email, user_name, password_hash)
    ), added AS (
        INSERT INTO users (user_id, email, user_name, join_date)
        SELECT user_id, email, user_name, $5 FROM input ORDER BY user_id COLLATE \"C\"
        ON CONFLICT DO NOTHING
        RETURNING user_id
    )
    INSERT INTO credentials (user_id, password_hash)
    SELECT user_id, password_hash FROM added JOIN input USING (user_id)
    RETURNING user_id";

/// Adds those whose id is free, with their credentials. Waits for another transaction that is adding the same id. Ids must
/// differ from each other.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn add(
    conn: &mut Conn,
    users: &[NewUser<'_>],
    joined: Timestamp,
) -> Result<HashSet<UserId>, StoreError> {
    let rows: Vec<UserId> = sqlx::query_scalar(ADD)
        .bind(users.iter().map(|user| user.user_id).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.email).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.user_name).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.password_hash).collect::<Vec<_>>())
        .bind(joined)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

const SET: &str = "
    UPDATE users SET user_status = t.user_status, version = t.version,
                     login_date = t.login_date, logout_date = t.logout_date
    FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
        AS t (user_id, user_status, version, login_date, logout_date)
    WHERE users.user_id = t.user_id";

/// Writes status, version and the two dates of rows that this transaction has locked.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn set(conn: &mut Conn, users: &[&UserRow]) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    sqlx::query(SET)
        .bind(users.iter().map(|user| &user.user_id).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.user_status.as_str()).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.version).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.login_date).collect::<Vec<_>>())
        .bind(users.iter().map(|user| user.logout_date).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

const HASHES: &str = "SELECT user_id, password_hash FROM credentials WHERE user_id = ANY($1)";

/// The password hashes (PHC strings) of these users.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn password_hashes(
    conn: &mut Conn,
    users: &[&UserId],
) -> Result<HashMap<UserId, String>, StoreError> {
    let rows: Vec<(UserId, String)> = sqlx::query_as(HASHES).bind(users).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

const REHASH: &str = "
    UPDATE credentials SET password_hash = t.fresh
    FROM UNNEST($1::text[], $2::text[], $3::text[]) AS t (user_id, stale, fresh)
    WHERE credentials.user_id = t.user_id AND credentials.password_hash = t.stale";

/// Replaces hashes that were made with older parameters: (user, the old one, the new one).
///
/// # Errors
/// When PostgreSQL fails.
pub async fn rehash(conn: &mut Conn, hashes: &[(&UserId, &str, &str)]) -> Result<(), StoreError> {
    if hashes.is_empty() {
        return Ok(());
    }
    sqlx::query(REHASH)
        .bind(hashes.iter().map(|hash| hash.0).collect::<Vec<_>>())
        .bind(hashes.iter().map(|hash| hash.1).collect::<Vec<_>>())
        .bind(hashes.iter().map(|hash| hash.2).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}
