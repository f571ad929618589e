use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use prometheus::{Histogram, IntGauge};
use tokio_util::sync::CancellationToken;

use super::Frame;
use crate::ids::Timestamp;

/// What a stream may hold back for a client that does not read.
#[derive(Debug, Clone)]
pub(crate) struct OutboxLimits {
    /// Bytes that wait for the socket.
    pub(crate) bytes: usize,
    /// Age of the oldest of them.
    pub(crate) age: Duration,
    /// Bytes that wait in all streams together.
    pub(crate) queued: IntGauge,
    /// From the broker's timestamp to the socket, in seconds.
    pub(crate) latency: Histogram,
}

/// Why a client is too slow: the `reason` of the `slow` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slow {
    Bytes,
    Age,
}

impl Slow {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Age => "age",
        }
    }
}

/// The queue between a shard, which writes whole events, and one connection, which sends them. The small interface that a
/// stream is behind: write, end, abort. Cheap to clone. Its lock is shared by these two alone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: OutboxLimits,
    /// Ends the connection with whatever still waits: for a client that reads nothing at all.
    abort: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Instant, Frame)>,
    bytes: usize,
    /// A replay is bounded by itself and may exceed the limit of live events until it has been sent.
    allowance: usize,
    waker: Option<Waker>,
    ended: bool,
}

/// The most bytes that are handed to the connection at once.
const CHUNK: usize = 16 * 1024;

impl Outbox {
    pub(crate) fn new(limits: OutboxLimits, abort: CancellationToken) -> Self {
        Self(Arc::new(Inner { limits, abort, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event.
    ///
    /// # Errors
    /// When the client is too slow to take it; nothing was queued then.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Slow> {
        let mut state = self.state();
        if state.ended {
            return Ok(());
        }
        if state.bytes + frame.len() > self.0.limits.bytes + state.allowance {
            return Err(Slow::Bytes);
        }
        if state.queue.front().is_some_and(|(since, _)| since.elapsed() > self.0.limits.age) {
            return Err(Slow::Age);
        }
        self.put(&mut state, frame);
        Ok(())
    }

    /// Queues what a resume replays, whose bound the caller has kept.
    pub(crate) fn push_replay(&self, frames: Vec<Frame>) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        for frame in frames {
            state.allowance += frame.len();
            self.put(&mut state, frame);
        }
    }

    fn put(&self, state: &mut State, frame: Frame) {
        let len = frame.len();
        state.bytes += len;
        self.0.limits.queued.add(i64::try_from(len).unwrap_or(0));
        state.queue.push_back((Instant::now(), frame));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Whether its oldest event has waited too long.
    pub(crate) fn is_stale(&self) -> bool {
        self.state().queue.front().is_some_and(|(since, _)| since.elapsed() > self.0.limits.age)
    }

    /// Ends the stream after what is queued and `last`.
    pub(crate) fn end(&self, last: Option<Frame>) {
        let mut state = self.state();
        if let (Some(frame), false) = (last, state.ended) {
            self.put(&mut state, frame);
        }
        state.ended = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Drops what is queued, whole events all of them, and ends the stream after `last`. The connection is cut when the client
    /// does not take even that within `linger`.
    pub(crate) fn cut(&self, last: Frame, linger: Duration) {
        {
            let mut state = self.state();
            self.0.limits.queued.sub(i64::try_from(state.bytes).unwrap_or(0));
            state.queue.clear();
            state.bytes = 0;
        }
        self.end(Some(last));
        let abort = self.0.abort.clone();
        tokio::spawn(async move {
            tokio::time::sleep(linger).await;
            abort.cancel();
        });
    }

    /// The next bytes for the connection; `None` when the stream has ended.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state();
        if state.queue.is_empty() {
            if state.ended {
                return Poll::Ready(None);
            }
            // The connection's task is always the same; most polls find its waker registered.
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                state.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let mut chunk = BytesMut::with_capacity(state.bytes.min(CHUNK));
        let now = Timestamp::now().as_micros();
        while let Some((_, frame)) = state.queue.front() {
            if !chunk.is_empty() && chunk.len() + frame.len() > CHUNK {
                break;
            }
            if frame.stamped > 0 {
                let micros = now.saturating_sub(frame.stamped.saturating_mul(1_000)).max(0);
                self.0.limits.latency.observe(Duration::from_micros(micros.unsigned_abs()).as_secs_f64());
            }
            chunk.extend_from_slice(&frame.head);
            chunk.extend_from_slice(&frame.tail);
            state.queue.pop_front();
        }
        state.bytes = state.bytes.saturating_sub(chunk.len());
        state.allowance = state.allowance.saturating_sub(chunk.len());
        if state.queue.is_empty() {
            // An idle stream keeps no buffer.
            state.queue = VecDeque::new();
        }
        self.0.limits.queued.sub(i64::try_from(chunk.len()).unwrap_or(0));
        Poll::Ready(Some(chunk.freeze()))
    }

    /// Forgets what is queued: the connection is gone.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        self.0.limits.queued.sub(i64::try_from(state.bytes).unwrap_or(0));
        *state = State { ended: true, ..State::default() };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use prometheus::HistogramOpts;

    use super::*;
    use crate::gateway::sse::{NO_ID, event};

    pub(crate) fn limits(bytes: usize) -> OutboxLimits {
        OutboxLimits {
            bytes,
            age: Duration::from_secs(30),
            queued: IntGauge::new("queued", "x").unwrap(),
            latency: Histogram::with_opts(HistogramOpts::new("latency", "x")).unwrap(),
        }
    }

    /// Everything that waits, as text; and whether the stream has ended.
    pub(crate) fn drain(outbox: &Outbox) -> (String, bool) {
        let mut text = String::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match outbox.poll(&mut context) {
                Poll::Ready(Some(bytes)) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Poll::Ready(None) => return (text, true),
                Poll::Pending => return (text, false),
            }
        }
    }

    fn frame(data: &str) -> Frame {
        Frame { head: event("m", data.as_bytes()), tail: NO_ID, stamped: 0 }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_cut_one_says_why_and_nothing_else() {
        let outbox = Outbox::new(limits(40), CancellationToken::new());
        outbox.push(frame("1")).unwrap();
        outbox.push(frame("2")).unwrap();
        assert_eq!(outbox.push(frame("3")), Err(Slow::Bytes));
        outbox.cut(frame("slow"), Duration::ZERO);
        assert_eq!(drain(&outbox), ("event: m\ndata: slow\n\n".to_owned(), true));
        assert_eq!(outbox.0.limits.queued.get(), 0);
        outbox.0.abort.cancelled().await;
    }

    #[test]
    fn a_replay_may_exceed_the_limit_and_live_events_go_on_top() {
        let outbox = Outbox::new(limits(20), CancellationToken::new());
        outbox.push_replay((0..10).map(|n| frame(&n.to_string())).collect());
        outbox.push(frame("x")).unwrap();
        assert_eq!(outbox.push(frame("y")), Err(Slow::Bytes));
        let (text, ended) = drain(&outbox);
        assert_eq!((text.matches("event:").count(), ended), (11, false));
        outbox.push(frame("x")).unwrap();
        assert_eq!(outbox.push(frame("y")), Err(Slow::Bytes), "the allowance is spent");
    }
}
