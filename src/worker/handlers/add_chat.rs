//! Appends messages to rooms. The outcome of a success is the message itself; refusals stand in the inbox.

use std::collections::HashMap;

use crate::{
    ids::{RequestId, RoomId, Seq, Timestamp, UserId},
    store::{
        Conn, StoreError,
        inbox::{self, LookUp},
        messages::{self, Append, Known},
        rooms,
    },
    wire::{self, Body, ErrorCode, Event, Failure, Kind, Request},
    worker::{
        fault,
        job::{Answer, Effect, Job, late, mismatch, twins},
        stored::outcome,
    },
};

/// What is to be done with one job of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    /// Append under this number.
    Append(Seq),
    /// It was appended before.
    Appended,
    /// It was refused before.
    Refused,
    /// It is refused now; that is stored.
    Refuse(Failure),
    /// Its id was used for another request; that is not stored.
    Mismatch,
    /// It is the same as another job of this batch.
    Twin(usize),
}

/// Runs a batch in the transaction of `conn`.
///
/// # Errors
/// When nothing of it may be committed.
pub(in crate::worker) async fn run(conn: &mut Conn, jobs: &[Job]) -> Result<Vec<Answer>, StoreError> {
    let asks: Vec<Option<Append<'_>>> = jobs.iter().map(ask).collect();
    let mut named: Vec<RoomId> = asks.iter().flatten().map(|ask| ask.room_id).collect();
    named.sort_unstable();
    named.dedup();
    let locked = rooms::lock_seq(conn, &named).await?;
    fault::point("lock", Kind::AddChat);
    // Both snapshots are younger than the locks: what another owner wrote before it let them go is seen.
    let refused =
        inbox::look_up(conn, &jobs.iter().map(|job| job.headers.request_id).collect::<Vec<_>>()).await?;
    let looked_up: Vec<Append<'_>> = asks.iter().flatten().copied().collect();
    let known = messages::look_up(conn, &looked_up).await?;
    fault::point("look-up", Kind::AddChat);
    let decision = decide(jobs, &asks, &locked, known, &refused);
    messages::append(conn, &decision.appends, refused.now, &decision.moved).await?;
    fault::point("effects", Kind::AddChat);
    let outcomes: Vec<_> =
        decision.refusals.iter().filter_map(|n| outcome(&jobs[*n], &decision.answers[*n])).collect();
    inbox::store(conn, &outcomes, refused.now).await?;
    inbox::forget(conn, &decision.superseded).await?;
    fault::point("outcomes", Kind::AddChat);
    Ok(decision.answers)
}

/// What a batch comes to, before anything of it is written.
#[derive(Debug)]
pub(in crate::worker) struct Decision<'a> {
    /// Messages with their numbers, and the newest numbers of the rooms that they go to.
    pub(in crate::worker) appends: Vec<(Append<'a>, Seq)>,
    pub(in crate::worker) moved: Vec<(RoomId, Seq)>,
    /// One for each job.
    pub(in crate::worker) answers: Vec<Answer>,
    /// Which of the jobs are refused for the first time: stored.
    pub(in crate::worker) refusals: Vec<usize>,
    /// Stored refusals that gave way to a message, which is the outcome now.
    pub(in crate::worker) superseded: Vec<RequestId>,
}

/// Decides a batch by what was read under the locks: the newest number of each room that exists, what is known of the request of each
/// ask, and the stored refusals. Pure.
pub(in crate::worker) fn decide<'a>(
    jobs: &[Job],
    asks: &[Option<Append<'a>>],
    locked: &HashMap<RoomId, Seq>,
    known: Vec<Known>,
    refused: &LookUp,
) -> Decision<'a> {
    let mut newest = locked.clone();
    let courses = judge(jobs, asks, locked, &spread(asks, known), refused, &mut newest);
    let each = || courses.0.iter().enumerate();
    let appends = each().filter_map(|(n, course)| match course {
        Course::Append(seq) => Some((asks[n]?, *seq)),
        _ => None,
    });
    let superseded = each()
        .filter(|(_, course)| matches!(course, Course::Append(_)))
        .map(|(n, _)| jobs[n].headers.request_id)
        .filter(|id| refused.stored.contains_key(id));
    Decision {
        appends: appends.collect(),
        moved: newest.into_iter().filter(|(room, seq)| locked.get(room) != Some(seq)).collect(),
        answers: answers(jobs, asks, &courses, refused),
        refusals: each().filter(|(_, course)| matches!(course, Course::Refuse(_))).map(|(n, _)| n).collect(),
        superseded: superseded.collect(),
    }
}

/// What a job wants to append.
pub(in crate::worker) fn ask(job: &Job) -> Option<Append<'_>> {
    let Ok(Request::AddChat(chat)) = &job.request else { return None };
    Some(append(job.headers.request_id, chat))
}

fn append(request_id: RequestId, chat: &wire::AddChat) -> Append<'_> {
    Append {
        request_id,
        room_id: chat.room_id,
        writer_id: &chat.writer_id,
        message: chat.message.as_str(),
        client_message_id: chat.client_message_id.as_deref(),
    }
}

