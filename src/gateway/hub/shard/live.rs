//! The last step of a stream that opens: its replay is sent and it hears everything from then on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::json;

use super::{ConnId, Phase, Shard, Wanted};
use crate::{
    gateway::{
        hub::{
            lookup::Lookup,
            plan::{Plan, Step, Stretch},
            record::{Record, Route, message_head},
            vector::further,
        },
        sse::{self, Frame},
    },
    ids::{RoomId, Seq, UserId},
    store::reads::Interests,
    wire::EndedSession,
};

impl Shard {
    /// Registers a stream for all that its user hears from now on, and sends what it missed.
    pub(super) fn go_live(&mut self, id: ConnId, user: &UserId, interests: &Interests, plan: Plan) {
        let stretches = plan.stretches();
        self.remember_stream(user, id, &interests.friends);
        // Rooms that the user has left end with the replay.
        for room in interests.rooms.iter().filter(|room| room.span.present()) {
            self.take_up(user, room, stretches.get(&room.room_id));
        }
        let lacking = self.lacking(interests, &stretches);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.lacking = if conn.resuming { lacking } else { HashMap::new() };
        conn.floors = stretches.into_iter().map(|(room, stretch)| (room, stretch.lowest)).collect();
        conn.interests = None;
        conn.replayed = Vec::new();
        conn.filled = Vec::new();
        let (resync, resuming) = (conn.resync.take(), conn.resuming);
        let ended = self.ended_meanwhile(id);
        self.greet(id);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.phase = Phase::Live;
        // What was of use only until now: ten thousand idle streams keep none of it.
        conn.from = Vec::new();
        conn.registered = Vec::new();
        conn.read_from = Vec::new();
        conn.ends = None;
        conn.held = Vec::new();
        conn.wanted = Wanted::Nothing;
        conn.early = Bytes::new();
        let replayed = plan.steps.len();
        let mut frames = Vec::with_capacity(replayed);
        for (step, after) in plan.steps {
            let after = match &conn.ahead {
                Some(ahead) => further(after, ahead),
                None => after,
            };
            let tail = self.vector.line_of(&after);
            frames.push(match step {
                Step::Record(record) => Frame::new(&record.head, &tail, record.stamped),
                Step::Message(message) => Frame::new(&message_head(&message), &tail, 0),
            });
        }
        self.count_phase(Phase::Loading, -1);
        self.count_phase(Phase::Live, 1);
        let opened = match (resync, resuming) {
            (Some(_), _) => "resync",
            (None, true) => "resumed",
            (None, false) => "new",
        };
        self.metrics.sse_opened_total.with_label_values(&[opened]).inc();
        if let Some(reason) = resync {
            self.push(id, &sse::control("resync", &json!({"reason": reason})), 0, "resync");
        }
        if let Some(conn) = self.conns.get(&id) {
            conn.outbox.push_replay(frames);
        }
        if resuming {
            self.push(id, &sse::control("resumed", &json!({"replayed": replayed})), 0, "resumed");
        }
        self.lookups.extend(ended);
        self.reschedule(id);
    }

    /// By room, what others were sent ahead of its record and this replay does not have.
    fn lacking(
        &self,
        interests: &Interests,
        stretches: &BTreeMap<RoomId, Stretch>,
    ) -> HashMap<RoomId, BTreeSet<Seq>> {
        let mut all = HashMap::new();
        for room in &interests.rooms {
            let stretch = stretches.get(&room.room_id);
            let had =
                |seq: &Seq| stretch.is_some_and(|stretch| (stretch.lowest..=stretch.highest).contains(seq));
            let lacking: BTreeSet<Seq> =
                self.unlogged(room.room_id).filter(|seq| room.span.covers(*seq) && !had(seq)).collect();
            if !lacking.is_empty() {
                all.insert(room.room_id, lacking);
            }
        }
        all
    }

    /// Whether the session may have ended while the stream was loading: then PostgreSQL is asked once more.
    fn ended_meanwhile(&self, id: ConnId) -> Option<Lookup> {
        let conn = self.conns.get(&id)?;
        let concerns = |record: &Arc<Record>| match &record.route {
            Route::Ended { who: EndedSession::SessionKey(key), .. } => *key == conn.key,
            Route::Ended { who: EndedSession::UserId(user), ended_at } => {
                Some(user) == conn.user.as_ref() && conn.opened_at < *ended_at
            }
            _ => false,
        };
        self.since(&conn.registered).any(concerns).then_some(Lookup::Session { key: conn.key })
    }
}
