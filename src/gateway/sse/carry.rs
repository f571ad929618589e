use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::{Outbox, body::Stream, outbox::Written};

/// What a client may send on its stream: a request in advance, say, which nobody will answer.
const IGNORED: usize = 8 * 1024;

/// Carries a stream over its socket until it has ended or the client has left.
///
/// # Errors
/// When the connection breaks.
pub(crate) async fn carry(stream: Stream, socket: TcpStream) -> io::Result<()> {
    let socket = Arc::new(socket);
    stream.outbox.attach(Arc::clone(&socket), stream.chunked);
    let mut ignored = 0;
    let over = std::future::poll_fn(|context| poll(&stream.outbox, &socket, &mut ignored, context)).await?;
    if stream.chunked && over == Over::Ended {
        let mut last: &[u8] = b"0\r\n\r\n";
        while !last.is_empty() {
            socket.writable().await?;
            match socket.try_write(last) {
                Ok(written) => last = &last[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// By us: everything has been written.
    Ended,
    /// By the client.
    Left,
}

fn poll(
    outbox: &Outbox,
    socket: &TcpStream,
    ignored: &mut usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<Over>> {
    while socket.poll_read_ready(context)?.is_ready() {
        match socket.try_read(&mut [0; 512]) {
            Ok(0) => return Poll::Ready(Ok(Over::Left)),
            Ok(count) => *ignored += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        if *ignored > IGNORED {
            return Poll::Ready(Ok(Over::Left));
        }
    }
    let mut state = outbox.state();
    loop {
        match outbox.write(&mut state)? {
            Written::All if state.ended => return Poll::Ready(Ok(Over::Ended)),
            Written::All => break,
            Written::Some if socket.poll_write_ready(context)?.is_ready() => {}
            Written::Some => break,
        }
    }
    if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        state.waker = Some(context.waker().clone());
    }
    Poll::Pending
}
