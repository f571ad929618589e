use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::openapi::{self, RefOr};

use crate::{
    ids::{InvalidId, RequestId},
    store::StoreError,
    wire::{ErrorCode, Failure},
};

/// An answer that is no success: RFC 9457, `application/problem+json`, with `code` from the closed set.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: Cow<'static, str>,
    /// Seconds after which trying again makes sense.
    retry_after: Option<u32>,
    /// The reply that it stands for: its fields stand beside the problem's own.
    reply: serde_json::Map<String, serde_json::Value>,
    /// The request that it is about, when one was made: for its span.
    request: Option<RequestId>,
}

/// The fields of a problem document, for the description of the API.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do, in English.
    detail: String,
    /// From the closed set.
    code: ErrorCode,
    /// The request, where this is its outcome.
    #[schema(value_type = Option<uuid::Uuid>)]
    request_id: Option<String>,
    /// Seconds, with status 429 and 503.
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = serde_json::Map::new();
        Self { status, code, detail: detail.into(), retry_after: None, reply, request: None }
    }

    /// Of another status than the code's own.
    pub(crate) fn with_status(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, ..Self::new(ErrorCode::InvalidRequest, detail) }
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(ErrorCode::Unauthenticated, "log in first")
    }

    /// Something that is needed is away for the moment.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, detail).retry_after(2)
    }

    pub(crate) fn rate_limited(detail: impl Into<Cow<'static, str>>, seconds: u32) -> Self {
        Self::new(ErrorCode::RateLimited, detail).retry_after(seconds)
    }

    /// Names the request that it is about.
    pub(crate) fn about(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What an unsuccessful reply stands for; its own fields go along.
    pub(crate) fn of_reply(failure: Failure, reply: serde_json::Map<String, serde_json::Value>) -> Self {
        let again = matches!(failure.code, ErrorCode::DeadlineExceeded | ErrorCode::Unavailable).then_some(2);
        let retry_after = failure.retry_after.or(again);
        Self { retry_after, reply, ..Self::new(failure.code, failure.message) }
    }
}

/// The statuses of problems; `code` says more.
const STATUSES: [(u16, &str); 11] = [
    (400, "The body broke off, or a header has no sense"),
    (401, "No open session, or wrong credentials"),
    (403, "A change that does not come from this origin, or is not JSON"),
    (404, "There is no such thing, or not for this user"),
    (408, "The body took too long"),
    (409, "Taken already"),
    (413, "Too large"),
    (422, "Understood, and not acceptable"),
    (429, "Too many; see Retry-After"),
    (500, "A fault of ours"),
    (503, "Kafka or PostgreSQL is away, or the deadline has passed; see Retry-After"),
];

fn described(wanted: &[u16]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let body =
        || openapi::ContentBuilder::new().schema(Some(openapi::Ref::from_schema_name("ProblemBody"))).build();
    let response = |text: &str| {
        let builder = openapi::ResponseBuilder::new().description(text);
        builder.content("application/problem+json", body()).build()
    };
    let all = STATUSES.iter().filter(|(status, _)| wanted.contains(status));
    all.map(|(status, text)| (status.to_string(), RefOr::T(response(text)))).collect()
}

/// What a route has in it, by the problems that come of that: a route's description is the sum, and tells of no other.
macro_rules! problems {
    ($($(#[doc = $text:literal])+ $name:ident $statuses:expr;)+) => {$(
        $(#[doc = $text])+
        pub(super) enum $name {}

        impl utoipa::IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
                described(&$statuses)
            }
        }
    )+};
}

problems! {
    /// Is counted.
    Counted [429];
    /// May lack what it needs, and is not counted.
    Lacking [503];
    /// Is counted and reads from PostgreSQL.
    Reading [429, 503];
    /// Is for an open session, or for the right password.
    Private [401];
    /// Has the id of something in its path.
    Named [404, 422];
    /// Has a body.
    Bodied [400, 408, 413, 422];
    /// Makes something that may be there already.
    Taking [409];
    /// Names somebody or something that may not be there.
    Naming [404];
    /// Changes something here and now.
    Changing [403, 429, 503];
    /// Asks a worker, as somebody who is logged in.
    Asked [401, 422, 429, 500, 503];
    /// Asks a worker for a change, with an `Idempotency-Key` if one is given.
    Changed [400, 401, 403, 422, 429, 500, 503];
    /// Asks a worker for a change, as nobody.
    Signing [403, 422, 429, 500, 503];
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::of_reply(failure, serde_json::Map::new())
    }
}

impl From<InvalidId> for Problem {
    fn from(error: InvalidId) -> Self {
        Self::new(ErrorCode::InvalidRequest, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a read failed");
        Self::unavailable("the database is away; try again in a moment")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.reply;
        let title = self.status.canonical_reason().unwrap_or("Error");
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into_owned().into());
        body.insert("code".into(), self.code.as_str().into());
        if let Some(seconds) = self.retry_after {
            body.insert("retryAfter".into(), seconds.into());
        }
        let text = serde_json::Value::Object(body).to_string();
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(request) = self.request {
            response.extensions_mut().insert(request);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_problem_says_what_the_contract_wants() {
        let response = Problem::rate_limited("slow down", 7).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "7");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&json["code"], &json["status"], &json["retryAfter"]),
            (&"rate_limited".into(), &429.into(), &7.into())
        );
    }
}
