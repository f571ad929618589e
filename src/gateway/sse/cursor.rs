use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The most bytes that a cursor may have: browsers drop a `Last-Event-ID` above 128 from a cross-origin request
/// (Fetch, "CORS-safelisted request-header").
const MAX_CURSOR: usize = 128;

/// What stands for "this client's continuity is not proven": parses as no cursor, so that a reconnect that brings it back is
/// told to read its state again.
pub(crate) const INVALID: &str = "v1.lost";

/// How far before the newest handled record a cursor by time points: partitions are read side by side, and this is more than
/// they drift apart while nothing lags.
const SLACK_MS: i64 = 10_000;

/// Which `chat-event` it is: 48 bits of a hash over cluster id and topic id. A topic that was made anew has another one, so
/// that its offsets are never misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch([u8; 6]);

/// Where a client stands in `chat-event` (docs/protocol.md section 3): everything before it was sent. On the wire
/// `v1.<epoch in hex>.<base64url of one varint per partition>`, or, when that is longer than [`MAX_CURSOR`],
/// `v1.<epoch>.t.<milliseconds since 1970>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The next offset of each partition, in order.
    Offsets { epoch: Epoch, next: Vec<i64> },
    /// Every record older than this broker timestamp.
    Time { epoch: Epoch, millis: i64 },
}

impl Epoch {
    pub(crate) fn new(cluster: &str, topic: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [cluster, topic] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&digest[..6]);
        Self(bytes)
    }

    /// Stands for a topic that does not exist.
    pub(crate) const fn none() -> Self {
        Self([0; 6])
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        if text.len() != 12 || text.bytes().any(|b| !b.is_ascii_digit() && !(b'a'..=b'f').contains(&b)) {
            return None;
        }
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(n * 2..n * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl Cursor {
    /// The text of a cursor of these offsets, or of `newest` (a broker timestamp) when they do not fit.
    pub(crate) fn text(epoch: Epoch, next: &[i64], newest: i64) -> String {
        let text = Self::Offsets { epoch, next: next.to_vec() }.encode();
        if text.len() <= MAX_CURSOR {
            return text;
        }
        Self::Time { epoch, millis: (newest - SLACK_MS).max(0) }.encode()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Offsets { epoch, .. } | Self::Time { epoch, .. } => *epoch,
        }
    }

    /// On the wire. May be longer than a reader takes: see [`text`](Self::text).
    pub(crate) fn encode(&self) -> String {
        let mut text = String::with_capacity(MAX_CURSOR);
        text.push_str("v1.");
        for byte in self.epoch().0 {
            let _ = write!(text, "{byte:02x}");
        }
        match self {
            Self::Offsets { next, .. } => {
                let mut bytes = Vec::with_capacity(next.len() * 5);
                for offset in next {
                    put_varint(&mut bytes, u64::try_from(*offset).unwrap_or(0));
                }
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
            }
            Self::Time { millis, .. } => {
                let _ = write!(text, ".t.{millis}");
            }
        }
        text
    }

    /// Reads what a client brought back; `None` for anything that we cannot have sent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CURSOR {
            return None;
        }
        let mut parts = text.strip_prefix("v1.")?.split('.');
        let epoch = Epoch::parse(parts.next()?)?;
        let third = parts.next()?;
        match (parts.next(), parts.next()) {
            (None, _) => {
                let bytes = URL_SAFE_NO_PAD.decode(third).ok()?;
                let mut rest = bytes.as_slice();
                let mut next = Vec::new();
                while !rest.is_empty() {
                    next.push(i64::try_from(take_varint(&mut rest)?).ok()?);
                }
                Some(Self::Offsets { epoch, next })
            }
            (Some(digits), None) if third == "t" => {
                let millis: i64 = digits.parse().ok()?;
                // Not "+1", "007" or "-1".
                (millis >= 0 && millis.to_string() == digits).then_some(Self::Time { epoch, millis })
            }
            _ => None,
        }
    }
}

/// LEB128, as in protocol buffers, in its shortest form.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(first & 0x7f);
        value |= low.checked_shl(shift).filter(|shifted| shifted >> shift == low)?;
        if first & 0x80 == 0 {
            return (*first != 0 || shift == 0).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> Epoch {
        Epoch::new("cluster", "topic")
    }

    #[test]
    fn the_epoch_tells_clusters_and_topics_apart() {
        assert_ne!(epoch(), Epoch::new("cluster", "other"));
        assert_ne!(Epoch::new("ab", "c"), Epoch::new("a", "bc"));
    }

    #[test]
    fn twelve_partitions_of_a_busy_year_fit_and_a_thousand_become_a_time() {
        let text = Cursor::text(epoch(), &[300_000_000_000; 12], 0);
        assert!(text.len() <= MAX_CURSOR, "{text}");
        assert_eq!(
            Cursor::parse(&text),
            Some(Cursor::Offsets { epoch: epoch(), next: vec![300_000_000_000; 12] })
        );
        let text = Cursor::text(epoch(), &[300_000_000_000; 1_000], 1_700_000_000_000);
        assert_eq!(Cursor::parse(&text), Some(Cursor::Time { epoch: epoch(), millis: 1_699_999_990_000 }));
    }

    #[test]
    fn what_we_never_sent_is_no_cursor() {
        let good = Cursor::text(epoch(), &[1, 2, 3], 0);
        assert!(Cursor::parse(&good).is_some());
        for bad in [
            "",
            INVALID,
            "v1",
            "v1.",
            "v2.000000000000.AA",
            "v1.00000000000.AA",
            "v1.0000000000zz.AA",
            "v1.00000000000A.AA",
            "v1.000000000000",
            "v1.000000000000.A",
            "v1.000000000000.AA.",
            "v1.000000000000.gA",
            "v1.000000000000.t.",
            "v1.000000000000.gAA", // zero in two bytes
            "v1.000000000000.t.-1",
            "v1.000000000000.t.+1",
            "v1.000000000000.t.007",
            "v1.000000000000.t.1.2",
            "v1.000000000000.x.1",
            "v1.000000000000.______________8B",
            &"v1.000000000000.".replace("v1.", &format!("v1.{}", "0".repeat(200))),
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_cursor_reads_back(next in prop::collection::vec(0..i64::MAX, 0..10), millis in 0..i64::MAX) {
            for cursor in [
                Cursor::Offsets { epoch: epoch(), next: next.clone() },
                Cursor::Time { epoch: epoch(), millis },
            ] {
                let text = cursor.encode();
                if text.len() <= MAX_CURSOR {
                    prop_assert_eq!(Cursor::parse(&text), Some(cursor));
                }
                // No byte that Fetch calls unsafe in a request header.
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            }
        }

        #[test]
        fn nothing_that_is_brought_makes_it_panic(text in ".{0,140}") {
            let _ = Cursor::parse(&text);
        }
    }
}
