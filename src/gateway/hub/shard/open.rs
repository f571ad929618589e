use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Conn, ConnId, Opening, Phase, Reason, Shard, Wanted, close::jitter, deliver::queue};
use crate::{
    gateway::{
        hub::{
            lookup::{Lookup, Missing, OpenSession, SessionState},
            wheel::TICKS_PER_SECOND,
        },
        sse::{self, Frame, INVALID, NO_ID},
    },
    ids::{SessionKey, Timestamp},
};

impl Shard {
    /// Registers a stream: from now on nothing that concerns it is missed, though nobody knows yet what that is.
    pub(crate) fn open(&mut self, id: ConnId, opening: Opening) {
        let Opening { key, wanted, outbox, permit, replies, retry } = opening;
        // The client's own cursor until its continuity is settled: a stream that breaks before that changes nothing.
        let early = match &wanted {
            Wanted::Nothing => self.vector.line(),
            Wanted::Cursor(cursor) => sse::id_line(&cursor.encode()),
            Wanted::Unreadable => sse::id_line(INVALID),
        };
        let now = Instant::now();
        let conn = Conn {
            key,
            outbox,
            permit,
            phase: Phase::Opening,
            user: None,
            opened_at: Timestamp::from_micros(0),
            expires_at: None,
            wanted,
            early,
            registered: self.vector.next().to_vec(),
            read_from: self.vector.next().to_vec(),
            held: replies,
            hello: None,
            from: self.vector.next().to_vec(),
            resync: None,
            resuming: false,
            ahead: None,
            interests: None,
            replayed: Vec::new(),
            replayed_to: HashMap::new(),
            filled: Vec::new(),
            ends: None,
            rounds: 0,
            floors: HashMap::new(),
            lacking: HashMap::new(),
            retry,
            since: now,
            due: 0,
            beat: 0,
            leave: now + jitter(self.settings.life, 0.2),
        };
        // The first bytes of a stream always fit.
        // Its connection may have its socket already, and then waits for somebody to write.
        let first = Frame::new(&sse::retry(retry), b"", 0);
        let _ = queue(&mut self.unflushed, &conn.outbox, first);
        self.conns.insert(id, conn);
        self.sessions.entry(key).or_default().push(id);
        self.count_phase(Phase::Opening, 1);
        self.beat_later(id);
        if let Some(by) = self.drain {
            self.leave_within(id, by.saturating_duration_since(now));
        }
    }

    /// Whose the stream is, or that nobody knows (yet).
    pub(crate) fn identify(&mut self, id: ConnId, session: Option<OpenSession>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let before = conn.phase;
        if !matches!(before, Phase::Opening | Phase::Unknown) {
            return;
        }
        if let Some(session) = &session
            && !conn.permit.belongs_to(&session.user)
        {
            self.metrics.sse_refused_total.with_label_values(&["streams_per_user"]).inc();
            return self.close(id, Reason::Refused);
        }
        let hello = json!({
            "userId": session.as_ref().map(|session| session.user.as_str()),
            "sessionKey": conn.key.prefix(),
            "serverTime": Timestamp::now().to_string(),
        });
        conn.phase = if session.is_some() { Phase::Loading } else { Phase::Unknown };
        let after = conn.phase;
        if let Some(session) = session {
            conn.user = Some(session.user.clone());
            conn.opened_at = session.opened_at;
            conn.expires_at = Some(session.expires_at);
            conn.read_from = self.vector.next().to_vec();
            self.lookups.push(Lookup::Interests { conn: id, user: session.user });
        } else {
            conn.leave = conn.since + self.settings.unknown_life;
        }
        if before == Phase::Unknown {
            conn.leave = conn.since + jitter(self.settings.life, 0.2);
        }
        if before == Phase::Unknown && conn.wanted == Wanted::Nothing {
            // What happened before the session was open is in the state that the client reads now.
            conn.from = self.vector.next().to_vec();
            conn.early = self.vector.line();
        }
        conn.hello = Some(sse::control("hello", &hello));
        let waits = after == Phase::Loading && conn.wanted == Wanted::Nothing;
        self.count_phase(before, -1);
        self.count_phase(after, 1);
        if !waits {
            self.greet(id);
        }
        self.reschedule(id);
    }

