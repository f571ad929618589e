use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::post,
};
use serde::Deserialize;

use super::{
    App, Caller, Params, Problem,
    asking::{Answers, Nothing, Once, Waiting},
    body,
    prefer::{self, Scope},
    problem::{Bodied, Changed, Private, Signing},
    submit::Asker,
    with_cookie,
};
use crate::{
    gateway::hub::SessionState,
    ids::{RequestId, UserId},
    wire::{ErrorCode, Login, Logout, Password, Request},
};

/// Who logs in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    /// The account.
    #[schema(value_type = String, min_length = 2, max_length = 32, pattern = "^[A-Za-z0-9._-]{2,32}$")]
    pub(super) user_id: UserId,
    /// Its password.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Password,
}

/// `?everywhere=`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Everywhere {
    /// Ends all sessions of the user.
    #[serde(default)]
    everywhere: bool,
}

/// Logs in. The cookie comes at once and is good for the reply; it is an open session from the reply's success on.
#[utoipa::path(post, path = "/api/session", tag = "session", request_body = Credentials,
    params(Waiting),
    responses(Answers, Signing, Bodied, Private))]
pub(super) async fn log_in(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    app.limits.sign_in(caller.address)?;
    let credentials: Credentials = body::json(body).await?;
    // Always a fresh token: one that somebody planted in the browser before must not become a session (session fixation).
    let token = app.fresh_token()?;
    let request_id = RequestId::fresh();
    let sealed_password = app
        .sealing
        .seal(&credentials.password, &credentials.user_id, request_id)
        .map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
    let request = Request::Login(Login { user_id: credentials.user_id, sealed_password });
    let address = Some(app.request_keys.address_hash(caller.address));
    let asker = Asker { session: token.key(), user: None, address, request_id };
    let answer = app.submit(&headers, asker, &request).await;
    // A login that was refused leaves the browser as it was.
    let cookie = answer.is_ok().then(|| app.cookies.set(&token));
    Ok(with_cookie(answer, cookie))
}

/// Logs out: this session, or all of the user's.
#[utoipa::path(
    delete,
    path = "/api/session",
    tag = "session",
    request_body = Nothing,
    params(Everywhere, Waiting, Once),
    responses(Answers, Changed)
)]
pub(super) async fn log_out(
    State(app): State<App>,
    caller: Caller,
    Params(Everywhere { everywhere }): Params<Everywhere>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = caller.key().ok_or_else(Problem::unauthenticated)?;
    let state = match app.sessions.fresh(&session).await {
        Ok(state) => caller.counted(&app, state)?,
        // Nobody can say whose it is, and it is to end all the same: a worker ends it by its key.
        Err(error) if !everywhere => {
            tracing::warn!(%error, "whose session ends is not known: it ends by its key");
            SessionState::Unknown
        }
        Err(error) => return Err(error.into()),
    };
    let user = match state {
        SessionState::Open(open) => Some(open.user),
        // A login may be on its way: the logout leaves a mark that it finds. So anybody's invention is written down, and
        // counts like the login that it would undo.
        SessionState::Unknown => {
            app.limits.sign_in(caller.address)?;
            None
        }
        SessionState::Ended => {
            return Ok(with_cookie(Err(Problem::unauthenticated()), Some(app.cookies.clear())));
        }
    };
    // Whether it is known whose it is may differ from one try to the next, and the request is the same.
    let request_id = prefer::request_id(&headers, &Scope::Session(session), &method, uri.path())?;
    let request = Request::Logout(Logout { user_id: user.clone(), everywhere });
    let asker = Asker { session, user, address: None, request_id };
    let answer = app.submit(&headers, asker, &request).await?;
    Ok(with_cookie(Ok(answer), Some(app.cookies.clear())))
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(log_in, log_out))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/session", post(log_in).delete(log_out))
}
