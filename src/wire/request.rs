use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Email, ErrorCode, Failure, Kind, MAX_MESSAGE_BYTES, MessageText, Name, SealedPassword, StatusText,
};
use crate::ids::{RoomId, SessionKey, UserId};

/// The most ids that one list may name.
pub const MAX_IDS: usize = 100;
/// The most members that a room may have.
pub const MAX_ROOM_MEMBERS: usize = 10_000;

/// Where a page begins and how long it is. `after` is the `next` of the page before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Opaque; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Entries wanted; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Page {
    /// Entries to give: 50 when nothing was asked for, never more than 100, never less than 1.
    pub fn size(&self) -> usize {
        self.limit.unwrap_or(50).clamp(1, 100) as usize
    }
}

/// Value of `login-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct Login {
    pub user_id: UserId,
    pub sealed_password: SealedPassword,
}

/// Value of `logout-request`. Without a user it ends a session that no login has opened yet (a tombstone).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct Logout {
    #[serde(default)]
    pub user_id: Option<UserId>,
    #[serde(default)]
    pub everywhere: bool,
}

/// Value of `user-room-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct ListRooms {
    pub user_id: UserId,
    #[serde(flatten)]
    pub page: Page,
}

/// Value of `user-search-friend-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct ListFriends {
    pub user_id: UserId,
    #[serde(flatten)]
    pub page: Page,
}

/// Value of `user-add-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct AddUser {
    pub user_id: UserId,
    pub sealed_password: SealedPassword,
    pub email: Email,
    pub user_name: Name,
}

/// Value of `user-status-change-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct ChangeStatus {
    pub user_id: UserId,
    pub status: StatusText,
}

/// Value of `user-add-room-request`. With `room_id`: adds the friends to this room of mine instead of opening one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct AddRoom {
    pub user_id: UserId,
    pub friend_id: Vec<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// Value of `user-add-chat-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct AddChat {
    pub room_id: RoomId,
    pub writer_id: UserId,
    pub message: MessageText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
}

/// Value of `user-add-friend-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of protocol.md")]
pub struct AddFriend {
    pub user_id: UserId,
    pub friend_id: Vec<UserId>,
}

/// A request's value, one variant per [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "one variant per kind")]
pub enum Request {
    Login(Login),
    Logout(Logout),
    ListRooms(ListRooms),
    ListFriends(ListFriends),
    AddUser(AddUser),
    ChangeStatus(ChangeStatus),
    AddRoom(AddRoom),
    AddChat(AddChat),
    AddFriend(AddFriend),
}

impl Request {
    /// Reads and checks the value of a request of this kind.
    ///
    /// # Errors
    /// `invalid_request` for what is not such a value, `too_large` for too much of it. The text never repeats the input.
    pub fn decode(kind: Kind, value: &[u8]) -> Result<Self, Failure> {
        let parsed = match kind {
            Kind::Login => serde_json::from_slice(value).map(Self::Login),
            Kind::Logout => serde_json::from_slice(value).map(Self::Logout),
            Kind::ListRooms => serde_json::from_slice(value).map(Self::ListRooms),
            Kind::ListFriends => serde_json::from_slice(value).map(Self::ListFriends),
            Kind::AddUser => serde_json::from_slice(value).map(Self::AddUser),
            Kind::ChangeStatus => serde_json::from_slice(value).map(Self::ChangeStatus),
            Kind::AddRoom => serde_json::from_slice(value).map(Self::AddRoom),
            Kind::AddChat => serde_json::from_slice(value).map(Self::AddChat),
            Kind::AddFriend => serde_json::from_slice(value).map(Self::AddFriend),
        };
        let request = parsed.map_err(|error| Failure::new(ErrorCode::InvalidRequest, json_error(&error)))?;
        request.check()?;
        Ok(request)
    }

    /// The bounds that the types alone do not hold. The gateway asks before it accepts, the worker again.
    ///
    /// # Errors
    /// `invalid_request` or `too_large`.
    pub fn check(&self) -> Result<(), Failure> {
        let ids = match self {
            Self::AddRoom(AddRoom { friend_id, .. }) | Self::AddFriend(AddFriend { friend_id, .. }) => {
                Some(friend_id.len())
            }
            Self::AddChat(chat) => {
                if chat.message.as_str().len() > MAX_MESSAGE_BYTES {
                    let text = format!("message has more than {MAX_MESSAGE_BYTES} bytes");
                    return Err(Failure::new(ErrorCode::TooLarge, text));
                }
                if chat.client_message_id.as_ref().is_some_and(|id| id.len() > 128) {
                    return Err(Failure::new(
                        ErrorCode::InvalidRequest,
                        "clientMessageId has more than 128 bytes",
                    ));
                }
                None
            }
            _ => None,
        };
        match ids {
            Some(0) => Err(Failure::new(ErrorCode::InvalidRequest, "friendId names nobody")),
            Some(n) if n > MAX_IDS => {
                Err(Failure::new(ErrorCode::TooLarge, format!("friendId names more than {MAX_IDS} users")))
            }
            _ => Ok(()),
        }
    }

