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
    App, Caller, Problem,
    asking::{Answers, Once, Waiting},
    body, has,
    prefer::{self, Scope},
    problem::{Bodied, Signing, Taking},
    submit::Asker,
    with_cookie,
};
use crate::{
    ids::UserId,
    wire::{AddUser, Email, ErrorCode, Name, Password, Request},
};

/// A new account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewUser {
    /// 2 to 32 characters of a-z, 0-9, dot, underscore, hyphen.
    #[schema(value_type = String, min_length = 2, max_length = 32, pattern = "^[A-Za-z0-9._-]{2,32}$")]
    pub(super) user_id: UserId,
    /// 8 to 128 characters.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Password,
    /// An email address.
    #[schema(value_type = String, format = "email")]
    pub(super) email: Email,
    /// A name for people.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    pub(super) user_name: Name,
}

/// Signs up.
#[utoipa::path(post, path = "/api/users", tag = "users", request_body = NewUser,
    params(Waiting, Once),
    responses(Answers, Signing, Bodied, Taking))]
pub(super) async fn sign_up(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    app.limits.sign_in(caller.address)?;
    let new: NewUser = body::json(body).await?;
    if caller.key().is_none() && has(&headers, "idempotency-key") {
        // Its repeat would come under another cookie, and be another request.
        prefer::request_id(&headers, &Scope::Nobody, &method, uri.path())?;
    }
    let address = app.request_keys.address_hash(caller.address);
    let (token, cookie) = app.token_of(caller)?;
    let session = token.key();
    let answer = async {
        let request_id = prefer::request_id(&headers, &Scope::Session(session), &method, uri.path())?;
        let sealed_password = app
            .sealing
            .seal(&new.password, &new.user_id, request_id)
            .map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        let request = Request::AddUser(AddUser {
            user_id: new.user_id,
            sealed_password,
            email: new.email,
            user_name: new.user_name,
        });
        let asker = Asker { session, user: None, address: Some(address), request_id };
        app.submit(&headers, asker, &request).await
    };
    Ok(with_cookie(answer.await, cookie))
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(sign_up))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/users", post(sign_up))
}
