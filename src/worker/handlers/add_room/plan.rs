//! What becomes of a batch's requests for rooms, each of which sees those before it: everything but the reads and writes.

use std::collections::{HashMap, HashSet};

use super::RoomAsk;
use crate::{
    ids::{RoomId, Seq, Timestamp, UserId},
    store::{
        StoreError,
        members::NewMember,
        rooms::{RoomPair, RoomRow},
    },
    wire::{self, Body, ErrorCode, Event, Failure, MAX_ROOM_MEMBERS, RoomDetail},
    worker::job::Effect,
};

/// What PostgreSQL knows of those who are named.
pub(super) struct Known {
    pub(super) users: HashSet<UserId>,
    pub(super) friends: HashSet<(UserId, UserId)>,
    pub(super) members: HashSet<(RoomId, UserId)>,
}

/// What is to become of one request.
pub(super) enum Course {
    Refused(Failure),
    /// These joined the room, which then had this many members and this version.
    Grown {
        room: RoomId,
        joined: Vec<UserId>,
        member_count: i64,
        version: i64,
    },
    /// A new room of these.
    Opened {
        room: RoomId,
        joined: Vec<UserId>,
    },
    /// The room between these two. `opens` when this request may be the one that opens it.
    Pair {
        low: UserId,
        high: UserId,
        room: RoomId,
        opens: bool,
    },
}

impl Course {
    /// The room whose members are to be read for the answer. Those of a room between two are known.
    pub(super) fn room(&self) -> Option<RoomId> {
        match self {
            Self::Refused(_) | Self::Pair { .. } => None,
            Self::Grown { room, .. } | Self::Opened { room, .. } => Some(*room),
        }
    }
}

/// A batch's changes to rooms, each request seeing those before it.
pub(super) struct Plan {
    known: Known,
    now: Timestamp,
    /// Rooms that were there and are locked.
    rooms: HashMap<RoomId, RoomRow>,
    /// Rooms that this batch opens, and those between two people that were there.
    pub(super) opened: HashMap<RoomId, RoomRow>,
    opening: Vec<RoomId>,
    changed: HashSet<RoomId>,
    joining: Vec<(RoomId, UserId, Seq)>,
    /// The first request of this batch for each pair.
    claimed: HashMap<(UserId, UserId), RoomId>,
    /// What the claims came to.
    pub(super) pairs: Vec<RoomPair>,
}

fn refused(code: ErrorCode, text: &'static str) -> Course {
    Course::Refused(Failure::new(code, text))
}

impl Plan {
    pub(super) fn new(known: Known, rooms: HashMap<RoomId, RoomRow>, now: Timestamp) -> Self {
        Self {
            known,
            now,
            rooms,
            opened: HashMap::new(),
            opening: Vec::new(),
            changed: HashSet::new(),
            joining: Vec::new(),
            claimed: HashMap::new(),
            pairs: Vec::new(),
        }
    }

    pub(super) fn judge(&mut self, ask: &RoomAsk<'_>) -> Course {
        let asker = &ask.request.user_id;
        let mut seen = HashSet::from([asker]);
        let friends: Vec<&UserId> =
            ask.request.friend_id.iter().filter(|friend| seen.insert(friend)).collect();
        if !self.known.users.contains(asker) {
            return refused(ErrorCode::UserNotFound, "there is no such user");
        }
        if friends.is_empty() {
            return refused(ErrorCode::InvalidRequest, "friendId names nobody but the one who asks");
        }
        if friends.iter().any(|friend| !self.known.users.contains(*friend)) {
            return refused(ErrorCode::UserNotFound, "one of those named does not exist");
        }
        if friends.iter().any(|friend| !self.known.friends.contains(&(asker.clone(), (*friend).clone()))) {
            return refused(ErrorCode::NotAFriend, "one of those named is not a friend");
        }
        match ask.request.room_id {
            Some(room) => self.grow(room, asker, &friends),
            None => self.open(ask.request, asker, &friends),
        }
    }

