use std::time::{Duration, Instant};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    Control, Scout,
    feed::{Feed, Feeds},
    lookup::Found,
    shard::{Shard, event_name},
    wheel::TICKS_PER_SECOND,
};
use crate::{gateway::sse::Outbox, process::trace::Tracer};

/// Records that are taken before what they brought is written: events of one stream share a write then.
const AT_ONCE: usize = 64;
/// Streams that are written to before other tasks get their turn: about a millisecond.
const FLUSHED_AT_ONCE: usize = 256;

/// The task around a shard: takes what comes in, has its questions answered, lets time pass. Ends when the hub is gone.
pub(super) async fn run(
    mut shard: Shard,
    mut feeds: Feeds,
    mut controls: mpsc::UnboundedReceiver<Control>,
    answers: mpsc::UnboundedSender<Control>,
    scout: Scout,
    tracer: Tracer,
) {
    let (start, mut passed) = (Instant::now(), 0);
    let mut clock = interval(Duration::from_millis(1_000 / TICKS_PER_SECOND));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            feed = feeds.recv() => match feed {
                Some(feed) => {
                    take_feed(&mut shard, feed, &tracer);
                    // What is there already goes out together.
                    for _ in 1..AT_ONCE {
                        let Some(feed) = feeds.try_recv() else { break };
                        take_feed(&mut shard, feed, &tracer);
                    }
                }
                None => return,
            },
            Some(control) = controls.recv() => take_control(&mut shard, control),
            _ = clock.tick() => {
                // By the clock and not by how often this came to be: a machine that stood still must not make a drain last longer.
                let by_now = ticks_of(start.elapsed());
                shard.pass(by_now - passed);
                passed = by_now;
            }
        }
        for some in shard.take_unflushed().chunks(FLUSHED_AT_ONCE) {
            some.iter().for_each(Outbox::flush);
            // A room of thousands is not to hold up everything else that this thread does.
            if some.len() == FLUSHED_AT_ONCE {
                tokio::task::yield_now().await;
            }
        }
        for lookup in shard.take_lookups() {
            let (scout, answers) = (scout.clone(), answers.clone());
            tokio::spawn(async move {
                let found = scout.find(lookup).await;
                // The shard may be gone by now.
                let _ = answers.send(Control::Found(found));
            });
        }
    }
}

/// Whole ticks of the wheel in this span.
fn ticks_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX) / (1_000 / TICKS_PER_SECOND)
}

fn take_feed(shard: &mut Shard, feed: Feed, tracer: &Tracer) {
    match feed {
        Feed::Begins { epoch, partition, offset } => shard.begins(epoch, partition, offset),
        Feed::Lost { partition, offset } => shard.lost(partition, offset),
        Feed::Record(record, traced) => {
            let before = shard.delivered();
            shard.record(&record);
            if let Some(traced) = traced {
                traced.delivered(tracer, event_name(&record.route), shard.delivered() - before);
            }
        }
        Feed::Reply { key, head, stamped, login, traced } => {
            let before = shard.delivered();
            shard.reply(&key, &head, stamped, login);
            if let Some(traced) = traced {
                traced.delivered(tracer, "reply", shard.delivered() - before);
            }
        }
    }
}

fn take_control(shard: &mut Shard, control: Control) {
    match control {
        Control::Open(id, opening) => shard.open(id, *opening),
        Control::Identify(id, session) => shard.identify(id, session),
        Control::Close(id, reason) => shard.close(id, reason),
        Control::Drain(window) => shard.drain(window),
        Control::Streams(ask) => {
            // Whoever asked may have given up.
            let _ = ask.send(shard.streams());
        }
        Control::Found(found) => take_found(shard, found),
    }
}

fn take_found(shard: &mut Shard, found: Found) {
    match found {
        Found::Session { key, state } => shard.session_found(&key, state),
        Found::Interests { conn, interests } => shard.interests_found(conn, interests),
        Found::Gap { room, ticket, attempt, messages } => shard.gap_found(room, ticket, attempt, messages),
        Found::Members { room, ticket, attempt, members } => {
            shard.members_found(room, ticket, attempt, members)
        }
        Found::Holes { conn, messages } => shard.holes_found(conn, messages),
        Found::Replay { conn, ranges, records } => shard.replay_found(conn, &ranges, records),
        Found::OffsetsAt { conn, offsets } => shard.offsets_found(conn, offsets),
        Found::Ends { conn, ends } => shard.ends_found(conn, ends),
    }
}
