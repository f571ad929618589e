use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    OpenApi as _,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};

use super::{
    described::StreamEvents,
    events, friends, me, messages,
    problem::{Counted, ProblemBody},
    requests, rooms, session,
    submit::{Accepted, ReplyBody},
    users, web,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Parley",
        description = "The HTTP API of the Parley gateway. Changes are answered with 202 and the reply comes as an event of \
            the stream, or to the call itself with `Prefer: wait=N`. The session is a cookie. Changes need \
            `Content-Type: application/json` and a same-origin `Sec-Fetch-Site` or `Origin`."
    ),
    paths(serve),
    components(schemas(Accepted, ProblemBody, ReplyBody, StreamEvents)),
    modifiers(&Session)
)]
struct Document;

/// The session's cookie as the description's security scheme.
struct Session;

impl utoipa::Modify for Session {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-parley")));
        document.components.get_or_insert_default().add_security_scheme("session", cookie);
    }
}

/// The description of the API: OpenAPI 3.1, JSON, indented.
pub(crate) fn document() -> String {
    let mut document = Document::openapi();
    for group in [
        users::Api::openapi(),
        session::Api::openapi(),
        me::Api::openapi(),
        rooms::Api::openapi(),
        friends::Api::openapi(),
        messages::Api::openapi(),
        requests::Api::openapi(),
        events::Api::openapi(),
        web::Api::openapi(),
    ] {
        document.merge(group);
    }
    let text = document.to_pretty_json();
    // It is made of constants; a test reads it.
    text.unwrap_or_default() + "\n"
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", operation_id = "description", tag = "page",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value), Counted))]
pub(super) async fn serve() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(document);
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], TEXT.as_str())
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/openapi.json` is the committed copy. To renew it: `UPDATE=1 cargo test --lib openapi`.
    #[test]
    fn the_committed_description_is_the_served_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == document(),
            "docs/openapi.json is not what the code says: UPDATE=1 cargo test --lib openapi"
        );
        assert!(committed.contains("\"openapi\": \"3.1"));
    }
}