    fn grow(&mut self, room: RoomId, asker: &UserId, friends: &[&UserId]) -> Course {
        let Some(row) = self.rooms.get_mut(&room) else {
            return refused(ErrorCode::RoomNotFound, "there is no such room");
        };
        if !self.known.members.contains(&(room, asker.clone())) {
            return refused(ErrorCode::NotAMember, "only members add others to a room");
        }
        let joined: Vec<UserId> = friends
            .iter()
            .filter(|friend| !self.known.members.contains(&(room, (**friend).clone())))
            .map(|friend| (*friend).clone())
            .collect();
        let count = row.member_count + i64::try_from(joined.len()).unwrap_or(i64::MAX);
        if count > i64::try_from(MAX_ROOM_MEMBERS).unwrap_or(i64::MAX) {
            return refused(ErrorCode::TooLarge, "the room would have more than 10000 members");
        }
        if !joined.is_empty() {
            row.member_count = count;
            row.version += 1;
            self.changed.insert(room);
            for user in &joined {
                self.known.members.insert((room, user.clone()));
                self.joining.push((room, user.clone(), row.last_seq));
            }
        }
        Course::Grown { room, joined, member_count: row.member_count, version: row.version }
    }

    fn open(&mut self, request: &wire::AddRoom, asker: &UserId, friends: &[&UserId]) -> Course {
        let joined: Vec<UserId> = friends.iter().copied().chain([asker]).cloned().collect();
        let row = self.row(request, asker, &joined);
        let room = row.room_id;
        let [friend] = friends else {
            self.add_opened(row, &joined);
            return Course::Opened { room, joined };
        };
        let (low, high) = if *friend < asker { (*friend, asker) } else { (asker, *friend) };
        let mut opens = false;
        let room = *self.claimed.entry((low.clone(), high.clone())).or_insert_with(|| {
            opens = true;
            room
        });
        if opens {
            self.opened.insert(room, row);
        }
        Course::Pair { low: low.clone(), high: high.clone(), room, opens }
    }

    fn row(&self, request: &wire::AddRoom, asker: &UserId, joined: &[UserId]) -> RoomRow {
        RoomRow {
            room_id: RoomId(uuid::Uuid::now_v7()),
            room_name: request
                .room_name
                .as_ref()
                .map_or_else(|| default_name(joined), |name| name.as_str().to_owned()),
            created_by: asker.clone(),
            created_at: self.now,
            member_count: i64::try_from(joined.len()).unwrap_or(i64::MAX),
            last_seq: Seq(0),
            version: 1,
        }
    }

    fn add_opened(&mut self, row: RoomRow, joined: &[UserId]) {
        self.joining.extend(joined.iter().map(|user| (row.room_id, user.clone(), Seq(0))));
        self.opening.push(row.room_id);
        self.opened.insert(row.room_id, row);
    }

    pub(super) fn claims(&self) -> Vec<RoomPair> {
        let pair = |((low, high), room): (&(UserId, UserId), &RoomId)| RoomPair {
            user_low: low.clone(),
            user_high: high.clone(),
            room_id: *room,
        };
        self.claimed.iter().map(pair).collect()
    }

    /// Opens the rooms of the pairs that had none; of the others somebody else's room is the one.
    pub(super) fn settle_pairs(&mut self) {
        for pair in self.pairs.clone() {
            let claim = (pair.user_low, pair.user_high);
            match self.claimed.get(&claim) {
                Some(ours) if *ours == pair.room_id => {
                    if let Some(row) = self.opened.remove(&pair.room_id) {
                        self.add_opened(row, &[claim.0, claim.1]);
                    }
                }
                Some(ours) => {
                    self.opened.remove(ours);
                }
                None => {}
            }
        }
    }

    /// Rooms between two people that were there before.
    pub(super) fn foreign_pairs(&self) -> Vec<RoomId> {
        self.pairs.iter().map(|pair| pair.room_id).filter(|room| !self.opened.contains_key(room)).collect()
    }

    pub(super) fn new_rooms(&self) -> Vec<&RoomRow> {
        self.opening.iter().filter_map(|room| self.opened.get(room)).collect()
    }

    pub(super) fn grown(&self) -> Vec<&RoomRow> {
        self.changed.iter().filter_map(|room| self.rooms.get(room)).collect()
    }

