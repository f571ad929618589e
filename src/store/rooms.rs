//! Rooms: their lock, their pairs, one user's list of them.

use std::collections::HashMap;

use super::{Conn, StoreError};
use crate::{
    ids::{RoomId, Seq, Timestamp, UserId},
    wire::RoomEntry,
};

/// Members that replies and events name at most.
pub const MEMBERS_SHOWN: i64 = 20;
/// Characters of a room's newest message that a list shows at most: a page of 100 rooms must fit into one Kafka record.
pub const PREVIEW: i32 = 500;

/// A row of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct RoomRow {
    pub room_id: RoomId,
    pub room_name: String,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub member_count: i64,
    pub last_seq: Seq,
    pub version: i64,
}

const LOCK: &str = "
    SELECT room_id, room_name, created_by, created_at, member_count, last_seq, version
    FROM rooms WHERE room_id = ANY($1) ORDER BY room_id FOR NO KEY UPDATE";

/// Locks these rooms, in the order of their ids, until the transaction ends: nobody else appends to them or changes their
/// membership. Unknown ones are left out.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn lock(conn: &mut Conn, rooms: &[RoomId]) -> Result<HashMap<RoomId, RoomRow>, StoreError> {
    if rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<RoomRow> = sqlx::query_as(LOCK).bind(rooms).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.room_id, row)).collect())
}

const LOCK_SEQ: &str =
    "SELECT room_id, last_seq FROM rooms WHERE room_id = ANY($1) ORDER BY room_id FOR NO KEY UPDATE";

/// The same for an append, which needs only the newest number.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn lock_seq(conn: &mut Conn, rooms: &[RoomId]) -> Result<HashMap<RoomId, Seq>, StoreError> {
    let rows: Vec<(RoomId, Seq)> = sqlx::query_as(LOCK_SEQ).bind(rooms).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

const READ: &str = "
    SELECT room_id, room_name, created_by, created_at, member_count, last_seq, version
    FROM rooms WHERE room_id = ANY($1)";

/// These rooms as they are, without a lock.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn read(conn: &mut Conn, rooms: &[RoomId]) -> Result<HashMap<RoomId, RoomRow>, StoreError> {
    if rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<RoomRow> = sqlx::query_as(READ).bind(rooms).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.room_id, row)).collect())
}

const OPEN: &str = "
    INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count)
    SELECT room_id, room_name, created_by, created_at, member_count
    FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
        AS t (room_id, room_name, created_by, created_at, member_count)";

/// Opens rooms. Their members are added beside it.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn open(conn: &mut Conn, rooms: &[&RoomRow]) -> Result<(), StoreError> {
    if rooms.is_empty() {
        return Ok(());
    }
    sqlx::query(OPEN)
        .bind(rooms.iter().map(|room| room.room_id).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| room.room_name.as_str()).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| &room.created_by).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| room.created_at).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| room.member_count).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

const SET: &str = "
    UPDATE rooms SET member_count = t.member_count, version = t.version
    FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS t (room_id, member_count, version)
    WHERE rooms.room_id = t.room_id";

/// Writes membership count and version of rooms that this transaction has locked.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn set_membership(conn: &mut Conn, rooms: &[&RoomRow]) -> Result<(), StoreError> {
    if rooms.is_empty() {
        return Ok(());
    }
    sqlx::query(SET)
        .bind(rooms.iter().map(|room| room.room_id).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| room.member_count).collect::<Vec<_>>())
        .bind(rooms.iter().map(|room| room.version).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// Two people and the room between them. `low` sorts before `high`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of the schema")]
pub struct RoomPair {
    pub user_low: UserId,
    pub user_high: UserId,
    pub room_id: RoomId,
}

const CLAIM: &str = "
    INSERT INTO room_pairs (user_low, user_high, room_id)
    SELECT low, high, room_id FROM UNNEST($1::text[], $2::text[], $3::uuid[]) AS t (low, high, room_id)
    ORDER BY low COLLATE \"C\", high COLLATE \"C\"
    ON CONFLICT (user_low, user_high) DO NOTHING";

const PAIRS: &str = "
    SELECT p.user_low, p.user_high, p.room_id
    FROM UNNEST($1::text[], $2::text[]) AS t (low, high)
    JOIN room_pairs p ON p.user_low = t.low AND p.user_high = t.high";

/// Names these rooms as the ones between their two people, unless there is one already, and gives the rooms that are now:
/// two who open the same at once wait for each other here, and the later finds the room of the earlier.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn claim_pairs(conn: &mut Conn, pairs: &[RoomPair]) -> Result<Vec<RoomPair>, StoreError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let low: Vec<&UserId> = pairs.iter().map(|pair| &pair.user_low).collect();
    let high: Vec<&UserId> = pairs.iter().map(|pair| &pair.user_high).collect();
    let rooms: Vec<RoomId> = pairs.iter().map(|pair| pair.room_id).collect();
    sqlx::query(CLAIM).bind(&low).bind(&high).bind(&rooms).execute(&mut *conn).await?;
    Ok(sqlx::query_as(PAIRS).bind(&low).bind(&high).fetch_all(conn).await?)
}

