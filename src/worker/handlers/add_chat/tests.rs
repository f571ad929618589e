//! The judgement of a batch, by tables.

use super::*;
use crate::{
    ids::SessionKey,
    store::inbox::Stored,
    wire::{Kind, Reply, RequestHeaders},
};

const NOW: i64 = 1_000;
const ROOM: RoomId = RoomId(uuid::Uuid::from_u128(7));
const ELSEWHERE: RoomId = RoomId(uuid::Uuid::from_u128(8));

fn job(id: u128, room: RoomId, message: &str, deadline: i64) -> Job {
    let writer: UserId = "bob".parse().unwrap();
    let headers = RequestHeaders {
        request_id: RequestId(uuid::Uuid::from_u128(id)),
        session_key: SessionKey([1; 32]),
        user_id: Some(writer.clone()),
        client_address: None,
        deadline: Timestamp::from_micros(deadline),
        traceparent: None,
    };
    let chat = wire::AddChat {
        room_id: room,
        writer_id: writer,
        message: message.parse().unwrap(),
        client_message_id: None,
    };
    Job::new(0, Kind::AddChat, headers, Ok(Request::AddChat(chat)), b"")
}

fn member() -> Known {
    Known {
        member: true,
        seq: None,
        writer_id: None,
        message: None,
        client_message_id: None,
        created_at: None,
    }
}

fn written(seq: i64, message: &str) -> Known {
    Known {
        seq: Some(Seq(seq)),
        writer_id: Some("bob".parse().unwrap()),
        message: Some(message.to_owned()),
        created_at: Some(Timestamp::from_micros(5)),
        ..member()
    }
}

fn run(jobs: &[Job], known: &[Known], refused: &LookUp) -> (Vec<Course>, HashMap<RoomId, Seq>, Vec<Answer>) {
    let asks: Vec<Option<Append<'_>>> = jobs.iter().map(ask).collect();
    let locked = HashMap::from([(ROOM, Seq(10))]);
    let mut newest = locked.clone();
    let known: Vec<Option<Known>> = known.iter().cloned().map(Some).collect();
    let courses = judge(jobs, &asks, &locked, &known, refused, &mut newest);
    let answers = answers(jobs, &asks, &courses, refused);
    (courses.0, newest, answers)
}

fn nothing() -> LookUp {
    LookUp { now: Timestamp::from_micros(NOW), stored: HashMap::new() }
}

fn code(answer: &Answer) -> Option<ErrorCode> {
    answer.reply.result.as_ref().err().map(|failure| failure.code)
}

#[test]
fn numbers_are_dense_whatever_lies_between() {
    let late = NOW + 1;
    let jobs = [
        job(1, ROOM, "one", late),
        job(2, ROOM, "was there", late),
        job(3, ELSEWHERE, "no such room", late),
        job(4, ROOM, "not a member", late),
        job(5, ROOM, "too late", NOW),
        job(1, ROOM, "one", late),
        job(6, ROOM, "two", late),
    ];
    let stranger = Known { member: false, ..member() };
    let known = [member(), written(4, "was there"), member(), stranger, member(), member(), member()];
    let (courses, newest, answers) = run(&jobs, &known, &nothing());
    assert_eq!(courses[0], Course::Append(Seq(11)));
    assert_eq!(courses[1], Course::Appended);
    assert_eq!(courses[5], Course::Twin(0));
    assert_eq!(courses[6], Course::Append(Seq(12)));
    assert_eq!(newest[&ROOM], Seq(12));
    let codes: Vec<Option<ErrorCode>> = answers.iter().map(code).collect();
    let refused = [ErrorCode::RoomNotFound, ErrorCode::NotAMember, ErrorCode::DeadlineExceeded];
    assert_eq!(codes[2..5], refused.map(Some));
    assert_eq!(
        answers.iter().map(|answer| answer.replayed).collect::<Vec<_>>(),
        [false, true, false, false, false, true, false]
    );
    assert_eq!(answers[5].reply, answers[0].reply);
    assert!(answers[5].events.is_empty() && answers[0].events.len() == 1);
}

/// The pure function of record and outcome: what was sent the first time is sent again, but for the mark.
#[test]
fn a_replay_says_what_the_first_run_said() {
    let jobs = [job(1, ROOM, "hi", NOW + 1)];
    let (_, _, first) = run(&jobs, &[member()], &nothing());
    let stands = Known { created_at: Some(Timestamp::from_micros(NOW)), ..written(11, "hi") };
    let (_, _, again) = run(&jobs, &[stands], &nothing());
    assert_eq!(Answer { replayed: false, ..again[0].clone() }, first[0]);
    assert!(again[0].replayed);
}

#[test]
fn another_body_under_the_same_id_is_a_mismatch() {
    let jobs = [job(1, ROOM, "hi", NOW + 1), job(2, ROOM, "a", NOW + 1), job(2, ROOM, "b", NOW + 1)];
    let (_, newest, answers) = run(&jobs, &[written(4, "ho"), member(), member()], &nothing());
    assert_eq!(code(&answers[0]), Some(ErrorCode::IdempotencyMismatch));
    assert_eq!(code(&answers[1]), None);
    assert_eq!(code(&answers[2]), Some(ErrorCode::IdempotencyMismatch));
    assert_eq!(newest[&ROOM], Seq(11));
}

#[test]
fn a_refusal_stays_one_unless_it_gives_way_to_a_later_deadline() {
    let first = job(1, ROOM, "hi", NOW - 5);
    let stored = |gives_way| LookUp {
        now: Timestamp::from_micros(NOW),
        stored: HashMap::from([(
            first.headers.request_id,
            Stored {
                fingerprint: first.fingerprint().to_vec(),
                deadline: first.headers.deadline,
                gives_way,
                reply: Reply { user_id: None, result: Err(late()) },
                events: Vec::new(),
            },
        )]),
    };
    let again = [job(1, ROOM, "hi", NOW + 1)];
    assert_eq!(run(&again, &[member()], &stored(false)).0, [Course::Refused]);
    assert_eq!(run(&again, &[member()], &stored(true)).0, [Course::Append(Seq(11))]);
    assert_eq!(run(std::slice::from_ref(&first), &[member()], &stored(true)).0, [Course::Refused]);
    assert_eq!(run(&[job(1, ROOM, "ho", NOW + 1)], &[member()], &stored(true)).0, [Course::Mismatch]);
    // Once it was written, that is the outcome, whatever stands beside it.
    assert_eq!(run(&again, &[written(11, "hi")], &stored(true)).0, [Course::Appended]);
}
