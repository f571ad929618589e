use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ids::{InvalidId, RoomId, SessionKey, UserId};

/// The password of every user of a stage that has passwords; the users are throw-away.
pub(in crate::loadgen) const PASSWORD: &str = "a generated password";

/// Users with an open session each, spread over rooms of one size. They are made by SQL, since ten thousand sign-ups hash for
/// quarter of an hour; both sides derive ids and tokens from the seed, so that no list has to be handed on.
#[derive(Debug, Clone, clap::Args)]
pub struct Stage {
    /// Names the users, sessions and rooms: a new one for each run, 1 to 20 of a-z, 0-9
    #[arg(long, value_parser = seed)]
    pub seed: String,
    /// Users, each with one session in one room
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// Members of a room
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub room_size: u32,
}

fn seed(text: &str) -> Result<String, InvalidId> {
    let fits = (1..=20).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if fits && plain {
        return Ok(text.to_owned());
    }
    Err(InvalidId { what: "seed", rule: "must be 1 to 20 characters of a-z, 0-9" })
}

impl Stage {
    /// The statements that set the stage, for a role that may write these tables.
    pub fn sql(&self) -> String {
        let Self { seed, users, room_size } = self;
        let (last, last_room) = (users - 1, self.rooms() - 1);
        let room =
            |n: &str| format!("substr(encode(sha256(('{seed} room ' || {n})::bytea), 'hex'), 1, 32)::uuid");
        let (of_user, of_room) = (room(&format!("n / {room_size}")), room("n"));
        format!(
            "BEGIN;
             INSERT INTO users (user_id, email, user_name, join_date)
             SELECT '{seed}-' || n, '{seed}-' || n || '@example.com', '{seed}-' || n, now()
             FROM generate_series(0, {last}) AS n;
             INSERT INTO sessions (session_key, user_id, opened_at, seen_at, expires_at)
             SELECT sha256(sha256(('{seed} session ' || n)::bytea)), '{seed}-' || n, now(), now(), now() + interval '1 day'
             FROM generate_series(0, {last}) AS n;
             INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count)
             SELECT {of_room}, 'bench', '{seed}-' || n * {room_size}, now(), least({room_size}, {users} - n * {room_size})
             FROM generate_series(0, {last_room}) AS n;
             INSERT INTO members (room_id, user_id, joined_seq, joined_at)
             SELECT {of_user}, '{seed}-' || n, 0, now() FROM generate_series(0, {last}) AS n;
             INSERT INTO user_rooms (user_id, room_id, read_seq, joined_seq, joined_at)
             SELECT '{seed}-' || n, {of_user}, 0, 0, now() FROM generate_series(0, {last}) AS n;
             COMMIT;
             ANALYZE users, sessions, rooms, members, user_rooms;\n"
        )
    }

    /// The statement that gives every user of the stage the password whose hash this is.
    pub(in crate::loadgen) fn passwords_sql(&self, hash: &str) -> String {
        let Self { seed, users, .. } = self;
        let last = users - 1;
        format!(
            "INSERT INTO credentials (user_id, password_hash)
             SELECT '{seed}-' || n, '{}' FROM generate_series(0, {last}) AS n;
             ANALYZE credentials;\n",
            hash.replace('\'', "''")
        )
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> u32 {
        self.users.div_ceil(self.room_size)
    }

    /// The room of a user.
    pub(super) fn room_of(&self, user: u32) -> u32 {
        user / self.room_size
    }

    /// The id of a room.
    pub(in crate::loadgen) fn room(&self, room: u32) -> RoomId {
        let digest = Sha256::digest(format!("{} room {room}", self.seed));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        RoomId(Uuid::from_bytes(bytes))
    }

    /// A member of a room, another one for each `turn`.
    pub(in crate::loadgen) fn member(&self, room: u32, turn: u32) -> u32 {
        room * self.room_size + turn % self.size_of(room)
    }

    /// How many members a room has: the last one may have fewer.
    pub(in crate::loadgen) fn size_of(&self, room: u32) -> u32 {
        self.room_size.min(self.users - room * self.room_size)
    }

    /// The name of a user; none when the seed makes no legal one.
    pub(in crate::loadgen) fn user(&self, user: u32) -> Option<UserId> {
        format!("{}-{user}", self.seed).parse().ok()
    }

    fn token(&self, user: u32) -> [u8; 32] {
        Sha256::digest(format!("{} session {user}", self.seed)).into()
    }

    /// The key of a user's session.
    pub(in crate::loadgen) fn session_key(&self, user: u32) -> SessionKey {
        SessionKey(Sha256::digest(self.token(user)).into())
    }

    /// The cookie of a user's session.
    pub(super) fn cookie(&self, user: u32) -> String {
        format!("__Host-parley={}", URL_SAFE_NO_PAD.encode(self.token(user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_fill_rooms_in_order_and_seeds_cannot_break_out_of_the_statements() {
        let stage = Stage { seed: "x1".into(), users: 250, room_size: 100 };
        assert_eq!((stage.rooms(), stage.room_of(249)), (3, 2));
        assert_eq!((stage.member(2, 0), stage.member(2, 51)), (200, 201));
        assert_ne!(stage.room(0), stage.room(1));
        assert!(seed("a'b").is_err() && seed("").is_err() && seed("0123456789a").is_ok());
    }
}
