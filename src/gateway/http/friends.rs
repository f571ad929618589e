use axum::{Router, body::Body, response::Response, routing::get};

use super::{
    App, PageParams, Params, Problem,
    asking::{Answers, Asking, Once, Waiting},
    body,
    problem::{Asked, Bodied, Changed, Naming},
    rooms::NewMembers,
};
use crate::wire::{AddFriend, ListFriends, Request};

/// My friends, a page of them. The answer comes from a worker, as all conversations do: ask with `Prefer: wait`.
#[utoipa::path(get, path = "/api/friends", operation_id = "list_friends", tag = "friends", security(("session" = [])),
    params(PageParams, Waiting),
    responses(Answers, Asked))]
pub(super) async fn list(asking: Asking, Params(page): Params<PageParams>) -> Result<Response, Problem> {
    let request = Request::ListFriends(ListFriends { user_id: asking.user.clone(), page: page.into() });
    asking.read(&request).await
}

/// Adds friends: a result for each id.
#[utoipa::path(post, path = "/api/friends", tag = "friends", security(("session" = [])), request_body = NewMembers,
    params(Waiting, Once),
    responses(Answers, Changed, Bodied, Naming))]
pub(super) async fn add(asking: Asking, body: Body) -> Result<Response, Problem> {
    let new: NewMembers = body::json(body).await?;
    let request = Request::AddFriend(AddFriend { user_id: asking.user.clone(), friend_id: new.friend_id });
    asking.change(&request).await
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, add))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/friends", get(list).post(add))
}
