use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::Response,
    routing::{get, put},
};
use serde::Deserialize;

use super::{
    App, Caller, Problem,
    asking::{Answers, Asking, Once, Waiting},
    body,
    problem::{Bodied, Changed, Naming, Private, Reading},
};
use crate::{
    store::reads::in_time,
    wire::{ChangeStatus, Request, StatusText, User},
};

/// A new status message.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct NewStatus {
    /// At most 140 characters; may be empty.
    #[schema(value_type = String, max_length = 140)]
    pub(super) status: StatusText,
}

/// The user of this session.
#[utoipa::path(get, path = "/api/me", tag = "users", security(("session" = [])),
    responses((status = 200, body = User), Private, Reading))]
pub(super) async fn me(State(app): State<App>, caller: Caller) -> Result<Json<User>, Problem> {
    let (_, session) = app.session_of(&caller).await?;
    let user = in_time(app.reads.user(&session.user)).await?;
    user.map(Json).ok_or_else(Problem::unauthenticated)
}

/// Changes the status message that friends see.
#[utoipa::path(put, path = "/api/me/status", tag = "users", security(("session" = [])), request_body = NewStatus,
    params(Waiting, Once),
    responses(Answers, Changed, Bodied, Naming))]
pub(super) async fn change_status(asking: Asking, body: Body) -> Result<Response, Problem> {
    let new: NewStatus = body::json(body).await?;
    let request = Request::ChangeStatus(ChangeStatus { user_id: asking.user.clone(), status: new.status });
    asking.change(&request).await
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(me, change_status))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/me", get(me)).route("/api/me/status", put(change_status))
}