    pub(super) fn new_members(&self) -> Vec<NewMember<'_>> {
        let member = |(room_id, user_id, joined_seq): &'_ (RoomId, UserId, Seq)| {
            (*room_id, user_id.clone(), *joined_seq)
        };
        debug_assert_eq!(self.joining.iter().map(member).collect::<HashSet<_>>().len(), self.joining.len());
        self.joining
            .iter()
            .map(|(room_id, user_id, joined_seq)| NewMember {
                room_id: *room_id,
                user_id,
                joined_seq: *joined_seq,
                joined_at: self.now,
            })
            .collect()
    }

    fn pair_room(&self, low: &UserId, high: &UserId) -> Option<RoomId> {
        self.pairs
            .iter()
            .find(|pair| pair.user_low == *low && pair.user_high == *high)
            .map(|pair| pair.room_id)
    }

    pub(super) fn effect(
        &self,
        course: Course,
        shown: &HashMap<RoomId, Vec<UserId>>,
    ) -> Result<Effect, StoreError> {
        let gone = || StoreError::Conflict("a room went away".to_owned());
        let members = |room: &RoomId| shown.get(room).cloned().unwrap_or_default();
        match course {
            Course::Refused(failure) => Ok(Effect::refused(failure)),
            Course::Grown { room, joined, member_count, version } => {
                let row = self.rooms.get(&room).ok_or_else(gone)?;
                let row = RoomRow { member_count, version, ..row.clone() };
                Ok(effect(&row, members(&room), joined))
            }
            Course::Opened { room, joined } => {
                Ok(effect(self.opened.get(&room).ok_or_else(gone)?, members(&room), joined))
            }
            Course::Pair { low, high, room, opens } => {
                let standing = self.pair_room(&low, &high).ok_or_else(gone)?;
                let row = self.opened.get(&standing).ok_or_else(gone)?;
                // A room that has a pair has two members. Somebody may have left it since the pair was read.
                let row = RoomRow { member_count: 2, ..row.clone() };
                let two = vec![low, high];
                let joined = if opens && standing == room { two.clone() } else { Vec::new() };
                Ok(effect(&row, two, joined))
            }
        }
    }
}

/// Reply and event of a room. Nobody joined: nothing changed, and there is no event.
fn effect(row: &RoomRow, members: Vec<UserId>, joined: Vec<UserId>) -> Effect {
    let event = (!joined.is_empty()).then(|| Event::Room {
        room_id: row.room_id,
        room_name: row.room_name.clone(),
        member_count: row.member_count,
        members: members.clone(),
        joined,
        left: Vec::new(),
        seq: row.last_seq,
        version: row.version,
    });
    let detail = RoomDetail {
        room_id: row.room_id,
        room_name: row.room_name.clone(),
        member_count: row.member_count,
        members,
        created_at: row.created_at,
    };
    Effect::with(Body::AddRoom(detail), event.into_iter().collect())
}

/// A room that nobody named has its people's ids for a name, as far as 64 characters go.
fn default_name(people: &[UserId]) -> String {
    const MOST: usize = 64;
    const MORE: &str = ", …";
    let mut sorted: Vec<&str> = people.iter().map(UserId::as_str).collect();
    sorted.sort_unstable();
    let whole = sorted.join(", ");
    // Ids are ASCII.
    if whole.len() <= MOST {
        return whole;
    }
    let room = MOST - MORE.chars().count();
    let mut name = String::new();
    for person in sorted {
        let separator = if name.is_empty() { "" } else { ", " };
        if name.len() + separator.len() + person.len() > room {
            break;
        }
        name.push_str(separator);
        name.push_str(person);
    }
    name + MORE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_many_people_fits() {
        let people = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<UserId>>();
        assert_eq!(default_name(&people(&["bob", "amy"])), "amy, bob");
        let many: Vec<String> = (0..100).map(|n| format!("somebody-{n:03}")).collect();
        let name = default_name(&people(&many.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!(name.ends_with(", …") && name.chars().count() <= 64, "{name}");
        assert!(name.parse::<wire::Name>().is_ok());
        for (a, b) in (3..=32).flat_map(|a| (3..=32).map(move |b| (a, b))) {
            let (a, b) = ("a".repeat(a), "b".repeat(b));
            for names in [vec![a.as_str(), &b], vec![&a, &b, "ccc"], vec![&a, &b[1..], &b, "ccc"]] {
                let name = default_name(&people(&names));
                assert!(name.chars().count() <= 64 && name.parse::<wire::Name>().is_ok(), "{name}");
                assert!(
                    name == names.join(", ") || name.chars().count() > 64 - 32 - 5,
                    "as many as fit: {name}"
                );
            }
        }
    }
}
