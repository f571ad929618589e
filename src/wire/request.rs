use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AddFriend, AddRoom, ErrorCode, Failure, Kind, ListFriends, ListRooms, MAX_MESSAGE_BYTES, Request,
};
use crate::ids::{SessionKey, UserId};

/// The most ids that one list may name.
pub const MAX_IDS: usize = 100;
/// The most bytes of a text that only its sender understands, or that was ours before: a message's own name, the mark of a page.
const MAX_MARK_BYTES: usize = 128;
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

impl Request {
    /// Reads and checks the value of a request of this kind.
    ///
    /// # Errors
    /// `invalid_request` for what is not such a value, `too_large` for too much of it. The text never repeats the input.
    pub fn decode(kind: Kind, value: &[u8]) -> Result<Self, Failure> {
        let request = Self::parse(kind, value)
            .map_err(|error| Failure::new(ErrorCode::InvalidRequest, json_error(&error)))?;
        request.check()?;
        Ok(request)
    }

    /// The bounds that the types alone do not hold. The gateway asks before it accepts, the worker again.
    ///
    /// # Errors
    /// `invalid_request` or `too_large`.
    pub fn check(&self) -> Result<(), Failure> {
        let bounded = |name: &str, text: &Option<String>| match text {
            Some(text) if text.len() > MAX_MARK_BYTES || text.contains('\0') => Err(Failure::new(
                ErrorCode::InvalidRequest,
                format!("{name} must have at most {MAX_MARK_BYTES} bytes, and no NUL"),
            )),
            _ => Ok(()),
        };
        let ids = match self {
            Self::ListRooms(ListRooms { page, .. }) | Self::ListFriends(ListFriends { page, .. }) => {
                bounded("after", &page.after)?;
                None
            }
            Self::AddRoom(AddRoom { friend_id, .. }) | Self::AddFriend(AddFriend { friend_id, .. }) => {
                Some(friend_id.len())
            }
            Self::AddChat(chat) => {
                if chat.message.as_str().len() > MAX_MESSAGE_BYTES {
                    let text = format!("message has more than {MAX_MESSAGE_BYTES} bytes");
                    return Err(Failure::new(ErrorCode::TooLarge, text));
                }
                bounded("clientMessageId", &chat.client_message_id)?;
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
        // What PostgreSQL could not take would fail its whole batch.
        for mark in ["a\\u0000b", &"x".repeat(129)] {
            let page = format!(r#"{{"userId":"bob","after":"{mark}"}}"#);
            assert_eq!(code(Kind::ListRooms, &page), ErrorCode::InvalidRequest);
            assert_eq!(code(Kind::ListFriends, &page), ErrorCode::InvalidRequest);
            let named = chat("hi").replace("\"later\":1", &format!("\"clientMessageId\":\"{mark}\""));
            assert_eq!(code(Kind::AddChat, &named), ErrorCode::InvalidRequest);
        }
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
