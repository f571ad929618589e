use std::sync::Arc;

use super::{PathError, Place, ids::Ids};
use crate::{
    ids::{RequestId, RoomId, SessionKey, Timestamp, UserId},
    loadgen::bench::Stage,
    wire::{AddChat, Keyring, Outgoing, Request, RequestHeaders, request_record},
};

/// No request of a measurement runs out of time: what is late shows.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Makes the signed messages of a run: message `n` goes to room `n` of all in turn, from another member each time.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    keys: Arc<Keyring>,
    pub(super) ids: Ids,
    /// Of runs in the same rooms before this one.
    earlier: Vec<Ids>,
    /// All rooms, in the order of the stage.
    pub(super) rooms: Arc<[RoomId]>,
    users: Arc<[(UserId, SessionKey)]>,
    stage: Stage,
    message_bytes: usize,
}

impl Maker {
    pub(super) fn new(place: &Place, stage: &Stage, message_bytes: u32) -> Result<Self, PathError> {
        let user = |n| Some((stage.user(n)?, stage.session_key(n)));
        let users: Option<Vec<_>> = (0..stage.users).map(user).collect();
        Ok(Self {
            keys: Arc::clone(&place.requests),
            ids: Ids::fresh(),
            earlier: Vec::new(),
            rooms: (0..stage.rooms()).map(|room| stage.room(room)).collect(),
            users: users.ok_or(PathError::Shape("the seed makes no legal user ids"))?.into(),
            stage: stage.clone(),
            message_bytes: message_bytes as usize,
        })
    }

    /// Makes the messages of another run in the same rooms.
    pub(super) fn again(&self) -> Self {
        let mut next = Self { ids: Ids::fresh(), ..self.clone() };
        next.earlier.push(self.ids);
        next
    }

    /// Whether a request was of a run before this one.
    pub(super) fn is_earlier(&self, id: RequestId) -> bool {
        self.earlier.iter().any(|ids| ids.number(id).is_some())
    }

    /// Whose rooms they are.
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Which room message `n` goes to.
    pub(super) fn room_of(&self, n: u32) -> u32 {
        n % self.stage.rooms()
    }

    /// Who writes it.
    pub(super) fn writer_of(&self, n: u32) -> &(UserId, SessionKey) {
        let (room, rooms) = (self.room_of(n), self.stage.rooms());
        &self.users[self.stage.member(room, n / rooms) as usize]
    }

    /// What it says: when it was due in microseconds since 1970, its number, and letters up to its length.
    pub(super) fn text(&self, n: u32, due: Timestamp) -> String {
        let mut text = format!("{} {n} ", due.as_micros());
        text.extend(std::iter::repeat_n('x', self.message_bytes.saturating_sub(text.len()).max(1)));
        text
    }

    /// The signed request.
    pub(super) fn record(&self, n: u32, due: Timestamp) -> Result<Outgoing, PathError> {
        let (writer, session) = self.writer_of(n);
        let message = self.text(n, due).parse();
        let request = Request::AddChat(AddChat {
            room_id: self.rooms[self.room_of(n) as usize],
            writer_id: writer.clone(),
            message: message.map_err(|_| PathError::Shape("--message-bytes makes no legal message"))?,
            client_message_id: None,
        });
        let headers = RequestHeaders {
            request_id: self.ids.of(n, due),
            session_key: *session,
            user_id: Some(writer.clone()),
            client_address: None,
            deadline: due.after(DEADLINE),
            traceparent: None,
        };
        Ok(request_record(&self.keys, &headers, &request))
    }
}

/// The number that [`Maker::text`] put into a message.
pub(super) fn number_in(text: &str) -> Option<u32> {
    text.split(' ').nth(1)?.parse().ok()
}
