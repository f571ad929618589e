//! What a gateway reads from PostgreSQL, under the role `parley_gateway`, which sees no password hash and changes nothing but
//! read marks and the last-seen time of sessions.

mod membership;
mod messages;
mod requests;
mod sessions;

pub use membership::{Interests, Room, RoomMembers, Span};
pub use messages::{Message, MessagePage, PageOf};
pub use requests::StoredReply;
pub use sessions::SessionRow;

use std::time::Duration;

use super::{Database, StoreError, answered};

/// How long a reader waits before PostgreSQL counts as away: whoever asked is told so while they still listen. The pool itself
/// goes on trying for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The gateway's view of the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reads {
    database: Database,
}

impl Reads {
    /// Reads through this pool.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

/// The answer to a read, unless it takes longer than 2 s: then PostgreSQL counts as away.
///
/// # Errors
/// The read's own, or [`StoreError::Silent`].
pub async fn in_time<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    answered(PATIENCE, read).await
}
