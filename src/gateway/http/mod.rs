//! The routes (docs/protocol.md section 2), a file per group.

mod asking;
mod body;
mod caller;
mod described;
mod events;
mod friends;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod guard;
mod me;
mod messages;
mod openapi;
mod prefer;
mod problem;
mod requests;
mod rooms;
mod session;
mod submit;
mod traced;
mod users;
mod web;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

pub(crate) use caller::Caller;
pub(crate) use openapi::document;
pub(crate) use problem::Problem;
pub(crate) use web::missing_page;

use super::{
    hub::{Hub, OpenSession, SessionState},
    limits::Limits,
    metrics::Metrics,
    pending::Pending,
    sender::Sender,
    session::{Cookies, Sessions},
    sse::{Handover, OutboxLimits},
};
use crate::{
    ids::{SessionKey, SessionToken},
    process::{Shutdown, trace::Tracer},
    store::{Clock, reads::Reads},
    wire::{Keyring, Page, SealingKeys},
};

/// What the routes share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) sessions: Sessions,
    pub(crate) pending: Pending,
    pub(crate) reads: Reads,
    pub(crate) clock: Clock,
    pub(crate) sender: Arc<Sender>,
    pub(crate) request_keys: Arc<Keyring>,
    pub(crate) sealing: SealingKeys,
    pub(crate) cookies: Cookies,
    pub(crate) outboxes: OutboxLimits,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) tracer: Tracer,
    /// Whether every position has been found once: a stream that opened before would miss what lies in between.
    pub(crate) stands: Arc<AtomicBool>,
    /// How long a draining gateway may still answer: a request may be under way for its deadline and this long.
    pub(crate) drain: Duration,
}

/// What every handler gets. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The connection that a request came by.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The other end: a browser, or the proxy before it.
    pub(crate) peer: IpAddr,
    /// Cuts the connection.
    pub(crate) abort: CancellationToken,
    /// Where a stream is left that takes the connection over.
    pub(crate) handover: Handover,
}

impl App {
    pub(crate) fn new(parts: Shared) -> Self {
        Self(Arc::new(parts))
    }

    /// All routes.
    pub(crate) fn router(self) -> Router {
        let wrong = || async { Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, "see the header Allow") };
        Router::new()
            .merge(users::routes())
            .merge(session::routes())
            .merge(me::routes())
            .merge(rooms::routes())
            .merge(friends::routes())
            .merge(messages::routes())
            .merge(requests::routes())
            .merge(events::routes())
            .route("/api/openapi.json", get(openapi::serve))
            .route("/", get(web::index))
            .fallback(web::asset)
            .method_not_allowed_fallback(wrong)
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .with_state(self)
    }

    /// Why no stream is taken at the moment.
    fn closed_to_streams(&self) -> Option<&'static str> {
        if self.shutdown.started() {
            return Some("drain");
        }
        (!self.stands.load(Ordering::Acquire)).then_some("starting")
    }

    /// The caller's open session.
    async fn session_of(&self, caller: &Caller) -> Result<(SessionKey, OpenSession), Problem> {
        let key = caller.key().ok_or_else(Problem::unauthenticated)?;
        match caller.counted(self, self.sessions.get(&key).await?)? {
            SessionState::Open(session) if session.expires_at > self.clock.now() => Ok((key, session)),
            _ => Err(Problem::unauthenticated()),
        }
    }

    /// The caller's token, or a fresh one with the cookie that gives it to the browser.
    fn token_of(&self, caller: Caller) -> Result<(SessionToken, Option<HeaderValue>), Problem> {
        match caller.token {
            Some(token) => Ok((token, None)),
            None => {
                let token = self.fresh_token()?;
                let cookie = self.cookies.set(&token);
                Ok((token, Some(cookie)))
            }
        }
    }

    fn fresh_token(&self) -> Result<SessionToken, Problem> {
        SessionToken::fresh().map_err(|_| Problem::unavailable("no random bytes are to be had"))
    }
}

/// A query string that is read strictly: what is not understood is said.
#[derive(Debug)]
pub(crate) struct Params<T>(T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let Query(params) = Query::<T>::try_from_uri(&parts.uri).map_err(|_| {
            Problem::new(crate::wire::ErrorCode::InvalidRequest, "a query parameter has the wrong form")
        })?;
        Ok(Self(params))
    }
}

/// A path segment that is an id.
#[derive(Debug)]
pub(crate) struct Id<T>(T);

impl<T: std::str::FromStr<Err = crate::ids::InvalidId> + Send> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let segment = axum::extract::Path::<String>::from_request_parts(parts, app).await;
        let text =
            segment.map_err(|_| Problem::with_status(StatusCode::NOT_FOUND, "there is nothing here"))?;
        Ok(Self(text.0.parse()?))
    }
}

/// `?after=&limit=` of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// The `next` of the page before; absent for the first page.
    after: Option<String>,
    /// Entries wanted: default 50, at most 100.
    limit: Option<u32>,
}

impl From<PageParams> for Page {
    fn from(params: PageParams) -> Self {
        Self { after: params.after, limit: params.limit }
    }
}

/// The same answer with this cookie, if any.
fn with_cookie(answer: Result<Response, Problem>, cookie: Option<HeaderValue>) -> Response {
    let mut response = answer.unwrap_or_else(|problem| problem.into_response());
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether a header is there at all.
fn has(headers: &HeaderMap, name: &str) -> bool {
    headers.contains_key(name)
}
