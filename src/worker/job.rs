use sha2::{Digest as _, Sha256};

use crate::{
    ids::{Timestamp, UserId},
    store::inbox::Stored,
    wire::{Body, ErrorCode, Event, Failure, Kind, Reply, Request, RequestHeaders},
};

/// One request of a batch whose sender is believed.
#[derive(Debug)]
pub(super) struct Job {
    /// Which record of the batch it is.
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// Who asked, for whom the reply is.
    pub(super) headers: RequestHeaders,
    /// What was asked, or why it cannot be.
    pub(super) request: Result<Request, Failure>,
    /// Hash of the record's value, for a request that cannot be decoded; else empty.
    pub(super) raw: [u8; 32],
}

/// What a request does, before it is known whether it may: the reply's result and the events.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effect {
    pub(super) result: Result<Body, Failure>,
    pub(super) events: Vec<Event>,
}

/// What goes out for a request: the same on the first run and on every replay, but for the mark.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) events: Vec<Event>,
    pub(super) replayed: bool,
    /// How often it was run for this answer, in batches and alone: a dead letter says it.
    pub(super) attempts: u32,
}

impl Job {
    pub(super) fn new(
        at: usize,
        kind: Kind,
        headers: RequestHeaders,
        request: Result<Request, Failure>,
        value: &[u8],
    ) -> Self {
        let raw = if request.is_err() { Sha256::digest(value).into() } else { [0; 32] };
        Self { at, kind, headers, request, raw }
    }

    /// Tells the same request from another one under the same id.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.request.as_ref().map_or(self.raw, Request::fingerprint)
    }

    /// Whom the reply concerns.
    pub(super) fn user(&self) -> Option<&UserId> {
        let named = self.request.as_ref().ok().and_then(Request::user);
        named.or(self.headers.user_id.as_ref())
    }

    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.headers.deadline <= now
    }

    /// The first answer to it.
    pub(super) fn answer(&self, effect: Effect) -> Answer {
        let reply = Reply { user_id: self.user().cloned(), result: effect.result };
        Answer { reply, events: effect.events, replayed: false, attempts: 1 }
    }

    /// An answer that is a refusal and nothing else.
    pub(super) fn refuse(&self, failure: Failure) -> Answer {
        self.answer(Effect::refused(failure))
    }
}

impl Answer {
    /// What was answered before.
    pub(super) fn stored(stored: &Stored) -> Self {
        Self { reply: stored.reply.clone(), events: stored.events.clone(), replayed: true, attempts: 1 }
    }
}

impl Effect {
    pub(super) fn done(body: Body) -> Self {
        Self { result: Ok(body), events: Vec::new() }
    }

    pub(super) fn with(body: Body, events: Vec<Event>) -> Self {
        Self { result: Ok(body), events }
    }

    pub(super) fn refused(failure: Failure) -> Self {
        Self { result: Err(failure), events: Vec::new() }
    }
}

/// What goes out when it is not known how much of these answers is there already: no reply looks like a first one twice.
pub(super) fn again(answers: &[Answer]) -> Vec<Answer> {
    answers.iter().map(|answer| Answer { replayed: true, ..answer.clone() }).collect()
}

/// The user has given up by now.
pub(super) fn late() -> Failure {
    Failure::new(ErrorCode::DeadlineExceeded, "the request came too late to be run; try again")
}

/// The same id was used for something else.
pub(super) fn mismatch() -> Failure {
    Failure::new(
        ErrorCode::IdempotencyMismatch,
        "this Idempotency-Key was used for a request with another body; take a new one",
    )
}

/// For each job, the one that stands for it when several of one batch carry the same request id: the first of those with the
/// latest deadline, so that a request that one record may still run is run. Most batches have none.
pub(super) fn twins(jobs: &[Job]) -> Vec<usize> {
    let mut stands: std::collections::HashMap<_, usize> =
        std::collections::HashMap::with_capacity(jobs.len());
    for (n, job) in jobs.iter().enumerate() {
        let best = stands.entry(job.headers.request_id).or_insert(n);
        if jobs[*best].headers.deadline < job.headers.deadline {
            *best = n;
        }
    }
    jobs.iter().map(|job| stands[&job.headers.request_id]).collect()
}