const FORGET_PAIRS: &str = "DELETE FROM room_pairs WHERE room_id = ANY($1)";

/// These rooms have other members than two now: they are nobody's pair any more.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn forget_pairs(conn: &mut Conn, rooms: &[RoomId]) -> Result<(), StoreError> {
    if !rooms.is_empty() {
        sqlx::query(FORGET_PAIRS).bind(rooms).execute(conn).await?;
    }
    Ok(())
}

/// One user's question for a page of rooms, in the order in which they were joined.
#[derive(Debug, Clone)]
pub struct RoomsPage<'a> {
    /// Whose rooms.
    pub user_id: &'a UserId,
    /// The place of the last room of the page before.
    pub after: Option<(Timestamp, RoomId)>,
    /// How many at most.
    pub limit: usize,
}

/// An entry of such a page and its place.
pub type PlacedRoom = (RoomEntry, (Timestamp, RoomId));

#[derive(sqlx::FromRow)]
struct PageRow {
    n: i64,
    room_id: RoomId,
    joined_at: Timestamp,
    joined_seq: Seq,
    read_seq: Seq,
    room_name: String,
    member_count: i64,
    last_seq: Seq,
    members: Vec<String>,
    message: Option<String>,
    created_at: Option<Timestamp>,
}

const PAGES: &str = "
    SELECT q.n, mine.room_id, mine.joined_at, mine.joined_seq, mine.read_seq,
           r.room_name, r.member_count, r.last_seq, shown.members,
           left(newest.message, $6) AS message, newest.created_at
    FROM UNNEST($1::text[], $2::timestamptz[], $3::uuid[], $4::bigint[]) WITH ORDINALITY AS q (user_id, after_at, after_room, most, n)
    CROSS JOIN LATERAL (
        SELECT room_id, joined_at, joined_seq, read_seq FROM user_rooms
        WHERE user_id = q.user_id AND left_seq IS NULL AND (joined_at, room_id) > (q.after_at, q.after_room)
        ORDER BY joined_at, room_id LIMIT q.most
    ) mine
    JOIN rooms r ON r.room_id = mine.room_id
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(m.user_id), '{}') AS members FROM (
            SELECT user_id FROM members WHERE room_id = mine.room_id AND left_seq IS NULL ORDER BY user_id LIMIT $5
        ) m
    ) shown
    LEFT JOIN messages newest
        ON newest.room_id = mine.room_id AND newest.seq = r.last_seq AND r.last_seq > mine.joined_seq
    ORDER BY q.n, mine.joined_at, mine.room_id";

/// Rooms that these users are members of, a list for each question. The newest message is cut to [`PREVIEW`].
///
/// # Errors
/// When PostgreSQL fails.
pub async fn pages(conn: &mut Conn, asked: &[RoomsPage<'_>]) -> Result<Vec<Vec<PlacedRoom>>, StoreError> {
    // Before the first room of anybody: the unix epoch is long before the first room.
    let start = (Timestamp::from_micros(0), RoomId(uuid::Uuid::nil()));
    let rows: Vec<PageRow> = sqlx::query_as(PAGES)
        .bind(asked.iter().map(|page| page.user_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|page| page.after.unwrap_or(start).0).collect::<Vec<_>>())
        .bind(asked.iter().map(|page| page.after.unwrap_or(start).1).collect::<Vec<_>>())
        .bind(asked.iter().map(|page| i64::try_from(page.limit).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(MEMBERS_SHOWN)
        .bind(PREVIEW)
        .fetch_all(conn)
        .await?;
    let mut pages: Vec<Vec<PlacedRoom>> = asked.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let seen = row.read_seq.max(row.joined_seq);
        let members: Result<Vec<UserId>, _> = row.members.iter().map(|id| id.parse()).collect();
        let entry = RoomEntry {
            room_id: row.room_id,
            room_name: row.room_name,
            member_count: row.member_count,
            members: members.map_err(|error| StoreError::unreadable("a member's id", &error))?,
            last_seq: row.last_seq,
            last_message: row.message,
            last_at: row.created_at,
            unread: (row.last_seq.0 - seen.0).max(0),
        };
        if let Some(page) = super::at(&mut pages, row.n) {
            page.push((entry, (row.joined_at, row.room_id)));
        }
    }
    Ok(pages)
}
