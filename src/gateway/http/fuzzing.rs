//! What holds for every HTTP request: what is accepted keeps to the limits of docs/protocol.md and is taken by a worker as well, what is
//! refused is not repeated. Tried by [`crate::fuzzing`].

use std::{cell::OnceCell, convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::Query,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    response::IntoResponse as _,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    PageParams, Problem,
    body::json,
    guard,
    me::NewStatus,
    messages::{HistoryParams, NewMessage, ReadMark},
    prefer::{self, Scope},
    rooms::{NewMembers, NewRoom},
    session::{Credentials, Everywhere},
    users::NewUser,
};
use crate::{
    gateway::session::Cookies,
    ids::{RequestId, RoomId, SessionKey, Timestamp, UserId},
    wire::{
        AddChat, AddFriend, AddRoom, AddUser, ChangeStatus, ErrorCode, ListFriends, ListRooms, Login,
        Password, Request, RequestHeaders, SealedPassword,
        fuzzing::{CANARY, keys},
        hot::arrived,
        open_request, request_record,
    },
};

/// The most bytes of a body.
const BODY: usize = 32 * 1024;

/// Every property of requests. The input is one as text: `METHOD PATH`, a line `name: value` for each header, an empty line, the
/// body. Gives whether it was accepted.
pub(crate) fn body(data: &[u8]) -> bool {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let body = data.get(end + 2..).unwrap_or_default();
    let mut lines = data[..end].split(|byte| *byte == b'\n');
    let Some(line) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) else { return false };
    let Some((method, target)) = line.split_once(' ') else { return false };
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else { return false };
    let header = |line: &[u8]| {
        let colon = line.windows(2).position(|two| two == b": ")?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 2..]).ok()?))
    };
    // More than this a connection does not take.
    let headers: HeaderMap = lines.filter_map(header).take(100).collect();
    headers_are_read_strictly(&headers, &method, &uri);
    match asked(&method, &uri, body) {
        Ok(Some(request)) => {
            assert!(body.len() <= BODY, "a body of {} bytes is accepted", body.len());
            within_the_limits(&request);
            a_worker_takes_it_too(&request);
            true
        }
        Ok(None) => false,
        Err(problem) => {
            says_what_is_wrong(problem);
            false
        }
    }
}

/// The request that a route makes of this call, by the route's own types; `None` where there is no such route, or nothing for a
/// worker in it.
fn asked(method: &Method, uri: &Uri, body: &[u8]) -> Result<Option<Request>, Problem> {
    let path: Vec<&str> = uri.path().split('/').skip(1).collect();
    let me = me();
    let request = match (method.as_str(), path.as_slice()) {
        ("POST", ["api", "users"]) => {
            let new: NewUser = read(body)?;
            let sealed_password = sealed(&new.password);
            let NewUser { user_id, email, user_name, .. } = new;
            Request::AddUser(AddUser { user_id, sealed_password, email, user_name })
        }
        ("POST", ["api", "session"]) => {
            let Credentials { user_id, password } = read(body)?;
            Request::Login(Login { user_id, sealed_password: sealed(&password) })
        }
        ("DELETE", ["api", "session"]) => {
            let _ = Query::<Everywhere>::try_from_uri(uri);
            return Ok(None);
        }
        ("PUT", ["api", "me", "status"]) => {
            let NewStatus { status } = read(body)?;
            Request::ChangeStatus(ChangeStatus { user_id: me, status })
        }
        ("GET", ["api", list @ ("rooms" | "friends")]) => {
            let Ok(Query(params)) = Query::<PageParams>::try_from_uri(uri) else { return Ok(None) };
            let (user_id, page) = (me, params.into());
            if *list == "rooms" {
                Request::ListRooms(ListRooms { user_id, page })
            } else {
                Request::ListFriends(ListFriends { user_id, page })
            }
        }
        ("POST", ["api", "rooms"]) => {
            let NewRoom { friend_id, room_name } = read(body)?;
            Request::AddRoom(AddRoom { user_id: me, friend_id, room_name, room_id: None })
        }
        ("POST", ["api", "rooms", room, "members"]) => {
            let (room, NewMembers { friend_id }) = (room.parse::<RoomId>()?, read(body)?);
            Request::AddRoom(AddRoom { user_id: me, friend_id, room_name: None, room_id: Some(room) })
        }
        ("POST", ["api", "friends"]) => {
            let NewMembers { friend_id } = read(body)?;
            Request::AddFriend(AddFriend { user_id: me, friend_id })
        }
        ("POST", ["api", "rooms", room, "messages"]) => {
            let (room_id, NewMessage { message, client_message_id }) = (room.parse::<RoomId>()?, read(body)?);
            Request::AddChat(AddChat { room_id, writer_id: me, message, client_message_id })
        }
        ("GET", ["api", "rooms", _, "messages"]) => {
            let _ = Query::<HistoryParams>::try_from_uri(uri);
            return Ok(None);
        }
        ("PUT", ["api", "rooms", _, "read"]) => {
            let ReadMark { seq: _ } = read(body)?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    request.check()?;
    Ok(Some(request))
}

fn me() -> UserId {
    let Ok(user) = "amy".parse() else { unreachable!("amy is a user id") };
    user
}

/// In the place of a box: the password itself is judged here, where it is still one.
fn sealed(password: &Password) -> SealedPassword {
    assert!((8..=128).contains(&password.reveal().chars().count()), "a password of no legal length");
    SealedPassword { key_id: "s1".to_owned(), sealed: "AAAA".to_owned() }
}

thread_local! {
    /// For the clock that bodies are read against.
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
}

/// Reads a body that arrives in pieces, as the routes do.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let pieces: Vec<_> =
        body.chunks(1_000).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    blocking(json(Body::from_stream(futures::stream::iter(pieces))))
}

fn blocking<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            let built = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let Ok(runtime) = built else { unreachable!("a runtime without IO needs nothing") };
            runtime
        });
        runtime.block_on(future)
    })
}

