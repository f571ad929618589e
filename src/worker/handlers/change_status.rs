use std::collections::{HashMap, HashSet};

use super::{Ask, Context, Handler};
use crate::{
    ids::{Timestamp, UserId},
    store::{
        Conn, StoreError,
        users::{self, UserRow},
    },
    wire::{self, Body, ErrorCode, Event, Failure, Request},
    worker::job::Effect,
};

/// My status message, pushed to friends.
pub(super) struct ChangeStatus;

impl Handler for ChangeStatus {
    type Request = wire::ChangeStatus;
    /// The users' rows: their versions grow one by one.
    type Locks = HashMap<UserId, UserRow>;

    fn pick(request: &Request) -> Option<&wire::ChangeStatus> {
        if let Request::ChangeStatus(change) = request { Some(change) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[Ask<'_, wire::ChangeStatus>]) -> Result<Self::Locks, StoreError> {
        let names: Vec<&UserId> = asks.iter().map(|ask| &ask.request.user_id).collect();
        users::lock(conn, &names).await
    }

    async fn apply(
        conn: &mut Conn,
        _context: &Context<'_>,
        _now: Timestamp,
        asks: &[Ask<'_, wire::ChangeStatus>],
        mut locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut changed = HashSet::new();
        let mut effects = Vec::with_capacity(asks.len());
        for ask in asks {
            let Some(row) = locks.get_mut(&ask.request.user_id) else {
                effects.push(Effect::refused(Failure::new(ErrorCode::UserNotFound, "there is no such user")));
                continue;
            };
            let status = ask.request.status.as_str().to_owned();
            row.user_status.clone_from(&status);
            row.version += 1;
            changed.insert(&ask.request.user_id);
            let event =
                Event::Status { user_id: row.user_id.clone(), status: status.clone(), version: row.version };
            effects.push(Effect::with(Body::ChangeStatus { status }, vec![event]));
        }
        let rows: Vec<&UserRow> = changed.into_iter().filter_map(|user| locks.get(user)).collect();
        users::set(conn, &rows).await?;
        Ok(effects)
    }
}
