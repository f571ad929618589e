//! Server-Sent Events (WHATWG HTML section 9.2): how an event is written, what its id says, and the stream that carries it.

mod body;
mod carry;
mod cursor;
mod encode;
mod outbox;
mod wire;

pub(crate) use body::{Handover, Stream};
pub(crate) use carry::carry;
pub(crate) use cursor::{Cursor, Epoch, INVALID};
pub(crate) use encode::{Frame, HEARTBEAT, NO_ID, control, event, id_line, retry};
#[cfg(test)]
pub(crate) use outbox::tests as outbox_tests;
pub(crate) use outbox::{Outbox, OutboxLimits, Slow};
