use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::wire::{ErrorCode, json_error};

/// The most bytes of a request's body.
const LIMIT: usize = 32 * 1024;
/// How long a body may take to arrive: a mobile network's worst, not an attacker's best.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body within its limits of size and time.
pub(super) async fn bytes(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(PATIENCE, Limited::new(body, LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(ErrorCode::TooLarge, "the body has more than 32 KiB"))
        }
        Ok(Err(_)) => Err(Problem::with_status(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(Problem::with_status(StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s")),
    }
}

/// Reads a JSON body. What is wrong with it is said without repeating any of it.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = bytes(body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(ErrorCode::InvalidRequest, json_error(&error)))
}
