use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Grammar, Message, Parser};

/// A browser-like client of one gateway: keeps its cookie, sends what a same-origin page sends.
#[derive(Debug, Clone)]
pub struct Client {
    addr: SocketAddr,
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
    /// The stream is no such stream.
    #[error("the event stream breaks its grammar: {0}")]
    Grammar(#[from] Grammar),
    /// The event stream was answered with something else than 200.
    #[error("the event stream was answered with status {0}")]
    Status(u16),
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
        Self { addr, cookie: Arc::default() }
    }

    /// The same browser at another replica.
    pub fn at(&self, addr: SocketAddr) -> Self {
        Self { addr, cookie: Arc::clone(&self.cookie) }
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
        let id = last_event_id.map(|id| ("last-event-id", id));
        let response = self.open(Method::GET, "/api/events", id.as_slice(), None).await?;
        if response.status() != 200 {
            return Err(ClientError::Status(response.status().as_u16()));
        }
        Ok(Stream {
            body: response.into_body(),
            parser: Parser::default(),
            blocks: VecDeque::new(),
            last_id: None,
        })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<hyper::Response<Incoming>, ClientError> {
        let socket =
            TcpStream::connect(self.addr).await.map_err(|error| ClientError::Connect(self.addr, error))?;
        let _ = socket.set_nodelay(true);
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
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().ok().and_then(|text| text.split(';').next());
            if let Some(pair) = pair {
                self.set_cookie((!pair.ends_with('=')).then(|| pair.to_owned()));
            }
        }
        Ok(response)
    }
}

/// An open event stream.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    parser: Parser,
    blocks: VecDeque<Message>,
    last_id: Option<String>,
}

impl Stream {
    /// The next block; `None` when the server closed the stream. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the connection breaks or the stream breaks its grammar.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                self.last_id.clone_from(&block.id);
                return Ok(Some(block));
            }
            let Some(frame) = self.body.frame().await else {
                self.parser.end()?;
                return Ok(None);
            };
            if let Ok(bytes) = frame?.into_data() {
                self.parser.push(&bytes, &mut self.blocks)?;
            }
        }
    }

    /// The cursor to resume from.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }
}
