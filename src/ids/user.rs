use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use super::InvalidId;

/// A user's name for themselves: 2 to 32 characters of `[a-z0-9._-]`, lower-cased on the way in
/// (docs/protocol.md section 1, "Rules"). Cheap to clone: one allocation is shared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(Arc<str>);

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl UserId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let lower = text.to_ascii_lowercase();
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if !(2..=32).contains(&lower.len()) || !lower.bytes().all(legal) {
            return Err(InvalidId {
                what: "user id",
                rule: "must be 2 to 32 characters of a-z, 0-9, dot, underscore or hyphen",
            });
        }
        Ok(Self(lower.into()))
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_lower_cases() {
        for (text, want) in [
            ("bob", Some("bob")),
            ("Bob.Smith-1_x", Some("bob.smith-1_x")),
            ("b", None),
            ("", None),
            ("a b", None),
            ("a/b", None),
            ("böb", None),
            ("01234567890123456789012345678901", Some("01234567890123456789012345678901")),
            ("012345678901234567890123456789012", None),
        ] {
            assert_eq!(text.parse::<UserId>().ok().as_ref().map(UserId::as_str), want, "{text:?}");
        }
    }
}
