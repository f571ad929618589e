//! Every conversation: its two topics, what is asked and what is answered. A new kind begins here (docs/new-kind.md).

use serde::{Deserialize, Serialize};

use super::{
    AddFriendResult, Email, FriendEntry, MessageText, Name, Page, RoomDetail, RoomEntry, SealedPassword,
    StatusText, User, kind::kinds,
};
use crate::ids::{RoomId, Seq, Timestamp, UserId};

// Name, request topic, response topic, and the field that says who asks. A kind is named like its request's value below.
kinds! {
    /// Checks the password, opens a session.
    Login("login-request", "login-response", user_id),
    /// Ends the session everywhere, at once.
    Logout("logout-request", "logout-response", user_id),
    /// My rooms, paged.
    ListRooms("user-room-request", "user-room-response", user_id),
    /// My friends, paged.
    ListFriends("user-search-friend-request", "user-search-friend-response", user_id),
    /// Sign-up.
    AddUser("user-add-request", "user-add-response", user_id),
    /// My status message, pushed to friends.
    ChangeStatus("user-status-change-request", "user-status-change-response", user_id),
    /// Opens a room with friends, or adds friends to one of mine.
    AddRoom("user-add-room-request", "user-add-room-response", user_id),
    /// Leaves a room of mine.
    LeaveRoom("user-leave-room-request", "user-leave-room-response", user_id),
    /// Appends a message to a room. The only kind keyed by room.
    AddChat("user-add-chat-request", "user-add-chat-response", writer_id),
    /// Adds friends, one result per id.
    AddFriend("user-add-friend-request", "user-add-friend-response", user_id),
}

/// Value of `login-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct Login {
    pub user_id: UserId,
    pub sealed_password: SealedPassword,
}

/// Value of `logout-request`. Without a user it ends a session that no login has opened yet (a tombstone).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct Logout {
    #[serde(default)]
    pub user_id: Option<UserId>,
    #[serde(default)]
    pub everywhere: bool,
}

/// Value of `user-room-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct ListRooms {
    pub user_id: UserId,
    #[serde(flatten)]
    pub page: Page,
}

/// Value of `user-search-friend-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct ListFriends {
    pub user_id: UserId,
    #[serde(flatten)]
    pub page: Page,
}

/// Value of `user-add-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct AddUser {
    pub user_id: UserId,
    pub sealed_password: SealedPassword,
    pub email: Email,
    pub user_name: Name,
}

/// Value of `user-status-change-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct ChangeStatus {
    pub user_id: UserId,
    pub status: StatusText,
}

/// Value of `user-add-room-request`. With `room_id`: adds the friends to this room of mine instead of opening one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct AddRoom {
    pub user_id: UserId,
    pub friend_id: Vec<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// Value of `user-leave-room-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct LeaveRoom {
    pub user_id: UserId,
    pub room_id: RoomId,
}

/// Value of `user-add-chat-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct AddChat {
    pub room_id: RoomId,
    pub writer_id: UserId,
    pub message: MessageText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
}

/// Value of `user-add-friend-request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub struct AddFriend {
    pub user_id: UserId,
    pub friend_id: Vec<UserId>,
}

/// What a successful reply says beyond `userId` and `isSuccess`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "fields as in the table of docs/protocol.md")]
pub enum Body {
    ListRooms {
        rooms: Vec<RoomEntry>,
        next: Option<String>,
    },
    AddFriend {
        #[serde(rename = "friendId")]
        friend_id: Vec<AddFriendResult>,
    },
    ListFriends {
        friend: Vec<FriendEntry>,
        next: Option<String>,
    },
    AddChat {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        seq: Seq,
        message: String,
        #[serde(rename = "createdAt")]
        created_at: Timestamp,
    },
    AddRoom(RoomDetail),
    /// `left_seq`: the newest message by then, the last that its former member may see.
    #[serde(rename_all = "camelCase")]
    LeaveRoom {
        room_id: RoomId,
        left_seq: Seq,
    },
    /// Login and AddUser.
    User {
        user: User,
    },
    ChangeStatus {
        status: String,
    },
    /// Logout has nothing more to say.
    Nothing {},
}

