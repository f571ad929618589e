//! The web client, built into the program.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::{App, Caller, Problem, problem::Reading, with_cookie};

/// `web/dist`, as `make web` builds it. A release holds the files; a debug build reads them from the disk as it runs.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// Whether this program was built without the web client: a release must not be.
pub(crate) fn missing_page() -> bool {
    Dist::get("index.html").is_none()
}

/// The page. A browser without a cookie gets an anonymous one with it.
#[utoipa::path(get, path = "/", operation_id = "page", tag = "page",
    params(("If-None-Match" = Option<String>, Header, description = "An `ETag` that is known")),
    responses((status = 200, description = "The web client", body = String, content_type = "text/html"),
        (status = 304, description = "It is what is known"), Reading))]
pub(super) async fn index(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
    let Some(file) = Dist::get("index.html") else {
        let text = "the web client is not built: run `make web`";
        return Problem::with_status(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let cookie = match app.token_of(caller) {
        Ok((_, cookie)) => cookie,
        Err(problem) => return problem.into_response(),
    };
    with_cookie(Ok(serve("index.html", file, &headers)), cookie)
}

/// A file of the page, or nothing.
pub(super) async fn asset(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let file = if path.starts_with("api/") { None } else { Dist::get(path) };
    match file {
        Some(_) if !matches!(method, Method::GET | Method::HEAD) => {
            let mut response = Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, "files can only be read")
                .into_response();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
            response
        }
        Some(file) => serve(path, file, &headers),
        None => Problem::with_status(StatusCode::NOT_FOUND, "there is nothing here").into_response(),
    }
}

fn serve(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash: String =
        file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{hash}\"");
    // The build names what is under assets/ by its content.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.to_str().is_ok_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = file.data.into_owned().into_response();
        let media = file.metadata.mimetype();
        if let Ok(value) = HeaderValue::from_str(&charset(media)) {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, value);
    }
    response
}

fn charset(media: &str) -> String {
    let text = media.starts_with("text/") || media.ends_with("javascript") || media.ends_with("json");
    if text { format!("{media}; charset=utf-8") } else { media.to_owned() }
}

/// The page's part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(index))]
pub(super) struct Api;
