use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Body, ErrorCode, request::json_bytes};
use crate::ids::{RoomId, Seq, Timestamp, UserId};

/// A user as replies show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct User {
    #[schema(value_type = String)]
    pub user_id: UserId,
    pub email: String,
    pub user_name: String,
    pub user_status: String,
    #[schema(value_type = String, format = DateTime)]
    pub join_date: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub login_date: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub logout_date: Option<Timestamp>,
}

/// One room of mine in a ListRooms reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomEntry {
    /// Which room.
    #[schema(value_type = uuid::Uuid)]
    pub room_id: RoomId,
    /// Its name for people.
    pub room_name: String,
    /// How many members it has.
    pub member_count: i64,
    /// At most 20 of them.
    #[schema(value_type = Vec<String>)]
    pub members: Vec<UserId>,
    /// The newest message's number; 0 in an empty room.
    #[schema(value_type = i64)]
    pub last_seq: Seq,
    /// The newest message that this reader may see.
    #[schema(required = true)]
    pub last_message: Option<String>,
    /// When it was written.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub last_at: Option<Timestamp>,
    /// Messages after this reader's read mark.
    pub unread: i64,
}

/// A friend: in a ListFriends reply and in a `friend` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct FriendEntry {
    #[schema(value_type = String)]
    pub user_id: UserId,
    pub user_name: String,
    pub user_status: String,
}

/// What became of one id of an AddFriend request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FriendOutcome {
    /// They are friends now.
    Added,
    /// They were before.
    Already,
    /// There is no such user.
    Unknown,
    /// The asker's own id.
    #[serde(rename = "self")]
    Oneself,
}

/// One id of an AddFriend request with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct AddFriendResult {
    #[schema(value_type = String)]
    pub user_id: UserId,
    pub result: FriendOutcome,
}

/// A room as its opening or its growth shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct RoomDetail {
    pub room_id: RoomId,
    pub room_name: String,
    pub member_count: i64,
    /// At most 20 of them.
    pub members: Vec<UserId>,
    pub created_at: Timestamp,
}

/// Why a request was not done. The message is for people, English, and holds no secret and nothing that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// From the closed set.
    pub code: ErrorCode,
    /// What happened and what to do.
    pub message: Cow<'static, str>,
    /// Seconds after which trying again makes sense; only for `rate_limited`.
    pub retry_after: Option<u32>,
}

impl Failure {
    /// A failure without `retryAfter`.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

/// The value of a response record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whom it concerns; absent when the request named nobody.
    pub user_id: Option<UserId>,
    /// What came of it.
    pub result: Result<Body, Failure>,
}

/// The fields that every reply begins with, and what a receiver needs to route and to answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyHead {
    /// Whom it concerns.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// Whether it was done.
    pub is_success: bool,
    /// Why not.
    #[serde(default)]
    pub error_code: Option<ErrorCode>,
    /// The same for people.
    #[serde(default)]
    pub error_message: Option<String>,
    /// Seconds, with `rate_limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Value<'a> {
    #[serde(flatten)]
    head: ReplyHead,
    #[serde(flatten)]
    body: Option<&'a Body>,
}

#[derive(Deserialize)]
struct OwnedValue {
    #[serde(flatten)]
    head: ReplyHead,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Reply {
    /// The JSON value: `userId`, `isSuccess`, `errorCode`, `errorMessage`, then the kind's own fields.
    pub fn encode(&self) -> Vec<u8> {
        let (body, failure) = match &self.result {
            Ok(body) => (Some(body), None),
            Err(failure) => (None, Some(failure)),
        };
        json_bytes(&Value {
            head: ReplyHead {
                user_id: self.user_id.clone(),
                is_success: failure.is_none(),
                error_code: failure.map(|f| f.code),
                error_message: failure.map(|f| f.message.clone().into_owned()),
                retry_after: failure.and_then(|f| f.retry_after),
            },
            body,
        })
    }

    /// Reads a value that [`encode`](Self::encode) wrote: a stored outcome that is sent again.
    ///
    /// # Errors
    /// When it is no such value.
    pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        let OwnedValue { head, rest } = serde_json::from_slice(value)?;
        let result = match head.error_code {
            Some(code) => Err(Failure {
                code,
                message: head.error_message.unwrap_or_default().into(),
                retry_after: head.retry_after,
            }),
            None => Ok(serde_json::from_value(rest.into())?),
        };
        Ok(Self { user_id: head.user_id, result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_reads_back() {
        let bob: UserId = "bob".parse().unwrap();
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let room = RoomId(uuid::Uuid::nil());
        let bodies = [
            Body::ListRooms {
                rooms: vec![RoomEntry {
                    room_id: room,
                    room_name: "r".into(),
                    member_count: 2,
                    members: vec![bob.clone()],
                    last_seq: Seq(3),
                    last_message: Some("hi".into()),
                    last_at: Some(at),
                    unread: 1,
                }],
                next: None,
            },
            Body::ListFriends {
                friend: vec![FriendEntry {
                    user_id: bob.clone(),
                    user_name: "B".into(),
                    user_status: String::new(),
                }],
                next: Some("x".into()),
            },
            Body::AddFriend {
                friend_id: vec![AddFriendResult { user_id: bob.clone(), result: FriendOutcome::Oneself }],
            },
            Body::AddChat { room_id: room, seq: Seq(1), message: "hi".into(), created_at: at },
            Body::AddRoom(RoomDetail {
                room_id: room,
                room_name: "r".into(),
                member_count: 1,
                members: vec![bob.clone()],
                created_at: at,
            }),
            Body::User {
                user: User {
                    user_id: bob.clone(),
                    email: "a@b.c".into(),
                    user_name: "B".into(),
                    user_status: String::new(),
                    join_date: at,
                    login_date: None,
                    logout_date: None,
                },
            },
            Body::LeaveRoom { room_id: room, left_seq: Seq(3) },
            Body::ChangeStatus { status: "away".into() },
            Body::Nothing {},
        ];
        for body in bodies {
            let reply = Reply { user_id: Some(bob.clone()), result: Ok(body) };
            assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
        }
        let mut failure = Failure::new(ErrorCode::RateLimited, "too many tries; wait");
        failure.retry_after = Some(7);
        let reply = Reply { user_id: None, result: Err(failure) };
        assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
    }

    #[test]
    fn the_seed_systems_names_stay() {
        let reply = Reply { user_id: None, result: Err(Failure::new(ErrorCode::UserExists, "taken")) };
        let json: serde_json::Value = serde_json::from_slice(&reply.encode()).unwrap();
        assert_eq!(json["isSuccess"], false);
        assert_eq!(json["errorCode"], "user_exists");
        assert_eq!(json["errorMessage"], "taken");
        assert!(json["userId"].is_null());
    }
}