pub(crate) use described::ReplyBody;

/// What a reply looks like as JSON, for the description of the API alone: a kind's own fields are there on success.
mod described {
    #![expect(dead_code, reason = "nothing is made of these shapes but their description")]

    use serde::Serialize;

    use crate::wire::{AddFriendResult, ErrorCode, FriendEntry, RoomEntry, User};

    /// A reply, by its kind: an answer over HTTP, and the data of a `reply` event. A kind's own fields are there on success.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(tag = "kind")]
    pub(crate) enum ReplyBody {
        Login(UserReply),
        Logout(ReplyFields),
        ListRooms(RoomsReply),
        ListFriends(FriendsReply),
        AddUser(UserReply),
        ChangeStatus(StatusReply),
        AddRoom(RoomReply),
        LeaveRoom(LeaveReply),
        AddChat(ChatReply),
        AddFriend(AddedReply),
    }

    /// The fields that all replies have.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub(crate) struct ReplyFields {
        /// The request that it answers.
        request_id: uuid::Uuid,
        /// Whom it concerns.
        user_id: Option<String>,
        /// Whether it was done.
        is_success: bool,
        /// Why not.
        error_code: Option<ErrorCode>,
        /// The same for people, in English.
        error_message: Option<String>,
        /// Seconds, with `rate_limited`.
        retry_after: Option<u32>,
    }

    /// A reply with a user: who logged in, or the new account.
    #[derive(Serialize, utoipa::ToSchema)]
    pub(crate) struct UserReply {
        #[serde(flatten)]
        head: ReplyFields,
        user: Option<User>,
    }

    /// A page of my rooms.
    #[derive(Serialize, utoipa::ToSchema)]
    pub(crate) struct RoomsReply {
        #[serde(flatten)]
        head: ReplyFields,
        rooms: Option<Vec<RoomEntry>>,
        /// The `after` of the next page; null at the end.
        next: Option<String>,
    }

    /// A page of my friends.
    #[derive(Serialize, utoipa::ToSchema)]
    pub(crate) struct FriendsReply {
        #[serde(flatten)]
        head: ReplyFields,
        friend: Option<Vec<FriendEntry>>,
        /// The `after` of the next page; null at the end.
        next: Option<String>,
    }

    /// My status as it is now.
    #[derive(Serialize, utoipa::ToSchema)]
    pub(crate) struct StatusReply {
        #[serde(flatten)]
        head: ReplyFields,
        status: Option<String>,
    }

    /// The room that was opened or has grown.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub(crate) struct RoomReply {
        #[serde(flatten)]
        head: ReplyFields,
        room_id: Option<uuid::Uuid>,
        room_name: Option<String>,
        member_count: Option<i64>,
        /// At most 20 of them.
        members: Option<Vec<String>>,
        #[schema(format = DateTime)]
        created_at: Option<String>,
    }

    /// The room that was left.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub(crate) struct LeaveReply {
        #[serde(flatten)]
        head: ReplyFields,
        room_id: Option<uuid::Uuid>,
        /// The number of the last message that its former member may see.
        left_seq: Option<i64>,
    }

    /// The message as it stands in its room.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub(crate) struct ChatReply {
        #[serde(flatten)]
        head: ReplyFields,
        room_id: Option<uuid::Uuid>,
        seq: Option<i64>,
        message: Option<String>,
        #[schema(format = DateTime)]
        created_at: Option<String>,
    }

    /// What became of each id.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub(crate) struct AddedReply {
        #[serde(flatten)]
        head: ReplyFields,
        friend_id: Option<Vec<AddFriendResult>>,
    }
}
