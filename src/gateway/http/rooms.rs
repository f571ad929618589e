use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::{delete, get, post},
};
use serde::Deserialize;

use super::{
    App, Caller, Id, PageParams, Params, Problem, body,
    submit::{Accepted, ReplyBody},
};
use crate::{
    ids::{RoomId, UserId},
    wire::{AddRoom, LeaveRoom, ListRooms, Name, Request},
};

/// A room to be opened.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewRoom {
    /// Friends of mine, at most 100.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100)]
    pub(super) friend_id: Vec<UserId>,
    /// Its name; made of the members' names when absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    room_name: Option<Name>,
}

/// Friends that are to join a room.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewMembers {
    /// Friends of mine, at most 100.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100)]
    pub(super) friend_id: Vec<UserId>,
}

/// My rooms, a page of them. The answer comes from a worker, as all conversations do: ask with `Prefer: wait`.
#[utoipa::path(get, path = "/api/rooms", operation_id = "list_rooms", tag = "rooms", security(("session" = [])),
    params(PageParams, ("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds")),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(page): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let request = Request::ListRooms(ListRooms { user_id: session.user.clone(), page: page.into() });
    app.read_by_worker(&headers, key, session.user, &request).await
}

/// Opens a room with friends, all of them or none.
#[utoipa::path(post, path = "/api/rooms", tag = "rooms", security(("session" = [])), request_body = NewRoom,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn open(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let new: NewRoom = body::json(body).await?;
    let request = Request::AddRoom(AddRoom {
        user_id: session.user.clone(),
        friend_id: new.friend_id,
        room_name: new.room_name,
        room_id: None,
    });
    app.ask(&headers, &method, &uri, key, session.user, &request).await
}

/// Adds friends to a room of mine.
#[utoipa::path(post, path = "/api/rooms/{roomId}/members", tag = "rooms", security(("session" = [])), request_body = NewMembers,
    params(("roomId" = uuid::Uuid, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn add_members(
    State(app): State<App>,
    caller: Caller,
    Id(room): Id<RoomId>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let new: NewMembers = body::json(body).await?;
    let request = Request::AddRoom(AddRoom {
        user_id: session.user.clone(),
        friend_id: new.friend_id,
        room_name: None,
        room_id: Some(room),
    });
    app.ask(&headers, &method, &uri, key, session.user, &request).await
}

/// Leaves a room. What was said before stays readable.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/members/me", tag = "rooms", security(("session" = [])),
    params(("roomId" = uuid::Uuid, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: hold the call up to N seconds"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Accepted), (status = 200, body = ReplyBody),
        Problem))]
pub(super) async fn leave(
    State(app): State<App>,
    caller: Caller,
    Id(room): Id<RoomId>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (key, session) = app.session_of(&caller).await?;
    app.limits.user(&session.user)?;
    let request = Request::LeaveRoom(LeaveRoom { user_id: session.user.clone(), room_id: room });
    app.ask(&headers, &method, &uri, key, session.user, &request).await
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, open, add_members, leave))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/rooms", get(list).post(open))
        .route("/api/rooms/{roomId}/members", post(add_members))
        .route("/api/rooms/{roomId}/members/me", delete(leave))
}
