use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{
    App, Caller, Id, Problem,
    problem::{Named, Private, Reading},
    submit::{Accepted, DEADLINE, ReplyBody, json_response},
};
use crate::{
    gateway::{hub::SessionState, pending::Answer},
    ids::RequestId,
    store::reads::in_time,
};

/// The reply to a request of this session or user: 200, 202 while it may still come, else 404.
#[utoipa::path(get, path = "/api/requests/{requestId}", tag = "requests",
    params(("requestId" = uuid::Uuid, Path)),
    responses((status = 200, body = ReplyBody), (status = 202, body = Accepted), Private, Named, Reading))]
pub(super) async fn reply(
    State(app): State<App>,
    caller: Caller,
    Id(request_id): Id<RequestId>,
) -> Result<Response, Problem> {
    let session = caller.key().ok_or_else(Problem::unauthenticated)?;
    if let Some(answer) = app.pending.of_request(&session, request_id) {
        return Ok(json_response(StatusCode::OK, &answer));
    }
    // A session that is unknown or ended may still ask for what it asked itself.
    let user = match caller.counted(&app, app.sessions.get(&session).await?)? {
        SessionState::Open(open) => Some(open.user),
        SessionState::Unknown | SessionState::Ended => None,
    };
    if let Some(stored) = in_time(app.reads.reply(request_id, &session, user.as_ref())).await? {
        let answer = Answer::new(stored.kind, request_id, &stored.value, 0);
        return Ok(json_response(StatusCode::OK, &answer));
    }
    let until = request_id.made_at().map(|made| made.after(DEADLINE + app.drain));
    if until.is_some_and(|until| until > app.clock.now()) {
        let body = Accepted { request_id, deadline: None, accepted: None };
        return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
    }
    Err(Problem::with_status(StatusCode::NOT_FOUND, "there is no reply to such a request of yours"))
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(reply))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/requests/{requestId}", get(reply))
}
