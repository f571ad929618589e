//! A parser of `text/event-stream` after WHATWG HTML section 9.2, strict about what our gateway may send.

/// What a stream sent: an event, or a block without data that only sets the last event id (a heartbeat).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The `event` field; empty for the default type and for heartbeats.
    pub event: String,
    /// The `data` lines, joined by newlines.
    pub data: String,
    /// The last event id after this block.
    pub id: Option<String>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
}

/// A breach of the grammar that our gateway promises to keep (the standard itself is laxer).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Grammar {
    /// Not UTF-8.
    #[error("the stream is not UTF-8")]
    Utf8,
    /// A carriage return: our gateway ends lines with LF alone.
    #[error("a line holds a carriage return")]
    CarriageReturn,
    /// A field name that nobody reads.
    #[error("unknown field {0:?}")]
    Field(String),
    /// `retry` is not a number.
    #[error("retry is not a number of milliseconds")]
    Retry,
    /// An id with NUL or longer than 128 bytes.
    #[error("the id is too long or holds NUL")]
    Id,
}

/// Takes bytes as they come and gives whole blocks.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    block: Message,
    data_lines: usize,
    touched: bool,
    last_id: Option<String>,
}

impl Parser {
    /// Reads more bytes and appends the blocks that they complete.
    ///
    /// # Errors
    /// At the first breach of the grammar.
    pub fn push(&mut self, bytes: &[u8], blocks: &mut Vec<Message>) -> Result<(), Grammar> {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.buffer[start..].iter().position(|byte| *byte == b'\n') {
            let line =
                std::str::from_utf8(&self.buffer[start..start + end]).map_err(|_| Grammar::Utf8)?.to_owned();
            start += end + 1;
            if line.is_empty() {
                if let Some(block) = self.finish() {
                    blocks.push(block);
                }
            } else {
                self.line(&line)?;
            }
        }
        self.buffer.drain(..start);
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), Grammar> {
        if line.contains('\r') {
            return Err(Grammar::CarriageReturn);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.touched |= !field.is_empty();
        match field {
            "" => {} // a comment
            "event" => value.clone_into(&mut self.block.event),
            "data" => {
                if self.data_lines > 0 {
                    self.block.data.push('\n');
                }
                self.data_lines += 1;
                self.block.data.push_str(value);
            }
            "id" if value.len() > 128 || value.contains('\0') => return Err(Grammar::Id),
            "id" => self.last_id = Some(value.to_owned()),
            "retry" => self.block.retry = Some(value.parse().map_err(|_| Grammar::Retry)?),
            other => return Err(Grammar::Field(other.to_owned())),
        }
        Ok(())
    }

    fn finish(&mut self) -> Option<Message> {
        self.data_lines = 0;
        let mut block = std::mem::take(&mut self.block);
        block.id.clone_from(&self.last_id);
        std::mem::take(&mut self.touched).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_out_whole_however_the_bytes_arrive() {
        let text = "retry: 1500\n\nevent: hello\nid: v1.a.b\ndata: {\ndata: }\n\n: comment\n\nid: v1.a.c\n\nevent: message\ndata: é\n\n";
        for size in 1..text.len() {
            let (mut parser, mut blocks) = (Parser::default(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                parser.push(chunk, &mut blocks).unwrap();
            }
            assert_eq!(blocks.len(), 4, "{blocks:?}");
            assert_eq!(blocks[0].retry, Some(1_500));
            assert_eq!((blocks[1].event.as_str(), blocks[1].data.as_str()), ("hello", "{\n}"));
            assert_eq!((blocks[2].event.as_str(), blocks[2].id.as_deref()), ("", Some("v1.a.c")));
            assert_eq!((blocks[3].data.as_str(), blocks[3].id.as_deref()), ("é", Some("v1.a.c")));
        }
    }

    #[test]
    fn breaches_are_told() {
        let first = |text: &[u8]| Parser::default().push(text, &mut Vec::new()).unwrap_err();
        assert_eq!(first(b"data: a\r\n\n"), Grammar::CarriageReturn);
        assert_eq!(first(b"dta: a\n\n"), Grammar::Field("dta".into()));
        assert_eq!(first(b"retry: soon\n\n"), Grammar::Retry);
        assert_eq!(first(b"data: \xff\n\n"), Grammar::Utf8);
        assert_eq!(first(format!("id: {}\n\n", "x".repeat(129)).as_bytes()), Grammar::Id);
    }
}