/// What was looked up, at the places of the jobs.
fn spread(asks: &[Option<Append<'_>>], known: Vec<Known>) -> Vec<Option<Known>> {
    let mut known = known.into_iter();
    asks.iter().map(|ask| ask.and_then(|_| known.next())).collect()
}

/// The courses of a batch, and what was looked up for those that were appended before.
struct Courses(Vec<Course>, Vec<Option<Known>>);

/// Judges every job in order, under the locks. Pure but for `newest`, the rooms' newest numbers, which move on.
fn judge(
    jobs: &[Job],
    asks: &[Option<Append<'_>>],
    locked: &HashMap<RoomId, Seq>,
    known: &[Option<Known>],
    refused: &LookUp,
    newest: &mut HashMap<RoomId, Seq>,
) -> Courses {
    let stands = twins(jobs);
    let mut judge_one = |n: usize| {
        let job = &jobs[n];
        let known = known[n].as_ref();
        if let Some(written) = known.filter(|known| known.seq.is_some()) {
            return if asks[n].is_some_and(|ask| says(written, &ask)) {
                Course::Appended
            } else {
                Course::Mismatch
            };
        }
        if let Some(stored) = refused.stored.get(&job.headers.request_id) {
            if stored.fingerprint != job.fingerprint() {
                return Course::Mismatch;
            }
            if !stored.gives_way || job.headers.deadline <= stored.deadline {
                return Course::Refused;
            }
        }
        if stands[n] != n {
            let same = jobs[stands[n]].request == job.request && jobs[stands[n]].raw == job.raw;
            return if same { Course::Twin(stands[n]) } else { Course::Mismatch };
        }
        let ask = match (&job.request, &asks[n]) {
            (Err(failure), _) => return Course::Refuse(failure.clone()),
            (Ok(_), Some(ask)) => ask,
            (Ok(_), None) => return refuse(ErrorCode::InvalidRequest, "not a message"),
        };
        if job.is_late(refused.now) {
            return Course::Refuse(late());
        }
        if !locked.contains_key(&ask.room_id) {
            return refuse(ErrorCode::RoomNotFound, "there is no such room");
        }
        if !known.is_some_and(|known| known.member) {
            return refuse(ErrorCode::NotAMember, "only members write in a room");
        }
        let seq = newest.entry(ask.room_id).or_default();
        *seq = seq.next();
        Course::Append(*seq)
    };
    let courses = (0..jobs.len()).map(&mut judge_one).collect();
    Courses(courses, known.to_vec())
}

fn refuse(code: ErrorCode, text: &'static str) -> Course {
    Course::Refuse(Failure::new(code, text))
}

/// Whether a message that stands is what the request wants to write.
fn says(written: &Known, ask: &Append<'_>) -> bool {
    written.writer_id.as_ref() == Some(ask.writer_id)
        && written.message.as_deref() == Some(ask.message)
        && written.client_message_id.as_deref() == ask.client_message_id
}

fn answers(jobs: &[Job], asks: &[Option<Append<'_>>], courses: &Courses, refused: &LookUp) -> Vec<Answer> {
    let Courses(courses, known) = courses;
    let first = |n: usize, course: &Course| -> Answer {
        let job = &jobs[n];
        let lost = || job.refuse(Failure::new(ErrorCode::Internal, "the outcome is not known"));
        match course {
            Course::Append(seq) => asks[n].map_or_else(lost, |ask| said(job, &ask, *seq, refused.now, false)),
            Course::Appended => {
                let written = known[n].as_ref().and_then(|known| Some((known.seq?, known.created_at?)));
                match (asks[n], written) {
                    (Some(ask), Some((seq, at))) => said(job, &ask, seq, at, true),
                    _ => lost(),
                }
            }
            Course::Refused => refused.stored.get(&job.headers.request_id).map_or_else(lost, Answer::stored),
            Course::Refuse(failure) => job.refuse(failure.clone()),
            Course::Mismatch => job.refuse(mismatch()),
            Course::Twin(_) => lost(),
        }
    };
    let answer = |(n, course): (usize, &Course)| match course {
        // Its event goes out with the other's answer.
        Course::Twin(other) => {
            Answer { events: Vec::new(), replayed: true, ..first(*other, &courses[*other]) }
        }
        course => first(n, course),
    };
    courses.iter().enumerate().map(answer).collect()
}

/// Reply and event of a message: the same whether it was appended now or before.
fn said(job: &Job, ask: &Append<'_>, seq: Seq, created_at: Timestamp, replayed: bool) -> Answer {
    let writer: &UserId = ask.writer_id;
    let body = Body::AddChat { room_id: ask.room_id, seq, message: ask.message.to_owned(), created_at };
    let event = Event::Message {
        room_id: ask.room_id,
        seq,
        writer_id: writer.clone(),
        message: ask.message.to_owned(),
        created_at,
        request_id: job.headers.request_id,
    };
    Answer { replayed, ..job.answer(Effect::with(body, vec![event])) }
}

pub(super) mod hot;
#[cfg(test)]
mod tests;
