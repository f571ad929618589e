//! A network that can be disturbed: a TCP relay between two parties.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::schedule::{Dice, Trouble};

/// What the relay does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Ill(Trouble),
}

/// The relay from one address to another. Ends with its owner.
pub(super) struct Relay {
    state: watch::Sender<State>,
    to: Arc<Mutex<SocketAddr>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Relay {
    /// Listens at `from` and passes all on to `to`.
    pub(super) async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.expect("the port is free");
        let (state, seen) = watch::channel(State::Well);
        let to = Arc::new(Mutex::new(to));
        let now = Arc::clone(&to);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = *now.lock().expect("nobody panics while it is held");
                tokio::spawn(connection(client, to, seen.clone()));
            }
        });
        Self { state, to, listening }
    }

    /// New connections go there from now on.
    pub(super) fn lead_to(&self, to: SocketAddr) {
        *self.to.lock().expect("nobody panics while it is held") = to;
    }

    /// Disturbs it for a while.
    pub(super) async fn disturb(&self, trouble: Trouble, time: Duration) {
        self.state.send_replace(State::Ill(trouble));
        tokio::time::sleep(time).await;
        self.state.send_replace(State::Well);
    }
}

/// Ends a connection with a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn connection(client: TcpStream, to: SocketAddr, state: watch::Receiver<State>) {
    let now = *state.borrow();
    match now {
        State::Ill(Trouble::Refused) => return reset(&client),
        // Nobody is at the other end; the connection stays until its maker gives up.
        State::Ill(Trouble::HalfOpen) => return swallow(client).await,
        _ => {}
    }
    let Ok(server) = TcpStream::connect(to).await else { return reset(&client) };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let mut up = std::pin::pin!(pass(client_in, server_out, state.clone(), false));
    let mut down = std::pin::pin!(pass(server_in, client_out, state, true));
    let ended = tokio::select! {
        ended = &mut up => match ended {
            End::Farewell(..) => down.await,
            other => other,
        },
        ended = &mut down => match ended {
            End::Farewell(..) => up.await,
            other => other,
        },
    };
    match ended {
        End::Farewell(..) => {}
        End::Broken(from, to) => {
            reset(from.as_ref());
            reset(to.as_ref());
        }
        // What still comes is lost, and nobody says so.
        End::HalfOpen(mut from, _to) => {
            let mut lost = [0; 4096];
            while from.read(&mut lost).await.is_ok_and(|count| count > 0) {}
        }
    }
}

/// How one direction ended; its halves are held until the connection is done with.
enum End {
    Farewell(
        #[expect(dead_code, reason = "held, so that the other direction may go on")]
        (OwnedReadHalf, OwnedWriteHalf),
    ),
    Broken(OwnedReadHalf, OwnedWriteHalf),
    HalfOpen(OwnedReadHalf, OwnedWriteHalf),
}

async fn swallow(mut client: TcpStream) {
    let mut lost = [0; 4096];
    while client.read(&mut lost).await.is_ok_and(|count| count > 0) {}
}

/// Passes one direction on until it ends. The relay being dropped leaves its connections as they are.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    answers: bool,
) -> End {
    let mut dice = Dice(u64::from(from.peer_addr().map_or(0, |peer| peer.port())));
    let mut buffer = vec![0; 16 << 10];
    let mut attended = true;
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => match count {
                Ok(count) if count > 0 => count,
                Ok(_) => {
                    let _ = to.shutdown().await;
                    return End::Farewell((from, to));
                }
                Err(_) => return End::Broken(from, to),
            },
            changed = state.changed(), if attended => {
                attended = changed.is_ok();
                match *state.borrow() {
                    State::Ill(Trouble::Reset | Trouble::Refused) => return End::Broken(from, to),
                    State::Ill(Trouble::HalfOpen) => return End::HalfOpen(from, to),
                    _ => continue,
                }
            }
        };
        loop {
            let now = *state.borrow_and_update();
            match now {
                State::Ill(Trouble::Delay) => tokio::time::sleep(Duration::from_millis(150)).await,
                State::Ill(Trouble::Loss) if dice.below(4) == 0 => {
                    tokio::time::sleep(Duration::from_millis(200 + dice.below(600))).await;
                }
                State::Ill(Trouble::OneWay) if answers && state.changed().await.is_ok() => continue,
                State::Ill(Trouble::Reset | Trouble::Refused) => return End::Broken(from, to),
                State::Ill(Trouble::HalfOpen) => return End::HalfOpen(from, to),
                _ => {}
            }
            break;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return End::Broken(from, to);
        }
    }
}
