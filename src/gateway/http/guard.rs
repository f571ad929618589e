//! What every request passes: its limit, who may change things from where (CSRF), the headers of every answer, its span, and the
//! count.

use std::time::Instant;

use axum::{
    body::HttpBody as _,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{App, Problem, caller, traced};

/// What pages may do: only what comes from here, nothing inline, framed by nobody.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whether a request that changes something comes from a page of ours: `Sec-Fetch-Site: same-origin`, or, from a client that does
/// not send that, an `Origin` of this host; and JSON, which no form can send.
pub(super) fn from_our_page(headers: &HeaderMap) -> Result<(), Problem> {
    // What cannot be read is there all the same, and is none of the words that open the door.
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let same_origin = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some_and(|host| !host.is_empty()) && host == text("host")
        }
        (None, None) => false,
    };
    if !same_origin {
        return Err(Problem::with_status(
            StatusCode::FORBIDDEN,
            "a change must come from this origin: send Sec-Fetch-Site: same-origin, or an Origin that is this host",
        ));
    }
    let media = text("content-type").map(|value| value.split(';').next().unwrap_or(value).trim());
    if !media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::with_status(
            StatusCode::FORBIDDEN,
            "a change must have Content-Type: application/json",
        ));
    }
    Ok(())
}

/// The methods that a label may name: others are the caller's text, and there is no end of them.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// Holds every request to its limit, adds the headers of every answer, traces, and counts.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let known = METHODS.into_iter().find(|known| request.method() == *known);
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // OpenTelemetry has its own word for other methods.
    let span = traced::begin(&app.tracer, request.headers_mut(), known.unwrap_or("_OTHER"), path.as_deref());
    let mut response = match caller::count(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    finish(response.headers_mut());
    traced::end(span, &response);
    let (method, route) = (known.unwrap_or("other"), path.unwrap_or_else(|| "unmatched".to_owned()));
    let status = response.status();
    app.metrics.http_requests_total.with_label_values(&[route.as_str(), method, status.as_str()]).inc();
    // A stream's time is its life.
    if response.body().size_hint().exact().is_some() {
        let spent = started.elapsed().as_secs_f64();
        app.metrics.http_request_duration_seconds.with_label_values(&[route.as_str()]).observe(spent);
    }
    response
}

fn finish(headers: &mut HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
        ("content-security-policy", CSP),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_from_our_own_pages_only() {
        let allowed = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            from_our_page(&headers).is_ok()
        };
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "chat.example:8080");
        assert!(allowed(&[json, ("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[json, host, ("origin", "https://chat.example:8080")]));
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(
                !allowed(&[json, host, ("origin", "https://chat.example:8080"), ("sec-fetch-site", site)]),
                "{site}"
            );
        }
        for origin in ["null", "https://evil.example", "chat.example:8080", "https://chat.example"] {
            assert!(!allowed(&[json, host, ("origin", origin)]), "{origin}");
        }
        assert!(!allowed(&[json, host]));
        assert!(!allowed(&[("sec-fetch-site", "same-origin")]));
        assert!(!allowed(&[("content-type", "text/plain"), ("sec-fetch-site", "same-origin")]));
        assert!(!allowed(&[json, ("host", ""), ("origin", "https://")]));
        let mut unreadable = HeaderMap::new();
        for (name, value) in [json, host, ("origin", "https://chat.example:8080")] {
            unreadable.insert(name, HeaderValue::from_static(value));
        }
        assert!(from_our_page(&unreadable).is_ok());
        unreadable.insert("sec-fetch-site", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(from_our_page(&unreadable).is_err());
    }
}