    /// Which conversation it belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Login(_) => Kind::Login,
            Self::Logout(_) => Kind::Logout,
            Self::ListRooms(_) => Kind::ListRooms,
            Self::ListFriends(_) => Kind::ListFriends,
            Self::AddUser(_) => Kind::AddUser,
            Self::ChangeStatus(_) => Kind::ChangeStatus,
            Self::AddRoom(_) => Kind::AddRoom,
            Self::AddChat(_) => Kind::AddChat,
            Self::AddFriend(_) => Kind::AddFriend,
        }
    }

    /// The user that the value names: who asks, except in Login and AddUser, where nobody is authenticated yet.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Login(r) => Some(&r.user_id),
            Self::Logout(r) => r.user_id.as_ref(),
            Self::ListRooms(r) => Some(&r.user_id),
            Self::ListFriends(r) => Some(&r.user_id),
            Self::AddUser(r) => Some(&r.user_id),
            Self::ChangeStatus(r) => Some(&r.user_id),
            Self::AddRoom(r) => Some(&r.user_id),
            Self::AddChat(r) => Some(&r.writer_id),
            Self::AddFriend(r) => Some(&r.user_id),
        }
    }

    /// The record's key: the room for AddChat, else the user; a logout without user has its session key.
    pub fn key(&self, session: &SessionKey) -> String {
        match self {
            Self::AddChat(chat) => chat.room_id.to_string(),
            other => other.user().map_or_else(|| session.to_string(), UserId::to_string),
        }
    }

    /// The value as it goes to Kafka.
    pub fn encode(&self) -> Vec<u8> {
        json_bytes(self)
    }

    /// Hash of the client's fields, by which the same `Idempotency-Key` with another body is found. The sealed password is
    /// left out, because its box differs each time.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("sealedPassword");
        }
        let mut hash = Sha256::new();
        hash.update(self.kind().as_str());
        hash.update(json_bytes(&value));
        hash.finalize().into()
    }
}

/// JSON of one of our own values. They have string keys and derive `Serialize`, so this has no way to fail; if a later type
/// breaks that, the empty value is refused by every reader.
pub(super) fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// What is wrong with a JSON text, without repeating any of it: serde's own words for a wrong type quote the value, and the
/// value may be a password.
pub fn json_error(error: &serde_json::Error) -> String {
    let at = format!("at line {} column {}", error.line(), error.column());
    if !error.is_data() {
        return format!("not valid JSON {at}");
    }
    let text = error.to_string();
    let quotes_input =
        ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field"]
            .iter()
            .any(|start| text.starts_with(start));
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if quotes_input => format!("a field has the wrong type: expected {expected}"),
        _ if quotes_input => format!("a field has the wrong type {at}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(message: &str) -> String {
        format!(
            r#"{{"roomId":"018f3f1c-0000-7000-8000-000000000000","writerId":"bob","message":"{message}","later":1}}"#
        )
    }

    #[test]
    fn decodes_leniently_what_later_releases_add() {
        let request = Request::decode(Kind::AddChat, chat("hi").as_bytes()).unwrap();
        assert_eq!(request.kind(), Kind::AddChat);
        assert_eq!(request.key(&SessionKey([0; 32])), "018f3f1c-0000-7000-8000-000000000000");
        assert_eq!(request.user().unwrap().as_str(), "bob");
        assert_eq!(Request::decode(Kind::AddChat, &request.encode()).unwrap(), request);
    }

    #[test]
    fn bounds() {
        let code = |kind, value: &str| Request::decode(kind, value.as_bytes()).unwrap_err().code;
        assert_eq!(code(Kind::AddChat, &chat(&"x".repeat(MAX_MESSAGE_BYTES + 1))), ErrorCode::TooLarge);
        assert_eq!(code(Kind::AddChat, &chat("  ")), ErrorCode::InvalidRequest);
        assert_eq!(code(Kind::AddFriend, r#"{"userId":"bob","friendId":[]}"#), ErrorCode::InvalidRequest);
        let many: Vec<String> = (0..=MAX_IDS).map(|n| format!("\"u{n:03}\"")).collect();
        let many = format!(r#"{{"userId":"bob","friendId":[{}]}}"#, many.join(","));
        assert_eq!(code(Kind::AddFriend, &many), ErrorCode::TooLarge);
        assert_eq!(code(Kind::Login, "{"), ErrorCode::InvalidRequest);
    }

    #[test]
    fn errors_never_repeat_the_input() {
        for value in [
            r#"{"userId":"bob","sealedPassword":"hunter2"}"#,
            r#"{"userId":"bob","sealedPassword":{"keyId":"hunter2"}}"#,
            r#"{"userId":"hunter2 hunter2","sealedPassword":7}"#,
            r#"{"userId":hunter2}"#,
        ] {
            let failure = Request::decode(Kind::Login, value.as_bytes()).unwrap_err();
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
    }

    #[test]
    fn the_fingerprint_ignores_the_box_and_nothing_else() {
        let add = |name: &str, sealed: &str| {
            let value = format!(
                r#"{{"userId":"bob","sealedPassword":{{"keyId":"k","box":"{sealed}"}},"email":"a@b.c","userName":"{name}"}}"#
            );
            Request::decode(Kind::AddUser, value.as_bytes()).unwrap().fingerprint()
        };
        assert_eq!(add("Bob", "AAAA"), add("Bob", "BBBB"));
        assert_ne!(add("Bob", "AAAA"), add("Rob", "AAAA"));
    }

    #[test]
    fn pages_are_bounded() {
        let size = |limit| Page { after: None, limit }.size();
        assert_eq!([size(None), size(Some(0)), size(Some(7)), size(Some(9_999))], [50, 1, 7, 100]);
    }
}
