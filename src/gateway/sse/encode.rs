use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The end of an event that carries no id.
pub(crate) const NO_ID: &[u8] = b"\n";

/// The head of a heartbeat: a comment, and an event whose only news is the id after it. A block with nothing but an id would do by
/// the standard, but not every reader takes it for nothing (docs/protocol.md section 3).
pub(crate) const HEARTBEAT: &[u8] = b":\nevent: cursor\ndata: {}\n";

/// One event, ready to be written: a chunk as HTTP/1.1 sends a body of unknown length (RFC 9112 section 7.1), and the event in it as
/// HTTP/1.0 does. Cheap to clone: all who are sent the same share its bytes, and the kernel is given one piece.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    chunk: Bytes,
    /// Where the event begins in it; [`CHUNK_END`] follows the event.
    begin: usize,
    /// The broker's timestamp of the record that it came of, milliseconds since 1970; 0 when there is none.
    pub(crate) stamped: i64,
}

/// What ends a chunk.
const CHUNK_END: &[u8] = b"\r\n";

impl Frame {
    /// An event of `event:` and `data:` lines, and of its end: an `id:` line or nothing, then a blank line. Not empty: a chunk of
    /// nothing would end the stream.
    pub(crate) fn new(head: &[u8], tail: &[u8], stamped: i64) -> Self {
        let mut size = [0; 18];
        let size = chunk_size(&mut size, head.len() + tail.len());
        let mut chunk = BytesMut::with_capacity(size.len() + head.len() + tail.len() + CHUNK_END.len());
        for part in [size, head, tail, CHUNK_END] {
            chunk.put_slice(part);
        }
        Self { begin: size.len(), chunk: chunk.freeze(), stamped }
    }

    /// The event.
    pub(crate) fn event(&self) -> &[u8] {
        &self.chunk[self.begin..self.chunk.len() - CHUNK_END.len()]
    }

    /// The length of the event in bytes.
    pub(crate) fn len(&self) -> usize {
        self.event().len()
    }

    /// What is sent: the event, or its chunk.
    pub(crate) fn bytes(&self, chunked: bool) -> &[u8] {
        if chunked { &self.chunk } else { self.event() }
    }
}

/// The line before a chunk: its length in hexadecimal.
fn chunk_size(buffer: &mut [u8; 18], len: usize) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    buffer[16..].copy_from_slice(b"\r\n");
    let (mut start, mut left) = (16, len);
    loop {
        start -= 1;
        buffer[start] = DIGITS[left % 16];
        left /= 16;
        if left == 0 {
            return &buffer[start..];
        }
    }
}

/// The shared part of an event. `data` is JSON. JSON text never needs a line break, but one that was written prettily has
/// some; each of its lines becomes a `data:` line, and the receiver joins them again.
pub(crate) fn event(name: &str, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(name.len() + data.len() + 16);
    bytes.put_slice(b"event: ");
    bytes.put_slice(name.as_bytes());
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.put_slice(b"\ndata: ");
        bytes.put_slice(line);
    }
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// An event of our own, from a value that serialises.
pub(crate) fn control(name: &str, data: &serde_json::Value) -> Bytes {
    event(name, data.to_string().as_bytes())
}

/// The end of an event that carries this cursor.
pub(crate) fn id_line(cursor: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(cursor.len() + 6);
    bytes.put_slice(b"id: ");
    bytes.put_slice(cursor.as_bytes());
    bytes.put_slice(b"\n\n");
    bytes.freeze()
}

/// How long the browser is to wait before it comes back once this stream has ended.
pub(crate) fn retry(wait: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", wait.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_an_event_and_a_chunk() {
        let frame = Frame::new(b"event: m\ndata: 1\n", b"\n", 7);
        assert_eq!(frame.bytes(false), b"event: m\ndata: 1\n\n");
        assert_eq!(frame.bytes(true), b"12\r\nevent: m\ndata: 1\n\n\r\n");
        assert_eq!((frame.event(), frame.len(), frame.stamped), (frame.bytes(false), 18, 7));
    }

    #[test]
    fn a_chunk_says_its_length_in_hexadecimal() {
        for len in [1, 9, 10, 15, 16, 255, 256, 16_384, usize::MAX] {
            assert_eq!(chunk_size(&mut [0; 18], len), format!("{len:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn events_are_written_as_the_grammar_wants() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(event("message", b"{\"a\":1}")), "event: message\ndata: {\"a\":1}\n");
        assert_eq!(text(event("m", b"{\n\"a\":1}")), "event: m\ndata: {\ndata: \"a\":1}\n");
        assert_eq!(text(event("m", b"{\r}")), "event: m\ndata: {\ndata: }\n");
        assert_eq!(text(id_line("v1.x")), "id: v1.x\n\n");
        assert_eq!(text(retry(Duration::from_millis(1500))), "retry: 1500\n\n");
    }
}
