//! One client's socket: whole events go out, and of one that the kernel took a part of, the rest is kept.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    time::Instant,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::{
    io::Errno,
    net::{self, SendAncillaryBuffer, SendFlags},
};
use tokio::net::TcpStream;

use super::Frame;

/// The most events of one write.
pub(super) const FRAMES: usize = 64;

#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    /// HTTP/1.1 sends a body of unknown length in chunks; HTTP/1.0 as it is.
    chunked: bool,
    /// The kernel took nothing, and has not said since that it takes more.
    full: bool,
    /// What the kernel did not take of the last write, and since when.
    rest: Bytes,
    since: Instant,
}

impl Wire {
    pub(super) fn new(socket: Arc<TcpStream>, chunked: bool) -> Self {
        Self { socket, chunked, full: false, rest: Bytes::new(), since: Instant::now() }
    }

    /// Since when the rest of a write waits, if there is one.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        (!self.rest.is_empty()).then_some(self.since)
    }

    /// Writes the rest of the last write; whether nothing is left of it.
    pub(super) fn take_rest(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            let rest = self.rest.clone();
            match self.give(&[IoSlice::new(&rest)]) {
                Ok(written) => self.rest.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes events together, without copying them; whether the kernel took any of it. What it did not take is kept: an event is
    /// never broken off.
    pub(super) fn send<'a>(&mut self, mut frames: impl Iterator<Item = &'a Frame>) -> io::Result<bool> {
        let chunked = self.chunked;
        let mut next = || frames.next().map(|frame| IoSlice::new(frame.bytes(chunked)));
        let Some(first) = next() else { return Ok(true) };
        let Some(second) = next() else { return self.send_slices(&[first]) };
        let mut slices = [IoSlice::new(&[]); FRAMES];
        let mut count = 0;
        for slice in [first, second].into_iter().chain(std::iter::from_fn(next)).take(FRAMES) {
            slices[count] = slice;
            count += 1;
        }
        self.send_slices(&slices[..count])
    }

    fn send_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<bool> {
        let mut written = match self.give(slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if written < len {
            let mut rest = BytesMut::with_capacity(len - written);
            for slice in slices {
                let skipped = written.min(slice.len());
                rest.extend_from_slice(&slice[skipped..]);
                written -= skipped;
            }
            self.rest = rest.freeze();
            self.since = Instant::now();
        }
        Ok(true)
    }

    /// Gives the kernel what it takes at once.
    ///
    /// Not by way of tokio, which looks first whether it knows the socket to be writable: what it knows of one among ten thousand is
    /// in no cache of the processor, and to fetch it took a tenth of a write. It is asked, and so told, when the kernel takes nothing.
    fn give(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let by_tokio = || match slices {
            [one] => self.socket.try_write(one),
            several => self.socket.try_write_vectored(several),
        };
        let given = if self.full {
            by_tokio()
        } else {
            let given = match slices {
                [one] => net::send(&*self.socket, one, SendFlags::NOSIGNAL),
                several => net::sendmsg(
                    &*self.socket,
                    several,
                    &mut SendAncillaryBuffer::default(),
                    SendFlags::NOSIGNAL,
                ),
            };
            match given {
                Err(Errno::AGAIN) => by_tokio(),
                given => given.map_err(io::Error::from),
            }
        };
        self.full = given.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        given
    }
}
