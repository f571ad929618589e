use std::fmt;

use crate::ids::{RequestId, SessionKey, Timestamp, UserId};

/// The value of `parley-version` that this release writes and reads.
pub const VERSION: &str = "1";

/// The names of our record headers (docs/protocol.md section 1, "Headers").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HeaderName {
    ParleyVersion,
    RequestId,
    SessionKey,
    UserId,
    ClientAddress,
    Deadline,
    KeyId,
    Signature,
    Traceparent,
    Replayed,
    Answers,
    Event,
    OriginTopic,
    OriginPartition,
    OriginOffset,
    OriginTimestamp,
    ErrorCode,
    ErrorMessage,
    Attempts,
}

impl HeaderName {
    /// As it stands in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ParleyVersion => "parley-version",
            Self::RequestId => "request-id",
            Self::SessionKey => "session-key",
            Self::UserId => "user-id",
            Self::ClientAddress => "client-address",
            Self::Deadline => "deadline",
            Self::KeyId => "key-id",
            Self::Signature => "signature",
            Self::Traceparent => "traceparent",
            Self::Replayed => "replayed",
            Self::Answers => "answers",
            Self::Event => "event",
            Self::OriginTopic => "origin-topic",
            Self::OriginPartition => "origin-partition",
            Self::OriginOffset => "origin-offset",
            Self::OriginTimestamp => "origin-timestamp",
            Self::ErrorCode => "error-code",
            Self::ErrorMessage => "error-message",
            Self::Attempts => "attempts",
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the headers of a request say, beside version and signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeaders {
    /// Names the request for ever.
    pub request_id: RequestId,
    /// Where the reply goes.
    pub session_key: SessionKey,
    /// Who asks; absent for Login, AddUser and the logout of a session still unknown.
    pub user_id: Option<UserId>,
    /// Keyed hash of the peer's address, for the throttle of Login and AddUser.
    pub client_address: Option<String>,
    /// PostgreSQL's time after which nobody waits any more.
    pub deadline: Timestamp,
    /// W3C trace context, when tracing.
    pub traceparent: Option<String>,
}
