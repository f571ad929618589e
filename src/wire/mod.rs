//! What crosses Kafka: kinds and topics, requests, replies, events, headers, signing, sealing (docs/protocol.md section 1).
//!
//! Everything here is public surface: a record written by one release is read by the next. New kinds and optional fields
//! may come; nothing that stands may change. No IO.

mod dead_letter;
mod error_code;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod headers;
pub(crate) mod hot;
mod incoming;
mod keyring;
mod kind;
mod kinds;
mod outgoing;
mod reply;
mod request;
mod sealing;
mod signing;
#[cfg(test)]
mod tests;
mod text;

pub use dead_letter::{DeadLetter, Origin};
pub use error_code::ErrorCode;
pub use event::{EndedSession, Event, EventType};
pub use headers::{HeaderName, RequestHeaders, VERSION};
pub use incoming::{
    BadRecord, Incoming, Opened, OpenedEvent, OpenedReply, open_event, open_reply, open_request,
};
pub use keyring::{KeyFile, KeyFileError, Keyring};
pub use kind::{CHAT_EVENT, DEAD_LETTER, UnknownKind};
// All of it: a new kind is declared there and nowhere else.
pub use kinds::*;
pub use outgoing::{Outgoing, event_record, reply_record, request_record};
pub use reply::{
    AddFriendResult, Failure, FriendEntry, FriendOutcome, Reply, ReplyHead, RoomDetail, RoomEntry, User,
};
pub use request::{MAX_IDS, MAX_ROOM_MEMBERS, Page, json_error};
pub use sealing::{OpeningKeys, Password, SealError, SealedPassword, SealingKeys, generate_seal_pair};
pub use text::{Email, MAX_MESSAGE_BYTES, MessageText, Name, StatusText};
