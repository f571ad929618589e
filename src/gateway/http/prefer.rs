//! The request headers `Prefer` (RFC 7240) and `Idempotency-Key`.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};

use super::Problem;
use crate::ids::{RequestId, SessionKey, UserId};

/// The longest that a call is held.
const LONGEST: u64 = 30;

/// How long the caller prefers to wait for the reply: `Prefer: wait=N`, in seconds, at most 30. What is not understood is
/// ignored, as RFC 7240 wants.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok()).flatten()
    })?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

/// Whose key it is.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    User(UserId),
    Session(SessionKey),
    /// The browser brought no cookie, so that a repeat could not be told to be its own.
    Nobody,
}

/// The id of the request: derived from the `Idempotency-Key` where there is one, else fresh.
pub(super) fn request_id(
    headers: &HeaderMap,
    scope: &Scope,
    method: &Method,
    path: &str,
) -> Result<RequestId, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(RequestId::fresh()) };
    let bad = |detail| Problem::with_status(StatusCode::BAD_REQUEST, detail);
    let key = key.to_str().map_err(|_| bad("Idempotency-Key must be visible ASCII"))?;
    if keys.next().is_some() || !(1..=255).contains(&key.len()) {
        return Err(bad("Idempotency-Key must be one header of 1 to 255 characters"));
    }
    let scope = match scope {
        Scope::User(user) => format!("user {user}"),
        Scope::Session(session) => format!("session {session}"),
        Scope::Nobody => return Err(bad("an Idempotency-Key needs a session or a cookie; GET / gives one")),
    };
    Ok(RequestId::derived(&[&scope, method.as_str(), path, key]))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.parse().unwrap(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn the_wait_is_found_among_other_preferences_and_bounded() {
        for (lines, want) in [
            (vec!["wait=10"], Some(10)),
            (vec!["respond-async, wait=5"], Some(5)),
            (vec!["respond-async", "Wait=\"7\"; x=1"], Some(7)),
            (vec!["wait=999"], Some(30)),
            (vec!["wait=0"], None),
            (vec!["wait=-1"], None),
            (vec!["wait"], None),
            (vec![], None),
        ] {
            assert_eq!(wait(&headers("prefer", &lines)), want.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn a_key_names_one_request_of_one_user_at_one_place() {
        let (bob, amy) = (Scope::User("bob".parse().unwrap()), Scope::User("amy".parse().unwrap()));
        let id = |keys: &[&'static str], scope: &Scope, path| {
            request_id(&headers("idempotency-key", keys), scope, &Method::POST, path).map_err(|_| ())
        };
        let one = id(&["k"], &bob, "/api/rooms");
        assert!(one.is_ok());
        assert_eq!(one, id(&["k"], &bob, "/api/rooms"));
        assert_ne!(one, id(&["k"], &amy, "/api/rooms"));
        assert_ne!(one, id(&["k"], &bob, "/api/friends"));
        assert_ne!(one, id(&["l"], &bob, "/api/rooms"));
        assert_ne!(id(&[], &bob, "/"), id(&[], &bob, "/"), "without a key each is a request of its own");
        assert_eq!(id(&["k"], &Scope::Nobody, "/"), Err(()));
        assert_eq!(id(&[""], &bob, "/"), Err(()));
        assert_eq!(id(&["a", "b"], &bob, "/"), Err(()));
    }
}
