//! Whose request it is: cookie → token → session key → row, with a short memory.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;

use super::hub::{OpenSession, SessionState};
use crate::{
    ids::{SessionKey, SessionToken, UserId},
    store::{
        StoreError,
        reads::{Reads, in_time},
    },
};

/// How long an open or ended session is believed without asking again. `session-ended` shortens it to nothing.
const BELIEVED: Duration = Duration::from_secs(5);
/// How often the use of a session is noted.
const SEEN: Duration = Duration::from_secs(300);
/// Sessions remembered: 100,000 of about 200 bytes.
const REMEMBERED: u64 = 100_000;

/// Sessions as this gateway knows them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    reads: Reads,
    cache: Cache<SessionKey, SessionState>,
    /// Sessions whose use was noted of late.
    seen: Cache<SessionKey, ()>,
}

impl Sessions {
    pub(crate) fn new(reads: Reads) -> Self {
        Self {
            reads,
            cache: Cache::builder().max_capacity(REMEMBERED).time_to_live(BELIEVED).build(),
            seen: Cache::builder().max_capacity(REMEMBERED).time_to_live(SEEN).build(),
        }
    }

    /// How a session stands, a few seconds ago at most.
    pub(crate) async fn get(&self, key: &SessionKey) -> Result<SessionState, StoreError> {
        match self.cache.get(key) {
            Some(state) => Ok(state),
            None => self.fresh(key).await,
        }
    }

    /// The user of a session that memory holds as open.
    pub(crate) fn known(&self, key: &SessionKey) -> Option<UserId> {
        match self.cache.get(key) {
            Some(SessionState::Open(session)) => Some(session.user),
            _ => None,
        }
    }

    /// How a session stands now.
    pub(crate) async fn fresh(&self, key: &SessionKey) -> Result<SessionState, StoreError> {
        let state = match in_time(self.reads.session(key)).await? {
            None => SessionState::Unknown,
            Some(row) => match (row.ended_at, row.user_id) {
                (None, Some(user)) => SessionState::Open(OpenSession {
                    user,
                    opened_at: row.opened_at,
                    expires_at: row.expires_at,
                }),
                _ => SessionState::Ended,
            },
        };
        // "Unknown" is never remembered: the login may be a moment away.
        if state != SessionState::Unknown {
            self.cache.insert(*key, state.clone());
        }
        if matches!(state, SessionState::Open(_)) && self.seen.get(key).is_none() {
            self.seen.insert(*key, ());
            let (reads, key) = (self.reads.clone(), *key);
            tokio::spawn(async move {
                if let Err(error) = in_time(reads.seen(&key)).await {
                    tracing::debug!(%error, "cannot note that a session is in use");
                }
            });
        }
        Ok(state)
    }

    /// Forgets one session.
    pub(crate) fn forget(&self, key: &SessionKey) {
        self.cache.invalidate(key);
    }

    /// Forgets all of them: a user's sessions were ended, and which they are is not known here.
    pub(crate) fn forget_all(&self) {
        self.cache.invalidate_all();
    }
}

/// How the cookie is named and flagged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cookies {
    insecure: bool,
}

impl Cookies {
    pub(crate) fn new(insecure: bool) -> Self {
        Self { insecure }
    }

    fn name(self) -> &'static str {
        if self.insecure { "parley" } else { "__Host-parley" }
    }

    /// The token of a request; `None` when there is none, or something else under its name. Of several the first counts
    /// (RFC 6265 section 5.4: the most specific one comes first).
    pub(crate) fn read(self, headers: &HeaderMap) -> Option<SessionToken> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.name()).and_then(|(_, value)| value.parse().ok())
    }

    /// The value of `Set-Cookie` that gives the browser this token, for as long as it runs.
    pub(crate) fn set(self, token: &SessionToken) -> HeaderValue {
        self.header(&format!("{}={}", self.name(), token.reveal()))
    }

    /// The value of `Set-Cookie` that takes the token away.
    pub(crate) fn clear(self) -> HeaderValue {
        self.header(&format!("{}=; Max-Age=0", self.name()))
    }

    fn header(self, start: &str) -> HeaderValue {
        let secure = if self.insecure { "" } else { "; Secure" };
        let text = format!("{start}{secure}; HttpOnly; SameSite=Lax; Path=/");
        let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(insecure: bool, lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        Cookies::new(insecure).read(&headers).map(|token| token.reveal())
    }

    #[test]
    fn the_cookie_is_found_among_others_under_its_own_name_only() {
        let (one, two) = ("A".repeat(43), format!("B{}", "A".repeat(42)));
        assert_eq!(read(false, &[&format!("a=1; __Host-parley={one};b=2")]).as_deref(), Some(one.as_str()));
        assert_eq!(
            read(false, &["x=y", &format!("__Host-parley={two}; __Host-parley={one}")]).as_deref(),
            Some(two.as_str())
        );
        assert_eq!(read(false, &[&format!("parley={one}")]), None);
        assert_eq!(read(true, &[&format!("parley={one}")]).as_deref(), Some(one.as_str()));
        for bad in
            ["", "__Host-parley", "__Host-parley=", "__Host-parley=short", &format!("__host-parley={one}")]
        {
            assert_eq!(read(false, &[bad]), None, "{bad:?}");
        }
    }

    #[test]
    fn the_flags_are_what_the_prefix_asks_for() {
        let token = SessionToken::fresh().unwrap();
        let set = Cookies::new(false).set(&token);
        assert_eq!(
            set.to_str().unwrap(),
            format!("__Host-parley={}; Secure; HttpOnly; SameSite=Lax; Path=/", token.reveal())
        );
        assert!(format!("{set:?}").contains("Sensitive"), "a log does not show it");
        assert_eq!(
            Cookies::new(true).clear().to_str().unwrap(),
            "parley=; Max-Age=0; HttpOnly; SameSite=Lax; Path=/"
        );
    }
}
