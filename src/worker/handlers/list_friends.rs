use crate::{
    store::{
        Conn, StoreError,
        friends::{self, FriendsPage},
    },
    wire::{self, Body, ErrorCode, Failure, Request},
    worker::job::{Answer, Effect, Job, late},
};

use super::Context;

/// My friends in the order of their ids. `next` is the last id of the page when there are more.
pub(super) async fn run(
    conn: &mut Conn,
    context: &Context<'_>,
    jobs: &[Job],
) -> Result<Vec<Answer>, StoreError> {
    let asked: Vec<Result<&wire::ListFriends, Failure>> = jobs.iter().map(|job| ask(job, context)).collect();
    let pages: Vec<FriendsPage<'_>> = asked
        .iter()
        .filter_map(|ask| ask.as_ref().ok())
        .map(|ask| FriendsPage {
            user_id: &ask.user_id,
            after: ask.page.after.as_deref().unwrap_or_default(),
            // One more than asked for tells whether there is a next page.
            limit: ask.page.size() + 1,
        })
        .collect();
    let mut found = friends::pages(conn, &pages).await?.into_iter();
    let answer = |(job, ask): (&Job, Result<&wire::ListFriends, Failure>)| match ask {
        Err(failure) => job.refuse(failure),
        Ok(ask) => {
            let mut friend = found.next().unwrap_or_default();
            let more = friend.len() > ask.page.size();
            friend.truncate(ask.page.size());
            let next = friend.last().filter(|_| more).map(|last| last.user_id.to_string());
            job.answer(Effect::done(Body::ListFriends { friend, next }))
        }
    };
    Ok(jobs.iter().zip(asked).map(answer).collect())
}

fn ask<'a>(job: &'a Job, context: &Context<'_>) -> Result<&'a wire::ListFriends, Failure> {
    if job.is_late(context.now) {
        return Err(late());
    }
    match &job.request {
        Ok(Request::ListFriends(ask)) => {
            let legal =
                ask.page.after.as_ref().is_none_or(|after| after.parse::<crate::ids::UserId>().is_ok());
            if legal {
                return Ok(ask);
            }
            Err(Failure::new(ErrorCode::InvalidRequest, "after is not the next of a page"))
        }
        Ok(_) => Err(Failure::new(ErrorCode::InvalidRequest, "not a request for friends")),
        Err(failure) => Err(failure.clone()),
    }
}
