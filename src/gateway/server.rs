//! Sockets: accept, serve HTTP/1.1 with bounds on everything, and drain.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    http::Connection,
    sse::{self, Handover},
};
use crate::process::{Exit, Shutdown};

/// The head of a request, from the first byte to the blank line.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The bytes of a request's head, and of what waits to be written. The smallest that hyper takes: a parked connection keeps it.
const BUFFER: usize = 8_192;
/// What the kernel buffers for a client that does not read. Without a bound it grows to megabytes, and "slow" shows late.
const SEND_BUFFER: u32 = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Listens on this address.
///
/// # Errors
/// When it is taken or not this machine's.
pub(super) fn listen(addr: SocketAddr) -> Result<TcpListener, Exit> {
    let bind = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error: std::io::Error| {
        Exit::failure(format!("cannot listen on {addr}: {error}; see --listen-addr"))
    })
}

/// What bounds connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerLimits {
    /// Connections at once.
    pub(super) connections: usize,
    /// How long the kernel waits for the other end to confirm what was sent: one that vanished without a word is noticed by the
    /// first heartbeat that stays unconfirmed, not by the end of the stream's life.
    pub(super) unconfirmed: Duration,
}

/// Accepts and serves until `stop`, then lets every connection finish what it is at. Returns when no new connection is taken any
/// more; the tracker tells when the last one has ended. `leaving` is called before the listener closes.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    stop: Shutdown,
    leaving: impl FnOnce(),
    cut: CancellationToken,
) -> TaskTracker {
    let tracker = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        // Taken before the accept: what is too much waits in the kernel's queue, and costs nothing here.
        let accepted = tokio::select! {
            () = stop.wait() => {
                leaving();
                break;
            }
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                // A kernel that cannot do so still ends the connection, after some fifteen minutes.
                let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(limits.unconfirmed));
                tracker.spawn(connection(socket, peer, router.clone(), stop.clone(), cut.clone(), permit));
            }
            Err(error) => {
                // Out of file descriptors, most likely; others will be closed.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    tracker.close();
    tracker
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, permit))
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: Shutdown,
    cut: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    // Events are small and must not wait for more of them.
    let _ = socket.set_nodelay(true);
    let abort = cut.child_token();
    let handover = Handover::default();
    let connection = Connection { peer: peer.ip(), abort: abort.clone(), handover: handover.clone() };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let mut router = router.clone();
        async move {
            let response = router.call(request.map(Body::new)).await;
            response.map_err(|never: Infallible| never)
        }
    });
    // Boxed: a stream that takes over is to cost nothing of it.
    let mut serving = Box::pin(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(BUFFER)
            .half_close(false)
            .serve_connection(TokioIo::new(Watched { socket, handover: handover.clone() }), service),
    );
    let mut stopping = false;
    let ended = loop {
        let serve = std::future::poll_fn(|context| {
            if let Poll::Ready(served) = serving.as_mut().poll(context) {
                return Poll::Ready(Ended::Served(served));
            }
            handover.take().map_or(Poll::Pending, |stream| Poll::Ready(Ended::Stream(stream)))
        });
        tokio::select! {
            ended = serve => break ended,
            () = abort.cancelled() => return,
            () = stop.wait(), if !stopping => {
                // An idle connection ends now; one with a request or a stream when that is over.
                serving.as_mut().graceful_shutdown();
                stopping = true;
            }
        }
    };
    let ended = match ended {
        Ended::Served(served) => served.map_err(std::io::Error::other),
        Ended::Stream(stream) => {
            let socket = Pin::into_inner(serving).into_parts().io.into_inner().socket;
            tokio::select! {
                carried = sse::carry(stream, socket) => carried,
                () = abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        // A client that went away, most likely. What it sent is not repeated.
        tracing::debug!(%error, "a connection ended");
    }
    drop(permit);
}

/// How HTTP on a connection ended.
enum Ended {
    Served(Result<(), hyper::Error>),
    Stream(sse::Stream),
}

/// A socket that says when HTTP has written out what it had.
struct Watched {
    socket: TcpStream,
    handover: Handover,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Asked by HTTP after it has written all of its buffer.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.handover.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
