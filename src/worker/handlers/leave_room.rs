use std::collections::{HashMap, HashSet};

use super::{Ask, Context, Handler};
use crate::{
    ids::{RoomId, Timestamp, UserId},
    store::{
        Conn, StoreError, members,
        members::Leaving,
        rooms::{self, RoomRow},
    },
    wire::{self, Body, ErrorCode, Event, Failure, Request},
    worker::job::Effect,
};

/// Leaves a room of mine: what is said from then on is not heard, what was said before stays readable. A room between two
/// people is nobody's pair from then on, so the two may open another. A room that everybody left stays, unread.
pub(super) struct LeaveRoom;

impl Handler for LeaveRoom {
    type Request = wire::LeaveRoom;
    /// The rooms: nobody appends to them meanwhile, so who leaves has a place in the log.
    type Locks = HashMap<RoomId, RoomRow>;

    fn pick(request: &Request) -> Option<&wire::LeaveRoom> {
        if let Request::LeaveRoom(leave) = request { Some(leave) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[Ask<'_, wire::LeaveRoom>]) -> Result<Self::Locks, StoreError> {
        rooms::lock(conn, &asks.iter().map(|ask| ask.request.room_id).collect::<Vec<_>>()).await
    }

    async fn apply(
        conn: &mut Conn,
        _context: &Context<'_>,
        _now: Timestamp,
        asks: &[Ask<'_, wire::LeaveRoom>],
        mut locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let seats: Vec<(RoomId, &UserId)> =
            asks.iter().map(|ask| (ask.request.room_id, &ask.request.user_id)).collect();
        let mut members = members::current(conn, &seats).await?;
        let courses: Vec<Result<RoomRow, Failure>> =
            seats.iter().map(|(room, user)| leave(&mut locks, &mut members, *room, user)).collect();
        let leaving: Vec<Leaving<'_>> = seats
            .iter()
            .zip(&courses)
            .filter_map(|((room_id, user_id), course)| {
                let left_seq = course.as_ref().ok()?.last_seq;
                Some(Leaving { room_id: *room_id, user_id, left_seq })
            })
            .collect();
        let left: HashSet<RoomId> = leaving.iter().map(|leaving| leaving.room_id).collect();
        let left: Vec<RoomId> = left.into_iter().collect();
        let rows: Vec<&RoomRow> = left.iter().filter_map(|room| locks.get(room)).collect();
        rooms::set_membership(conn, &rows).await?;
        rooms::forget_pairs(conn, &left).await?;
        members::leave(conn, &leaving).await?;
        let shown = members::shown(conn, &left).await?;
        let effect = |((room, user), course): (&(RoomId, &UserId), Result<RoomRow, Failure>)| match course {
            Ok(row) => effect(row, shown.get(room).cloned().unwrap_or_default(), user),
            Err(failure) => Effect::refused(failure),
        };
        Ok(seats.iter().zip(courses).map(effect).collect())
    }
}

/// The room as it is after this user left it, or why they cannot. Each request sees what the ones before it did.
fn leave(
    rooms: &mut HashMap<RoomId, RoomRow>,
    members: &mut HashSet<(RoomId, UserId)>,
    room: RoomId,
    user: &UserId,
) -> Result<RoomRow, Failure> {
    let Some(row) = rooms.get_mut(&room) else {
        return Err(Failure::new(ErrorCode::RoomNotFound, "there is no such room"));
    };
    if !members.remove(&(room, user.clone())) {
        return Err(Failure::new(ErrorCode::NotAMember, "only members leave a room"));
    }
    row.member_count -= 1;
    row.version += 1;
    Ok(row.clone())
}

/// Reply and event: those who stay hear of it, and who left, in all their browsers.
fn effect(row: RoomRow, members: Vec<UserId>, user: &UserId) -> Effect {
    let event = Event::Room {
        room_id: row.room_id,
        room_name: row.room_name,
        member_count: row.member_count,
        members,
        joined: Vec::new(),
        left: vec![user.clone()],
        seq: row.last_seq,
        version: row.version,
    };
    Effect::with(Body::LeaveRoom { room_id: row.room_id, left_seq: row.last_seq }, vec![event])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;

    #[test]
    fn each_leave_sees_those_before_it() {
        let [amy, bob]: [UserId; 2] = ["amy", "bob"].map(|name| name.parse().unwrap());
        let [room, other] = [1, 2].map(|n| RoomId(uuid::Uuid::from_u128(n)));
        let row = RoomRow {
            room_id: room,
            room_name: "r".into(),
            created_by: amy.clone(),
            created_at: Timestamp::from_micros(0),
            member_count: 2,
            last_seq: Seq(7),
            version: 4,
        };
        let mut rooms = HashMap::from([(room, row)]);
        let mut members = HashSet::from([(room, amy.clone()), (room, bob.clone())]);
        let mut go = |room, user| leave(&mut rooms, &mut members, room, user).map_err(|why| why.code);
        let left = go(room, &amy).unwrap();
        assert_eq!((left.member_count, left.version, left.last_seq), (1, 5, Seq(7)));
        assert_eq!(go(room, &amy), Err(ErrorCode::NotAMember));
        assert_eq!(go(other, &amy), Err(ErrorCode::RoomNotFound));
        let left = go(room, &bob).unwrap();
        assert_eq!((left.member_count, left.version), (0, 6));
    }
}
