use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::account::Account;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// The most bytes of an answer that are read: it says little more than how many spans were refused.
const ANSWER: usize = 64 << 10;

/// Sends what the exporter has, over the HTTP client that the rest of the program has as well.
#[derive(Debug)]
pub(super) struct Collector<C> {
    client: Client<C, Full<Bytes>>,
    /// How long one request may take.
    patience: Duration,
    /// The exporter has a thread of its own, without a runtime.
    runtime: Handle,
    account: Arc<Account>,
}

impl Collector<HttpConnector> {
    /// Over HTTP as it is.
    pub(super) fn plain(patience: Duration, account: Arc<Account>) -> Self {
        Self::over(connector(), patience, account)
    }
}

impl Collector<HttpsConnector<HttpConnector>> {
    /// Over TLS; the authorities are the system's, or those of `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn secure(patience: Duration, account: Arc<Account>) -> std::io::Result<Self> {
        let mut http = connector();
        http.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1();
        Ok(Self::over(tls.wrap_connector(http), patience, account))
    }
}

fn connector() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    http
}

impl<C: Connect + Clone + Debug + Send + Sync + 'static> Collector<C> {
    /// Within a runtime, which it uses.
    fn over(connector: C, patience: Duration, account: Arc<Account>) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Self { client, patience, runtime: Handle::current(), account }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, patience) = (self.client.clone(), self.patience);
        let exchange = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // Ended with this future or not: it ends by itself, in time.
        let sent = self.runtime.spawn(async move { tokio::time::timeout(patience, exchange).await }).await;
        let result = match sent {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("it did not answer within {} s", patience.as_secs_f64()).into()),
            Err(_) => Err("the program ends".into()),
        };
        match &result {
            Ok(response) if !response.status().is_success() => {
                self.account.because(format!("it answered {}", response.status()));
            }
            Ok(_) => {}
            Err(error) => self.account.because(whole(&**error)),
        }
        result
    }
}

impl<C: Connect + Clone + Debug + Send + Sync + 'static> HttpClient for Collector<C> {
    // As the macro of the trait writes it, without the macro.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> BoxFuture<'async_trait, Result<Response<Bytes>, HttpError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

/// An error with its causes: hyper's own text says no more than "client error".
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
