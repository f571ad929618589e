//! One partition: fill a batch, run it, send what comes of it, store the offset, again. A partition never runs ahead of
//! itself; several run side by side.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Failed, attempt, ready},
    batch::{Batch, dead},
    fault,
    handlers::Passwords,
    job::{Answer, Job, again},
    parts::{Hold, Parts},
    settings::needs_passwords,
    traced,
};
use crate::{
    kafka::{Partition, ProduceError},
    process::trace::Span,
    store::{SILENCE, StoreError},
    wire::{ErrorCode, Failure, Kind, Outgoing},
};

/// The first wait after a transient failure, and the longest; both with jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often a batch is run again at once because somebody else wrote the same rows. After that it waits like any other.
const CONFLICTS: u32 = 8;
/// How long PostgreSQL may take over a batch that was cut off before.
const MOST_PATIENCE: Duration = Duration::from_secs(80);
/// From so many records in a batch on, the next one waits to fill. Where fewer come in the time that a batch takes, waiting would
/// make each of them later and save little.
const MANY: usize = 16;

/// Why a partition ended before its batch did.
enum Ended {
    /// It is somebody else's soon; whoever it is finds what was done.
    Revoked,
    /// The producer is broken: the process must end.
    Broken(String),
}

/// Serves a partition until it is to be let go. An error says that the process cannot go on.
pub(super) async fn serve(mut partition: Partition, parts: Arc<Parts>) -> Result<(), String> {
    let Some(kind) = Kind::of_request_topic(partition.topic()) else {
        return Err(format!("{} is no request topic", partition.topic()));
    };
    partition.begin().await;
    let end = partition.end();
    let ahead = needs_passwords(kind);
    let line = Line { partition: &partition, parts: &parts, kind, ahead, end: &end, turns: Turns::default() };
    if ahead {
        // While one batch is stored and sent, the passwords of the next are hashed: the threads never idle for long.
        tokio::try_join!(line.batches(), line.batches()).map(drop)
    } else {
        // The longer a batch takes, the fuller is the next: taken ahead of time it would be small.
        line.batches().await
    }
}

/// What the batches of a partition share. Several may be taken and made ready, one ahead of the other; they are run in order.
struct Line<'a> {
    partition: &'a Partition,
    parts: &'a Parts,
    kind: Kind,
    /// Whether its batches hold passwords, and one is made ready while another runs.
    ahead: bool,
    end: &'a CancellationToken,
    turns: Turns,
}

/// Whose turn it is, in the order of the partition's records: who takes a batch gives that turn on once its turn to run has come.
#[derive(Default)]
struct Turns {
    take: Mutex<()>,
    run: Mutex<()>,
}

impl Line<'_> {
    /// Takes a batch, runs it, stores the offset, again.
    async fn batches(&self) -> Result<(), String> {
        let parts = self.parts;
        let most = if self.ahead {
            // A batch of passwords must not outlive its deadline: two rounds of the threads.
            parts.settings.batch_records.min(parts.hashing.width() * 2)
        } else {
            parts.settings.batch_records
        };
        let mut before = 0;
        loop {
            let take = self.turns.take.lock().await;
            let held = self.partition.fill(most, patience(before, most, parts.settings.batch_wait)).await;
            before = held.len();
            let Some(last) = held.last() else { return Ok(()) };
            fault::point("poll", self.kind);
            let offset = last.offset();
            let decoding = Instant::now();
            let mut batch = Batch::open(self.kind, &parts.keys.requests, &held);
            let mut span = traced::begin(&parts.tracer, self.partition, &batch, decoding);
            parts.stage(&span, "decode", decoding);
            let unverified = parts.metrics.unverified_records_total.with_label_values(&[self.kind.as_str()]);
            unverified.inc_by(batch.bad.len() as u64);
            batch.drop_strangers(&parts.strangers);
            fault::point("decode", self.kind);
            let ready = tokio::select! {
                biased;
                // Nothing is begun yet: the next owner does it.
                () = self.end.cancelled(), if self.ahead => return Ok(()),
                ready = ready(parts, &span, self.kind, &batch.jobs) => ready.ok(),
            };
            let _run = self.turns.run.lock().await;
            drop(take);
            if self.ahead && self.end.is_cancelled() {
                // The batch before may have been given up, and nothing may be done ahead of it.
                return Ok(());
            }
            let run = Run { parts, kind: self.kind, end: self.end, span: &span };
            let done = async {
                let answers = run.answers(&batch.jobs, ready, 0).await?;
                run.send(&batch, &answers).await?;
                run.count(&batch, &answers);
                Ok(())
            };
            match done.await {
                Ok(()) => {}
                Err(Ended::Revoked) => {
                    span.failed("revoked");
                    return Ok(());
                }
                Err(Ended::Broken(why)) => return Err(why),
            }
            self.partition.store(offset);
            fault::point("stored", self.kind);
        }
    }
}

