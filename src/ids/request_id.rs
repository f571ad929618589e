use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{InvalidId, Timestamp};

/// The name of one request, unique in the database: what makes a record that comes again change nothing.
/// A `UUIDv7` (RFC 9562 section 5.7), or a `UUIDv8` derived from the client's `Idempotency-Key`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// A fresh id that carries the present time.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that every gateway replica derives from the same parts: scope (user id or session key), method, path and
    /// `Idempotency-Key`. Parts are length-prefixed, so no two lists of parts run together.
    pub fn derived(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"parley-v1-idempotency");
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// When a fresh id was made; `None` for a derived one, which carries no time.
    pub fn made_at(self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (secs, nanos) = self.0.get_timestamp()?.to_unix();
        let micros =
            i64::try_from(secs).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos) / 1_000)?;
        Some(Timestamp::from_micros(micros))
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId { what: "request id", rule: "must be a UUID" })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_every_part_and_its_border() {
        let id = RequestId::derived(&["bob", "POST", "/api/rooms", "k"]);
        assert_eq!(id, RequestId::derived(&["bob", "POST", "/api/rooms", "k"]));
        assert_ne!(id, RequestId::derived(&["bobP", "OST", "/api/rooms", "k"]));
        assert_ne!(id, RequestId::derived(&["bob", "POST", "/api/rooms", "l"]));
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.made_at(), None);
    }

    #[test]
    fn fresh_ids_carry_their_time() {
        let before = Timestamp::now();
        let made = RequestId::fresh().made_at().unwrap();
        assert!((made.as_micros() - before.as_micros()).abs() < 60_000_000);
    }
}
