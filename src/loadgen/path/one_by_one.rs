use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task};

use super::{
    Cost, PathError, Place,
    limit::topics::{EVENTS, REPLIES, REQUESTS, make_limit_topics},
    make::Maker,
    place::{ends, written},
    round,
};
use crate::{
    ids::Timestamp,
    kafka::{Producer, ProducerSettings, simple::Simple},
    loadgen::bench::Stage,
    store::{bare, messages::Append},
    wire::{
        Body, Event, Incoming, Keyring, Kind, Outgoing, Reply, Request, event_record, open_request,
        reply_record,
    },
};

/// How long the plain loop works.
#[derive(Debug, Clone, clap::Args)]
pub struct OneByOneArgs {
    /// Seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Messages that wait for it
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub messages: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub message_bytes: u32,
}

/// How many a plain loop saves.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneByOneReport {
    /// Loops side by side: one for each partition.
    pub loops: usize,
    /// Messages that were saved, answered and committed.
    pub messages: u64,
    /// How long that took.
    pub seconds: f64,
    /// Messages a second.
    pub per_second: f64,
    /// Where the time of one message goes, in milliseconds.
    pub millis: Parts,
    /// Processor time for each message; the loop's own stands under `loadgen`.
    pub cost: Cost,
}

/// Where a loop waits.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Parts {
    /// For its transaction: number, insert, commit.
    pub database: f64,
    /// For the broker to have reply and event.
    pub produce: f64,
    /// For the broker to have the offset.
    pub commit: f64,
}

/// What this design replaces: take one record, begin, number, insert, commit, send reply and event and wait for the broker, commit
/// the offset, take the next. One such loop for each partition. It keeps no inbox, asks for no membership and repairs nothing,
/// so that it is faster than a service that did.
///
/// # Errors
/// When Kafka or PostgreSQL cannot be reached.
pub async fn run_one_by_one(
    place: &Place,
    stage: &Stage,
    args: &OneByOneArgs,
) -> Result<OneByOneReport, PathError> {
    make_limit_topics(place.bootstrap()).await?;
    let maker = Maker::new(place, stage, args.message_bytes)?;
    let admin = place.admin()?;
    let starts = ends(&admin, REQUESTS).await?;
    let already = written(&admin, REPLIES).await?;
    write(place, &maker, args.messages).await?;
    let waited = Mutex::new(Parts::default());
    let done = AtomicU64::new(0);
    let before = place.processes.sample()?;
    let start = Instant::now();
    let end = start + Duration::from_secs(u64::from(args.seconds));
    let (handle, counter, waits) = (&Handle::current(), &done, &waited);
    task::block_in_place(|| {
        thread::scope(|scope| {
            let serving: Vec<_> = starts
                .iter()
                .map(|(partition, offset)| {
                    scope.spawn(move || serve(place, handle, (*partition, *offset), end, counter, waits))
                })
                .collect();
            serving.into_iter().try_for_each(|served| served.join().map_err(|_| PathError::Thread)?)
        })
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let messages = done.into_inner();
    let cost = place.processes.sample()?.cost_since(&before, messages);
    let told = written(&admin, REPLIES).await? - already;
    if messages == 0 || told != i64::try_from(messages).unwrap_or(i64::MAX) {
        return Err(PathError::Shape("the plain loop saved nothing, or did not answer what it saved"));
    }
    let waited = waited.into_inner().unwrap_or_else(PoisonError::into_inner);
    let each = |seconds: f64| round(seconds * 1e3 / messages as f64);
    Ok(OneByOneReport {
        loops: starts.len(),
        messages,
        seconds: round(seconds),
        per_second: (messages as f64 / seconds).round(),
        millis: Parts {
            database: each(waited.database),
            produce: each(waited.produce),
            commit: each(waited.commit),
        },
        cost,
    })
}

/// The backlog, on a topic that no worker reads.
async fn write(place: &Place, maker: &Maker, count: u32) -> Result<(), PathError> {
    let mut queued = Vec::new();
    for n in 0..count {
        let record = Outgoing { topic: REQUESTS, ..maker.record(n, Timestamp::now())? };
        queued.push(record);
        if queued.len() == 1_000 || n + 1 == count {
            place.producer.send_all(&queued).await?;
            queued.clear();
        }
    }
    Ok(())
}

/// One loop.
fn serve(
    place: &Place,
    handle: &Handle,
    (partition, offset): (i32, i64),
    end: Instant,
    done: &AtomicU64,
    waited: &Mutex<Parts>,
) -> Result<(), PathError> {
    let consumer = Simple::start(&place.kafka, "loadgen-one-by-one", REQUESTS, partition, offset)?;
    // Nothing to wait for: there is never a second record.
    let settings = ProducerSettings { message_timeout: super::PATIENCE, linger: Duration::ZERO };
    let producer = Producer::start(&place.kafka, "loadgen-one-by-one", settings)?;
    let mut own = Parts::default();
    // Time enough for a first one, however slow the machine.
    let going = |now| now < end || (done.load(Ordering::Relaxed) == 0 && now < end + super::PATIENCE);
    while going(Instant::now()) {
        let Some(held) = consumer.next(Duration::from_millis(100)) else { continue };
        let view = held.view();
        handle.block_on(save(place, &producer, &view.record, &mut own))?;
        let committing = Instant::now();
        consumer.commit(held.offset())?;
        own.commit += committing.elapsed().as_secs_f64();
        done.fetch_add(1, Ordering::Relaxed);
    }
    let mut all = waited.lock().unwrap_or_else(PoisonError::into_inner);
    all.database += own.database;
    all.produce += own.produce;
    all.commit += own.commit;
    Ok(())
}

async fn save(
    place: &Place,
    producer: &Producer,
    record: &Incoming<'_>,
    waited: &mut Parts,
) -> Result<(), PathError> {
    // Signed for the topic that workers read.
    let record = Incoming { topic: Kind::AddChat.request_topic(), ..record.clone() };
    let opened =
        open_request(&place.requests, &record).map_err(|_| PathError::Shape("a request is not ours"))?;
    let Ok(Request::AddChat(chat)) = &opened.request else {
        return Err(PathError::Shape("a request is no message"));
    };
    let created_at = Timestamp::now();
    let ask = Append {
        request_id: opened.headers.request_id,
        room_id: chat.room_id,
        writer_id: &chat.writer_id,
        message: chat.message.as_str(),
        client_message_id: chat.client_message_id.as_deref(),
    };
    let writing = Instant::now();
    let seq = bare::append_one(&place.database, &ask, created_at).await?;
    waited.database += writing.elapsed().as_secs_f64();
    let body = Body::AddChat { room_id: ask.room_id, seq, message: ask.message.to_owned(), created_at };
    let event = Event::Message {
        room_id: ask.room_id,
        seq,
        writer_id: ask.writer_id.clone(),
        message: ask.message.to_owned(),
        created_at,
        request_id: ask.request_id,
    };
    let keys: &Keyring = &place.replies;
    let reply = Reply { user_id: Some(ask.writer_id.clone()), result: Ok(body) };
    let reply = reply_record(keys, Kind::AddChat, record.key, &opened.headers, &reply, false, None);
    let event = event_record(keys, &event, Some(ask.request_id), None, None);
    let both = [Outgoing { topic: REPLIES, ..reply }, Outgoing { topic: EVENTS, ..event }];
    let sending = Instant::now();
    producer.send_all(&both).await?;
    waited.produce += sending.elapsed().as_secs_f64();
    Ok(())
}
