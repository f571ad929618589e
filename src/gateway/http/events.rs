use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{App, Caller, Connection, problem::Lacking, with_cookie};
use crate::gateway::{
    hub::{Opening, Reason, SessionState, Wanted},
    sse::{self, Cursor, Outbox, Stream},
};

/// Where the stream is: the one route with limits of its own.
pub(super) const PATH: &str = "/api/events";

/// The event stream (Server-Sent Events); the schema `StreamEvents` has its events. `Last-Event-ID` resumes it on any replica.
#[utoipa::path(get, path = "/api/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The cursor to resume from")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 204, description = "The session has ended"),
        Lacking))]
pub(super) async fn events(
    State(app): State<App>,
    caller: Caller,
    Extension(connection): Extension<Connection>,
    version: Version,
    headers: HeaderMap,
) -> Response {
    let address = caller.address;
    let (token, cookie) = match app.token_of(caller) {
        Ok(found) => found,
        Err(problem) => return problem.into_response(),
    };
    let key = token.key();
    let admitted = match app.closed_to_streams() {
        Some(reason) => Err((reason, app.limits.retry())),
        None => app.limits.stream(address, key),
    };
    let permit = match admitted {
        Ok(permit) => permit,
        Err((reason, wait)) => {
            app.metrics.sse_refused_total.with_label_values(&[reason]).inc();
            return with_cookie(Ok(response(Body::from(sse::retry(wait)))), cookie);
        }
    };
    let outbox = Outbox::new(app.outboxes.clone(), connection.abort);
    let replies = app.pending.of_session(&key).into_iter().map(|answer| (answer.head(), answer.stamped));
    // Registered first, asked about after, so that nothing falls between.
    let stream = app.hub.open(Opening {
        key,
        wanted: wanted(&headers),
        outbox: outbox.clone(),
        permit,
        replies: replies.collect(),
        retry: app.limits.retry(),
    });
    let gone = stream.clone();
    // From here on the stream ends with this body, also when the client leaves before it has its answer.
    let chunked = version >= Version::HTTP_11;
    let body = connection.handover.leave(Stream::new(outbox, chunked, move || gone.close(Reason::Gone)));
    match app.sessions.fresh(&key).await {
        Ok(SessionState::Ended) => {
            stream.close(Reason::Ended);
            // EventSource stops for good: the session will never be open again.
            return with_cookie(Ok(StatusCode::NO_CONTENT.into_response()), cookie);
        }
        Ok(SessionState::Open(session)) => stream.identify(Some(session)),
        Ok(SessionState::Unknown) => stream.identify(None),
        Err(error) => {
            tracing::debug!(%error, "a stream cannot be opened");
            stream.close(Reason::Unavailable);
        }
    }
    let mut answer = response(Body::new(body));
    // After a stream the connection speaks no HTTP any more.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    with_cookie(Ok(answer), cookie)
}

fn response(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What the client brings to resume from.
fn wanted(headers: &HeaderMap) -> Wanted {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else {
        return Wanted::Nothing;
    };
    match value.to_str().ok().and_then(Cursor::parse) {
        Some(cursor) => Wanted::Cursor(cursor),
        None => Wanted::Unreadable,
    }
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(events))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route(PATH, get(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_brought_that_is_no_cursor_is_told_apart_from_nothing() {
        let read = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            wanted(&HeaderMap::from_iter([("last-event-id".parse().unwrap(), value)]))
        };
        assert_eq!(wanted(&HeaderMap::new()), Wanted::Nothing);
        assert_eq!(read(b""), Wanted::Nothing);
        assert_eq!(read(b"42"), Wanted::Unreadable);
        assert_eq!(read("é".as_bytes()), Wanted::Unreadable);
        assert!(matches!(read(b"v1.000000000000.AA"), Wanted::Cursor(_)));
    }
}