    /// Sends the `hello` that is due, and the replies that waited for it.
    pub(super) fn greet(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (Some(hello), replies) = (conn.hello.take(), std::mem::take(&mut conn.held)) else { return };
        self.push(id, &hello, 0, "hello");
        for (head, stamped) in replies {
            self.push(id, &head, stamped, "reply");
        }
    }

    /// How a session stands, asked for after a hint: a login's reply, an end, an expiry.
    pub(crate) fn session_found(&mut self, key: &SessionKey, state: Result<SessionState, Missing>) {
        let conns = self.sessions.get(key).cloned().unwrap_or_default();
        for id in conns {
            match &state {
                Ok(SessionState::Open(session)) => self.identify(id, Some(session.clone())),
                Ok(SessionState::Ended) => self.close(id, Reason::Ended),
                Ok(SessionState::Unknown) => {}
                // Nobody can say whether it may go on: it comes back, and is asked again.
                Err(_) => self.close(id, Reason::Unavailable),
            }
        }
    }

    /// So many ticks pass: heartbeats, ends of life, expiries.
    pub(crate) fn pass(&mut self, ticks: u64) {
        for (id, at) in self.wheel.pass(ticks) {
            if self.conns.get(&id).is_some_and(|conn| conn.due == at) {
                self.look_after(id);
            }
        }
    }

    fn look_after(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (now, phase) = (Instant::now(), conn.phase);
        if conn.outbox.is_stale() {
            self.slow(id, sse::Slow::Age);
            return;
        }
        if now >= conn.leave {
            let reason = match (self.drain, phase) {
                (Some(_), _) => Reason::Drain,
                (None, Phase::Unknown) => Reason::Unknown,
                (None, _) => Reason::Life,
            };
            self.close(id, reason);
            return;
        }
        if conn.expires_at.is_some_and(|at| at <= Timestamp::now()) {
            self.lookups.push(Lookup::Session { key: conn.key });
        }
        if self.wheel.now() >= conn.beat {
            self.heartbeat(id);
            self.beat_later(id);
        } else {
            self.reschedule(id);
        }
    }

    fn heartbeat(&mut self, id: ConnId) {
        let Some(tail) = self.line_for(id) else { return };
        self.push_frame(id, Frame::new(sse::HEARTBEAT, &tail, 0), "heartbeat");
    }

    fn beat_later(&mut self, id: ConnId) {
        let wait = jitter(self.settings.heartbeat, 0.1);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.beat = self.wheel.now() + ticks(wait);
        }
        self.reschedule(id);
    }

    /// Puts the stream into the wheel for whatever is due first.
    pub(super) fn reschedule(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let mut at = conn.beat;
        let leave = self.wheel.now() + ticks(conn.leave.saturating_duration_since(Instant::now()));
        at = at.min(leave);
        conn.due = self.wheel.schedule(id, at);
    }

    /// From now on every stream is asked to come back elsewhere, spread evenly over `window`.
    pub(crate) fn drain(&mut self, window: Duration) {
        self.drain = Some(Instant::now() + window);
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
        for (n, id) in (0_u32..).zip(all) {
            let at = window * n / count;
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.leave = Instant::now() + at;
            }
            self.reschedule(id);
        }
    }

    fn leave_within(&mut self, id: ConnId, window: Duration) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.leave = Instant::now() + window.mul_f64(rand::random_range(0.0..1.0));
        }
        self.reschedule(id);
    }

    /// A notice without an id.
    pub(super) fn notice(name: &str, data: &serde_json::Value) -> Frame {
        Frame::new(&sse::control(name, data), NO_ID, 0)
    }
}

/// Rounded up, so that nothing comes up before its time.
fn ticks(span: Duration) -> u64 {
    u64::try_from(span.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_mul(TICKS_PER_SECOND)
        .div_ceil(1_000)
        .max(1)
}