struct Run<'a> {
    parts: &'a Parts,
    kind: Kind,
    end: &'a CancellationToken,
    /// The batch's.
    span: &'a Span,
}

impl Run<'_> {
    /// An answer for every job: as one batch, and when something in it cannot be stored, one by one. `ready`: the passwords of
    /// the batch, when they have been looked at already. `attempts`: how often these jobs were run before.
    async fn answers(
        &self,
        jobs: &[Job],
        ready: Option<Passwords>,
        mut attempts: u32,
    ) -> Result<Vec<Answer>, Ended> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        match self.until_it_works(jobs, ready, &mut attempts).await? {
            Ok(answers) => Ok(answers),
            Err(why) if jobs.len() == 1 => {
                tracing::error!(kind = %self.kind, request = %jobs[0].headers.request_id, why, "a request cannot be run");
                Ok(vec![self.give_up(&jobs[0], attempts).await?])
            }
            Err(why) => {
                tracing::warn!(kind = %self.kind, records = jobs.len(), why, "a batch is run record by record");
                self.parts.metrics.batch_retries_total.with_label_values(&["isolated"]).inc();
                let mut answers = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let alone = self.answers(std::slice::from_ref(job), None, attempts);
                    answers.extend(Box::pin(alone).await?);
                }
                Ok(answers)
            }
        }
    }

    /// Tries until PostgreSQL takes the batch or refuses it for good (the inner error: why).
    async fn until_it_works(
        &self,
        jobs: &[Job],
        mut ready: Option<Passwords>,
        attempts: &mut u32,
    ) -> Result<Result<Vec<Answer>, String>, Ended> {
        let mut waits = Waits::new();
        let mut hold: Option<Hold> = None;
        let mut conflicts = 0;
        let mut patience = SILENCE;
        loop {
            let start = Instant::now();
            *attempts += 1;
            let failed = match attempt(self.parts, self.span, self.kind, jobs, ready.take(), patience).await {
                Ok(mut answers) => {
                    answers.iter_mut().for_each(|answer| answer.attempts = *attempts);
                    return Ok(Ok(answers));
                }
                Err(Failed::Store(StoreError::Refused(why))) => return Ok(Err(why)),
                Err(failed) => failed,
            };
            let reason = match &failed {
                Failed::Store(StoreError::Conflict(_)) => "conflict",
                _ => "postgresql",
            };
            self.parts.metrics.batch_retries_total.with_label_values(&[reason]).inc();
            self.span.failed_stage("attempt", start, reason);
            if reason == "conflict" && conflicts < CONFLICTS {
                conflicts += 1;
                tracing::debug!(kind = %self.kind, %failed, "a batch is run again");
                if self.end.is_cancelled() {
                    return Err(Ended::Revoked);
                }
                continue;
            }
            if matches!(failed, Failed::Store(StoreError::Silent(_))) {
                // Its connection is lost, or PostgreSQL is that slow: then the batch must not be cut off for ever.
                patience = (patience * 2).min(MOST_PATIENCE);
            }
            tracing::debug!(kind = %self.kind, %failed, "a batch waits");
            let hold = hold.get_or_insert_with(|| self.parts.holds.hold());
            hold.because(&failed.to_string());
            self.wait(waits.next()).await?;
        }
    }

    /// The answer to a request that cannot be run, stored so that it stays the answer.
    async fn give_up(&self, job: &Job, attempts: u32) -> Result<Answer, Ended> {
        let failure = Failure::new(ErrorCode::Internal, "the request could not be run");
        let refused = Job {
            request: Err(failure.clone()),
            headers: job.headers.clone(),
            raw: job.fingerprint(),
            ..*job
        };
        let stored = self.until_it_works(std::slice::from_ref(&refused), None, &mut 0).await?;
        // Were not even that to be stored: it is answered and dead-lettered all the same.
        let answer = stored.ok().and_then(|answers| answers.into_iter().next());
        Ok(Answer { attempts, ..answer.unwrap_or_else(|| job.refuse(failure)) })
    }

    /// Sends what comes of a batch until every record is acknowledged.
    async fn send(&self, batch: &Batch<'_>, answers: &[Answer]) -> Result<(), Ended> {
        fault::point("produce", self.kind);
        let start = Instant::now();
        let keys = &self.parts.keys.replies;
        let mut outgoing = batch.outgoing(keys, answers);
        let mut waits = Waits::new();
        let mut hold: Option<Hold> = None;
        loop {
            match self.parts.producer.send_all(&outgoing).await {
                Ok(()) => break,
                Err(ProduceError::Fatal(why)) => return Err(Ended::Broken(why)),
                Err(ProduceError::TooLarge) => {
                    self.send_what_fits(&batch.outgoing(keys, &again(answers))).await?;
                    break;
                }
                Err(error) => {
                    outgoing = batch.outgoing(keys, &again(answers));
                    self.parts.metrics.batch_retries_total.with_label_values(&["kafka"]).inc();
                    let hold = hold.get_or_insert_with(|| self.parts.holds.hold());
                    hold.because(&error.to_string());
                    self.wait(waits.next()).await?;
                }
            }
        }
        self.parts.stage(self.span, "produce", start);
        fault::point("acknowledged", self.kind);
        Ok(())
    }

    /// Every bound of the protocol keeps records far below what topics take; should a topic be set smaller, its readers find
    /// the outcome in PostgreSQL, and the partition goes on.
    async fn send_what_fits(&self, outgoing: &[Outgoing]) -> Result<(), Ended> {
        for record in outgoing {
            let mut waits = Waits::new();
            loop {
                match self.parts.producer.send_all(std::slice::from_ref(record)).await {
                    Ok(()) => break,
                    Err(ProduceError::TooLarge) => {
                        tracing::error!(
                            topic = record.topic,
                            bytes = record.value.len(),
                            "a record does not fit into its topic"
                        );
                        break;
                    }
                    Err(ProduceError::Fatal(why)) => return Err(Ended::Broken(why)),
                    Err(ProduceError::Transient(_)) => self.wait(waits.next()).await?,
                }
            }
        }
        Ok(())
    }

    /// Waits, unless the partition is to be let go.
    async fn wait(&self, duration: Duration) -> Result<(), Ended> {
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(Ended::Revoked),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    fn count(&self, batch: &Batch<'_>, answers: &[Answer]) {
        let metrics = &self.parts.metrics;
        let kind = self.kind.as_str();
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        metrics.batch_records.observe(batch.views.len() as f64);
        let duration = metrics.request_duration_seconds.with_label_values(&[kind]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut done = 0;
        for (job, answer) in batch.jobs.iter().zip(answers) {
            match &answer.reply.result {
                Ok(_) => done += 1,
                Err(failure) => {
                    metrics.requests_total.with_label_values(&[kind, failure.code.as_str()]).inc();
                }
            }
            if answer.replayed {
                metrics.replays_total.with_label_values(&[kind]).inc();
            }
            if let Some(failure) = dead(job, answer) {
                metrics.dead_letters_total.with_label_values(&[kind, failure.code.as_str()]).inc();
            }
            if let Some(came) = batch.views[job.at].timestamp.and_then(|ms| u64::try_from(ms).ok()) {
                duration.observe(now.saturating_sub(Duration::from_millis(came)).as_secs_f64());
            }
        }
        if done > 0 {
            metrics.requests_total.with_label_values(&[kind, "ok"]).inc_by(done);
        }
        for (_, reason) in &batch.bad {
            tracing::debug!(kind, %reason, "a record's sender cannot be believed");
            metrics.dead_letters_total.with_label_values(&[kind, ErrorCode::Unauthenticated.as_str()]).inc();
        }
    }
}

/// How long a batch waits to fill, by how many the one before it held, and how many one holds at most.
fn patience(before: usize, most: usize, wait: Duration) -> Duration {
    if before < MANY.min(most) { Duration::ZERO } else { wait }
}

/// Growing waits with jitter.
struct Waits(Duration);

impl Waits {
    fn new() -> Self {
        Self(BACKOFF.0)
    }

    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(BACKOFF.1);
        wait.mul_f64(rand::random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who talks alone is not kept waiting for others; where many talk, they share a transaction.
    #[test]
    fn only_a_busy_partition_waits_for_a_batch_to_fill() {
        let wait = Duration::from_millis(3);
        assert_eq!(patience(0, 500, wait), Duration::ZERO, "the first of all");
        assert_eq!(patience(MANY - 1, 500, wait), Duration::ZERO);
        assert_eq!(patience(MANY, 500, wait), wait);
        assert_eq!(patience(500, 500, wait), wait);
        assert_eq!((patience(1, 2, wait), patience(2, 2, wait)), (Duration::ZERO, wait), "a full one of few");
    }
}
