use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, COOKIE, HOST, HeaderValue, SET_COOKIE},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::{Grammar, Stream};

/// A browser-like client of one gateway: keeps its cookie, sends what a same-origin page sends.
#[derive(Debug, Clone)]
pub struct Client {
    addr: SocketAddr,
    source: Option<Ipv4Addr>,
    cookie: Arc<Mutex<Option<String>>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// The connection broke or the answer is no HTTP.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// A header or path of ours is no HTTP.
    #[error("the request is no HTTP: {0}")]
    Request(#[from] hyper::http::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The connection ended inside an answer, or before it.
    #[error("the connection ended before the answer did")]
    Cut,
    /// The answer is no HTTP.
    #[error("the answer is no HTTP: {0}")]
    NoHttp(&'static str),
    /// The stream is no such stream.
    #[error("the event stream breaks its grammar: {0}")]
    Grammar(#[from] Grammar),
    /// The event stream was answered with something else than 200.
    #[error("the event stream was answered with status {0}")]
    Status(u16),
}

impl ClientError {
    /// Whether the gateway sent what it must never send, whatever became of it: bytes that are no HTTP or no event stream of ours, an
    /// event that it ended a stream inside of, a status that EventSource gives up at.
    pub fn is_breach(&self) -> bool {
        matches!(self, Self::NoHttp(_) | Self::Grammar(_) | Self::Status(_))
    }

    /// Whether the connection ended before the answer did. The system does that for a process that is killed, anywhere, also inside
    /// an event; a gateway that lives ends its streams itself. Only who knows whether it was killed can say whether this is wrong.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Cut | Self::Broken(_) | Self::Http(_))
    }
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// A client without a cookie.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, source: None, cookie: Arc::default() }
    }

    /// The same browser on another machine: on loopback all of 127.0.0.0/8 is one's own.
    pub fn coming_from(self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same browser at another replica.
    pub fn at(&self, addr: SocketAddr) -> Self {
        Self { addr, source: self.source, cookie: Arc::clone(&self.cookie) }
    }

    /// The cookie as it would be sent, `name=value`.
    pub fn cookie(&self) -> Option<String> {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes on a cookie.
    pub fn set_cookie(&self, cookie: Option<String>) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = cookie;
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, &[], None).await
    }

    /// A mutation with a JSON body, as the page sends it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, ClientError> {
        self.send(method, path, headers, Some(body.to_string())).await
    }

    /// Any request, over a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, ClientError> {
        let response = self.open(method, path, headers, body).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Opens the event stream, from a cursor when one is given.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub async fn events(&self, last_event_id: Option<&str>) -> Result<Stream, ClientError> {
        let mut request =
            format!("GET /api/events HTTP/1.1\r\nhost: {}\r\nsec-fetch-site: same-origin\r\n", self.addr);
        let cookie = self.cookie();
        for (name, value) in [("cookie", cookie.as_deref()), ("last-event-id", last_event_id)] {
            if let Some(value) = value {
                // A line break would begin another header.
                HeaderValue::from_str(value).map_err(hyper::http::Error::from)?;
                let _ = write!(request, "{name}: {value}\r\n");
            }
        }
        request.push_str("\r\n");
        let socket = self.connect().await.map_err(|error| ClientError::Connect(self.addr, error))?;
        let (head, stream) = Stream::open(socket, &request).await?;
        head.cookies.iter().for_each(|cookie| self.take_cookie(cookie));
        if head.status == 200 { Ok(stream) } else { Err(ClientError::Status(head.status)) }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = if self.addr.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        if let Some(source) = self.source {
            socket.bind((source, 0).into())?;
        }
        socket.set_nodelay(true)?;
        socket.connect(self.addr).await
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<hyper::Response<Incoming>, ClientError> {
        let socket = self.connect().await.map_err(|error| ClientError::Connect(self.addr, error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.addr.to_string());
        request = request.header("sec-fetch-site", "same-origin");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(cookie) = self.cookie() {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            sender.send_request(request.body(Full::new(Bytes::from(body.unwrap_or_default())))?).await?;
        for cookie in response.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok())
        {
            self.take_cookie(cookie);
        }
        Ok(response)
    }

    /// One that the server gave; an empty one takes it away.
    fn take_cookie(&self, cookie: &str) {
        if let Some(pair) = cookie.split(';').next() {
            self.set_cookie((!pair.ends_with('=')).then(|| pair.to_owned()));
        }
    }
}
