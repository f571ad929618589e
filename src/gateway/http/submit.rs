//! From a checked request to a record in Kafka, and from its reply to an answer.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{App, Problem, prefer, traced};
pub(super) use crate::wire::ReplyBody;
use crate::{
    gateway::pending::Answer,
    ids::{RequestId, SessionKey, UserId},
    kafka::Delivery,
    wire::{ErrorCode, Failure, HeaderName, ReplyHead, Request, RequestHeaders, request_record},
};

/// How long after its acceptance a request may still be done (docs/protocol.md section 1).
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// The answer to a request that was accepted and not answered yet.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    /// Names the request: in the `reply` event, and in `GET /api/requests/{requestId}`.
    #[schema(value_type = uuid::Uuid)]
    pub(super) request_id: RequestId,
    /// When it will not be done any more. Absent when only its being under way is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) deadline: Option<crate::ids::Timestamp>,
    /// `unknown` when Kafka did not say whether it has the request: the reply, the same key, or the request's id tell later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<&'static str>,
}

/// Who asks, and under which name.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) session: SessionKey,
    /// The authenticated user; none for sign-up, login, and the logout of a session still unknown.
    pub(super) user: Option<UserId>,
    /// Keyed hash of the peer's address, for sign-up and login.
    pub(super) address: Option<String>,
    pub(super) request_id: RequestId,
}

impl App {
    /// Sends a request to its topic and answers: the reply itself when the caller waits for it and it comes in time, else 202.
    pub(super) async fn submit(
        &self,
        headers: &HeaderMap,
        asker: Asker,
        request: &Request,
    ) -> Result<Response, Problem> {
        let request_id = asker.request_id;
        // Named for its span, which sees the answer only.
        match self.submitted(headers, asker, request).await {
            Ok(mut response) => {
                response.extensions_mut().insert(request_id);
                Ok(response)
            }
            Err(problem) => Err(problem.about(request_id)),
        }
    }

    async fn submitted(
        &self,
        headers: &HeaderMap,
        asker: Asker,
        request: &Request,
    ) -> Result<Response, Problem> {
        request.check()?;
        let kind = request.kind();
        let wait = prefer::wait(headers);
        let deadline = self.clock.now().after(DEADLINE);
        let request_id = asker.request_id;
        let record_headers = RequestHeaders {
            request_id,
            session_key: asker.session,
            user_id: asker.user,
            client_address: asker.address,
            deadline,
            traceparent: traced::context(headers).map(|context| context.to_string()),
        };
        let record = request_record(&self.request_keys, &record_headers, request);
        let signature = record.header(HeaderName::Signature).unwrap_or_default();
        let waiter = wait.map(|_| self.pending.wait(request_id, signature));
        let accepted = match self.sender.send(&record).await {
            Delivery::Persisted => None,
            Delivery::NotPersisted(why) => {
                tracing::warn!(%kind, %why, "Kafka did not take a request");
                let outcome =
                    self.metrics.produce_failures_total.with_label_values(&[kind.as_str(), "not_persisted"]);
                outcome.inc();
                return Err(Problem::unavailable("requests cannot be taken at the moment; try again"));
            }
            Delivery::Unknown => {
                let outcome =
                    self.metrics.produce_failures_total.with_label_values(&[kind.as_str(), "unknown"]);
                outcome.inc();
                Some("unknown")
            }
        };
        if let (Some(waiter), Some(time)) = (waiter, wait) {
            self.metrics.pending_requests.inc();
            let answer = waiter.within(time).await;
            self.metrics.pending_requests.dec();
            if let Some(answer) = answer {
                return answer_response(&answer);
            }
            self.metrics.request_timeouts_total.with_label_values(&[kind.as_str()]).inc();
        }
        let body = Accepted { request_id, deadline: Some(deadline), accepted };
        Ok((StatusCode::ACCEPTED, Json(body)).into_response())
    }
}

/// A reply as the answer to the call that waited for it: 200, or the problem that it stands for.
fn answer_response(answer: &Answer) -> Result<Response, Problem> {
    let internal = |_| Problem::new(ErrorCode::Internal, "the reply cannot be read");
    let head: ReplyHead = serde_json::from_slice(&answer.json).map_err(internal)?;
    if head.is_success {
        return Ok(json_response(StatusCode::OK, answer));
    }
    let failure = Failure {
        code: head.error_code.unwrap_or(ErrorCode::Internal),
        message: head.error_message.unwrap_or_default().into(),
        retry_after: head.retry_after,
    };
    let fields = serde_json::from_slice(&answer.json).map_err(internal)?;
    Err(Problem::of_reply(failure, fields))
}

/// A reply's JSON as it is.
pub(super) fn json_response(status: StatusCode, answer: &Answer) -> Response {
    let mut response = (status, answer.json.clone()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    #[tokio::test]
    async fn an_unsuccessful_reply_becomes_the_problem_that_it_stands_for() {
        let value = br#"{"userId":null,"isSuccess":false,"errorCode":"user_exists","errorMessage":"taken"}"#;
        let answer = Answer::new(Kind::AddUser, RequestId::fresh(), value, 0);
        let response = answer_response(&answer).unwrap_err().into_response();
        assert_eq!(response.status(), 409);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&json["code"], &json["detail"]), (&"user_exists".into(), &"taken".into()));
        assert_eq!((&json["isSuccess"], &json["kind"]), (&false.into(), &"AddUser".into()));
        let good = Answer::new(Kind::Logout, RequestId::fresh(), br#"{"isSuccess":true}"#, 0);
        assert_eq!(answer_response(&good).unwrap().status(), 200);
    }
}
