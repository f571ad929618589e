//! A parser of `text/event-stream` after WHATWG HTML section 9.2 that checks every byte against what our gateway promises
//! (docs/protocol.md section 3), which is narrower than what the standard lets a reader accept.

use std::collections::VecDeque;

use super::Grammar;

/// What a stream sent: an event, a heartbeat (a comment and the event `cursor`), or a time to wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The `event` field; empty for a heartbeat, whose id is all that it says, and for `retry` alone.
    pub event: String,
    /// The `data` lines, joined by newlines.
    pub data: String,
    /// The last event id after this block.
    pub id: Option<String>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
}

/// The longest line: a page of a hundred rooms with twenty members each has 100 KB.
const LONGEST: usize = 1 << 20;
/// The longest id: browsers drop a longer `Last-Event-ID` from a cross-origin request.
const LONGEST_ID: usize = 128;
/// Events that carry the cursor after them. `slow` and `reconnect` are notices: the last id stands.
const WITH_CURSOR: [&str; 8] = ["hello", "resumed", "resync", "reply", "message", "room", "friend", "status"];
const NOTICES: [&str; 2] = ["slow", "reconnect"];
/// The event of a heartbeat, and its data.
const HEARTBEAT: (&str, &str) = ("cursor", "{}");

/// Takes bytes as they come and gives whole blocks.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is not whole yet.
    buffer: Vec<u8>,
    /// The block that is not whole yet.
    block: Block,
    last_id: Option<String>,
    greeted: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    comment: bool,
    event: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
}

impl Parser {
    /// Reads more bytes and appends the blocks that they complete.
    ///
    /// # Errors
    /// At the first breach of the grammar.
    pub fn push(&mut self, bytes: &[u8], blocks: &mut VecDeque<Message>) -> Result<(), Grammar> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let mut rest = buffer.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[..end]).map_err(|_| Grammar::Utf8)?;
            if line.is_empty() {
                blocks.push_back(self.finish()?);
            } else {
                self.line(line)?;
            }
            rest = &rest[end + 1..];
        }
        if rest.len() > LONGEST {
            return Err(Grammar::Long);
        }
        let done = buffer.len() - rest.len();
        buffer.drain(..done);
        self.buffer = buffer;
        Ok(())
    }

    /// Whether it stands between two blocks of a stream that has begun: what comes next means the same to every such parser, but for the
    /// id that a block without one leaves in force.
    pub(super) fn is_between_blocks(&self) -> bool {
        self.greeted && self.buffer.is_empty() && self.block == Block::default()
    }

    /// Goes on as after this block, which has an id of its own and was read by another parser that stood between two blocks.
    pub(super) fn skip(&mut self, block: &Message) {
        self.last_id.clone_from(&block.id);
    }

    /// The server ended the stream.
    ///
    /// # Errors
    /// When it did so inside an event.
    pub fn end(&self) -> Result<(), Grammar> {
        let whole = self.buffer.is_empty() && self.block == Block::default();
        if whole { Ok(()) } else { Err(Grammar::Torn) }
    }

    fn line(&mut self, line: &str) -> Result<(), Grammar> {
        if line.len() > LONGEST {
            return Err(Grammar::Long);
        }
        if line.contains(['\r', '\0']) {
            return Err(Grammar::Control);
        }
        if line == ":" && self.block == Block::default() {
            self.block.comment = true;
            return Ok(());
        }
        let (field, value) =
            line.split_once(": ").ok_or_else(|| Grammar::Form(line.chars().take(40).collect()))?;
        let block = &mut self.block;
        match field {
            "event" if block.event.is_none() && block.data.is_none() => block.event = Some(value.to_owned()),
            "data" if block.id.is_none() => match &mut block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => block.data = Some(value.to_owned()),
            },
            "id" if block.id.is_none() => block.id = Some(id(value)?.to_owned()),
            "retry" if block.retry.is_none() => block.retry = Some(retry(value)?),
            "event" | "data" | "id" | "retry" => return Err(Grammar::Order(field.to_owned())),
            other => return Err(Grammar::Field(other.to_owned())),
        }
        Ok(())
    }

    /// The block is whole: it is one of those that a gateway sends.
    fn finish(&mut self) -> Result<Message, Grammar> {
        let Block { comment, event, data, id, retry } = std::mem::take(&mut self.block);
        let (event, data) = match (event, data) {
            // Also before `hello`: whose stream it is may take long to find out.
            (Some(event), Some(data)) if comment => {
                if (event.as_str(), data.as_str()) != HEARTBEAT || id.is_none() || retry.is_some() {
                    return Err(Grammar::Block);
                }
                (String::new(), String::new())
            }
            (Some(event), Some(data)) => {
                self.check_event(&event, &data, id.is_some())?;
                (event, data)
            }
            // A time to wait and nothing else.
            (None, None) if !comment && id.is_none() && retry.is_some() => (String::new(), String::new()),
            _ => return Err(Grammar::Block),
        };
        self.last_id = id.or_else(|| self.last_id.take());
        Ok(Message { event, data, id: self.last_id.clone(), retry })
    }

    fn check_event(&mut self, event: &str, data: &str, has_id: bool) -> Result<(), Grammar> {
        if !data.starts_with('{') || serde_json::from_str::<serde::de::IgnoredAny>(data).is_err() {
            return Err(Grammar::Json(event.to_owned()));
        }
        if WITH_CURSOR.contains(&event) {
            self.greeted |= event == "hello";
            if !self.greeted {
                return Err(Grammar::BeforeHello(event.to_owned()));
            }
            return if has_id { Ok(()) } else { Err(Grammar::NoId(event.to_owned())) };
        }
        if NOTICES.contains(&event) { Ok(()) } else { Err(Grammar::Event(event.to_owned())) }
    }
}

