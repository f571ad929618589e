use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was not done: a closed set, the same in replies, problem documents, dead letters and metrics
/// (docs/protocol.md section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it; they are the wire's own words")]
pub enum ErrorCode {
    InvalidRequest,
    Unauthenticated,
    WrongCredentials,
    UserExists,
    UserNotFound,
    RoomNotFound,
    NotAMember,
    NotAFriend,
    TooLarge,
    RateLimited,
    IdempotencyMismatch,
    DeadlineExceeded,
    Unavailable,
    Internal,
}

impl ErrorCode {
    /// All codes, in the order of docs/protocol.md.
    pub const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::WrongCredentials,
        Self::UserExists,
        Self::UserNotFound,
        Self::RoomNotFound,
        Self::NotAMember,
        Self::NotAFriend,
        Self::TooLarge,
        Self::RateLimited,
        Self::IdempotencyMismatch,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code as it stands on the wire and in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::WrongCredentials => "wrong_credentials",
            Self::UserExists => "user_exists",
            Self::UserNotFound => "user_not_found",
            Self::RoomNotFound => "room_not_found",
            Self::NotAMember => "not_a_member",
            Self::NotAFriend => "not_a_friend",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that an answer with this code has (docs/protocol.md section 2).
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::IdempotencyMismatch => 422,
            Self::Unauthenticated | Self::WrongCredentials => 401,
            Self::UserExists => 409,
            Self::UserNotFound | Self::RoomNotFound | Self::NotAMember => 404,
            Self::NotAFriend => 422,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::DeadlineExceeded | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_agree() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }
    /// The table of docs/protocol.md section 2, spelled out: a code that is new has to be added here.
    #[test]
    fn every_code_has_the_status_of_the_contract() {
        let table = [
            ("invalid_request", 422),
            ("unauthenticated", 401),
            ("wrong_credentials", 401),
            ("user_exists", 409),
            ("user_not_found", 404),
            ("room_not_found", 404),
            ("not_a_member", 404),
            ("not_a_friend", 422),
            ("too_large", 413),
            ("rate_limited", 429),
            ("idempotency_mismatch", 422),
            ("deadline_exceeded", 503),
            ("unavailable", 503),
            ("internal", 500),
        ];
        assert_eq!(ErrorCode::ALL.map(|code| (code.as_str(), code.http_status())), table);
    }
}
