use serde::Deserialize as _;
use serde_json::Value;

use super::{DEAD_LETTER, ErrorCode, HeaderName, Incoming, Kind, Outgoing, SealedPassword};

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
    /// How often it was run: in batches, alone, and again after conflicts with others. A record that was never run has 1.
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
        let cleared = self.may_hold_a_password().then(|| without_passwords(from.value)).flatten();
        let value = cleared.as_deref().unwrap_or(from.value);
        let mut out = Outgoing::new(DEAD_LETTER, kept(from.key), kept(value));
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

    /// Whether somebody may have written a password into it in the clear.
    fn may_hold_a_password(&self) -> bool {
        matches!(Kind::of_request_topic(self.record.topic), Some(Kind::Login | Kind::AddUser))
    }
}

/// What stands in place of a field that is not kept.
const REMOVED: &str = "removed: it may have been a password";
/// The fields of Login and AddUser that are no secret.
const OPEN: [&str; 3] = ["userId", "email", "userName"];
/// Shorter than the sealed box of the shortest password, in base64, and longer than the longest password.
const BOX: usize = 160;

/// A request's value without any field that may hold a password in the clear, if it has such: whoever sent one must not find it
/// copied into another topic. Nothing that could be replayed is lost, for that has a sealed box and no other field.
fn without_passwords(value: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(value) else { return None };
    let sealed =
        |field: &Value| SealedPassword::deserialize(field).is_ok_and(|sealed| sealed.sealed.len() >= BOX);
    let doubtful = |(name, field): &(&String, &mut Value)| {
        !(OPEN.contains(&name.as_str()) || *name == "sealedPassword" && sealed(field))
    };
    let mut removed = false;
    for (_, field) in fields.iter_mut().filter(doubtful) {
        *field = Value::from(REMOVED);
        removed = true;
    }
    removed.then(|| serde_json::to_vec(&fields).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a letter keeps of this value.
    fn kept(topic: &str, value: &str) -> String {
        let record = Incoming { topic, key: b"bob", value: value.as_bytes(), headers: Vec::new() };
        let origin = Origin { partition: 0, offset: 0, timestamp: None };
        let code = ErrorCode::InvalidRequest;
        let letter =
            DeadLetter { record: &record, origin, code, message: "why", attempts: 1, verified: true };
        String::from_utf8(letter.to_record().value).unwrap()
    }

    #[test]
    fn a_password_in_the_clear_is_not_copied() {
        let sealed =
            format!(r#"{{"userId":"bob","sealedPassword":{{"keyId":"s1","box":"{}"}}}}"#, "A".repeat(184));
        for topic in ["login-request", "user-add-request"] {
            for value in [
                r#"{"userId":"bob","password":"hunter22"}"#,
                r#"{"userId":"bob","sealedPassword":"hunter22"}"#,
                r#"{"userId":"bob","sealedPassword":{"keyId":"s1","box":"hunter22"}}"#,
                r#"{"userId":"bob","email":"b@example.com","pass":["hunter22",{"of":"hunter22"}]}"#,
            ] {
                let kept = kept(topic, value);
                assert!(!kept.contains("hunter22") && kept.contains("bob"), "{kept}");
            }
            // What can be replayed stays as it was signed, to the byte; and so does what is no JSON.
            for whole in [sealed.as_str(), "no JSON"] {
                assert_eq!(kept(topic, whole), whole);
            }
        }
        let status = r#"{"userId":"bob","status":"hunter22"}"#;
        assert_eq!(kept("user-status-change-request", status), status);
    }
}