fn id(value: &str) -> Result<&str, Grammar> {
    // No byte that Fetch calls unsafe in a request header.
    let safe = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if safe && value.starts_with("v1.") && value.len() <= LONGEST_ID { Ok(value) } else { Err(Grammar::Id) }
}

fn retry(value: &str) -> Result<u64, Grammar> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or(Grammar::Retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "event: hello\ndata: {}\nid: v1.a.b\n\n";

    #[test]
    fn blocks_come_out_whole_however_the_bytes_arrive() {
        let text = "retry: 1500\n\nevent: hello\ndata: {\ndata: }\nid: v1.a.b\n\n:\nevent: cursor\ndata: {}\nid: v1.a.c\n\nevent: message\ndata: {\"é\":1}\nid: v1.a.d\n\nretry: 9\nevent: reconnect\ndata: {}\n\n";
        for size in 1..text.len() {
            let (mut parser, mut blocks) = (Parser::default(), VecDeque::new());
            for chunk in text.as_bytes().chunks(size) {
                parser.push(chunk, &mut blocks).unwrap();
            }
            parser.end().unwrap();
            assert_eq!(blocks.len(), 5, "{blocks:?}");
            assert_eq!(blocks[0].retry, Some(1_500));
            assert_eq!((blocks[1].event.as_str(), blocks[1].data.as_str()), ("hello", "{\n}"));
            assert_eq!((blocks[2].event.as_str(), blocks[2].id.as_deref()), ("", Some("v1.a.c")));
            assert_eq!((blocks[3].data.as_str(), blocks[3].id.as_deref()), ("{\"é\":1}", Some("v1.a.d")));
            assert_eq!((blocks[4].retry, blocks[4].id.as_deref()), (Some(9), Some("v1.a.d")));
        }
    }

    fn breach(text: &[u8]) -> Option<Grammar> {
        let mut parser = Parser::default();
        parser.push(text, &mut VecDeque::new()).and_then(|()| parser.end()).err()
    }

    #[test]
    fn breaches_are_told() {
        assert_eq!(breach(HELLO.as_bytes()), None);
        let after_hello = |text: &str| breach([HELLO, text].concat().as_bytes());
        for (text, want) in [
            ("data: {}\r\n\n", Grammar::Control),
            ("data: \0\n\n", Grammar::Control),
            ("data:{}\n\n", Grammar::Form("data:{}".into())),
            (": comment\n\n", Grammar::Field(String::new())),
            ("dta: {}\n\n", Grammar::Field("dta".into())),
            ("retry: +5\n\n", Grammar::Retry),
            ("retry: \n\n", Grammar::Retry),
            ("id: \n\n", Grammar::Id),
            ("id: v1.a=\n\n", Grammar::Id),
            ("id: v1.a\nid: v1.b\n\n", Grammar::Order("id".into())),
            ("event: message\nid: v1.a\ndata: {}\n\n", Grammar::Order("data".into())),
            ("event: a\nevent: b\n\n", Grammar::Order("event".into())),
            ("\n", Grammar::Block),
            ("id: v1.a\n\n", Grammar::Block),
            (":\n\n", Grammar::Block),
            (":\n:\n", Grammar::Form(":".into())),
            (":\nretry: 5\n\n", Grammar::Block),
            (":\nevent: cursor\ndata: {}\n\n", Grammar::Block),
            (":\nevent: cursor\ndata: 1\nid: v1.a\n\n", Grammar::Block),
            (":\nevent: message\ndata: {}\nid: v1.a\n\n", Grammar::Block),
            ("event: cursor\ndata: {}\nid: v1.a\n\n", Grammar::Event("cursor".into())),
            (":\nevent: cursor\ndata: {}\nid: v1.a\n", Grammar::Torn),
            (":\n", Grammar::Torn),
            ("retry: 5\nid: v1.a\n\n", Grammar::Block),
            ("event: message\nid: v1.a\n\n", Grammar::Block),
            ("data: {}\nid: v1.a\n\n", Grammar::Block),
            ("event: message\ndata: {\nid: v1.a\n\n", Grammar::Json("message".into())),
            ("event: message\ndata: 7\nid: v1.a\n\n", Grammar::Json("message".into())),
            ("event: message\ndata: {}\n\n", Grammar::NoId("message".into())),
            ("event: session-ended\ndata: {}\nid: v1.a\n\n", Grammar::Event("session-ended".into())),
            ("event: message\ndata: {}\nid: v1.a\n", Grammar::Torn),
            ("id: v1.", Grammar::Torn),
        ] {
            assert_eq!(after_hello(text), Some(want), "{text:?}");
        }
        assert_eq!(
            breach(b"event: message\ndata: {}\nid: v1.a\n\n"),
            Some(Grammar::BeforeHello("message".into()))
        );
        assert_eq!(breach(b"event: reconnect\ndata: {}\n\n"), None);
        assert_eq!(breach(b"data: \xff\n\n"), Some(Grammar::Utf8));
        assert_eq!(breach(format!("id: v1.{}\n\n", "x".repeat(126)).as_bytes()), Some(Grammar::Id));
        assert_eq!(breach(&vec![b'x'; LONGEST + 1]), Some(Grammar::Long));
    }
}
