use std::{hint::black_box, sync::Arc, time::Duration};

use clap::Parser;
use tokio_util::sync::CancellationToken;

use super::{
    OpenSession, Opening, ShardSettings, Wanted,
    record::{Record, Route},
    shard::Shard,
};
use crate::{
    gateway::{
        limits::Limits,
        metrics::Metrics,
        settings::LimitArgs,
        sse::{self, Epoch, Outbox, OutboxLimits},
    },
    ids::{RequestId, RoomId, Seq, SessionKey, Timestamp, UserId},
    store::reads::{Interests, Room, Span},
    wire::{
        Event, event_record,
        hot::{arrived, good, keys, text},
        open_event,
    },
};

/// Streams that hear each event.
const STREAMS: u8 = 100;
const ROOM: RoomId = RoomId(uuid::Uuid::from_u128(7));

/// The gateway's limits as they are by default.
#[derive(Debug, Parser)]
struct Defaults {
    #[command(flatten)]
    limits: LimitArgs,
}

/// Verifies, decodes and writes a message event, once for all who hear it.
pub(crate) fn event_in(rounds: u32) -> u32 {
    let (Some(keys), Ok(writer_id)) = (keys(), "bob.smith".parse()) else { return 0 };
    let request_id = RequestId(uuid::Uuid::from_u128(1 << 64));
    let created_at = Timestamp::from_micros(1_800_000_000_123_456);
    let event =
        Event::Message { room_id: ROOM, seq: Seq(1_000), writer_id, message: text(), created_at, request_id };
    let out = event_record(&keys, &event, Some(request_id), None, None);
    let arrived = arrived(&out);
    let decoded = |n: u32| {
        let opened = open_event(&keys, black_box(&arrived));
        let record = opened.map(|opened| Record::new(0, i64::from(n), 0, opened, arrived.value));
        black_box(record).is_ok_and(|record| record.route != Route::Nobody)
    };
    good(rounds, decoded)
}

/// Gives a message to a room of a hundred streams, and takes from each what its connection would write.
pub(crate) fn fan_out(rounds: u32) -> u32 {
    let Some((mut shard, outboxes)) = listening() else { return 0 };
    let mut bytes = Vec::with_capacity(4_096);
    // How many streams have something to write that begins like this.
    let mut written = move |start: &[u8]| {
        let mut told = 0_u8;
        for outbox in &outboxes {
            bytes.clear();
            outbox.take(&mut bytes);
            if bytes.starts_with(start) {
                told += 1;
            }
        }
        told
    };
    // What each stream begins with.
    if written(b"retry: ") != STREAMS {
        return 0;
    }
    let data = text();
    let heard = |n: u32| {
        let offset = i64::from(n);
        let request = RequestId(uuid::Uuid::from_u128(1 << 64 | u128::from(n)));
        let route = Route::Message { room: ROOM, seq: Seq(offset + 1), request };
        let head = sse::event("message", data.as_bytes());
        let record = Record { partition: 0, offset, stamped: 1_800_000_000_123, route, head: head.clone() };
        shard.record(&Arc::new(record));
        let all = shard.take_unflushed().len() == usize::from(STREAMS);
        all && written(&head) == STREAMS
    };
    good(rounds, heard)
}

/// A shard with live streams of a hundred users, all in one room.
fn listening() -> Option<(Shard, Vec<Outbox>)> {
    let metrics = Metrics::register(&crate::process::metrics::Registry::new()).ok()?;
    let limits = Limits::new(&Defaults::try_parse_from(["hot"]).ok()?.limits, &metrics);
    let settings = ShardSettings {
        ring_bytes: 1 << 20,
        replay_events: 1_000,
        replay_bytes: 1 << 20,
        heartbeat: Duration::from_secs(15),
        life: Duration::from_secs(600),
        unknown_life: Duration::from_secs(30),
    };
    let mut shard = Shard::new(settings, metrics.clone());
    for partition in 0..12 {
        shard.begins(Epoch::new("cluster", "topic"), partition, 0);
    }
    let mut outboxes = Vec::new();
    for n in 0..STREAMS {
        let (key, id) = (SessionKey([n; 32]), u64::from(n));
        let outbox_limits = OutboxLimits {
            bytes: 256 << 10,
            age: Duration::from_secs(600),
            queued: metrics.sse_queue_bytes.clone(),
            latency: metrics.delivery_latency_seconds.clone(),
        };
        let outbox = Outbox::new(outbox_limits, CancellationToken::new());
        let permit = limits.stream([127, 0, 0, 1].into(), key).ok()?;
        let retry = Duration::from_secs(1);
        let wanted = Wanted::Nothing;
        shard.open(id, Opening { key, wanted, outbox: outbox.clone(), permit, replies: Vec::new(), retry });
        let user: UserId = format!("user-{n:03}").parse().ok()?;
        let expires_at = Timestamp::now().after(Duration::from_secs(3_600));
        shard.identify(id, Some(OpenSession { user, opened_at: Timestamp::from_micros(0), expires_at }));
        let span = Span { joined: Seq(0), left: None };
        let room = Room { room_id: ROOM, span, last_seq: Seq(0), version: 1 };
        shard.interests_found(id, Ok(Interests { rooms: vec![room], friends: Vec::new() }));
        outboxes.push(outbox);
    }
    shard.take_lookups();
    shard.take_unflushed();
    Some((shard, outboxes))
}
