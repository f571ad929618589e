mod plan;

use std::collections::HashMap;

use plan::{Course, Known, Plan};

use super::{Ask, Context, Handler};
use crate::{
    ids::{RoomId, Timestamp},
    store::{
        Conn, StoreError, members,
        rooms::{self, RoomRow},
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
