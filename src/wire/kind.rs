use std::{fmt, str::FromStr};

/// Everything pushed to browsers that is not a reply; keyed by room, or by user for private events.
pub const CHAT_EVENT: &str = "chat-event";
/// Records that no retry can mend, with their original headers and the reason.
pub const DEAD_LETTER: &str = "dead-letter";

/// Makes [`Kind`](super::Kind) and [`Request`](super::Request) of the table of conversations.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident($request:literal, $response:literal, $user:ident),)+) => {
        /// The conversations. Each has a request topic and a response topic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// All kinds, in the order of the table.
            pub const ALL: [Self; [$(stringify!($kind)),+].len()] = [$(Self::$kind),+];

            /// The name in settings, metrics, replies and the inbox.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)+ }
            }

            /// The Kafka topic that carries its requests.
            pub const fn request_topic(self) -> &'static str {
                match self { $(Self::$kind => $request,)+ }
            }

            /// The Kafka topic that carries its replies.
            pub const fn response_topic(self) -> &'static str {
                match self { $(Self::$kind => $response,)+ }
            }
        }

        /// A request's value, one variant per [`Kind`].
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Request {
            $($(#[doc = $doc])+ $kind($kind),)+
        }

        impl Request {
            /// Reads a value of this kind, whatever its bounds.
            pub(super) fn parse(kind: Kind, value: &[u8]) -> Result<Self, serde_json::Error> {
                match kind { $(Kind::$kind => serde_json::from_slice(value).map(Self::$kind),)+ }
            }

            /// Which conversation it belongs to.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// The user that the value names: who asks, except in Login and AddUser, where nobody is authenticated yet.
            pub fn user(&self) -> Option<&UserId> {
                match self { $(Self::$kind(value) => Option::from(&value.$user),)+ }
            }
        }
    };
}
pub(super) use kinds;

use super::Kind;

impl Kind {
    /// The kind whose requests this topic carries.
    pub fn of_request_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.request_topic() == topic)
    }

    /// The kind whose replies this topic carries.
    pub fn of_response_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.response_topic() == topic)
    }

    /// Whether it only reads: a read is not stored in the inbox, and one that timed out is simply asked again.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::ListRooms | Self::ListFriends)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}; the kinds are {kinds}", kinds = Kind::ALL.map(Kind::as_str).join(", "))]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_topics_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(Kind::of_request_topic(kind.request_topic()), Some(kind));
            assert_eq!(Kind::of_response_topic(kind.response_topic()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("login".parse::<Kind>().is_err());
    }
}
