use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use serde::{Deserialize, Serialize};

use super::{
    App, Caller, Id, Params, Problem,
    asking::{Answers, Asking, Once, Waiting},
    body,
    problem::{Bodied, Changed, Changing, Named, Naming, Private, Reading},
};
use crate::{
    ids::{RoomId, Seq},
    store::reads::{Message, PageOf, in_time},
    wire::{AddChat, ErrorCode, MessageText, Page, Request},
};

/// A message to be sent.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewMessage {
    /// 1 to 16,384 bytes of UTF-8 after trimming, without NUL.
    #[schema(value_type = String, min_length = 1)]
    pub(super) message: MessageText,
    /// The client's own name for it, at most 128 bytes.
    pub(super) client_message_id: Option<String>,
}

/// `?before=&after=&limit=`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Messages before this number, the newest of them.
    before: Option<i64>,
    /// Messages after this number, the oldest of them.
    after: Option<i64>,
    /// Messages wanted: default 50, at most 100.
    limit: Option<u32>,
}

/// A page of a room's history, ascending by number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct History {
    /// The messages.
    messages: Vec<Message>,
    /// Where the next page in the same direction begins: its `before`, or its `after`. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// How far a member has read.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct ReadMark {
    /// The number of the newest message that was read.
    #[schema(minimum = 0)]
    pub(super) seq: i64,
}

/// Sends a message to a room of mine.
#[utoipa::path(post, path = "/api/rooms/{roomId}/messages", tag = "messages", security(("session" = [])), request_body = NewMessage,
    params(("roomId" = uuid::Uuid, Path),
        Waiting, Once),
    responses(Answers, Changed, Bodied, Naming))]
pub(super) async fn send(asking: Asking, Id(room): Id<RoomId>, body: Body) -> Result<Response, Problem> {
    asking.app.limits.room(room)?;
    let new: NewMessage = body::json(body).await?;
    let request = Request::AddChat(AddChat {
        room_id: room,
        writer_id: asking.user.clone(),
        message: new.message,
        client_message_id: new.client_message_id,
    });
    asking.change(&request).await
}

/// A page of a room's messages, as far as I may see them.
#[utoipa::path(get, path = "/api/rooms/{roomId}/messages", tag = "messages", security(("session" = [])),
    params(("roomId" = uuid::Uuid, Path), HistoryParams),
    responses((status = 200, body = History), Private, Named, Reading))]
pub(super) async fn history(
    State(app): State<App>,
    caller: Caller,
    Id(room): Id<RoomId>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<History>, Problem> {
    let (_, session) = app.session_of(&caller).await?;
    let page_of = match (params.before, params.after) {
        (None, None) => PageOf::Newest,
        (Some(before), None) => PageOf::Before(Seq(before)),
        (None, Some(after)) => PageOf::After(Seq(after)),
        (Some(_), Some(_)) => {
            return Err(Problem::new(ErrorCode::InvalidRequest, "give before or after, not both"));
        }
    };
    let limit = Page { after: None, limit: params.limit }.size();
    let page = in_time(app.reads.messages(room, &session.user, page_of, limit)).await?;
    let page = page.ok_or_else(|| Problem::new(ErrorCode::RoomNotFound, "there is no such room of yours"))?;
    let edge = match page_of {
        PageOf::After(_) => page.messages.last(),
        PageOf::Newest | PageOf::Before(_) => page.messages.first(),
    };
    let next = edge.filter(|_| page.more).map(|message| message.seq.0);
    Ok(Json(History { messages: page.messages, next }))
}

/// Says how far I have read: forwards only, and no further than the newest message.
#[utoipa::path(put, path = "/api/rooms/{roomId}/read", tag = "messages", security(("session" = [])), request_body = ReadMark,
    params(("roomId" = uuid::Uuid, Path)),
    responses((status = 204), Private, Named, Bodied, Changing))]
pub(super) async fn mark_read(
    asking: Asking,
    Id(room): Id<RoomId>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let mark: ReadMark = body::json(body).await?;
    if mark.seq < 0 {
        return Err(Problem::new(ErrorCode::InvalidRequest, "seq must not be negative"));
    }
    let moved = in_time(asking.app.reads.mark_read(room, &asking.user, Seq(mark.seq))).await?;
    let missing = || Problem::new(ErrorCode::RoomNotFound, "there is no such room of yours");
    moved.then_some(StatusCode::NO_CONTENT).ok_or_else(missing)
}

/// These routes' part of the API's description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(send, history, mark_read))]
pub(super) struct Api;

/// These routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/rooms/{roomId}/messages", get(history).post(send))
        .route("/api/rooms/{roomId}/read", put(mark_read))
}
