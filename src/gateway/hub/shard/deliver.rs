use std::sync::Arc;

use bytes::Bytes;

use super::{Conn, ConnId, Phase, Shard};
use crate::gateway::{
    hub::{
        record::{Record, Route},
        vector::further,
    },
    sse::{Frame, Outbox, Slow},
};

impl Shard {
    /// The end of an event for this stream as it stands: its cursor.
    pub(super) fn line_for(&mut self, id: ConnId) -> Option<Bytes> {
        let conn = self.conns.get_mut(&id)?;
        if conn.phase != Phase::Live {
            return Some(conn.early.clone());
        }
        let Some(ahead) = &conn.ahead else { return Some(self.vector.line()) };
        // The client was ahead of this gateway when it came; it is never sent back.
        let sent = self.vector.sent();
        let line = further(sent.clone(), ahead);
        if line == sent {
            conn.ahead = None;
            return Some(self.vector.line());
        }
        Some(self.vector.line_of(&line))
    }

    /// Sends an event with the cursor as it stands.
    pub(super) fn push(&mut self, id: ConnId, head: &[u8], stamped: i64, event: &'static str) {
        let Some(tail) = self.line_for(id) else { return };
        self.push_frame(id, Frame::new(head, &tail, stamped), event);
    }

    pub(super) fn push_frame(&mut self, id: ConnId, frame: Frame, event: &'static str) {
        let Some(conn) = self.conns.get(&id) else { return };
        match queue(&mut self.unflushed, &conn.outbox, frame) {
            Ok(()) => self.count(event, 1),
            Err(slow) => self.slow(id, slow),
        }
    }

    fn count(&mut self, event: &'static str, sent: u64) {
        self.delivered += sent;
        let total = &self.metrics.sse_events_total;
        self.sent.entry(event).or_insert_with(|| total.with_label_values(&[event])).inc_by(sent);
    }

    /// Sends a record to streams that are live. The cursor after it is the same for all of them.
    pub(super) fn deliver(&mut self, to: &[ConnId], record: &Arc<Record>) {
        if to.is_empty() {
            return;
        }
        let shared = Frame::new(&record.head, &self.vector.line(), record.stamped);
        let mut slow: Vec<(ConnId, Slow)> = Vec::new();
        let mut own = Vec::new();
        let mut sent = 0_u64;
        for id in to {
            let Some(conn) = self.conns.get(id) else { continue };
            if conn.ahead.is_some() {
                own.push(*id);
                continue;
            }
            match queue(&mut self.unflushed, &conn.outbox, shared.clone()) {
                Ok(()) => sent += 1,
                Err(reason) => slow.push((*id, reason)),
            }
        }
        let event = event_name(&record.route);
        self.count(event, sent);
        for id in own {
            if !self.conns.get(&id).is_some_and(|conn| has_had(conn, record)) {
                self.push(id, &record.head, record.stamped, event);
            }
        }
        for (id, reason) in slow {
            self.slow(id, reason);
        }
    }
}

/// Queues an event, and notes the outbox when it is to be flushed: whoever forgets that leaves the stream silent.
pub(super) fn queue(unflushed: &mut Vec<Outbox>, outbox: &Outbox, frame: Frame) -> Result<(), Slow> {
    if outbox.push(frame)? {
        unflushed.push(outbox.clone());
    }
    Ok(())
}

/// Whether the client got this record from another gateway before it came here.
fn has_had(conn: &Conn, record: &Record) -> bool {
    let had = conn.ahead.as_ref().and_then(|ahead| ahead.get(record.partition));
    had.is_some_and(|offset| record.offset < *offset)
}

/// The event's name: a label of metrics.
pub(crate) fn event_name(route: &Route) -> &'static str {
    match route {
        Route::Message { .. } => "message",
        Route::Room { .. } => "room",
        Route::Friend { .. } => "friend",
        Route::Status { .. } => "status",
        Route::Ended { .. } | Route::Nobody => "none",
    }
}
