//! Who is a member of which room: `members` led by the room, `user_rooms` led by the user. Both are written together.

use std::collections::{HashMap, HashSet};

use super::{Conn, StoreError, rooms::MEMBERS_SHOWN};
use crate::ids::{RoomId, Seq, Timestamp, UserId};

/// Somebody who joins a room. Messages after `joined_seq` are theirs to read.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct NewMember<'a> {
    pub room_id: RoomId,
    pub user_id: &'a UserId,
    pub joined_seq: Seq,
    pub joined_at: Timestamp,
}

const CURRENT: &str = "
    SELECT m.room_id, m.user_id
    FROM UNNEST($1::uuid[], $2::text[]) AS t (room_id, user_id)
    JOIN members m ON m.room_id = t.room_id AND m.user_id = t.user_id AND m.left_seq IS NULL";

/// Those of these who are members now.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn current(
    conn: &mut Conn,
    asked: &[(RoomId, &UserId)],
) -> Result<HashSet<(RoomId, UserId)>, StoreError> {
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(RoomId, UserId)> = sqlx::query_as(CURRENT)
        .bind(asked.iter().map(|ask| ask.0).collect::<Vec<_>>())
        .bind(asked.iter().map(|ask| ask.1).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

// Somebody who left and is added again begins anew: what was said in between stays unheard.
const ADD: &str = "
    WITH input AS (
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[])
            AS t (room_id, user_id, joined_seq, joined_at)
    ), by_room AS (
        INSERT INTO members (room_id, user_id, joined_seq, joined_at)
        SELECT room_id, user_id, joined_seq, joined_at FROM input
        ON CONFLICT (room_id, user_id) DO UPDATE
        SET joined_seq = EXCLUDED.joined_seq, joined_at = EXCLUDED.joined_at, left_seq = NULL
    )
    INSERT INTO user_rooms (room_id, user_id, read_seq, joined_seq, joined_at)
    SELECT room_id, user_id, joined_seq, joined_seq, joined_at FROM input
    ON CONFLICT (user_id, room_id) DO UPDATE
    SET read_seq = EXCLUDED.read_seq, joined_seq = EXCLUDED.joined_seq, joined_at = EXCLUDED.joined_at, left_seq = NULL";

/// Adds members to rooms that this transaction has locked or opened.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn add(conn: &mut Conn, members: &[NewMember<'_>]) -> Result<(), StoreError> {
    if members.is_empty() {
        return Ok(());
    }
    sqlx::query(ADD)
        .bind(members.iter().map(|member| member.room_id).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.user_id).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.joined_seq).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.joined_at).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// Somebody who leaves a room. Messages up to `left_seq` stay theirs to read.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct Leaving<'a> {
    pub room_id: RoomId,
    pub user_id: &'a UserId,
    pub left_seq: Seq,
}

const LEAVE: &str = "
    WITH input AS (
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[]) AS t (room_id, user_id, left_seq)
    ), by_room AS (
        UPDATE members m SET left_seq = t.left_seq FROM input t
        WHERE m.room_id = t.room_id AND m.user_id = t.user_id AND m.left_seq IS NULL
    )
    UPDATE user_rooms m SET left_seq = t.left_seq FROM input t
    WHERE m.user_id = t.user_id AND m.room_id = t.room_id AND m.left_seq IS NULL";

/// Takes members out of rooms that this transaction has locked. Their rows stay: they say what of the room they may read.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn leave(conn: &mut Conn, leaving: &[Leaving<'_>]) -> Result<(), StoreError> {
    if leaving.is_empty() {
        return Ok(());
    }
    sqlx::query(LEAVE)
        .bind(leaving.iter().map(|member| member.room_id).collect::<Vec<_>>())
        .bind(leaving.iter().map(|member| member.user_id).collect::<Vec<_>>())
        .bind(leaving.iter().map(|member| member.left_seq).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

const FIRST: &str = "
    SELECT t.room_id, m.user_id
    FROM UNNEST($1::uuid[]) AS t (room_id)
    CROSS JOIN LATERAL (
        SELECT user_id FROM members WHERE room_id = t.room_id AND left_seq IS NULL ORDER BY user_id LIMIT $2
    ) m
    ORDER BY t.room_id, m.user_id";

/// The members of these rooms that replies and events name: the first 20 by id.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn shown(conn: &mut Conn, rooms: &[RoomId]) -> Result<HashMap<RoomId, Vec<UserId>>, StoreError> {
    let mut shown: HashMap<RoomId, Vec<UserId>> = HashMap::new();
    if rooms.is_empty() {
        return Ok(shown);
    }
    let rows: Vec<(RoomId, UserId)> =
        sqlx::query_as(FIRST).bind(rooms).bind(MEMBERS_SHOWN).fetch_all(conn).await?;
    for (room, user) in rows {
        shown.entry(room).or_default().push(user);
    }
    Ok(shown)
}
