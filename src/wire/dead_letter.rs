use super::{DEAD_LETTER, ErrorCode, HeaderName, Incoming, Outgoing};

/// The most bytes that are kept of the key, the value, and each header's name and value of a record whose signature did not verify:
/// anybody may have written it.
const UNVERIFIED_BYTES: usize = 1_024;
/// The most of its headers that are kept.
const HEADERS: usize = 64;

/// Where a dead-lettered record stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp in milliseconds since 1970, when there is one.
    pub timestamp: Option<i64>,
}

/// A record that no retry can mend, with the reason.
#[derive(Debug, Clone)]
pub struct DeadLetter<'a> {
    /// The record as it came.
    pub record: &'a Incoming<'a>,
    /// Where it came from.
    pub origin: Origin,
    /// Why it lies here.
    pub code: ErrorCode,
    /// The same for people; holds nothing of the value.
    pub message: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether its signature verified; if not, all that its sender wrote is cut short.
    pub verified: bool,
}

impl DeadLetter<'_> {
    /// The record for the `dead-letter` topic: the original key, value and headers, then origin, reason and attempts.
    pub fn to_record(&self) -> Outgoing {
        let from = self.record;
        let most = if self.verified { usize::MAX } else { UNVERIFIED_BYTES };
        let kept = |bytes: &[u8]| bytes[..bytes.len().min(most)].to_vec();
        let mut out = Outgoing::new(DEAD_LETTER, kept(from.key), kept(from.value));
        for (name, value) in from.headers.iter().take(HEADERS) {
            out.push_raw(name[..name.floor_char_boundary(most)].to_owned(), kept(value));
        }
        out.push(HeaderName::OriginTopic, from.topic);
        out.push(HeaderName::OriginPartition, self.origin.partition.to_string());
        out.push(HeaderName::OriginOffset, self.origin.offset.to_string());
        if let Some(timestamp) = self.origin.timestamp {
            out.push(HeaderName::OriginTimestamp, timestamp.to_string());
        }
        out.push(HeaderName::ErrorCode, self.code.as_str());
        out.push(HeaderName::ErrorMessage, self.message);
        out.push(HeaderName::Attempts, self.attempts.to_string());
        out
    }
}
