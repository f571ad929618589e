use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::{get, put},
};
use serde::Deserialize;

use super::{
    App, Caller, Problem, body,
    prefer::{self, Scope},
    submit::{Accepted, Asker, ReplyBody},
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
    status: StatusText,
}

/// The user of this session.
#[utoipa::path(get, path = "/api/me", tag = "users", security(("session" = [])),
    responses((status = 200, body = User),
        Problem))]
pub(super) async fn me(State(app): State<App>, caller: Caller) -> Result<Json<User>, Problem> {
    let (_, session) = app.session_of(&caller).await?;
    let user = in_time(app.reads.user(&session.user)).await?;
    user.map(Json).ok_or_else(Problem::unauthenticated)
}

/// Changes the status message that friends see.
#[utoipa::path(put, path = "/api/me/status", tag = "users", security(("session" = [])), request_body = NewStatus,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn change_status(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let new: NewStatus = body::json(body).await?;
    let request = Request::ChangeStatus(ChangeStatus { user_id: session.user.clone(), status: new.status });
    app.ask(&headers, &method, &uri, key, session.user, &request).await
}

impl App {
    /// Submits a request of an open session's user.
    pub(super) async fn ask(
        &self,
        headers: &HeaderMap,
        method: &Method,
        uri: &Uri,
        session: crate::ids::SessionKey,
        user: crate::ids::UserId,
        request: &Request,
    ) -> Result<Response, Problem> {
        let request_id = prefer::request_id(headers, &Scope::User(user.clone()), method, uri.path())?;
        let asker = Asker { session, user: Some(user), address: None, request_id };
        self.submit(headers, asker, request).await
    }
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(me, change_status))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/me", get(me)).route("/api/me/status", put(change_status))
}
