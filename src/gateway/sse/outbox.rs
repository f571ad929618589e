use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use prometheus::{Histogram, IntGauge};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    Frame,
    wire::{FRAMES, Wire},
};
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

/// The queue between a shard, which writes whole events, and one connection. The small interface that a stream is behind: push,
/// flush, end, abort. Cheap to clone. Its lock is shared by these two alone.
///
/// Whoever queues something writes it to the socket too, as far as the kernel takes it: an event for thousands wakes no task of
/// theirs. What the kernel does not take is left to the connection's task, which waits until it does.
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
pub(super) struct State {
    queue: VecDeque<(Instant, Frame)>,
    bytes: usize,
    /// A replay is bounded by itself and may exceed the limit of live events until it has been sent.
    allowance: usize,
    pub(super) waker: Option<Waker>,
    pub(super) ended: bool,
    /// The client's socket, once the head of its answer is on it.
    wire: Option<Wire>,
}

/// The most bytes of one write, but for a single event that is longer.
const CHUNK: usize = 16 * 1024;
/// Room for so many events is kept by a stream that had some: with each event that comes alone, which is nearly all of them, it would be
/// taken and given back.
const KEPT: usize = 4;

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing waits any more.
    All,
    /// The kernel takes no more for now.
    Some,
}

impl Outbox {
    pub(crate) fn new(limits: OutboxLimits, abort: CancellationToken) -> Self {
        Self(Arc::new(Inner { limits, abort, state: Mutex::default() }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event. Whether it is the first that waits: whoever queued it is to call [`Outbox::flush`] soon, once for all
    /// that it queues meanwhile.
    ///
    /// # Errors
    /// When the client is too slow to take it; nothing was queued then.
    pub(crate) fn push(&self, frame: Frame) -> Result<bool, Slow> {
        let mut state = self.state();
        if state.ended {
            return Ok(false);
        }
        if state.bytes + frame.len() > self.0.limits.bytes + state.allowance {
            return Err(Slow::Bytes);
        }
        if state.oldest().is_some_and(|since| since.elapsed() > self.0.limits.age) {
            return Err(Slow::Age);
        }
        let first = state.queue.is_empty();
        self.put(&mut state, frame);
        Ok(first)
    }

    /// Writes what waits, as far as the kernel takes it, and leaves the rest to the connection's task.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        if !matches!(self.write(&mut state), Ok(Written::All)) {
            // It finds out by itself what is wrong.
            state.wake();
        }
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
        state.wake();
    }

    fn put(&self, state: &mut State, frame: Frame) {
        let len = frame.len();
        state.bytes += len;
        self.0.limits.queued.add(i64::try_from(len).unwrap_or(0));
        state.queue.push_back((Instant::now(), frame));
    }

    /// Whether its oldest event has waited too long.
    pub(crate) fn is_stale(&self) -> bool {
        self.state().oldest().is_some_and(|since| since.elapsed() > self.0.limits.age)
    }

    /// Ends the stream after what is queued and `last`.
    pub(crate) fn end(&self, last: Option<Frame>) {
        let mut state = self.state();
        if let (Some(frame), false) = (last, state.ended) {
            self.put(&mut state, frame);
        }
        state.ended = true;
        state.wake();
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

    /// From here on events go to this socket.
    pub(super) fn attach(&self, socket: Arc<TcpStream>, chunked: bool) {
        self.state().wire = Some(Wire::new(socket, chunked));
    }

    /// Takes what waits, without a socket: for tests, and to count what it costs. Whether the stream has ended.
    pub(crate) fn take(&self, into: &mut Vec<u8>) -> bool {
        let mut state = self.state();
        for (_, frame) in state.queue.drain(..) {
            into.extend_from_slice(frame.event());
        }
        self.0.limits.queued.sub(i64::try_from(state.bytes).unwrap_or(0));
        (state.bytes, state.allowance) = (0, 0);
        state.ended
    }

    /// Forgets what is queued: the connection is gone.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        self.0.limits.queued.sub(i64::try_from(state.bytes).unwrap_or(0));
        *state = State { ended: true, ..State::default() };
    }

    /// Writes until nothing waits or the kernel takes no more. Without a socket nothing is written, and nothing is missed: the
    /// connection writes what waits as soon as it has its socket.
    pub(super) fn write(&self, state: &mut State) -> io::Result<Written> {
        let State { queue, bytes, allowance, wire: Some(wire), .. } = state else { return Ok(Written::All) };
        loop {
            if !wire.take_rest()? {
                return Ok(Written::Some);
            }
            let (mut frames, mut len) = (0, 0);
            for (_, frame) in queue.iter() {
                if frames == FRAMES || frames > 0 && len + frame.len() > CHUNK {
                    break;
                }
                frames += 1;
                len += frame.len();
            }
            if frames == 0 {
                if queue.capacity() > KEPT {
                    *queue = VecDeque::new();
                }
                return Ok(Written::All);
            }
            if !wire.send(queue.iter().take(frames).map(|(_, frame)| frame))? {
                return Ok(Written::Some);
            }
            let now = Timestamp::now().as_micros();
            for (_, frame) in queue.drain(..frames).filter(|(_, frame)| frame.stamped > 0) {
                let micros = now.saturating_sub(frame.stamped.saturating_mul(1_000)).max(0);
                self.0.limits.latency.observe(Duration::from_micros(micros.unsigned_abs()).as_secs_f64());
            }
            *bytes = bytes.saturating_sub(len);
            *allowance = allowance.saturating_sub(len);
            self.0.limits.queued.sub(i64::try_from(len).unwrap_or(0));
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Since when the oldest byte waits.
    fn oldest(&self) -> Option<Instant> {
        let rest = self.wire.as_ref().and_then(Wire::waits_since);
        rest.or_else(|| self.queue.front().map(|(since, _)| *since))
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
        let mut bytes = Vec::new();
        let ended = outbox.take(&mut bytes);
        (String::from_utf8(bytes).unwrap(), ended)
    }

    /// What waits has waited for longer by this much.
    pub(crate) fn grow_old(outbox: &Outbox, by: Duration) {
        for (since, _) in &mut outbox.state().queue {
            *since = since.checked_sub(by).unwrap();
        }
    }

    #[test]
    fn what_waits_for_too_long_refuses_the_next() {
        let outbox = Outbox::new(limits(1_000), CancellationToken::new());
        outbox.push(frame("1")).unwrap();
        grow_old(&outbox, Duration::from_secs(20));
        outbox.push(frame("2")).unwrap();
        assert!(!outbox.is_stale());
        grow_old(&outbox, Duration::from_secs(20));
        assert!(outbox.is_stale(), "the oldest counts, not the newest");
        assert_eq!(outbox.push(frame("3")), Err(Slow::Age));
        assert_eq!(drain(&outbox).0.matches("event:").count(), 2, "nothing was queued then");
        outbox.push(frame("4")).unwrap();
    }

    fn frame(data: &str) -> Frame {
        Frame::new(&event("m", data.as_bytes()), NO_ID, 0)
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_cut_one_says_why_and_nothing_else() {
        let outbox = Outbox::new(limits(40), CancellationToken::new());
        assert_eq!(outbox.push(frame("1")), Ok(true), "the first that waits");
        assert_eq!(outbox.push(frame("2")), Ok(false));
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
