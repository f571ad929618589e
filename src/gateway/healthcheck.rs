//! Asks a gateway from outside: for probes, and for the chart's test.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{Request, Response, Uri, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::process::Exit;

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthcheckArgs {
    /// The admin address whose /readyz is asked
    #[arg(long, env = "PARLEY_ADMIN_ADDR", default_value = "127.0.0.1:9090", conflicts_with = "url")]
    pub admin_addr: SocketAddr,
    /// Instead: a gateway as browsers reach it, http://host:port. Logs in as nobody, and waits for the refusal on the event
    /// stream: the whole path answers then
    #[arg(long)]
    pub url: Option<Uri>,
    /// Seconds to wait
    #[arg(long, default_value_t = 30)]
    pub timeout_seconds: u64,
}

/// Exit code 0 when healthy.
pub(super) async fn run(args: HealthcheckArgs) -> Result<(), Exit> {
    let time = Duration::from_secs(args.timeout_seconds);
    let asked = async {
        match &args.url {
            Some(url) => whole_path(url).await,
            None => readyz(args.admin_addr).await,
        }
    };
    let late = |_| Exit::failure(format!("no answer within {} s", args.timeout_seconds));
    tokio::time::timeout(time, asked).await.map_err(late)?.map_err(Exit::failure)
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn readyz(addr: SocketAddr) -> Result<(), Failed> {
    // Listening everywhere is asked on loopback.
    let host =
        if addr.ip().is_unspecified() { format!("127.0.0.1:{}", addr.port()) } else { addr.to_string() };
    let request = Request::get("/readyz").header("host", &host).body(Empty::<Bytes>::new())?;
    let response = send(&host, request.map(|body| body.boxed())).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("not ready: {}", String::from_utf8_lossy(&body)).into())
}

/// A login that cannot succeed goes to a worker and back; its reply comes by the event stream of its session.
async fn whole_path(url: &Uri) -> Result<(), Failed> {
    let host = url.host().ok_or("--url must be http://host:port")?;
    let host = format!("{host}:{}", url.port_u16().unwrap_or(80));
    let body = json!({"userId": "healthcheck.nobody", "password": "not a password"}).to_string();
    let login = Request::post("/api/session")
        .header("host", &host)
        .header("content-type", "application/json")
        .header("sec-fetch-site", "same-origin")
        .body(Full::new(Bytes::from(body)).boxed())?;
    let response = send(&host, login).await?;
    let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
    let cookie = cookie.and_then(|text| text.split(';').next()).unwrap_or_default().to_owned();
    let status = response.status();
    let accepted: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    let Some(request_id) = accepted["requestId"].as_str().filter(|_| status == 202) else {
        return Err(format!("the login was answered with {status}: {accepted}").into());
    };
    let stream = Request::get("/api/events")
        .header("host", &host)
        .header("cookie", cookie)
        .body(Empty::<Bytes>::new().boxed())?;
    let mut events = send(&host, stream).await?.into_body();
    let mut text = String::new();
    while let Some(frame) = events.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        if text.contains("event: reply") && text.contains(request_id) {
            return Ok(());
        }
    }
    Err("the event stream ended without the reply".into())
}

async fn send(
    host: &str,
    request: Request<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>>,
) -> Result<Response<Incoming>, Failed> {
    let socket = TcpStream::connect(host).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
