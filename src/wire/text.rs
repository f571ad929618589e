use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;

/// The most bytes that a message may have after its ends are trimmed. More is `too_large`, told by
/// [`Request::check`](super::Request::check), not by the type.
pub const MAX_MESSAGE_BYTES: usize = 16_384;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let parse: fn(&str) -> Result<&str, InvalidId> = $parse;
                parse(text).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().to_owned()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text!(
    /// A user's or a room's name for people: 1 to 64 characters after trimming, none of them a control character.
    Name,
    |text| {
        let text = text.trim();
        let ok = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        ok.then_some(text)
            .ok_or(InvalidId { what: "name", rule: "must be 1 to 64 characters without control characters" })
    }
);

text!(
    /// A user's status message: at most 140 characters after trimming, none of them a control character. May be empty.
    StatusText,
    |text| {
        let text = text.trim();
        let ok = text.chars().count() <= 140 && !text.chars().any(char::is_control);
        ok.then_some(text)
            .ok_or(InvalidId { what: "status", rule: "must be at most 140 characters without control characters" })
    }
);

text!(
    /// An email address of the form `local@domain`, as far as syntax can tell (RFC 5321 lengths; no quoted local parts).
    Email,
    |text| {
        let text = text.trim();
        let invalid = InvalidId { what: "email", rule: "must be an address such as bob@example.com" };
        let (local, domain) = text.rsplit_once('@').ok_or_else(|| invalid.clone())?;
        let local_ok = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        (local_ok && text.len() <= 254 && domain.split('.').all(label_ok)).then_some(text).ok_or(invalid)
    }
);

text!(
    /// What a message says: not empty after its ends are trimmed, no NUL (PostgreSQL's text has none). See [`MAX_MESSAGE_BYTES`].
    MessageText,
    |text| {
        let text = text.trim();
        let ok = !text.is_empty() && !text.contains('\0');
        ok.then_some(text)
            .ok_or(InvalidId { what: "message", rule: "must have 1 to 16384 bytes after trimming, and no NUL" })
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("  Bob  ".parse::<Name>().unwrap().as_str(), "Bob");
        assert!("김철수".parse::<Name>().is_ok());
        for bad in ["", "  ", "a\nb", "a\0b", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn emails() {
        for good in ["bob@example.com", "a.b+c@x-y.org", "me@localhost", "é@exämple.com"] {
            assert!(good.parse::<Email>().is_ok(), "{good:?}");
        }
        for bad in
            ["", "bob", "@x", "bob@", "a b@x.com", "a@-x.com", "a@x..com", ".a@x.com", "a@x.com\n<script>"]
        {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn statuses_and_messages() {
        assert_eq!("".parse::<StatusText>().unwrap().as_str(), "");
        assert!("x".repeat(141).parse::<StatusText>().is_err());
        assert_eq!("\n hi\nthere \n".parse::<MessageText>().unwrap().as_str(), "hi\nthere");
        assert!(" \n ".parse::<MessageText>().is_err());
        assert!("a\0".parse::<MessageText>().is_err());
    }
}
