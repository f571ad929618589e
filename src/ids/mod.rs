//! The newtypes that every other module shares. Each is parsed once, at the edge, and is valid ever after. No IO.

mod request_id;
mod room;
mod session;
mod time;
mod user;

pub use request_id::RequestId;
pub use room::{RoomId, Seq};
pub use session::{SessionKey, SessionToken};
pub use time::Timestamp;
pub use user::UserId;

/// Why a text is not the id that it should be. The message is for people and never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidId {
    /// What was parsed, for example `user id`.
    pub what: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}
