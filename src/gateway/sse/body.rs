use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::Outbox;

/// A stream as its connection holds it: when this ends, for whatever reason, the hub is told.
pub(crate) struct Stream {
    pub(super) outbox: Outbox,
    gone: Box<dyn Fn() + Send>,
    /// Whether the answer is sent in chunks.
    pub(super) chunked: bool,
}

impl Stream {
    /// `gone` is called once, when the stream is over.
    pub(crate) fn new(outbox: Outbox, chunked: bool, gone: impl Fn() + Send + 'static) -> Self {
        Self { outbox, gone: Box::new(gone), chunked }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.outbox.discard();
        (self.gone)();
    }
}

/// How a connection comes from HTTP to a stream: the handler leaves the stream here, HTTP writes the head of the answer, and when
/// that has left its buffers the connection takes the stream and goes on without HTTP. A parked stream then costs no buffers
/// and no state of a protocol that it does not speak any more. Cheap to clone; a connection has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover(Arc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    stream: Mutex<Option<Stream>>,
    /// The head stands in HTTP's buffer.
    headed: AtomicBool,
    /// It has left it since.
    flushed: AtomicBool,
}

impl Handover {
    /// Leaves a stream; the body of its answer.
    pub(crate) fn leave(&self, stream: Stream) -> Handed {
        *self.0.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Handed(self.clone())
    }

    /// HTTP's buffer is empty.
    pub(crate) fn flushed(&self) {
        if self.0.headed.load(Ordering::Acquire) {
            self.0.flushed.store(true, Ordering::Release);
        }
    }

    /// The stream, once it is this connection's turn.
    pub(crate) fn take(&self) -> Option<Stream> {
        if self.0.flushed.load(Ordering::Acquire) { self.take_anyway() } else { None }
    }

    fn take_anyway(&self) -> Option<Stream> {
        self.0.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of an answer that is a stream: nothing, for its bytes do not come through HTTP.
#[derive(Debug)]
pub(crate) struct Handed(Handover);

impl Body for Handed {
    type Data = Bytes;
    type Error = Infallible;

    /// First asked when the head has been written to the buffer.
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.0.headed.store(true, Ordering::Release);
        Poll::Pending
    }
}

impl Drop for Handed {
    /// The client left before its turn, or asked for the head alone.
    fn drop(&mut self) {
        drop(self.0.take_anyway());
    }
}
