use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};

use super::{ClientError, Message, Parser};

/// Bytes that are read at once.
const READ: usize = 8 * 1024;
/// The longest head of an answer, and the longest line before a chunk.
const LONGEST_HEAD: usize = 16 * 1024;

/// An open event stream. It reads its socket itself, without an HTTP library's task and buffers for each of ten thousand: what the
/// load generator needs for a delivery is missing to those that it measures.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    chunks: Chunks,
    parser: Parser,
    blocks: VecDeque<Arc<Message>>,
    last: Option<Arc<Message>>,
    ended: bool,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) cookies: Vec<String>,
    chunked: bool,
    /// Bytes of a body that is not in chunks, when it says so: of a stream that was refused.
    length: Option<usize>,
}

impl Stream {
    /// Sends a request and reads the head of its answer.
    pub(super) async fn open(mut socket: TcpStream, request: &str) -> Result<(Head, Self), ClientError> {
        let mut left = request.as_bytes();
        while !left.is_empty() {
            socket.writable().await?;
            match socket.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut seen = Vec::new();
        let (head, rest) = loop {
            let before = seen.len();
            read(&mut socket, |bytes| {
                seen.extend_from_slice(bytes);
                Ok(())
            })
            .await?;
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break (Head::read(&seen[..end])?, seen.split_off(end + 4));
            }
            if seen.len() == before {
                return Err(ClientError::Cut);
            }
            if seen.len() > LONGEST_HEAD {
                return Err(ClientError::NoHttp("the head of an answer has no end"));
            }
        };
        let mut stream = Self {
            socket,
            chunks: Chunks::of(&head),
            parser: Parser::default(),
            blocks: VecDeque::new(),
            last: None,
            ended: false,
        };
        if head.status == 200 {
            take(&rest, &mut stream.chunks, &mut stream.parser, &mut stream.blocks)?;
        }
        Ok((head, stream))
    }

    /// The next block, shared with whoever got the same bytes; `None` when the server closed the stream. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the connection breaks or the stream breaks its grammar, or HTTP's: [`ClientError::is_breach`] tells which.
    pub async fn next(&mut self) -> Result<Option<Arc<Message>>, ClientError> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                self.last = Some(Arc::clone(&block));
                return Ok(Some(block));
            }
            if self.ended || self.chunks.over() {
                self.parser.end()?;
                return Ok(None);
            }
            let Self { socket, chunks, parser, blocks, .. } = self;
            if read(socket, |bytes| take(bytes, chunks, parser, blocks)).await? == 0 {
                chunks.end()?;
                self.ended = true;
            }
        }
    }

    /// The cursor to resume from.
    pub fn last_id(&self) -> Option<&str> {
        self.last.as_ref()?.id.as_deref()
    }
}

/// Waits for bytes and hands them over; how many there were, 0 at the end. Nothing is kept by whoever waits, and after a read that did
/// not fill the buffer none is tried in vain.
async fn read(
    socket: &mut TcpStream,
    mut take: impl FnMut(&[u8]) -> Result<(), ClientError>,
) -> Result<usize, ClientError> {
    poll_fn(|context| {
        let mut buffer = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        let bytes = buffer.filled();
        Poll::Ready(take(bytes).map(|()| bytes.len()))
    })
    .await
}

/// The bytes that one read gave to a stream between two chunks and two blocks, which were one chunk with one `message`; and that.
struct Recent {
    bytes: Vec<u8>,
    block: Arc<Message>,
}

