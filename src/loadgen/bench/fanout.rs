use std::sync::atomic::Ordering;

use super::{
    BenchError, Cores, Quantiles, Stage, Talk, Target,
    crowd::Crowd,
    idle::round,
    talk::Talked,
    usage::{Usage, background, resident},
};

/// How fast events arrive.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FanoutReport {
    /// Streams.
    pub streams: usize,
    /// The same load again and again.
    pub rounds: Vec<Round>,
    /// Cores that others used before.
    pub background: f64,
    /// Resident memory of the gateway at the end.
    pub resident_mib: f64,
    /// Messages that the system did not take on.
    pub refused: u64,
    /// Messages that a member did not hear, counted per member.
    pub lost: u64,
    /// Messages heard twice.
    pub repeated: u64,
    /// Streams that had to read their state anew.
    pub resyncs: u64,
    /// What went wrong.
    pub breaches: Vec<String>,
}

/// What was measured in one round.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// Messages that the system took on.
    pub accepted: u64,
    /// Message events that arrived.
    pub deliveries: u64,
    /// The same a second, while messages were due.
    pub deliveries_per_second: f64,
    /// From the moment a message was due to its event, in milliseconds: HTTP, Kafka, worker, PostgreSQL, Kafka, stream.
    pub from_due_ms: Quantiles,
    /// From its being stored to its event: commit, Kafka, stream.
    pub from_stored_ms: Quantiles,
    /// Processor time of the gateway for each delivery, requests included.
    pub gateway_micros_per_delivery: f64,
    /// Deliveries that one core of the gateway makes a second.
    pub deliveries_per_core_second: f64,
    /// Cores in use meanwhile.
    pub cores: Cores,
}

/// A stream for each user of the stage, and messages to their rooms.
///
/// # Errors
/// When the streams cannot be opened or the process cannot be looked at.
pub async fn run_fanout(
    stage: &Stage,
    target: &Target,
    talk: &Talk,
    rounds: u32,
) -> Result<FanoutReport, BenchError> {
    let background = background(target.pid).await?;
    let crowd = Crowd::gather(stage, 0..stage.users, &[target.gateway]).await?;
    // The first messages fill caches and connections; they are heard, not measured.
    let mut talks = vec![Talk { seconds: 2, ..talk.clone() }.run(stage, target.gateway).await];
    crowd.hears(talks[0].deliveries(stage, 1)).await;
    crowd.tally.measuring.store(true, Ordering::Relaxed);
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let (round, talked) = round_of(&crowd, stage, target, talk).await?;
        measured.push(round);
        talks.push(talked);
    }
    let (lost, repeated) = missing(stage, &crowd, &talks.iter().collect::<Vec<_>>());
    Ok(FanoutReport {
        streams: crowd.live(),
        rounds: measured,
        background,
        resident_mib: round(resident(target.pid)? as f64 / f64::from(1 << 20)),
        refused: talks.iter().map(|talked| talked.refused).sum(),
        lost,
        repeated,
        resyncs: crowd.tally.resyncs.load(Ordering::Relaxed),
        breaches: crowd.tally.breaches(),
    })
}

async fn round_of(
    crowd: &Crowd,
    stage: &Stage,
    target: &Target,
    talk: &Talk,
) -> Result<(Round, Talked), BenchError> {
    let (before, already) = (Usage::now(target.pid)?, crowd.deliveries());
    let talked = talk.run(stage, target.gateway).await;
    let (after, meanwhile) = (Usage::now(target.pid)?, crowd.deliveries());
    crowd.hears(already + talked.deliveries(stage, 1)).await;
    let used = Usage::now(target.pid)?.gateway_since(&before);
    let deliveries = crowd.deliveries() - already;
    let (from_due_ms, from_stored_ms) = crowd.tally.take_latency();
    let per_delivery = used / (deliveries as f64).max(1.0);
    let round = Round {
        accepted: talked.total(),
        deliveries,
        deliveries_per_second: round((meanwhile - already) as f64 / talk.seconds as f64),
        from_due_ms,
        from_stored_ms,
        gateway_micros_per_delivery: round(per_delivery * 1e6),
        deliveries_per_core_second: round(1.0 / per_delivery.max(1e-9)),
        cores: after.cores_since(&before),
    };
    Ok((round, talked))
}

/// Held against what was accepted in rooms that began empty: messages that members did not hear, and those heard twice.
pub(super) fn missing(stage: &Stage, crowd: &Crowd, talks: &[&Talked]) -> (u64, u64) {
    let (mut lost, mut repeated) = (0, 0);
    for (user, ear) in (0..).zip(&crowd.ears) {
        let room = stage.room_of(user) as usize;
        let accepted: u64 = talks.iter().filter_map(|talked| talked.accepted.get(room)).sum();
        let last = u64::try_from(ear.last.load(Ordering::Relaxed)).unwrap_or(0);
        lost += accepted.saturating_sub(last) + ear.gaps.load(Ordering::Relaxed);
        repeated += ear.repeats.load(Ordering::Relaxed);
    }
    (lost, repeated)
}
