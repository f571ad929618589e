//! A network that can be disturbed: a TCP relay between two parties.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::schedule::{Dice, Trouble};

/// What is wrong with the relay now; none: nothing is.
type State = Option<Ill>;

/// One time that it is disturbed.
#[derive(Debug, Clone)]
struct Ill {
    trouble: Trouble,
    /// How many connections and packets met it.
    met: Arc<AtomicU64>,
}

impl Ill {
    /// Counts one that met it.
    fn meet(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }
}

/// The relay from one address to another. Ends with its owner.
pub(crate) struct Relay {
    state: watch::Sender<State>,
    /// One trouble at a time.
    disturbing: tokio::sync::Mutex<()>,
    to: Arc<Mutex<SocketAddr>>,
    /// Ends what is half-open.
    hung_up: CancellationToken,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Relay {
    /// Listens at `from` and passes all on to `to`.
    pub(crate) async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.expect("the port is free");
        let (state, seen) = watch::channel(None);
        let to = Arc::new(Mutex::new(to));
        let now = Arc::clone(&to);
        let hung_up = CancellationToken::new();
        let done = hung_up.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = *now.lock().expect("nobody panics while it is held");
                tokio::spawn(connection(client, to, seen.clone(), done.clone()));
            }
        });
        Self { state, disturbing: tokio::sync::Mutex::default(), to, hung_up, listening }
    }

    /// New connections go there from now on.
    pub(super) fn lead_to(&self, to: SocketAddr) {
        *self.to.lock().expect("nobody panics while it is held") = to;
    }

    /// Ends what a trouble has left half-open, now and from now on.
    pub(super) fn hang_up(&self) {
        self.hung_up.cancel();
    }

    /// Disturbs it for a while, after whoever does so already; how many connections and packets met the trouble.
    pub(crate) async fn disturb(&self, trouble: Trouble, time: Duration) -> u64 {
        let _alone = self.disturbing.lock().await;
        let met = Arc::new(AtomicU64::new(0));
        self.state.send_replace(Some(Ill { trouble, met: Arc::clone(&met) }));
        tokio::time::sleep(time).await;
        self.state.send_replace(None);
        met.load(Ordering::Relaxed)
    }
}

/// Ends a connection with a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn connection(
    client: TcpStream,
    to: SocketAddr,
    state: watch::Receiver<State>,
    hung_up: CancellationToken,
) {
    let now = state.borrow().clone();
    match now.as_ref().map(|ill| (ill.trouble, ill)) {
        Some((Trouble::Refused, ill)) => {
            ill.meet();
            return reset(&client);
        }
        // Nobody is at the other end; the connection stays until its maker gives up.
        Some((Trouble::HalfOpen, ill)) => {
            ill.meet();
            let _ = hung_up.run_until_cancelled(swallow(client)).await;
            return;
        }
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
        // Who asks is the one that is to hear nothing, whoever else would tell it.
        biased;
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
        End::HalfOpen(from, _to) => {
            let _ = hung_up.run_until_cancelled(swallow(from)).await;
        }
    }
}

/// How a trouble ends a connection.
enum Cut {
    Reset,
    Silent,
}

/// Whether this trouble, which it has then met, ends a connection.
fn cut(now: Option<&Ill>) -> Option<Cut> {
    let cut = match now?.trouble {
        Trouble::Reset | Trouble::Refused => Cut::Reset,
        Trouble::HalfOpen => Cut::Silent,
        Trouble::Delay | Trouble::Loss | Trouble::OneWay => return None,
    };
    now?.meet();
    Some(cut)
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

async fn swallow(mut client: impl AsyncRead + Unpin) {
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
                let now = state.borrow().clone();
                match cut(now.as_ref()) {
                    Some(Cut::Reset) => return End::Broken(from, to),
                    Some(Cut::Silent) => return End::HalfOpen(from, to),
                    None => continue,
                }
            }
        };
        loop {
            let now = state.borrow_and_update().clone();
            match cut(now.as_ref()) {
                Some(Cut::Reset) => return End::Broken(from, to),
                Some(Cut::Silent) => return End::HalfOpen(from, to),
                None => {}
            }
            match now.as_ref().map(|ill| (ill.trouble, ill)) {
                Some((Trouble::Delay, ill)) => {
                    ill.meet();
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
                // The first packet always, so that no quiet link is spared by luck.
                Some((Trouble::Loss, ill)) if ill.met.load(Ordering::Relaxed) == 0 || dice.below(4) == 0 => {
                    ill.meet();
                    tokio::time::sleep(Duration::from_millis(200 + dice.below(600))).await;
                }
                Some((Trouble::OneWay, ill)) if answers => {
                    ill.meet();
                    if state.changed().await.is_ok() {
                        continue;
                    }
                }
                _ => {}
            }
            break;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return End::Broken(from, to);
        }
    }
}
