//! The frame of every kind whose outcome stands in the inbox: locks, what is known already, effects, outcomes, in this order
//! and in one transaction. AddChat has its own ([`add_chat`](super::handlers::add_chat)), because its outcome is the message.

use super::{
    fault,
    handlers::{Ask, Context, Handler},
    job::{Answer, Effect, Job, late, mismatch, twins},
};
use crate::{
    ids::Timestamp,
    store::{
        Conn, StoreError,
        inbox::{self, LookUp, NewOutcome},
    },
    wire::{ErrorCode, Kind},
};

/// What is to be done with one job of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Its outcome is stored: that is the answer.
    Stored,
    /// Its id was used for another request.
    Mismatch,
    /// It cannot be decoded; the failure is known.
    Failed,
    /// Its deadline has passed.
    Late,
    /// It is the same as another job of this batch.
    Twin(usize),
    /// It is to be run.
    Fresh,
}

/// Judges every job, under the locks, by what is stored and by PostgreSQL's time. Pure.
fn judge(jobs: &[Job], known: &LookUp) -> Vec<Course> {
    let stands = twins(jobs);
    let judge = |(n, job): (usize, &Job)| {
        if let Some(stored) = known.stored.get(&job.headers.request_id) {
            if stored.fingerprint != job.fingerprint() {
                return Course::Mismatch;
            }
            if !stored.gives_way || job.headers.deadline <= stored.deadline {
                return Course::Stored;
            }
        }
        if stands[n] != n {
            let same = jobs[stands[n]].fingerprint() == job.fingerprint();
            return if same { Course::Twin(stands[n]) } else { Course::Mismatch };
        }
        if job.request.is_err() {
            return Course::Failed;
        }
        if job.is_late(known.now) { Course::Late } else { Course::Fresh }
    };
    jobs.iter().enumerate().map(judge).collect()
}

/// Runs a batch of one kind, the handler's, in the transaction of `conn`, and gives an answer for each job, in order.
///
/// # Errors
/// When PostgreSQL fails or another owner of the partition was faster: then nothing of it may be committed.
pub(super) async fn run<H: Handler>(
    kind: Kind,
    conn: &mut Conn,
    context: &Context<'_>,
    jobs: &[Job],
) -> Result<Vec<Answer>, StoreError> {
    let asks: Vec<Ask<'_, H::Request>> = jobs.iter().filter_map(Ask::of::<H>).collect();
    let locks = H::lock(conn, &asks).await?;
    fault::point("lock", kind);
    let ids: Vec<_> = jobs.iter().map(|job| job.headers.request_id).collect();
    let known = inbox::look_up(conn, &ids).await?;
    fault::point("look-up", kind);
    let courses = judge(jobs, &known);
    let fresh: Vec<Ask<'_, H::Request>> = jobs
        .iter()
        .zip(&courses)
        .filter(|(_, course)| **course == Course::Fresh)
        .filter_map(|(job, _)| Ask::of::<H>(job))
        .collect();
    let effects =
        if fresh.is_empty() { Vec::new() } else { H::apply(conn, context, known.now, &fresh, locks).await? };
    fault::point("effects", kind);
    let answers = answers(jobs, &courses, &known, effects)?;
    store(conn, jobs, &courses, &answers, known.now).await?;
    fault::point("outcomes", kind);
    Ok(answers)
}

/// An answer for each job. `effects` are those of the fresh ones, in order.
fn answers(
    jobs: &[Job],
    courses: &[Course],
    known: &LookUp,
    effects: Vec<Effect>,
) -> Result<Vec<Answer>, StoreError> {
    let mut effects = effects.into_iter();
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(jobs.len());
    for (job, course) in jobs.iter().zip(courses) {
        answers.push(match course {
            Course::Stored => known.stored.get(&job.headers.request_id).map(Answer::stored),
            Course::Mismatch => Some(job.refuse(mismatch())),
            Course::Failed => job.request.as_ref().err().map(|failure| job.refuse(failure.clone())),
            Course::Late => Some(job.refuse(late())),
            Course::Fresh => effects.next().map(|effect| job.answer(effect)),
            Course::Twin(_) => None,
        });
    }
    for (n, course) in courses.iter().enumerate() {
        if let Course::Twin(other) = course {
            // Its events go out with the other's answer.
            answers[n] =
                answers[*other].clone().map(|answer| Answer { events: Vec::new(), replayed: true, ..answer });
        }
    }
    let missing = || StoreError::Refused("a handler gave fewer effects than it had requests".to_owned());
    answers.into_iter().map(|answer| answer.ok_or_else(missing)).collect()
}

async fn store(
    conn: &mut Conn,
    jobs: &[Job],
    courses: &[Course],
    answers: &[Answer],
    now: Timestamp,
) -> Result<(), StoreError> {
    let outcomes: Vec<NewOutcome<'_>> = jobs
        .iter()
        .zip(courses)
        .zip(answers)
        .filter(|((_, course), _)| matches!(course, Course::Fresh | Course::Late | Course::Failed))
        .filter_map(|((job, _), answer)| outcome(job, answer))
        .collect();
    inbox::store(conn, &outcomes, now).await
}

