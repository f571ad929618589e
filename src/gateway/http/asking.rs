//! What a logged-in user asks of a worker, and how such calls are described.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, Uri, request::Parts},
    response::Response,
};

use super::{
    App, Caller, Problem,
    prefer::{self, Scope},
    submit::{Accepted, Asker, ReplyBody},
};
use crate::{
    ids::{RequestId, SessionKey, UserId},
    wire::Request,
};

/// A call by an open session's user.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) app: App,
    pub(super) user: UserId,
    session: SessionKey,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl FromRequestParts<App> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let (session, open) = app.session_of(&caller).await?;
        Ok(Self {
            app: app.clone(),
            user: open.user,
            session,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
        })
    }
}

impl Asking {
    /// Submits a request that changes something: once for each `Idempotency-Key`.
    pub(super) async fn change(self, request: &Request) -> Result<Response, Problem> {
        let scope = Scope::User(self.user.clone());
        let request_id = prefer::request_id(&self.headers, &scope, &self.method, self.uri.path())?;
        self.submit(request_id, request).await
    }

    /// Submits a request that only reads. It takes no `Idempotency-Key`: asking again is asking anew.
    pub(super) async fn read(self, request: &Request) -> Result<Response, Problem> {
        self.submit(RequestId::fresh(), request).await
    }

    async fn submit(self, request_id: RequestId, request: &Request) -> Result<Response, Problem> {
        let asker = Asker { session: self.session, user: Some(self.user), address: None, request_id };
        self.app.submit(&self.headers, asker, request).await
    }
}

/// How to wait for a reply.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "nothing is made of it but its description")]
pub(super) struct Waiting {
    /// `wait=N`: hold the call up to N seconds
    #[param(rename = "Prefer")]
    prefer: Option<String>,
}

/// How to make a change once, however often it is sent.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "nothing is made of it but its description")]
pub(super) struct Once {
    /// 1 to 255 characters of your own making: the same key is the same request
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// An empty object: there is nothing to say, but a change is sent as JSON, which no form of another site can send. Only its
/// `Content-Type` is looked at.
#[derive(Debug, utoipa::ToSchema)]
pub(super) struct Nothing {}

/// The answers of what a worker does, beside problems.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "nothing is made of it but its description")]
pub(super) enum Answers {
    /// The reply, to a call that waited for it
    #[response(status = 200)]
    Reply(ReplyBody),
    /// Accepted; the reply comes as an event
    #[response(status = 202)]
    Accepted(Accepted),
}
