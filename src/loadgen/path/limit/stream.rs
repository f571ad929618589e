use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream as Accepted},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{io::AsyncReadExt as _, net::TcpStream, task, task::JoinSet};

use super::super::{Latency, PathError, latency::histogram, round, schedule::Schedule};
use crate::loadgen::procfs;

/// What is written to whom.
#[derive(Debug, Clone, clap::Args)]
pub struct StreamArgs {
    /// Streams; each needs two files of this process
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub streams: u32,
    /// Events a second, each of which is written to all streams
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Bytes of an event
    #[arg(long, default_value_t = 450, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub event_bytes: u32,
}

/// Writing to sockets alone.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReport {
    /// Streams.
    pub streams: u32,
    /// Events that were read, over all streams.
    pub deliveries: u64,
    /// From the moment an event was due to its being read, in milliseconds.
    pub from_due_ms: Latency,
    /// Processor time of the thread that writes, for each event and stream.
    pub micros_per_delivery: f64,
}

/// Written events end like this, and begin with the number of the event: `data: 0000000007 xxx`.
const HEAD: usize = 16;

/// One thread that writes the same bytes to every stream in turn, and readers that note how late they are: no Kafka, no HTTP, no
/// look-up of who hears what.
///
/// # Errors
/// When the sockets cannot be opened.
pub async fn run_stream(args: &StreamArgs) -> Result<StreamReport, PathError> {
    if !(args.rate > 0.0 && args.rate * f64::from(args.seconds) < 10e6) {
        return Err(PathError::Shape("--rate x --seconds must be above 0 and below 10 million"));
    }
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let (address, streams) = (listener.local_addr()?, args.streams);
    let accepting = task::spawn_blocking(move || accept(&listener, streams));
    let mut reading = Vec::new();
    for _ in 0..streams {
        reading.push(TcpStream::connect(address).await?);
    }
    let sockets = accepting.await??;
    let count = (args.rate * f64::from(args.seconds)) as u32;
    let schedule = Schedule::after(Duration::from_millis(200), args.rate, count);
    let late = Arc::new(Mutex::new(histogram()));
    let mut readers = JoinSet::new();
    for stream in reading {
        readers.spawn(read(stream, args.event_bytes as usize, schedule, Arc::clone(&late)));
    }
    let bytes = args.event_bytes as usize;
    let used = task::spawn_blocking(move || write(sockets, &schedule, bytes)).await??;
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    let late = late.lock().unwrap_or_else(PoisonError::into_inner);
    let deliveries = late.len();
    if deliveries != u64::from(count) * u64::from(streams) {
        return Err(PathError::Shape("a stream ended before all was read"));
    }
    Ok(StreamReport {
        streams,
        deliveries,
        from_due_ms: Latency::from(&*late),
        micros_per_delivery: round(used * 1e6 / deliveries.max(1) as f64),
    })
}

fn accept(listener: &TcpListener, count: u32) -> std::io::Result<Vec<Accepted>> {
    (0..count)
        .map(|_| {
            let (socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            Ok(socket)
        })
        .collect()
}

/// Writes each event when it is due to all streams, then closes them. Gives the seconds of processor time that this thread used.
fn write(mut sockets: Vec<Accepted>, schedule: &Schedule, bytes: usize) -> std::io::Result<f64> {
    let this = format!("self/task/{}", rustix::thread::gettid().as_raw_nonzero());
    let before = procfs::of(&this)?.own;
    for n in 0..schedule.count {
        thread::sleep(schedule.at(n).saturating_duration_since(Instant::now()));
        let mut event = format!("data: {n:010}");
        event.extend(std::iter::repeat_n('x', bytes - HEAD - 2));
        event.push_str("\n\n");
        for socket in &mut sockets {
            socket.write_all(event.as_bytes())?;
        }
    }
    Ok(procfs::of(&this)?.own - before)
}

/// Reads events until the stream ends.
async fn read(
    mut stream: TcpStream,
    bytes: usize,
    schedule: Schedule,
    late: Arc<Mutex<Histogram<u64>>>,
) -> std::io::Result<()> {
    let mut event = vec![0; bytes];
    loop {
        match stream.read_exact(&mut event).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        let number = std::str::from_utf8(&event[6..HEAD]).ok().and_then(|digits| digits.parse().ok());
        let Some(n) = number else {
            return Err(std::io::Error::other("the bytes of a stream are not what was written"));
        };
        late.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(schedule.late(n, now));
    }
}
