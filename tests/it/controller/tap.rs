//! A way into a real broker on which every request is seen as it passes, and may be held back or lose its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::fixtures::{Kafka, free_ports};

/// The keys of Kafka's protocol for what changes topics.
pub(super) const CREATE_TOPICS: i16 = 19;
pub(super) const CREATE_PARTITIONS: i16 = 37;
pub(super) const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
/// Those of questions, and of what a client says on connecting: ListOffsets, Metadata, OffsetFetch, FindCoordinator,
/// DescribeGroups, ApiVersions, DescribeConfigs, DescribeCluster, ConsumerGroupDescribe, GetTelemetrySubscriptions,
/// DescribeTopicPartitions.
const QUESTIONS: [i16; 11] = [2, 3, 9, 10, 15, 18, 32, 60, 69, 71, 75];

/// What passes by.
#[derive(Default)]
struct Seen {
    /// Requests by the key of their API, those that are held included.
    requests: Mutex<BTreeMap<i16, usize>>,
    held: watch::Sender<BTreeSet<i16>>,
    /// APIs whose requests reach the broker and whose answers never come back: the connection ends instead.
    unanswered: Mutex<BTreeSet<i16>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only way of a client to a broker that tells those who come by it to stay on it. Ends with its owner.
pub(super) struct Tap {
    seen: Arc<Seen>,
    port: u16,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Tap {
    /// A broker of the test's own, and a tap on the way to it.
    pub(super) async fn on_a_broker() -> (Kafka, Self) {
        let port = free_ports(1);
        let kafka = tokio::task::block_in_place(|| Kafka::own_via(port));
        let to = SocketAddr::from(([127, 0, 0, 1], kafka.behind(0, 0)));
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let seen = Arc::<Seen>::default();
        let all = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, to, Arc::clone(&all)));
            }
        });
        (kafka, Self { seen, port, listening })
    }

    /// `bootstrap.servers` for whoever is to come by here.
    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many requests of an API have come.
    pub(super) fn requests(&self, api: i16) -> usize {
        lock(&self.seen.requests).get(&api).copied().unwrap_or(0)
    }

    /// All requests but questions, by the key of their API.
    pub(super) fn changes(&self) -> BTreeMap<i16, usize> {
        let requests = lock(&self.seen.requests);
        requests.iter().filter(|(api, _)| !QUESTIONS.contains(api)).map(|(api, n)| (*api, *n)).collect()
    }

    /// Requests of these APIs wait here until another call leaves them out.
    pub(super) fn hold(&self, apis: &[i16]) {
        self.seen.held.send_replace(apis.iter().copied().collect());
    }

    /// Requests of these APIs are carried out and not answered until another call leaves them out.
    pub(super) fn leave_unanswered(&self, apis: &[i16]) {
        *lock(&self.seen.unanswered) = apis.iter().copied().collect();
    }
}

async fn connection(client: TcpStream, to: SocketAddr, seen: Arc<Seen>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let lost = Mutex::default();
    tokio::select! {
        () = requests(client_in, server_out, &seen, &lost) => {}
        () = answers(server_in, client_out, &lost) => {}
    }
}

/// The next request or answer, its length in front of it.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let mut frame = vec![0; 4 + usize::try_from(i32::from_be_bytes(length)).ok()?];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// Passes requests on: their API's key comes first, then its version, then the number that the answer will bear.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: &Seen,
    lost: &Mutex<BTreeSet<[u8; 4]>>,
) {
    while let Some(frame) = frame(&mut from).await {
        let (Some(&[a, b]), Some(number)) = (frame.get(4..6), frame.get(8..12)) else { return };
        let api = i16::from_be_bytes([a, b]);
        *lock(&seen.requests).entry(api).or_insert(0) += 1;
        if seen.held.subscribe().wait_for(|held| !held.contains(&api)).await.is_err() {
            return;
        }
        if lock(&seen.unanswered).contains(&api) {
            lock(lost).extend(<[u8; 4]>::try_from(number));
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: &Mutex<BTreeSet<[u8; 4]>>) {
    while let Some(frame) = frame(&mut from).await {
        let number = frame.get(4..8).and_then(|number| <[u8; 4]>::try_from(number).ok());
        if number.is_none_or(|number| lock(lost).contains(&number)) || to.write_all(&frame).await.is_err() {
            return;
        }
    }
}
