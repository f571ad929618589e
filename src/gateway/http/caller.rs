//! Who asks, and what that counts against: told once, before any route, so that a route can neither forget nor evade it.

use std::net::IpAddr;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request},
    http::{Method, request::Parts},
};

use super::{App, Connection, Problem, events, guard};
use crate::{
    gateway::hub::SessionState,
    ids::{SessionKey, SessionToken},
};

/// The browser that asks: its token, if it brought one.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(super) token: Option<SessionToken>,
    pub(super) address: IpAddr,
    against: Against,
}

/// What a request was counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    User,
    Address,
    /// A stream has limits of its own, which answer 200: any error status would stop the browser for ever.
    Streams,
}

/// Counts the request against the user whose open session memory holds, else against the address, and leaves its caller for the
/// route. Asks nobody: what it costs is to be less than what it saves.
pub(super) fn count(app: &App, request: &mut Request) -> Result<(), Problem> {
    let connection = request.extensions().get::<Connection>();
    let peer = connection.map_or(IpAddr::from([0, 0, 0, 0]), |connection| connection.peer);
    let address = app.limits.client_address(request.headers(), peer);
    let token = app.cookies.read(request.headers());
    let path = request.extensions().get::<MatchedPath>();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let against = if reads && path.is_some_and(|path| path.as_str() == events::PATH) {
        Against::Streams
    } else if let Some(user) = token.as_ref().and_then(|token| app.sessions.known(&token.key())) {
        app.limits.user(&user)?;
        Against::User
    } else {
        app.limits.address(address)?;
        Against::Address
    };
    request.extensions_mut().insert(Caller { token, address, against });
    Ok(())
}

impl Caller {
    pub(super) fn key(&self) -> Option<SessionKey> {
        self.token.as_ref().map(SessionToken::key)
    }

    /// The state of this caller's session, once it was asked for: a request of a user who was not known yet counts against that
    /// user from here on, and no longer against the address, which many may share.
    pub(super) fn counted(&self, app: &App, state: SessionState) -> Result<SessionState, Problem> {
        if let (Against::Address, SessionState::Open(session)) = (self.against, &state) {
            app.limits.belongs_to(&session.user, self.address)?;
        }
        Ok(state)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    /// Every handler takes its caller, so this is where a change from another site ends (CSRF).
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            guard::from_our_page(&parts.headers)?;
        }
        let caller = parts.extensions.remove::<Self>();
        caller.ok_or_else(|| Problem::new(crate::wire::ErrorCode::Internal, "a request that was not counted"))
    }
}
