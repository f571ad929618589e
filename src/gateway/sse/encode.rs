use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The end of an event that carries no id.
pub(crate) const NO_ID: Bytes = Bytes::from_static(b"\n");

/// The head of a heartbeat: a comment, and an event whose only news is the id after it. A block with nothing but an id would do by
/// the standard, but not every reader takes it for nothing (docs/protocol.md section 3).
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b":\nevent: cursor\ndata: {}\n");

/// One event, ready to be written: the part that all receivers share, and the part with the id.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// `event:` and `data:` lines.
    pub(crate) head: Bytes,
    /// An `id:` line or nothing, then the blank line that ends the event.
    pub(crate) tail: Bytes,
    /// The broker's timestamp of the record that it came of, milliseconds since 1970; 0 when there is none.
    pub(crate) stamped: i64,
}

impl Frame {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
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
    fn events_are_written_as_the_grammar_wants() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(event("message", b"{\"a\":1}")), "event: message\ndata: {\"a\":1}\n");
        assert_eq!(text(event("m", b"{\n\"a\":1}")), "event: m\ndata: {\ndata: \"a\":1}\n");
        assert_eq!(text(event("m", b"{\r}")), "event: m\ndata: {\ndata: }\n");
        assert_eq!(text(id_line("v1.x")), "id: v1.x\n\n");
        assert_eq!(text(retry(Duration::from_millis(1500))), "retry: 1500\n\n");
    }
}
