use sqlx::Row as _;

use super::Reads;
use crate::{
    ids::{RoomId, Seq, UserId},
    store::StoreError,
};

/// Which messages of a room a member may see: `joined < seq <= left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The room's newest message when they joined.
    pub joined: Seq,
    /// The room's newest message when they left; `None` for a member.
    pub left: Option<Seq>,
}

impl Span {
    /// Whether the member may see this message.
    pub fn covers(&self, seq: Seq) -> bool {
        self.joined < seq && self.left.is_none_or(|left| seq <= left)
    }

    /// Whether they are a member now.
    pub fn present(&self) -> bool {
        self.left.is_none()
    }
}

/// A room of one user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Which.
    pub room_id: RoomId,
    /// What the user may see of it.
    pub span: Span,
    /// Its newest message: the mark.
    pub last_seq: Seq,
    /// The membership's version.
    pub version: i64,
}

/// What one user hears of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interests {
    /// Rooms that they are or were a member of: what was said before they left is still theirs to hear.
    pub rooms: Vec<Room>,
    /// Friends whose status they are told.
    pub friends: Vec<UserId>,
}

/// Some members of one room, with its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMembers {
    /// Its newest message: the mark.
    pub last_seq: Seq,
    /// The membership's version.
    pub version: i64,
    /// Those of the users asked about who are or were members.
    pub members: Vec<(UserId, Span)>,
}

const ROOMS: &str = "
    SELECT m.room_id, m.joined_seq, m.left_seq, r.last_seq, r.version
    FROM user_rooms m JOIN rooms r USING (room_id)
    WHERE m.user_id = $1";

const FRIENDS: &str = "SELECT friend_id FROM friendships WHERE user_id = $1";

/// One row a member, or one with null columns when none of them is.
const MEMBERS: &str = "
    SELECT r.last_seq, r.version, m.user_id, m.joined_seq, m.left_seq
    FROM rooms r LEFT JOIN members m ON m.room_id = r.room_id AND m.user_id = ANY($2)
    WHERE r.room_id = $1";

impl Reads {
    /// The rooms and friends of a user.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn interests(&self, user: &UserId) -> Result<Interests, StoreError> {
        let mut interests = Interests::default();
        for row in sqlx::query(ROOMS).bind(user).fetch_all(&self.database.pool).await? {
            interests.rooms.push(Room {
                room_id: row.try_get("room_id")?,
                span: span(&row)?,
                last_seq: row.try_get("last_seq")?,
                version: row.try_get("version")?,
            });
        }
        for row in sqlx::query(FRIENDS).bind(user).fetch_all(&self.database.pool).await? {
            interests.friends.push(row.try_get("friend_id")?);
        }
        Ok(interests)
    }

    /// Which of these users belong to a room; `None` when there is no such room.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn room_members(
        &self,
        room: RoomId,
        users: &[UserId],
    ) -> Result<Option<RoomMembers>, StoreError> {
        let rows = sqlx::query(MEMBERS).bind(room).bind(users).fetch_all(&self.database.pool).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let (last_seq, version) = (first.try_get("last_seq")?, first.try_get("version")?);
        let mut members = Vec::new();
        for row in &rows {
            let Some(user) = row.try_get("user_id")? else { continue };
            members.push((user, span(row)?));
        }
        Ok(Some(RoomMembers { last_seq, version, members }))
    }
}

fn span(row: &sqlx::postgres::PgRow) -> Result<Span, StoreError> {
    Ok(Span { joined: row.try_get("joined_seq")?, left: row.try_get("left_seq")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_sees_what_came_after_joining_and_until_leaving() {
        let span = Span { joined: Seq(3), left: Some(Seq(5)) };
        let seen: Vec<i64> = (1..8).filter(|seq| span.covers(Seq(*seq))).collect();
        assert_eq!(seen, [4, 5]);
        assert!(!span.present());
        assert!(Span { joined: Seq(0), left: None }.covers(Seq(9)));
    }
}
