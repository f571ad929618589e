use std::time::Duration;

use serde_json::json;

use super::{ConnId, Phase, Shard};
use crate::gateway::sse::{self, Frame, NO_ID, Slow};

/// How long a client that is too slow may take to read that it is.
pub(crate) const LINGER: Duration = Duration::from_secs(10);

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The client went away.
    Gone,
    /// Its session was ended, or its time ran out: the next attempt gets 204.
    Ended,
    /// It has lived its time.
    Life,
    /// Its session stayed unknown.
    Unknown,
    /// The gateway stops.
    Drain,
    /// PostgreSQL is away, so that nobody can say what it may hear.
    Unavailable,
    /// It does not read fast enough.
    Slow,
    /// Its user has too many.
    Refused,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Ended => "ended",
            Self::Life => "life",
            Self::Unknown => "unknown",
            Self::Drain => "drain",
            Self::Unavailable => "unavailable",
            Self::Slow => "slow",
            Self::Refused => "refused",
        }
    }
}

impl Shard {
    /// Ends a stream, after what is queued for it.
    pub(crate) fn close(&mut self, id: ConnId, reason: Reason) {
        let Some(conn) = self.conns.get(&id) else { return };
        let last = match reason {
            Reason::Gone | Reason::Ended | Reason::Slow => None,
            Reason::Refused => Some(Frame::new(&sse::retry(conn.permit.wait()), b"", 0)),
            // Spread out, so that streams that end together do not come back together.
            Reason::Life | Reason::Drain => Some(reconnect(jitter(Duration::from_millis(500), 0.9))),
            Reason::Unknown | Reason::Unavailable => {
                let wait = jitter(conn.retry.max(Duration::from_secs(2)), 0.5);
                Some(Frame::new(&sse::retry(wait), b"", 0))
            }
        };
        conn.outbox.end(last);
        self.remove(id, reason);
    }

    /// Ends a stream whose client does not keep up: it says so, and forgets what was queued. The client resumes from the last id
    /// that it did get.
    pub(super) fn slow(&mut self, id: ConnId, slow: Slow) {
        let Some(conn) = self.conns.get(&id) else { return };
        conn.outbox.cut(Self::notice("slow", &json!({"reason": slow.as_str()})), LINGER);
        self.remove(id, Reason::Slow);
    }

    /// Takes a stream out of every index.
    fn remove(&mut self, id: ConnId, reason: Reason) {
        let Some(conn) = self.conns.remove(&id) else { return };
        self.metrics.sse_closed_total.with_label_values(&[reason.as_str()]).inc();
        self.count_phase(conn.phase, -1);
        if let Some(conns) = self.sessions.get_mut(&conn.key) {
            conns.retain(|other| *other != id);
            if conns.is_empty() {
                self.sessions.remove(&conn.key);
            }
        }
        if let (Phase::Live, Some(user)) = (conn.phase, conn.user) {
            self.forget_stream(&user, id);
        }
    }

    pub(super) fn count_phase(&self, phase: Phase, by: i64) {
        let state = match phase {
            Phase::Opening => "opening",
            Phase::Unknown => "unknown",
            Phase::Loading => "loading",
            Phase::Live => "live",
        };
        self.metrics.sse_connections.with_label_values(&[state]).add(by);
    }
}

/// `reconnect`, and the same as `retry:` for a browser whose page does not listen.
fn reconnect(wait: Duration) -> Frame {
    let mut head = format!("retry: {}\n", wait.as_millis()).into_bytes();
    let after = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    head.extend_from_slice(&sse::control("reconnect", &json!({"afterMs": after})));
    Frame::new(&head, NO_ID, 0)
}

/// The span, longer or shorter by up to `part` of it.
pub(super) fn jitter(span: Duration, part: f64) -> Duration {
    span.mul_f64(1.0 + rand::random_range(-part..=part))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Wanted,
            tests::{live, put, read, shard},
        },
        *,
    };
    use crate::gateway::{hub::record::tests::message, sse::outbox_tests::grow_old};

    /// Few bytes, but old ones: the next event finds out, and without one the clock does.
    #[tokio::test]
    async fn what_waits_for_too_long_ends_a_stream_and_is_told_as_age() {
        for quiet in [false, true] {
            let mut shard = shard();
            let outbox = live(&mut shard, 1, Wanted::Nothing);
            read(&outbox);
            put(&mut shard, message(0, 10, 1, 6));
            grow_old(&outbox, Duration::from_secs(31));
            if quiet {
                (0..17 * 4).for_each(|_| shard.pass(1));
            } else {
                put(&mut shard, message(0, 11, 1, 7));
            }
            let told = ("slow".to_owned(), "{\"reason\":\"age\"}".to_owned(), None);
            assert_eq!((read(&outbox), shard.streams()), (vec![told], 0));
        }
    }
}
