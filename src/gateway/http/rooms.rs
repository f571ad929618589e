use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{delete, get, post},
};
use serde::Deserialize;

use super::{
    App, Id, PageParams, Params, Problem,
    asking::{Answers, Asking, Nothing, Once, Waiting},
    body,
    problem::{Asked, Bodied, Changed, Naming},
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
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100, pattern = "^[A-Za-z0-9._-]{2,32}$")]
    pub(super) friend_id: Vec<UserId>,
    /// Its name; made of the members' names when absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    pub(super) room_name: Option<Name>,
}

/// Friends that are to join a room.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewMembers {
    /// Friends of mine, at most 100.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100, pattern = "^[A-Za-z0-9._-]{2,32}$")]
    pub(super) friend_id: Vec<UserId>,
}

/// My rooms, a page of them. The answer comes from a worker, as all conversations do: ask with `Prefer: wait`.
#[utoipa::path(get, path = "/api/rooms", operation_id = "list_rooms", tag = "rooms", security(("session" = [])),
    params(PageParams, Waiting),
    responses(Answers, Asked))]
pub(super) async fn list(asking: Asking, Params(page): Params<PageParams>) -> Result<Response, Problem> {
    let request = Request::ListRooms(ListRooms { user_id: asking.user.clone(), page: page.into() });
    asking.read(&request).await
}

/// Opens a room with friends, all of them or none.
#[utoipa::path(post, path = "/api/rooms", tag = "rooms", security(("session" = [])), request_body = NewRoom,
    params(Waiting, Once),
    responses(Answers, Changed, Bodied, Naming))]
pub(super) async fn open(asking: Asking, body: Body) -> Result<Response, Problem> {
    let new: NewRoom = body::json(body).await?;
    let request = Request::AddRoom(AddRoom {
        user_id: asking.user.clone(),
        friend_id: new.friend_id,
        room_name: new.room_name,
        room_id: None,
    });
    asking.change(&request).await
}

/// Adds friends to a room of mine.
#[utoipa::path(post, path = "/api/rooms/{roomId}/members", tag = "rooms", security(("session" = [])), request_body = NewMembers,
    params(("roomId" = uuid::Uuid, Path),
        Waiting, Once),
    responses(Answers, Changed, Bodied, Naming))]
pub(super) async fn add_members(
    asking: Asking,
    Id(room): Id<RoomId>,
    body: Body,
) -> Result<Response, Problem> {
    let new: NewMembers = body::json(body).await?;
    let request = Request::AddRoom(AddRoom {
        user_id: asking.user.clone(),
        friend_id: new.friend_id,
        room_name: None,
        room_id: Some(room),
    });
    asking.change(&request).await
}

/// Leaves a room. What was said before stays readable.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/members/me", tag = "rooms", security(("session" = [])),
    request_body = Nothing,
    params(("roomId" = uuid::Uuid, Path),
        Waiting, Once),
    responses(Answers, Changed, Naming))]
pub(super) async fn leave(asking: Asking, Id(room): Id<RoomId>) -> Result<Response, Problem> {
    let request = Request::LeaveRoom(LeaveRoom { user_id: asking.user.clone(), room_id: room });
    asking.change(&request).await
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
