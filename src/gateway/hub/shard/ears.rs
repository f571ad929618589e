use std::collections::{HashMap, HashSet};

use crate::{
    gateway::hub::record::{Record, Route},
    ids::{RoomId, Seq, UserId},
    store::reads::{Interests, Span},
};

/// What a user hears, ready to be asked about many records.
#[derive(Debug)]
pub(crate) struct Ears<'a> {
    user: &'a UserId,
    rooms: HashMap<RoomId, Span>,
    friends: HashSet<&'a UserId>,
}

impl<'a> Ears<'a> {
    pub(crate) fn new(user: &'a UserId, interests: &'a Interests) -> Self {
        let rooms = interests.rooms.iter().map(|room| (room.room_id, room.span)).collect();
        Self { user, rooms, friends: interests.friends.iter().collect() }
    }

    /// Whether they may see this message.
    pub(super) fn may_see(&self, room: RoomId, seq: Seq) -> bool {
        self.rooms.get(&room).is_some_and(|span| span.covers(seq))
    }

    /// Whether they hear this record.
    pub(crate) fn hear(&self, record: &Record) -> bool {
        match &record.route {
            Route::Message { room, seq, .. } => self.may_see(*room, *seq),
            Route::Room { room, left, seq, .. } => {
                // Who left is told so, and hears nothing of the room from then on.
                let member = |span: &Span| span.joined <= *seq && span.left.is_none_or(|end| *seq < end);
                left.contains(self.user) || self.rooms.get(room).is_some_and(member)
            }
            Route::Friend { user, .. } => user == self.user,
            Route::Status { user, .. } => self.friends.contains(user),
            Route::Ended { .. } | Route::Nobody => false,
        }
    }
}
