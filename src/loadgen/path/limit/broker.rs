use std::{collections::VecDeque, ops::ControlFlow, time::Instant};

use tokio::task;

use super::{
    super::{Cost, PathError, Place, cost::Sample, make::Maker, round},
    topics::{EVENTS, REPLIES, REQUESTS, make_limit_topics},
};
use crate::{
    ids::{Seq, Timestamp},
    kafka::{
        KafkaFailure, KafkaSettings, Queued,
        scan::{From, Scan},
    },
    loadgen::bench::Stage,
    wire::{Body, Event, Kind, Outgoing, Reply, RequestHeaders, event_record, reply_record},
};

/// Records that are made and then sent again and again.
const MADE: u32 = 1_000;
/// Sendings that are not acknowledged yet, at most: far more than the broker needs to be busy, far less than the queue takes.
const UNDER_WAY: usize = 20;

/// How much passes.
#[derive(Debug, Clone, clap::Args)]
pub struct BrokerArgs {
    /// Messages: so many requests are read, so many replies and events are written
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    pub messages: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub message_bytes: u32,
}

/// Records of one sort.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// How many.
    pub records: u64,
    /// Records a second.
    pub per_second: f64,
    /// Processor time for each record; the client's stands under `loadgen`.
    pub cost: Cost,
}

/// The broker alone, with the client library of the worker.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerReport {
    /// Reading requests.
    pub consume: Flow,
    /// Writing replies and events, acknowledged by all replicas, idempotent.
    pub produce: Flow,
    /// Processor time of broker and client for what one message takes: one record read, two written.
    pub micros_per_message: f64,
    /// Messages a second when both do nothing else, one after the other.
    pub per_second: f64,
}

/// What the worker asks of Kafka and nothing else: reads requests, writes replies and events of the same sizes. Nothing is
/// verified, decoded, signed or stored.
///
/// # Errors
/// When Kafka cannot be reached.
pub async fn run_broker(place: &Place, stage: &Stage, args: &BrokerArgs) -> Result<BrokerReport, PathError> {
    make_limit_topics(place.bootstrap()).await?;
    let maker = Maker::new(place, stage, args.message_bytes)?;
    let since = Timestamp::now();
    let requests: Result<Vec<_>, _> = (0..MADE).map(|n| maker.record(n, since)).collect();
    let requests: Vec<_> =
        requests?.into_iter().map(|record| Outgoing { topic: REQUESTS, ..record }).collect();
    let told = told(place, &maker)?;
    let times = args.messages / MADE;
    send(place, &requests, times).await?;
    let records = u64::from(times * MADE);

    let kafka = place.kafka.clone();
    let scan = task::spawn_blocking(move || open(&kafka, since)).await??;
    let (before, start) = (place.processes.sample()?, Instant::now());
    let read = task::spawn_blocking(move || read(&scan)).await??;
    let consume = flow(place, &before, start, read)?;
    if read != records {
        return Err(PathError::Shape("not every record that was written was read"));
    }
    let (before, start) = (place.processes.sample()?, Instant::now());
    send(place, &told, times).await?;
    let produce = flow(place, &before, start, records * 2)?;
    let of = |flow: &Flow| flow.cost.broker + flow.cost.loadgen;
    Ok(BrokerReport {
        micros_per_message: round(of(&consume) + 2.0 * of(&produce)),
        per_second: (1.0 / (1.0 / consume.per_second + 2.0 / produce.per_second)).round(),
        consume,
        produce,
    })
}

fn flow(place: &Place, before: &Sample, start: Instant, records: u64) -> Result<Flow, PathError> {
    let seconds = start.elapsed().as_secs_f64().max(1e-6);
    let cost = place.processes.sample()?.cost_since(before, records);
    Ok(Flow { records, per_second: (records as f64 / seconds).round(), cost })
}

/// Replies and events as the worker would make them.
fn told(place: &Place, maker: &Maker) -> Result<Vec<Outgoing>, PathError> {
    let now = Timestamp::now();
    let mut records = Vec::new();
    for n in 0..MADE {
        let (writer, session) = maker.writer_of(n);
        let (room_id, seq, message) = (maker.rooms[maker.room_of(n) as usize], Seq(1), maker.text(n, now));
        let request_id = maker.ids.of(n, now);
        let headers = RequestHeaders {
            request_id,
            session_key: *session,
            user_id: Some(writer.clone()),
            client_address: None,
            deadline: now,
            traceparent: None,
        };
        let body = Body::AddChat { room_id, seq, message: message.clone(), created_at: now };
        let reply = Reply { user_id: Some(writer.clone()), result: Ok(body) };
        let key = room_id.to_string();
        // The worker's replies name the signature of what they answer.
        let answers = [b'x'; 43];
        let reply = reply_record(
            &place.replies,
            Kind::AddChat,
            key.as_bytes(),
            &headers,
            &reply,
            false,
            Some(answers.as_slice()),
        );
        let event =
            Event::Message { room_id, seq, writer_id: writer.clone(), message, created_at: now, request_id };
        let event = event_record(&place.replies, &event, Some(request_id), None, None);
        records.push(Outgoing { topic: REPLIES, ..reply });
        records.push(Outgoing { topic: EVENTS, ..event });
    }
    Ok(records)
}

/// Sends these records so many times.
async fn send(place: &Place, records: &[Outgoing], times: u32) -> Result<(), PathError> {
    let mut under_way: VecDeque<Queued> = VecDeque::new();
    for _ in 0..times {
        if under_way.len() >= UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.done().await?;
        }
        under_way.push_back(place.producer.queue_all(records).await?);
    }
    for batch in under_way {
        batch.done().await?;
    }
    Ok(())
}

/// Stands before the requests that were written since.
fn open(kafka: &KafkaSettings, since: Timestamp) -> Result<Scan, KafkaFailure> {
    Scan::start(kafka, &[REQUESTS], From::Time(since.as_micros() / 1_000 - 1))
}

/// Reads them all.
fn read(scan: &Scan) -> Result<u64, KafkaFailure> {
    let mut count = 0;
    scan.to_end(|_| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}
