use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::get,
};

use super::{
    App, Caller, PageParams, Params, Problem, body,
    rooms::NewMembers,
    submit::{Accepted, Asker, ReplyBody},
};
use crate::{
    ids::{RequestId, SessionKey, UserId},
    wire::{AddFriend, ListFriends, Request},
};

/// My friends, a page of them. The answer comes from a worker, as all conversations do: ask with `Prefer: wait`.
#[utoipa::path(get, path = "/api/friends", operation_id = "list_friends", tag = "friends", security(("session" = [])),
    params(PageParams, ("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds")),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(page): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let request = Request::ListFriends(ListFriends { user_id: session.user.clone(), page: page.into() });
    app.read_by_worker(&headers, key, session.user, &request).await
}

/// Adds friends: a result for each id.
#[utoipa::path(post, path = "/api/friends", tag = "friends", security(("session" = [])), request_body = NewMembers,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let new: NewMembers = body::json(body).await?;
    let request = Request::AddFriend(AddFriend { user_id: session.user.clone(), friend_id: new.friend_id });
    app.ask(&headers, &method, &uri, key, session.user, &request).await
}

impl App {
    /// Submits a request that only reads. It takes no `Idempotency-Key`: asking again is asking anew.
    pub(super) async fn read_by_worker(
        &self,
        headers: &HeaderMap,
        session: SessionKey,
        user: UserId,
        request: &Request,
    ) -> Result<Response, Problem> {
        let asker = Asker { session, user: Some(user), address: None, request_id: RequestId::fresh() };
        self.submit(headers, asker, request).await
    }
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, add))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/friends", get(list).post(add))
}
