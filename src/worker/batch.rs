//! From records to jobs, and from answers to records.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::job::{Answer, Job};
use crate::{
    kafka::{Held, RecordView},
    wire::{
        BadRecord, DeadLetter, ErrorCode, Failure, HeaderName, Keyring, Kind, Origin, Outgoing, event_record,
        open_request, reply_record,
    },
};

/// A batch of one partition: every record is a job, or its sender is not to be believed.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) kind: Kind,
    pub(super) views: Vec<RecordView<'a>>,
    pub(super) jobs: Vec<Job>,
    pub(super) bad: Vec<(usize, BadRecord)>,
}

impl<'a> Batch<'a> {
    /// Verifies and decodes every record, once.
    pub(super) fn open(kind: Kind, keys: &Keyring, held: &'a [Held<'_>]) -> Self {
        let views: Vec<RecordView<'a>> = held.iter().map(Held::view).collect();
        let mut jobs = Vec::with_capacity(views.len());
        let mut bad = Vec::new();
        for (at, view) in views.iter().enumerate() {
            match open_request(keys, &view.record) {
                Ok(opened) => {
                    jobs.push(Job::new(at, kind, opened.headers, opened.request, view.record.value));
                }
                Err(reason) => bad.push((at, reason)),
            }
        }
        Self { kind, views, jobs, bad }
    }

    /// Leaves the dead letters of strangers out for which there is no room: who floods a topic must not flood two.
    pub(super) fn drop_strangers(&mut self, room: &Strangers) {
        self.bad.retain(|_| room.take());
    }

    /// Everything that goes out: a reply and events for each answer, and a dead letter for each record that could not be
    /// read. The same for the same answers, however often.
    pub(super) fn outgoing(&self, keys: &Keyring, answers: &[Answer]) -> Vec<Outgoing> {
        let mut out = Vec::with_capacity(answers.len() * 2 + self.bad.len());
        for (job, answer) in self.jobs.iter().zip(answers) {
            let view = &self.views[job.at];
            let key = view.record.key;
            let answers = view.record.raw(HeaderName::Signature);
            out.push(reply_record(
                keys,
                self.kind,
                key,
                &job.headers,
                &answer.reply,
                answer.replayed,
                answers,
            ));
            let trace = job.headers.traceparent.as_deref();
            let id = Some(job.headers.request_id);
            out.extend(answer.events.iter().map(|event| event_record(keys, event, id, None, trace)));
            if let Some(failure) = dead(job, answer) {
                out.push(letter(view, failure.code, &failure.message, answer.attempts, true));
            }
        }
        // Looked at once, and never run.
        out.extend(self.bad.iter().map(|(at, reason)| {
            letter(&self.views[*at], ErrorCode::Unauthenticated, &reason.to_string(), 1, false)
        }));
        out
    }
}

/// Why an answered record goes to the dead letters as well: it cannot be decoded, or it broke the worker.
pub(super) fn dead<'a>(job: &'a Job, answer: &'a Answer) -> Option<&'a Failure> {
    let failure = answer.reply.result.as_ref().err()?;
    (job.request.is_err() || failure.code == ErrorCode::Internal).then_some(failure)
}

fn letter(view: &RecordView<'_>, code: ErrorCode, message: &str, attempts: u32, verified: bool) -> Outgoing {
    let origin = Origin { partition: view.partition, offset: view.offset, timestamp: view.timestamp };
    DeadLetter { record: &view.record, origin, code, message, attempts, verified }.to_record()
}

/// Room for the dead letters of records whose sender cannot be believed: so many a second, and a burst of as many.
#[derive(Debug)]
pub(super) struct Strangers(Mutex<(f64, Instant)>);

impl Strangers {
    /// Enough to look at, far too few to fill a disk.
    const A_SECOND: f64 = 50.0;

    pub(super) fn new() -> Self {
        Self(Mutex::new((Self::A_SECOND, Instant::now())))
    }

    fn take(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = state.0 + now.duration_since(state.1).as_secs_f64() * Self::A_SECOND;
        *state = (filled.min(Self::A_SECOND), now);
        if state.0 < 1.0 {
            return false;
        }
        state.0 -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_get_a_burst_and_then_a_trickle() {
        let (room, start) = (Strangers::new(), Instant::now());
        let taken = (0..1_000).filter(|_| room.take()).count();
        // Fifty a second.
        let came = usize::try_from(start.elapsed().as_millis() / 20).unwrap();
        assert!((50..=51 + came).contains(&taken), "{taken}, and {came} came meanwhile");
    }
}
