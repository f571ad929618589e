use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Json, Router, body::Body, extract::State, http::StatusCode, response::IntoResponse, routing::get,
};
use futures::stream;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Exit, Process};

/// Serves `/livez` (the process only), `/readyz` (dependencies with reasons) and `/metrics` until the task is aborted.
pub(super) async fn serve(addr: SocketAddr, process: &Process) -> Result<JoinHandle<()>, Exit> {
    let listener = TcpListener::bind(addr).await.map_err(|error| {
        Exit::failure(format!(
            "cannot listen on {addr} for /livez, /readyz and /metrics: {error}; see --admin-addr"
        ))
    })?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(process.clone());
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the admin server ended");
        }
    }))
}

async fn readyz(State(process): State<Process>) -> impl IntoResponse {
    let report = process.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn metrics(State(process): State<Process>) -> impl IntoResponse {
    match process.registry.text() {
        Ok(pieces) => {
            let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)));
            (StatusCode::OK, [("content-type", prometheus::TEXT_FORMAT)], body)
        }
        Err(error) => {
            let why = Body::from(format!("{error}\n"));
            (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], why)
        }
    }
}
