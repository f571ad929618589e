use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::Outbox;

/// The body of an SSE response: gives what its outbox holds, for as long as the stream lives, and says when the client is gone.
#[derive(Debug)]
pub(crate) struct StreamBody<F: FnMut()> {
    outbox: Outbox,
    gone: F,
}

impl<F: FnMut()> StreamBody<F> {
    /// `gone` is called once, when the response is over for whatever reason.
    pub(crate) fn new(outbox: Outbox, gone: F) -> Self {
        Self { outbox, gone }
    }
}

impl<F: FnMut() + Unpin> Body for StreamBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.outbox.poll(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl<F: FnMut()> Drop for StreamBody<F> {
    fn drop(&mut self) {
        self.outbox.discard();
        (self.gone)();
    }
}
