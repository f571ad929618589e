use std::collections::HashMap;

use super::{Ask, Context, Handler};
use crate::{
    ids::{Timestamp, UserId},
    store::{
        Conn, StoreError, friends,
        users::{self, UserRow},
    },
    wire::{self, AddFriendResult, Body, ErrorCode, Event, Failure, FriendOutcome, Request},
    worker::job::Effect,
};

/// Adds friends, one result per id. Friendship is mutual and at once; both sides hear of it.
pub(super) struct AddFriend;

impl Handler for AddFriend {
    type Request = wire::AddFriend;
    /// The rows of all who are named: what their friend events say is true as of the commit.
    type Locks = HashMap<UserId, UserRow>;

    fn pick(request: &Request) -> Option<&wire::AddFriend> {
        if let Request::AddFriend(add) = request { Some(add) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[Ask<'_, wire::AddFriend>]) -> Result<Self::Locks, StoreError> {
        let named = asks.iter().flat_map(|ask| ask.request.friend_id.iter().chain([&ask.request.user_id]));
        users::lock(conn, &named.collect::<Vec<_>>()).await
    }

    async fn apply(
        conn: &mut Conn,
        _context: &Context<'_>,
        now: Timestamp,
        asks: &[Ask<'_, wire::AddFriend>],
        locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let pairs: Vec<friends::Pair<'_>> = asks
            .iter()
            .flat_map(|ask| ask.request.friend_id.iter().map(|friend| (&ask.request.user_id, friend)))
            .collect();
        let mut friends_now = friends::existing(conn, &pairs).await?;
        let mut adding = Vec::new();
        let mut effects = Vec::with_capacity(asks.len());
        for ask in asks {
            let asker = &ask.request.user_id;
            let Some(me) = locks.get(asker) else {
                effects.push(Effect::refused(Failure::new(ErrorCode::UserNotFound, "there is no such user")));
                continue;
            };
            let mut results = Vec::with_capacity(ask.request.friend_id.len());
            let mut events = Vec::new();
            for friend in &ask.request.friend_id {
                let result = match locks.get(friend) {
                    _ if friend == asker => FriendOutcome::Oneself,
                    None => FriendOutcome::Unknown,
                    Some(_) if friends_now.contains(&(asker.clone(), friend.clone())) => {
                        FriendOutcome::Already
                    }
                    Some(them) => {
                        friends_now.insert((asker.clone(), friend.clone()));
                        friends_now.insert((friend.clone(), asker.clone()));
                        adding.push((asker, friend));
                        events.extend([heard(me, them), heard(them, me)]);
                        FriendOutcome::Added
                    }
                };
                results.push(AddFriendResult { user_id: friend.clone(), result });
            }
            effects.push(Effect::with(Body::AddFriend { friend_id: results }, events));
        }
        friends::add(conn, &adding, now).await?;
        Ok(effects)
    }
}

/// `user` has a new friend.
fn heard(user: &UserRow, friend: &UserRow) -> Event {
    Event::Friend { user_id: user.user_id.clone(), friend: friend.to_friend(), version: friend.version }
}
