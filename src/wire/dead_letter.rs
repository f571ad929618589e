use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize as _;
use serde_json::Value;

use super::{DEAD_LETTER, ErrorCode, HeaderName, Incoming, Kind, Outgoing, Request, SealedPassword};

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
    /// How often it was tried: in batches, alone, and again after conflicts and while PostgreSQL was away. A record whose sender
    /// cannot be believed was never run, and has 1.
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
        let cleared = self.may_hold_a_password().then(|| without_passwords(from.value));
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

    /// Whether somebody may have written a password into it in the clear: anybody but a gateway, which seals it. What a gateway
    /// signed and a worker could read stays to the byte, fields of a later release too: it can be replayed.
    fn may_hold_a_password(&self) -> bool {
        let Some(kind @ (Kind::Login | Kind::AddUser)) = Kind::of_request_topic(self.record.topic) else {
            return false;
        };
        let sealed = match Request::decode(kind, self.record.value) {
            Ok(Request::Login(login)) => is_box(&login.sealed_password),
            Ok(Request::AddUser(user)) => is_box(&user.sealed_password),
            _ => false,
        };
        !(self.verified && sealed)
    }
}

/// What stands in place of a field, or of a value, that is not kept.
const REMOVED: &str = "removed: it may have been a password";
/// The fields of Login and AddUser that are no secret.
const OPEN: [&str; 3] = ["userId", "email", "userName"];
/// Shorter than the sealed box of the shortest password, in base64, and longer than the longest password of such letters.
const BOX: usize = 160;

/// Whether it can be what `sealedPassword` should be.
fn is_box(sealed: &SealedPassword) -> bool {
    sealed.sealed.len() >= BOX && STANDARD.decode(&sealed.sealed).is_ok()
}

/// A request's value without anything that may be a password in the clear: whoever sent one must not find it copied into another
/// topic.
fn without_passwords(value: &[u8]) -> Vec<u8> {
    // Of what cannot be taken apart, nothing is kept.
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(value) else { return REMOVED.into() };
    let doubtful = |(name, field): &(&String, &mut Value)| {
        let sealed = |field: &Value| SealedPassword::deserialize(field).is_ok_and(|sealed| is_box(&sealed));
        !(OPEN.contains(&name.as_str()) || *name == "sealedPassword" && sealed(field))
    };
    for (_, field) in fields.iter_mut().filter(doubtful) {
        *field = Value::from(REMOVED);
    }
    serde_json::to_vec(&fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a letter keeps of this value.
    fn kept(topic: &str, value: &str, verified: bool) -> String {
        let record = Incoming { topic, key: b"bob", value: value.as_bytes(), headers: Vec::new() };
        let origin = Origin { partition: 0, offset: 0, timestamp: None };
        let code = ErrorCode::InvalidRequest;
        let letter = DeadLetter { record: &record, origin, code, message: "why", attempts: 1, verified };
        String::from_utf8(letter.to_record().value).unwrap()
    }

    #[test]
    fn a_password_in_the_clear_is_not_copied() {
        let sealed = format!(r#"{{"keyId":"s1","box":"{}"}}"#, "A".repeat(184));
        // A box that none of ours made, of more bytes than the longest password.
        let wide = format!(r#"{{"keyId":"s1","box":"hunter22{}"}}"#, "한".repeat(100));
        for topic in ["login-request", "user-add-request"] {
            for value in [
                r#"{"userId":"bob","password":"hunter22"}"#,
                r#"{"userId":"bob","sealedPassword":"hunter22"}"#,
                r#"{"userId":"bob","sealedPassword":{"keyId":"s1","box":"hunter22"}}"#,
                &format!(r#"{{"userId":"bob","sealedPassword":{wide}}}"#),
                r#"{"userId":"bob","email":"b@example.com","pass":["hunter22",{"of":"hunter22"}]}"#,
            ] {
                let kept = kept(topic, value, true);
                assert!(!kept.contains("hunter22") && kept.contains("bob"), "{kept}");
            }
            for value in [r#"{"userId":"bob","password":"hunter22""#, r#"["hunter22"]"#, "hunter22"] {
                assert_eq!(kept(topic, value, true), REMOVED);
                assert_eq!(kept(topic, value, false), REMOVED);
            }
        }
        // What can be replayed stays as it was signed, to the byte; what a stranger wrote beside a box does not.
        let login = format!(r#"{{"userId":"bob","later":"field", "sealedPassword":{sealed}}}"#);
        assert_eq!(kept("login-request", &login, true), login);
        assert!(!kept("login-request", &login, false).contains("field"));
        let status = r#"{"userId":"bob","status":"hunter22"}"#;
        assert_eq!(kept("user-status-change-request", status, true), status);
    }
}