thread_local! {
    /// What was read last. An event for ten thousand streams is checked byte by byte once, and of the others that they have the same bytes.
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// Takes bytes of a body in.
fn take(
    bytes: &[u8],
    chunks: &mut Chunks,
    parser: &mut Parser,
    blocks: &mut VecDeque<Arc<Message>>,
) -> Result<(), ClientError> {
    let between = |chunks: &Chunks, parser: &Parser| {
        matches!(chunks, Chunks::Size { digits: 0, .. }) && parser.is_between_blocks()
    };
    let whole = blocks.is_empty() && between(chunks, parser);
    if whole {
        let same = |recent: &Recent| (recent.bytes == bytes).then(|| Arc::clone(&recent.block));
        if let Some(block) = RECENT.with_borrow(|recent| recent.as_ref().and_then(same)) {
            parser.skip(&block);
            blocks.push_back(block);
            return Ok(());
        }
    }
    let mut fresh = VecDeque::new();
    let outcome = chunks.push(bytes, parser, &mut fresh);
    blocks.extend(fresh.into_iter().map(Arc::new));
    outcome?;
    // A `message` has an id of its own, so that it says the same after whatever came before.
    if let (true, [block]) = (whole && between(chunks, parser), &*blocks.make_contiguous())
        && block.event == "message"
    {
        let recent = Recent { bytes: bytes.to_vec(), block: Arc::clone(block) };
        RECENT.set(Some(recent));
    }
    Ok(())
}

impl Head {
    /// What stands before the empty line (RFC 9112 section 2.1).
    fn read(bytes: &[u8]) -> Result<Self, ClientError> {
        const WRONG: ClientError = ClientError::NoHttp("the head of an answer is none");
        let text = std::str::from_utf8(bytes).map_err(|_| WRONG)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or(WRONG)?;
        let mut head = Self { status, cookies: Vec::new(), chunked: false, length: None };
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or(WRONG)?;
            match name.to_ascii_lowercase().as_str() {
                "set-cookie" => head.cookies.push(value.to_owned()),
                "content-length" => head.length = Some(value.parse().map_err(|_| WRONG)?),
                "transfer-encoding" if value == "chunked" => head.chunked = true,
                "transfer-encoding" => return Err(ClientError::NoHttp("an unknown transfer encoding")),
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Where a body in chunks stands (RFC 9112 section 7.1). Every byte is checked.
#[derive(Debug)]
enum Chunks {
    /// Not in chunks: the body ends with the connection.
    Plain,
    /// Not in chunks, and of which so much is to come.
    Sized {
        left: usize,
    },
    /// In the line before a chunk: so many digits, so large so far.
    Size {
        digits: u8,
        size: usize,
    },
    /// After the carriage return of that line.
    SizeEnd {
        size: usize,
    },
    /// In a chunk, of which so much is to come.
    Data {
        left: usize,
    },
    /// In the two bytes after a chunk.
    DataEnd {
        last: bool,
    },
    /// In the two bytes after the last line.
    Last {
        last: bool,
    },
    Over,
}

impl Chunks {
    const NEXT: Self = Self::Size { digits: 0, size: 0 };

    fn of(head: &Head) -> Self {
        match (head.chunked, head.length) {
            (true, _) => Self::NEXT,
            (false, Some(0)) => Self::Over,
            (false, Some(left)) => Self::Sized { left },
            (false, None) => Self::Plain,
        }
    }

    fn over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// The connection ended.
    fn end(&self) -> Result<(), ClientError> {
        match self {
            Self::Plain | Self::Over => Ok(()),
            _ => Err(ClientError::Cut),
        }
    }

    fn push(
        &mut self,
        mut bytes: &[u8],
        parser: &mut Parser,
        blocks: &mut VecDeque<Message>,
    ) -> Result<(), ClientError> {
        const WRONG: ClientError = ClientError::NoHttp("a chunk is not framed as it should be");
        while let Some((byte, rest)) = bytes.split_first() {
            match *self {
                Self::Plain => return Ok(parser.push(bytes, blocks)?),
                Self::Sized { left } => {
                    let (now, later) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
                    parser.push(now, blocks)?;
                    bytes = later;
                    *self = match left - now.len() {
                        0 => Self::Over,
                        left => Self::Sized { left },
                    };
                    continue;
                }
                Self::Data { left } => {
                    let (now, later) = bytes.split_at(left.min(bytes.len()));
                    parser.push(now, blocks)?;
                    bytes = later;
                    *self = match left - now.len() {
                        0 => Self::DataEnd { last: false },
                        left => Self::Data { left },
                    };
                    continue;
                }
                Self::Size { digits, size } => {
                    let digit = char::from(*byte).to_digit(16);
                    *self = match (digit, byte) {
                        (Some(digit), _) if digits < 8 => {
                            Self::Size { digits: digits + 1, size: size * 16 + digit as usize }
                        }
                        (None, b'\r') if digits > 0 => Self::SizeEnd { size },
                        _ => return Err(WRONG),
                    };
                }
                Self::SizeEnd { size } if *byte == b'\n' => {
                    *self = if size == 0 { Self::Last { last: false } } else { Self::Data { left: size } };
                }
                Self::DataEnd { last: false } if *byte == b'\r' => *self = Self::DataEnd { last: true },
                Self::DataEnd { last: true } if *byte == b'\n' => *self = Self::NEXT,
                Self::Last { last: false } if *byte == b'\r' => *self = Self::Last { last: true },
                Self::Last { last: true } if *byte == b'\n' => *self = Self::Over,
                _ => return Err(WRONG),
            }
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "event: hello\ndata: {}\nid: v1.a.b\n\n";

    fn pushed(bodies: &[u8], size: usize) -> Result<(usize, bool), ClientError> {
        let (mut chunks, mut parser, mut blocks) = (Chunks::NEXT, Parser::default(), VecDeque::new());
        for some in bodies.chunks(size) {
            chunks.push(some, &mut parser, &mut blocks)?;
        }
        Ok((blocks.len(), chunks.over()))
    }

    #[test]
    fn chunks_are_read_however_the_bytes_arrive() {
        let half = EVENT.len() / 2;
        let body = format!(
            "{:x}\r\n{EVENT}\r\n{:X}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            EVENT.len(),
            half,
            &EVENT[..half],
            EVENT.len() - half,
            &EVENT[half..]
        );
        for size in 1..body.len() {
            assert_eq!(pushed(body.as_bytes(), size).unwrap(), (2, true), "{size}");
        }
        assert_eq!(pushed(&body.as_bytes()[..body.len() - 1], 7).unwrap(), (2, false));
    }

    /// What the same bytes mean is taken over from another stream only where they mean the same, and only the same bytes.
    #[test]
    fn what_others_have_read_is_not_read_again() {
        let frame = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let said = |n: u8| frame(&format!("event: message\ndata: {{\"n\":{n}}}\nid: v1.a.{n}\n\n"));
        let fresh = || (Chunks::NEXT, Parser::default(), VecDeque::new());
        let mut streams = [fresh(), fresh(), fresh()];
        let give = |stream: &mut (Chunks, Parser, VecDeque<Arc<Message>>), text: &str| {
            take(text.as_bytes(), &mut stream.0, &mut stream.1, &mut stream.2)?;
            Ok::<_, ClientError>(stream.2.drain(..).collect::<Vec<_>>())
        };
        let [one, two, early] = &mut streams;
        for stream in [&mut *one, two] {
            assert_eq!(give(stream, &frame(EVENT)).unwrap().len(), 1);
        }
        let first = give(one, &said(1)).unwrap();
        let again = give(two, &said(1)).unwrap();
        assert!(Arc::ptr_eq(&first[0], &again[0]), "it was not read again");
        assert_eq!((first[0].data.as_str(), first[0].id.as_deref()), ("{\"n\":1}", Some("v1.a.1")));
        // A notice without an id leaves the one in force that was taken over.
        let notice = give(two, &frame("retry: 9\nevent: reconnect\ndata: {}\n\n")).unwrap();
        assert_eq!(notice[0].id.as_deref(), Some("v1.a.1"));
        assert_eq!(give(two, &said(2)).unwrap()[0].data, "{\"n\":2}", "other bytes");
        assert_eq!(give(one, &[said(2), said(2)].concat()).unwrap().len(), 2, "more than one block");
        // In the middle of a chunk the same bytes are wrong, and so they are before `hello`.
        let half = frame(EVENT);
        assert!(give(one, &half[..half.len() - 5]).unwrap().is_empty());
        assert!(give(one, &said(2)).is_err());
        assert!(give(early, &said(2)).is_err());
    }

    #[test]
    fn framing_that_is_wrong_is_told() {
        for body in [
            "\r\n",
            "g\r\n",
            "1;x\r\n",
            "1\n",
            "1\rx",
            "fffffffff\r\n",
            "2\r\nid\n",
            "2\r\nid\r\r",
            "0\r\n\r\n0\r\n",
            "0\r\nx",
        ] {
            let told = pushed(body.as_bytes(), 100);
            assert!(matches!(told, Err(ClientError::NoHttp(_))), "{body:?}: {told:?}");
        }
    }

    /// What becomes of a stream whose server sends this and then closes; with `reset` it lets the connection break.
    async fn served(answer: &[u8], reset: bool) -> ClientError {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            // The whole request, so that closing does not reset by itself.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(answer).await.unwrap();
            if reset {
                socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
        };
        let client = super::super::Client::new(addr);
        let read = async {
            let mut stream = client.events(None).await?;
            while stream.next().await?.is_some() {}
            Ok::<_, ClientError>(())
        };
        let (told, ()) = tokio::join!(read, serve);
        told.expect_err("no such stream ends well")
    }

    #[tokio::test]
    async fn a_breach_is_told_from_a_connection_that_was_cut() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let whole = HEAD.to_owned() + &chunk(EVENT);
        // What a killed process leaves: nothing, half a head, whole events, half of one.
        let refused = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nretry: 1";
        for left in ["", &HEAD[..20], &whole, &whole[..whole.len() - 9], refused] {
            for reset in [false, true] {
                let told = served(left.as_bytes(), reset).await;
                assert!(told.is_cut() && !told.is_breach(), "{left:?} {reset}: {told}");
            }
        }
        // What no process may send, though it be killed right after.
        let last = "0\r\n\r\n";
        for wrong in [
            whole.clone() + &chunk("event: message\nda") + last,
            whole.clone() + &chunk("data: {}\n\n"),
            whole.clone() + "zz\r\n",
            whole.clone() + "1\r\nid",
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nretry: 1".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nretry: 1000\n\nmore".to_owned(),
            HEAD.to_owned() + &chunk("event: message\ndata: {}\nid: v1.a.b\n\n"),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        ] {
            let told = served(wrong.as_bytes(), false).await;
            assert!(told.is_breach() && !told.is_cut(), "{wrong:?}: {told}");
        }
    }

    #[test]
    fn a_head_is_read_and_a_wrong_one_refused() {
        let head = Head::read(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nset-cookie: a=b; Path=/\r\nset-cookie: c=d",
        );
        let cookies = vec!["a=b; Path=/".to_owned(), "c=d".to_owned()];
        assert_eq!(head.unwrap(), Head { status: 200, cookies, chunked: true, length: None });
        for wrong in [
            "HTTP/1.0 200 OK",
            "HTTP/1.1 ok",
            "HTTP/1.1 200 OK\r\nno header",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        ] {
            assert!(Head::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