/// The row of an answer. Reads are not stored: one that timed out is simply asked again.
pub(super) fn outcome<'a>(job: &'a Job, answer: &'a Answer) -> Option<NewOutcome<'a>> {
    if job.kind.is_read() {
        return None;
    }
    let code = answer.reply.result.as_ref().err().map(|failure| failure.code);
    let dead = job.request.is_err() || code == Some(ErrorCode::Internal);
    Some(NewOutcome {
        request_id: job.headers.request_id,
        kind: job.kind,
        user_id: job.user(),
        session_key: job.headers.session_key,
        fingerprint: job.fingerprint(),
        deadline: job.headers.deadline,
        reply: &answer.reply,
        events: &answer.events,
        gives_way: code == Some(ErrorCode::DeadlineExceeded),
        keep: if dead { inbox::KEPT_DEAD } else { inbox::KEPT },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        ids::{RequestId, SessionKey},
        store::inbox::Stored,
        wire::{Body, ChangeStatus, Failure, Kind, Reply, Request, RequestHeaders},
    };

    const NOW: i64 = 1_000;

    fn job(id: u128, status: &str, deadline: i64) -> Job {
        let user: crate::ids::UserId = "bob".parse().unwrap();
        let headers = RequestHeaders {
            request_id: RequestId(uuid::Uuid::from_u128(id)),
            session_key: SessionKey([1; 32]),
            user_id: Some(user.clone()),
            client_address: None,
            deadline: Timestamp::from_micros(deadline),
            traceparent: None,
        };
        let request = ChangeStatus { user_id: user, status: status.parse().unwrap() };
        Job::new(0, Kind::ChangeStatus, headers, Ok(Request::ChangeStatus(request)), b"")
    }

    fn known(stored: &[(&Job, bool)]) -> LookUp {
        let entry = |(job, gives_way): &(&Job, bool)| {
            let stored = Stored {
                fingerprint: job.fingerprint().to_vec(),
                deadline: job.headers.deadline,
                gives_way: *gives_way,
                reply: Reply { user_id: None, result: Ok(Body::Nothing {}) },
                events: Vec::new(),
            };
            (job.headers.request_id, stored)
        };
        LookUp {
            now: Timestamp::from_micros(NOW),
            stored: stored.iter().map(entry).collect::<HashMap<_, _>>(),
        }
    }

    #[test]
    fn every_course() {
        let (early, due, later) = (NOW - 1, NOW, NOW + 1);
        let stored = job(1, "a", early);
        for (what, jobs, stored, want) in [
            ("new", vec![job(1, "a", later)], vec![], vec![Course::Fresh]),
            ("at its deadline it is late", vec![job(1, "a", due)], vec![], vec![Course::Late]),
            (
                "done before, late or not",
                vec![job(1, "a", early)],
                vec![(&stored, false)],
                vec![Course::Stored],
            ),
            ("done before, for good", vec![job(1, "a", later)], vec![(&stored, false)], vec![Course::Stored]),
            ("another body", vec![job(1, "b", later)], vec![(&stored, false)], vec![Course::Mismatch]),
            (
                "gives way to a later deadline",
                vec![job(1, "a", later)],
                vec![(&stored, true)],
                vec![Course::Fresh],
            ),
            ("not to the same", vec![job(1, "a", early)], vec![(&stored, true)], vec![Course::Stored]),
            ("nor to another body", vec![job(1, "b", later)], vec![(&stored, true)], vec![Course::Mismatch]),
            (
                "the same twice in a batch",
                vec![job(1, "a", later), job(2, "b", later), job(1, "a", later)],
                vec![],
                vec![Course::Fresh, Course::Fresh, Course::Twin(0)],
            ),
            (
                "the one that may still run stands for the late one",
                vec![job(1, "a", early), job(1, "a", later)],
                vec![],
                vec![Course::Twin(1), Course::Fresh],
            ),
            (
                "one id for two bodies in a batch",
                vec![job(1, "a", later), job(1, "b", later)],
                vec![],
                vec![Course::Fresh, Course::Mismatch],
            ),
        ] {
            assert_eq!(judge(&jobs, &known(&stored)), want, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_read_fails_and_is_kept_for_long() {
        let mut bad = job(1, "a", NOW + 1);
        bad.request = Err(Failure::new(ErrorCode::InvalidRequest, "why"));
        let courses = judge(std::slice::from_ref(&bad), &known(&[]));
        assert_eq!(courses, [Course::Failed]);
        let answers = answers(std::slice::from_ref(&bad), &courses, &known(&[]), Vec::new()).unwrap();
        assert_eq!(outcome(&bad, &answers[0]).unwrap().keep, inbox::KEPT_DEAD);
    }

    #[test]
    fn twins_are_answered_alike_and_heard_of_once() {
        let jobs = [job(1, "a", NOW + 1), job(1, "a", NOW + 1)];
        let courses = judge(&jobs, &known(&[]));
        let event =
            crate::wire::Event::Status { user_id: "bob".parse().unwrap(), status: "a".into(), version: 2 };
        let effect = Effect::with(Body::ChangeStatus { status: "a".into() }, vec![event.clone()]);
        let answers = answers(&jobs, &courses, &known(&[]), vec![effect]).unwrap();
        assert_eq!(answers[0].reply, answers[1].reply);
        assert_eq!((answers[0].replayed, answers[1].replayed), (false, true));
        assert_eq!((answers[0].events.as_slice(), answers[1].events.as_slice()), (&[event][..], &[][..]));
    }

    #[test]
    fn a_handler_that_forgets_a_request_is_found_out() {
        let jobs = [job(1, "a", NOW + 1)];
        assert!(answers(&jobs, &[Course::Fresh], &known(&[]), Vec::new()).is_err());
    }
}