/// The limits of docs/protocol.md section 1, "Rules", spelled out over the JSON of the request.
fn within_the_limits(request: &Request) {
    let json: Value = serde_json::from_slice(&request.encode()).unwrap_or_default();
    assert!(json.is_object(), "{request:?}");
    no_nul(&json);
    let text = |name: &str| json[name].as_str();
    let chars = |name: &str| text(name).map(|text| text.chars().count());
    let trimmed = |name: &str| text(name).is_none_or(|text| text.trim() == text);
    let plain = |name: &str| text(name).is_none_or(|text| !text.chars().any(char::is_control));
    for user in ["userId", "writerId"].into_iter().filter_map(text) {
        assert!(is_user_id(user), "{user:?} is no user id");
    }
    for name in ["userName", "roomName"] {
        assert!(chars(name).is_none_or(|n| (1..=64).contains(&n)) && trimmed(name) && plain(name), "{name}");
    }
    assert!(chars("status").is_none_or(|n| n <= 140) && trimmed("status") && plain("status"), "a status");
    let message = text("message").map(str::len);
    assert!(message.is_none_or(|n| (1..=16_384).contains(&n)) && trimmed("message"), "a message");
    for mark in ["clientMessageId", "after"].into_iter().filter_map(text) {
        assert!(mark.len() <= 128, "a mark of {} bytes", mark.len());
    }
    if let Some(email) = text("email") {
        let (local, domain) = email.rsplit_once('@').unwrap_or_default();
        let blank = email.chars().any(|c| c.is_whitespace() || c.is_control());
        assert!(!local.is_empty() && !domain.is_empty() && !blank && email.len() <= 254, "{email:?}");
    }
    if let Some(friends) = json["friendId"].as_array() {
        let ids = friends.iter().all(|friend| friend.as_str().is_some_and(is_user_id));
        assert!((1..=100).contains(&friends.len()) && ids, "{} friends", friends.len());
    }
    if let Request::ListRooms(ListRooms { page, .. }) | Request::ListFriends(ListFriends { page, .. }) =
        request
    {
        assert!((1..=100).contains(&page.size()), "a page of {}", page.size());
    }
}

fn is_user_id(text: &str) -> bool {
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (2..=32).contains(&text.len()) && text.bytes().all(legal)
}

/// PostgreSQL's text has none: one would fail the whole batch that its request is in.
fn no_nul(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.contains('\0'), "a NUL is accepted: {text:?}"),
        Value::Array(items) => items.iter().for_each(no_nul),
        Value::Object(fields) => fields.values().for_each(no_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn a_worker_takes_it_too(request: &Request) {
    let signed_up = !matches!(request, Request::Login(_) | Request::AddUser(_));
    let headers = RequestHeaders {
        request_id: RequestId(uuid::Uuid::from_u128(7)),
        session_key: SessionKey([9; 32]),
        user_id: signed_up.then(me),
        client_address: None,
        deadline: Timestamp::from_micros(0),
        traceparent: None,
    };
    let out = request_record(&keys(), &headers, request);
    let opened = open_request(&keys(), &arrived(&out)).map(|opened| opened.request);
    assert_eq!(opened, Ok(Ok(request.clone())), "what the gateway accepts is not what the worker reads");
}

fn headers_are_read_strictly(headers: &HeaderMap, method: &Method, uri: &Uri) {
    let all =
        |name: &str| -> Vec<&[u8]> { headers.get_all(name).iter().map(HeaderValue::as_bytes).collect() };
    if let Some(wait) = prefer::wait(headers) {
        assert!((Duration::from_secs(1)..=Duration::from_secs(30)).contains(&wait), "a wait of {wait:?}");
    }
    let id = || prefer::request_id(headers, &Scope::User(me()), method, uri.path()).ok();
    match all("idempotency-key").as_slice() {
        [] => assert_ne!(id(), id(), "two requests without a key are one"),
        [key] if !key.is_empty() => assert_eq!(id(), id(), "one key names two requests"),
        _ => assert_eq!(id(), None, "an empty key, or two, name a request"),
    }
    let cookies: Vec<u8> = all("cookie").join(&b';');
    if let Some(token) = Cookies::new(false).read(headers) {
        let pair = format!("__Host-parley={}", token.reveal());
        assert!(
            cookies.windows(pair.len()).any(|window| window == pair.as_bytes()),
            "a token nobody brought"
        );
    }
    if guard::from_our_page(headers).is_ok() {
        let first = |name: &str| all(name).first().copied();
        let same = first("sec-fetch-site").map_or_else(
            || first("host").is_some_and(|host| first("origin").is_some_and(|origin| origin.ends_with(host))),
            |site| site == b"same-origin",
        );
        assert!(same, "a change from another site is let in");
        let media = first("content-type").unwrap_or_default().trim_ascii_start().to_ascii_lowercase();
        assert!(media.starts_with(b"application/json"), "a change is let in that a form could have sent");
    }
}

/// A problem document with its own status and a code of the closed set, which repeats nothing that was sent.
fn says_what_is_wrong(problem: Problem) {
    let response = problem.into_response();
    let status = response.status();
    let known = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
    assert!(known.contains(&status), "{status}");
    let body = blocking(axum::body::to_bytes(response.into_body(), 1 << 20)).unwrap_or_default();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    assert_eq!(json["status"], status.as_u16(), "{json}");
    assert!(ErrorCode::ALL.iter().any(|code| json["code"] == code.as_str()), "{json}");
    assert!(!json.to_string().contains(CANARY), "an answer repeats what was sent: {json}");
}
