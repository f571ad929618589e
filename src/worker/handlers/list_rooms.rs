use std::ops::RangeInclusive;

use super::Context;
use crate::{
    ids::{RoomId, Timestamp},
    store::{
        Conn, StoreError,
        rooms::{self, RoomsPage},
    },
    wire::{self, Body, ErrorCode, Failure, Request},
    worker::job::{Answer, Effect, Job, late},
};

/// A room's place in one user's list: when it was joined, and its id.
type Place = (Timestamp, RoomId);

/// My rooms in the order in which I joined them. `next` is the place of the page's last room when there are more.
pub(super) async fn run(
    conn: &mut Conn,
    context: &Context<'_>,
    jobs: &[Job],
) -> Result<Vec<Answer>, StoreError> {
    let asked: Vec<Result<(&wire::ListRooms, Option<Place>), Failure>> =
        jobs.iter().map(|job| ask(job, context)).collect();
    let pages: Vec<RoomsPage<'_>> = asked
        .iter()
        .filter_map(|ask| ask.as_ref().ok())
        .map(|(ask, after)| RoomsPage {
            user_id: &ask.user_id,
            after: *after,
            // One more than asked for tells whether there is a next page.
            limit: ask.page.size() + 1,
        })
        .collect();
    let mut found = rooms::pages(conn, &pages).await?.into_iter();
    let answer = |(job, ask): (&Job, Result<(&wire::ListRooms, Option<Place>), Failure>)| match ask {
        Err(failure) => job.refuse(failure),
        Ok((ask, _)) => {
            let mut placed = found.next().unwrap_or_default();
            let more = placed.len() > ask.page.size();
            placed.truncate(ask.page.size());
            let next = placed.last().filter(|_| more).map(|(_, place)| write(*place));
            let rooms = placed.into_iter().map(|(room, _)| room).collect();
            job.answer(Effect::done(Body::ListRooms { rooms, next }))
        }
    };
    Ok(jobs.iter().zip(asked).map(answer).collect())
}

fn ask<'a>(job: &'a Job, context: &Context<'_>) -> Result<(&'a wire::ListRooms, Option<Place>), Failure> {
    if job.is_late(context.now) {
        return Err(late());
    }
    match &job.request {
        Ok(Request::ListRooms(ask)) => match &ask.page.after {
            None => Ok((ask, None)),
            Some(text) => read(text)
                .map(|place| (ask, Some(place)))
                .ok_or_else(|| Failure::new(ErrorCode::InvalidRequest, "after is not the next of a page")),
        },
        Ok(_) => Err(Failure::new(ErrorCode::InvalidRequest, "not a request for rooms")),
        Err(failure) => Err(failure.clone()),
    }
}

fn write((joined, room): Place) -> String {
    format!("{}.{room}", joined.as_micros())
}

/// Nothing was joined before 1970 or will be after 9999; times beyond what PostgreSQL knows would fail the whole batch.
const TIMES: RangeInclusive<i64> = 0..=253_402_300_799_999_999;

fn read(text: &str) -> Option<Place> {
    let (micros, room) = text.split_once('.')?;
    let micros = micros.parse().ok().filter(|micros| TIMES.contains(micros))?;
    Some((Timestamp::from_micros(micros), room.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_nothing_else_does() {
        let place = (Timestamp::from_micros(1_700_000_000_000_001), RoomId(uuid::Uuid::from_u128(7)));
        assert_eq!(read(&write(place)), Some(place));
        let id = "00000000-0000-0000-0000-000000000007";
        let times = ["x", "-1", "253402300800000000", "-9000000000000000000"];
        let mut bad: Vec<String> = times.iter().map(|time| format!("{time}.{id}")).collect();
        bad.extend(["", ".", "1", "1.x"].map(str::to_owned));
        for bad in bad {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }
}
