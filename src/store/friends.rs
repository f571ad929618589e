//! Friendships: mutual, both directions are rows.

use std::collections::HashSet;

use super::{Conn, StoreError};
use crate::{
    ids::{Timestamp, UserId},
    wire::FriendEntry,
};

/// Two users, the first of whom asks.
pub type Pair<'a> = (&'a UserId, &'a UserId);

const EXISTING: &str = "
    SELECT f.user_id, f.friend_id
    FROM UNNEST($1::text[], $2::text[]) AS t (user_id, friend_id)
    JOIN friendships f ON f.user_id = t.user_id AND f.friend_id = t.friend_id";

/// Those of these pairs that are friends.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn existing(conn: &mut Conn, pairs: &[Pair<'_>]) -> Result<HashSet<(UserId, UserId)>, StoreError> {
    let rows: Vec<(UserId, UserId)> = sqlx::query_as(EXISTING)
        .bind(pairs.iter().map(|pair| pair.0).collect::<Vec<_>>())
        .bind(pairs.iter().map(|pair| pair.1).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

const ADD: &str = "
    INSERT INTO friendships (user_id, friend_id, since)
    SELECT t.a, t.b, $3
    FROM (SELECT user_id AS a, friend_id AS b FROM UNNEST($1::text[], $2::text[]) AS x (user_id, friend_id)
          UNION
          SELECT friend_id, user_id FROM UNNEST($1::text[], $2::text[]) AS y (user_id, friend_id)) AS t
    ORDER BY t.a COLLATE \"C\", t.b COLLATE \"C\"
    ON CONFLICT DO NOTHING";

/// Makes these pairs friends, both ways. Pairs that are friends stay as they are.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn add(conn: &mut Conn, pairs: &[Pair<'_>], since: Timestamp) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    sqlx::query(ADD)
        .bind(pairs.iter().map(|pair| pair.0).collect::<Vec<_>>())
        .bind(pairs.iter().map(|pair| pair.1).collect::<Vec<_>>())
        .bind(since)
        .execute(conn)
        .await?;
    Ok(())
}

/// One user's question for a page.
#[derive(Debug, Clone)]
pub struct FriendsPage<'a> {
    /// Whose friends.
    pub user_id: &'a UserId,
    /// The last friend of the page before; empty for the first page.
    pub after: &'a str,
    /// How many at most.
    pub limit: usize,
}

const PAGES: &str = "
    SELECT q.n, f.friend_id, u.user_name, u.user_status
    FROM UNNEST($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS q (user_id, after, most, n)
    CROSS JOIN LATERAL (
        SELECT friend_id FROM friendships
        WHERE user_id = q.user_id AND friend_id > q.after COLLATE \"C\"
        ORDER BY friend_id LIMIT q.most
    ) f
    JOIN users u ON u.user_id = f.friend_id
    ORDER BY q.n, f.friend_id";

/// Friends in the order of their ids, a list for each question.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn pages(conn: &mut Conn, asked: &[FriendsPage<'_>]) -> Result<Vec<Vec<FriendEntry>>, StoreError> {
    let rows: Vec<(i64, UserId, String, String)> = sqlx::query_as(PAGES)
        .bind(asked.iter().map(|page| page.user_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|page| page.after).collect::<Vec<_>>())
        .bind(asked.iter().map(|page| i64::try_from(page.limit).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let mut pages = vec![Vec::new(); asked.len()];
    for (n, user_id, user_name, user_status) in rows {
        if let Some(page) = super::at(&mut pages, n) {
            page.push(FriendEntry { user_id, user_name, user_status });
        }
    }
    Ok(pages)
}
