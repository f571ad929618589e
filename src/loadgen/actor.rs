use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use serde_json::{Value, json};

use super::{Client, ClientError};
use crate::ids::{RoomId, UserId};

/// The password of every generated user; the users are throw-away.
pub const PASSWORD: &str = "a generated password";

/// One generated user with a browser of their own.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Who.
    pub user: UserId,
    /// Their browser, logged in.
    pub client: Client,
}

/// Why the stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer that says no.
    #[error("{what} was answered with {status}: {body}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The problem document.
        body: String,
    },
    /// An answer without what was asked for.
    #[error("{0} was answered without an id")]
    NoId(&'static str),
    /// Streams that did not become live in time.
    #[error("only {live} of {wanted} streams became live: look at the gateways' /readyz and logs")]
    NotLive {
        /// Streams that are.
        live: usize,
        /// Streams that were opened.
        wanted: usize,
    },
}

impl Actor {
    /// Signs up and logs in, and waits for both answers.
    ///
    /// # Errors
    /// When the system says no or nothing.
    pub async fn sign_up(gateway: SocketAddr, user: UserId) -> Result<Self, SetupError> {
        let actor = Self { client: Client::new(gateway), user };
        // A key needs a scope: the page brings the anonymous cookie that gives it one.
        actor.client.get("/").await?;
        let name = actor.user.as_str();
        let account = json!({"userId": name, "password": PASSWORD, "email": format!("{name}@example.com"), "userName": name});
        actor.ask("sign-up", Method::POST, "/api/users", &account).await?;
        actor.log_in().await?;
        Ok(actor)
    }

    /// Logs in under a fresh session.
    ///
    /// # Errors
    /// When the system says no or nothing.
    pub async fn log_in(&self) -> Result<(), SetupError> {
        let login = json!({"userId": self.user, "password": PASSWORD});
        self.ask("login", Method::POST, "/api/session", &login).await.map(drop)
    }

    /// Makes friends.
    ///
    /// # Errors
    /// When the system says no or nothing.
    pub async fn befriend(&self, others: &[UserId]) -> Result<(), SetupError> {
        for some in others.chunks(100) {
            self.ask("adding friends", Method::POST, "/api/friends", &json!({"friendId": some})).await?;
        }
        Ok(())
    }

    /// Opens a room with friends.
    ///
    /// # Errors
    /// When the system says no or nothing.
    pub async fn open_room(&self, friends: &[UserId], name: &str) -> Result<RoomId, SetupError> {
        let what = "opening a room";
        let answer = self
            .ask(what, Method::POST, "/api/rooms", &json!({"friendId": friends, "roomName": name}))
            .await?;
        answer["roomId"].as_str().and_then(|id| id.parse().ok()).ok_or(SetupError::NoId(what))
    }

    /// A request that waits for its reply; asked again under the same key while the outcome is unknown.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, SetupError> {
        let key = uuid::Uuid::new_v4().to_string();
        let with_key = [("prefer", "wait=10"), ("idempotency-key", key.as_str())];
        // Login takes no key: a repeat opens another session.
        let headers = if path == "/api/session" { &with_key[..1] } else { &with_key[..] };
        let mut tries = 0;
        loop {
            let answer = self.client.json(method.clone(), path, headers, body).await?;
            tries += 1;
            match answer.status {
                200 => return Ok(answer.json()),
                202 | 429 | 503 if tries < 12 => tokio::time::sleep(Duration::from_millis(500)).await,
                status => {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(SetupError::Refused { what, status, body });
                }
            }
        }
    }
}
