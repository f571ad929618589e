use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Everything pushed to browsers that is not a reply; keyed by room, or by user for private events.
pub const CHAT_EVENT: &str = "chat-event";
/// Records that no retry can mend, with their original headers and the reason.
pub const DEAD_LETTER: &str = "dead-letter";

/// The nine conversations (architecture.md). Each has a request topic and a response topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Checks the password, opens a session.
    Login,
    /// Ends the session everywhere, at once.
    Logout,
    /// My rooms, paged.
    ListRooms,
    /// My friends, paged.
    ListFriends,
    /// Sign-up.
    AddUser,
    /// My status message, pushed to friends.
    ChangeStatus,
    /// Opens a room with friends, or adds friends to one of mine.
    AddRoom,
    /// Appends a message to a room. The only kind keyed by room.
    AddChat,
    /// Adds friends, one result per id.
    AddFriend,
}

impl Kind {
    /// All kinds, in the order of the table in architecture.md.
    pub const ALL: [Self; 9] = [
        Self::Login,
        Self::Logout,
        Self::ListRooms,
        Self::ListFriends,
        Self::AddUser,
        Self::ChangeStatus,
        Self::AddRoom,
        Self::AddChat,
        Self::AddFriend,
    ];

    /// The name in settings, metrics, replies and the inbox.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "Login",
            Self::Logout => "Logout",
            Self::ListRooms => "ListRooms",
            Self::ListFriends => "ListFriends",
            Self::AddUser => "AddUser",
            Self::ChangeStatus => "ChangeStatus",
            Self::AddRoom => "AddRoom",
            Self::AddChat => "AddChat",
            Self::AddFriend => "AddFriend",
        }
    }

    /// The Kafka topic that carries its requests.
    pub const fn request_topic(self) -> &'static str {
        match self {
            Self::Login => "login-request",
            Self::Logout => "logout-request",
            Self::ListRooms => "user-room-request",
            Self::ListFriends => "user-search-friend-request",
            Self::AddUser => "user-add-request",
            Self::ChangeStatus => "user-status-change-request",
            Self::AddRoom => "user-add-room-request",
            Self::AddChat => "user-add-chat-request",
            Self::AddFriend => "user-add-friend-request",
        }
    }

    /// The Kafka topic that carries its replies.
    pub const fn response_topic(self) -> &'static str {
        match self {
            Self::Login => "login-response",
            Self::Logout => "logout-response",
            Self::ListRooms => "user-room-response",
            Self::ListFriends => "user-search-friend-response",
            Self::AddUser => "user-add-response",
            Self::ChangeStatus => "user-status-change-response",
            Self::AddRoom => "user-add-room-response",
            Self::AddChat => "user-add-chat-response",
            Self::AddFriend => "user-add-friend-response",
        }
    }

    /// The kind whose requests this topic carries.
    pub fn of_request_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.request_topic() == topic)
    }

    /// The kind whose replies this topic carries.
    pub fn of_response_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.response_topic() == topic)
    }

    /// Whether it only reads: a read is not stored in the inbox, and one that timed out is simply asked again.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::ListRooms | Self::ListFriends)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names none of the nine kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown kind {0:?}; the kinds are Login, Logout, ListRooms, ListFriends, AddUser, ChangeStatus, AddRoom, AddChat, AddFriend"
)]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_topics_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(Kind::of_request_topic(kind.request_topic()), Some(kind));
            assert_eq!(Kind::of_response_topic(kind.response_topic()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("login".parse::<Kind>().is_err());
    }
}
