use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{ConnId, Shard};
use crate::{
    gateway::hub::{lookup::Lookup, record::Record},
    ids::{RoomId, SessionKey, Timestamp, UserId},
    wire::EndedSession,
};

/// A user with at least one live stream in this shard.
#[derive(Debug, Default)]
pub(super) struct UserState {
    pub(super) conns: Vec<ConnId>,
    pub(super) rooms: HashSet<RoomId>,
    pub(super) friends: HashSet<UserId>,
}

/// A user whose status somebody in this shard is told.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) by: HashSet<UserId>,
    /// The newest version that was sent.
    version: i64,
}

impl Shard {
    /// `user` has a new friend, which only they are told; from now on they are told that friend's status too.
    pub(super) fn friend(&mut self, user: &UserId, friend: &UserId, record: &Arc<Record>) {
        let Some(state) = self.users.get_mut(user) else { return };
        state.friends.insert(friend.clone());
        let conns = state.conns.clone();
        self.watched.entry(friend.clone()).or_default().by.insert(user.clone());
        self.deliver(&conns, record);
    }

    /// `user` has a new status, which their friends are told. A version that is not newer than what was sent is an old record
    /// that came again.
    pub(super) fn status(&mut self, user: &UserId, version: i64, record: &Arc<Record>) {
        let Some(watch) = self.watched.get_mut(user) else { return };
        if version <= watch.version {
            return;
        }
        watch.version = version;
        let by = watch.by.iter().filter_map(|friend| self.users.get(friend));
        let conns: Vec<ConnId> = by.flat_map(|state| state.conns.iter().copied()).collect();
        self.deliver(&conns, record);
    }

    /// Somebody says that sessions ended. Only PostgreSQL is believed: the streams go when it confirms.
    pub(super) fn session_ended(&mut self, who: &EndedSession, ended_at: Timestamp) {
        let keys: HashSet<SessionKey> = match who {
            EndedSession::SessionKey(key) => {
                self.sessions.contains_key(key).then_some(*key).into_iter().collect()
            }
            EndedSession::UserId(user) => {
                let state = self.users.get(user);
                let conns = state.into_iter().flat_map(|state| &state.conns);
                let open = conns.filter_map(|id| self.conns.get(id));
                open.filter(|conn| conn.opened_at < ended_at).map(|conn| conn.key).collect()
            }
        };
        self.lookups.extend(keys.into_iter().map(|key| Lookup::Session { key }));
    }

    /// A stream of this user is live.
    pub(super) fn remember_stream(&mut self, user: &UserId, id: ConnId, friends: &[UserId]) {
        let state = self.users.entry(user.clone()).or_default();
        state.conns.push(id);
        for friend in friends {
            if state.friends.insert(friend.clone()) {
                self.watched.entry(friend.clone()).or_default().by.insert(user.clone());
            }
        }
    }

    /// A live stream of this user is gone; with the last one, all that was kept for them.
    pub(super) fn forget_stream(&mut self, user: &UserId, id: ConnId) {
        let Some(state) = self.users.get_mut(user) else { return };
        state.conns.retain(|other| *other != id);
        if !state.conns.is_empty() {
            return;
        }
        let Some(state) = self.users.remove(user) else { return };
        for friend in &state.friends {
            if let Some(watch) = self.watched.get_mut(friend) {
                watch.by.remove(user);
                if watch.by.is_empty() {
                    self.watched.remove(friend);
                }
            }
        }
        for room in &state.rooms {
            self.forget_member(*room, user);
        }
    }

    /// The live streams of these users.
    pub(super) fn streams_of<'a>(&self, users: impl Iterator<Item = &'a UserId>) -> Vec<ConnId> {
        let found: HashMap<&UserId, &UserState> =
            users.filter_map(|user| Some((user, self.users.get(user)?))).collect();
        found.values().flat_map(|state| state.conns.iter().copied()).collect()
    }

    /// Whether a stream is live: for assertions.
    #[cfg(test)]
    pub(super) fn is_live(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(|conn| conn.phase == super::Phase::Live)
    }
}
