use std::hint::black_box;

use super::*;
use crate::wire::{
    Kind,
    hot::{good, message},
};

/// Messages of a batch, in ten rooms.
const MESSAGES: u32 = 100;

/// Judges and answers a batch of messages that are all new. A part of [`crate::hot`].
pub(crate) fn batches(rounds: u32) -> u32 {
    let job = |n: u32| {
        let (headers, request) = message(n)?;
        Some(Job::new(usize::try_from(n).ok()?, Kind::AddChat, headers, Ok(request), b""))
    };
    let Some(jobs) = (0..MESSAGES).map(job).collect::<Option<Vec<Job>>>() else { return 0 };
    let member = Known {
        member: true,
        seq: None,
        writer_id: None,
        message: None,
        client_message_id: None,
        created_at: None,
    };
    let known = vec![Some(member); jobs.len()];
    let nothing = LookUp { now: Timestamp::from_micros(1_700_000_000_000_000), stored: HashMap::new() };
    let rooms = jobs.iter().filter_map(ask).map(|ask| (ask.room_id, Seq(1_000)));
    let locked: HashMap<RoomId, Seq> = rooms.collect();
    let appended = |_: u32| {
        let asks: Vec<Option<Append<'_>>> = black_box(&jobs).iter().map(ask).collect();
        let mut newest = locked.clone();
        let courses = judge(&jobs, &asks, &locked, &known, &nothing, &mut newest);
        let answers = answers(&jobs, &asks, &courses, &nothing);
        black_box(answers).iter().all(|answer| answer.reply.result.is_ok() && answer.events.len() == 1)
    };
    good(rounds, appended)
}
