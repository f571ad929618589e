mod plan;

use std::collections::HashMap;

use plan::{Course, Known, Plan};

use super::{Ask, Context, Handler};
use crate::{
    ids::{RoomId, Timestamp, UserId},
    store::{
        Conn, StoreError, friends, members,
        rooms::{self, RoomRow},
        users,
    },
    wire::{self, Request},
    worker::job::Effect,
};

/// Opens a room with friends, or adds friends to one of mine: all of them or none.
pub(super) struct AddRoom;

type RoomAsk<'a> = Ask<'a, wire::AddRoom>;

impl Handler for AddRoom {
    type Request = wire::AddRoom;
    /// The rooms that grow: nobody appends to them meanwhile, so who joins has a place in the log.
    type Locks = HashMap<RoomId, RoomRow>;

    fn pick(request: &Request) -> Option<&wire::AddRoom> {
        if let Request::AddRoom(add) = request { Some(add) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[RoomAsk<'_>]) -> Result<Self::Locks, StoreError> {
        let growing: Vec<RoomId> = asks.iter().filter_map(|ask| ask.request.room_id).collect();
        rooms::lock(conn, &growing).await
    }

    async fn apply(
        conn: &mut Conn,
        _context: &Context<'_>,
        now: Timestamp,
        asks: &[RoomAsk<'_>],
        locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut plan = Plan::new(Known::read(conn, asks).await?, locks, now);
        let courses: Vec<Course> = asks.iter().map(|ask| plan.judge(ask)).collect();
        plan.pairs = rooms::claim_pairs(conn, &plan.claims()).await?;
        plan.settle_pairs();
        plan.opened.extend(rooms::read(conn, &plan.foreign_pairs()).await?);
        rooms::open(conn, &plan.new_rooms()).await?;
        rooms::set_membership(conn, &plan.grown()).await?;
        rooms::forget_pairs(conn, &plan.grown().iter().map(|room| room.room_id).collect::<Vec<_>>()).await?;
        members::add(conn, &plan.new_members()).await?;
        let named: Vec<RoomId> = courses.iter().filter_map(Course::room).collect();
        let shown = members::shown(conn, &named).await?;
        courses.into_iter().map(|course| plan.effect(course, &shown)).collect()
    }
}

impl Known {
    async fn read(conn: &mut Conn, asks: &[RoomAsk<'_>]) -> Result<Self, StoreError> {
        let pairs: Vec<friends::Pair<'_>> = asks
            .iter()
            .flat_map(|ask| ask.request.friend_id.iter().map(|friend| (&ask.request.user_id, friend)))
            .collect();
        let named: Vec<&UserId> = pairs.iter().flat_map(|pair| [pair.0, pair.1]).collect();
        let seats: Vec<(RoomId, &UserId)> = asks
            .iter()
            .filter_map(|ask| Some((ask.request.room_id?, ask)))
            .flat_map(|(room, ask)| {
                ask.request.friend_id.iter().chain([&ask.request.user_id]).map(move |user| (room, user))
            })
            .collect();
        Ok(Self {
            users: users::known(conn, &named).await?,
            friends: friends::existing(conn, &pairs).await?,
            members: members::current(conn, &seats).await?,
        })
    }
}
