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
    wire::{self, Body, ErrorCode, Event, Failure, Request},
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
    fault::point("lock");
    // Both snapshots are younger than the locks: what another owner wrote before it let them go is seen.
    let refused =
        inbox::look_up(conn, &jobs.iter().map(|job| job.headers.request_id).collect::<Vec<_>>()).await?;
    let looked_up: Vec<Append<'_>> = asks.iter().flatten().copied().collect();
    let known = messages::look_up(conn, &looked_up).await?;
    fault::point("look-up");
    let mut newest = locked.clone();
    let courses = judge(jobs, &asks, &locked, &spread(&asks, known), &refused, &mut newest);
    let appends: Vec<(Append<'_>, Seq)> = asks
        .iter()
        .zip(&courses.0)
        .filter_map(|(ask, course)| match course {
            Course::Append(seq) => Some(((*ask)?, *seq)),
            _ => None,
        })
        .collect();
    let moved: Vec<(RoomId, Seq)> =
        newest.into_iter().filter(|(room, seq)| locked.get(room) != Some(seq)).collect();
    messages::append(conn, &appends, refused.now, &moved).await?;
    fault::point("effects");
    let answers = answers(jobs, &asks, &courses, &refused);
    store(conn, jobs, &courses, &answers, &refused).await?;
    fault::point("outcomes");
    Ok(answers)
}

fn ask(job: &Job) -> Option<Append<'_>> {
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
            Course::Refused => refused.stored.get(&job.headers.request_id).map_or_else(lost, |stored| {
                Answer { reply: stored.reply.clone(), events: stored.events.clone(), replayed: true }
            }),
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

async fn store(
    conn: &mut Conn,
    jobs: &[Job],
    courses: &Courses,
    answers: &[Answer],
    refused: &LookUp,
) -> Result<(), StoreError> {
    let outcomes: Vec<_> = jobs
        .iter()
        .zip(&courses.0)
        .zip(answers)
        .filter(|((_, course), _)| matches!(course, Course::Refuse(_)))
        .filter_map(|((job, _), answer)| outcome(job, answer))
        .collect();
    inbox::store(conn, &outcomes, refused.now).await?;
    // A refusal that gave way to a message is no outcome any more.
    let superseded: Vec<RequestId> = jobs
        .iter()
        .zip(&courses.0)
        .filter(|(_, course)| matches!(course, Course::Append(_)))
        .map(|(job, _)| job.headers.request_id)
        .filter(|id| refused.stored.contains_key(id))
        .collect();
    inbox::forget(conn, &superseded).await
}

#[cfg(test)]
mod tests;
