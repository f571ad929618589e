use std::collections::HashMap;

use super::{Ask, Context, Handler};
use crate::{
    ids::{SessionKey, Timestamp, UserId},
    store::{
        Conn, StoreError, sessions,
        users::{self, UserRow},
    },
    wire::{self, Body, EndedSession, ErrorCode, Event, Failure, Request},
    worker::job::Effect,
};

/// Ends the session everywhere, at once; or leaves a tombstone, so that a login that comes after it opens nothing.
pub(super) struct Logout;

impl Handler for Logout {
    type Request = wire::Logout;
    /// The users' rows: a login of theirs comes before or after, never in between.
    type Locks = HashMap<UserId, UserRow>;

    fn pick(request: &Request) -> Option<&wire::Logout> {
        if let Request::Logout(logout) = request { Some(logout) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[Ask<'_, wire::Logout>]) -> Result<Self::Locks, StoreError> {
        let names: Vec<&UserId> = asks.iter().filter_map(|ask| ask.request.user_id.as_ref()).collect();
        users::lock(conn, &names).await
    }

    async fn apply(
        conn: &mut Conn,
        _context: &Context<'_>,
        now: Timestamp,
        asks: &[Ask<'_, wire::Logout>],
        mut locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut ending: HashMap<SessionKey, Option<&UserId>> = HashMap::new();
        let mut everywhere = Vec::new();
        let mut effects = Vec::with_capacity(asks.len());
        for ask in asks {
            // A session names a user only when there is one: the column refers to users.
            let user = ask.request.user_id.as_ref().filter(|user| locks.contains_key(*user));
            if ask.request.everywhere && user.is_none() {
                effects.push(Effect::refused(Failure::new(
                    ErrorCode::Unauthenticated,
                    "nobody is logged in here, so there is no everywhere",
                )));
                continue;
            }
            ending.insert(ask.headers.session_key, user);
            if let Some(row) = user.and_then(|user| locks.get_mut(user)) {
                row.logout_date = Some(now);
            }
            let (who, reason) = match user {
                Some(user) if ask.request.everywhere => {
                    everywhere.push(user);
                    (EndedSession::UserId(user.clone()), "logout everywhere")
                }
                _ => (EndedSession::SessionKey(ask.headers.session_key), "logout"),
            };
            let ended = Event::SessionEnded { who, ended_at: now, reason: reason.to_owned() };
            effects.push(Effect::with(Body::Nothing {}, vec![ended]));
        }
        let ending: Vec<_> = ending.into_iter().collect();
        sessions::end(conn, &ending, now).await?;
        sessions::end_all(conn, &everywhere, now).await?;
        let changed: Vec<&UserRow> = locks.values().filter(|row| row.logout_date == Some(now)).collect();
        users::set(conn, &changed).await?;
        Ok(effects)
    }
}
