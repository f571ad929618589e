use std::str::FromStr;

use super::{
    CHAT_EVENT, ErrorCode, Event, EventType, Failure, HeaderName, Keyring, Kind, Request, RequestHeaders,
    VERSION,
    signing::{self, Domain},
};
use crate::ids::{RequestId, SessionKey};

/// A record as it came from Kafka, borrowed. Absent key or value count as empty.
#[derive(Debug, Clone)]
pub struct Incoming<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Its headers in order.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// Why a record's sender cannot be believed. It is dead-lettered or dropped, counted, and answered to nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// The topic is none of ours.
    #[error("the topic carries no such records")]
    Topic,
    /// `parley-version` is absent or not one that this release reads.
    #[error("the record has no parley-version header, or one that this release does not read")]
    Version,
    /// A header that every such record has is absent or malformed.
    #[error("the header {0} is absent or malformed")]
    Header(HeaderName),
    /// The signature is not ours.
    #[error("the signature is wrong or its key is unknown")]
    Signature,
}

/// A request record whose signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The conversation.
    pub kind: Kind,
    /// Who asked, for whom the reply is.
    pub headers: RequestHeaders,
    /// What was asked, or why it cannot be: that is answered, because the sender is one of ours.
    pub request: Result<Request, Failure>,
}

/// A reply record whose signature verified. Its value is left as it is: the gateway only passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedReply<'a> {
    /// The conversation.
    pub kind: Kind,
    /// Which request it answers.
    pub request_id: RequestId,
    /// Whose stream it goes to.
    pub session_key: SessionKey,
    /// Whether it is a stored reply sent again.
    pub replayed: bool,
    /// The signature of the record that it answers, when the worker named it.
    pub answers: Option<&'a [u8]>,
}

/// An event record whose signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedEvent {
    /// What happened.
    pub event: Event,
    /// The request that it came of.
    pub request_id: Option<RequestId>,
}

impl<'a> Incoming<'a> {
    /// The value of the first header of this name.
    pub fn raw(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.headers.iter().find(|(n, _)| *n == name.as_str()).map(|(_, value)| *value)
    }

    fn text(&self, name: HeaderName) -> Result<Option<&'a str>, BadRecord> {
        self.raw(name).map(std::str::from_utf8).transpose().map_err(|_| BadRecord::Header(name))
    }

    fn optional<T: FromStr>(&self, name: HeaderName) -> Result<Option<T>, BadRecord> {
        self.text(name)?.map(str::parse).transpose().map_err(|_| BadRecord::Header(name))
    }

    fn required<T: FromStr>(&self, name: HeaderName) -> Result<T, BadRecord> {
        self.optional(name)?.ok_or(BadRecord::Header(name))
    }

    /// The hash of an address, as a gateway writes it. It is not signed: with a text that PostgreSQL cannot keep, the count of a wrong
    /// password would be undone.
    fn address(&self) -> Result<Option<String>, BadRecord> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match self.text(HeaderName::ClientAddress)? {
            Some(text) if text.len() != 32 || !text.bytes().all(digit) => {
                Err(BadRecord::Header(HeaderName::ClientAddress))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn check_version(&self) -> Result<(), BadRecord> {
        (self.raw(HeaderName::ParleyVersion) == Some(VERSION.as_bytes()))
            .then_some(())
            .ok_or(BadRecord::Version)
    }

    fn check_signature(
        &self,
        keys: &Keyring,
        domain: Domain,
        fields: &[Option<&[u8]>],
    ) -> Result<(), BadRecord> {
        let key_id = self.text(HeaderName::KeyId)?.ok_or(BadRecord::Signature)?;
        let signature = self.raw(HeaderName::Signature).ok_or(BadRecord::Signature)?;
        signing::verify(keys, key_id, signature, domain, fields, self.value)
            .then_some(())
            .ok_or(BadRecord::Signature)
    }
}

/// Verifies and reads a request record.
///
/// # Errors
/// When its sender cannot be believed. What a believed sender got wrong is in [`Opened::request`].
pub fn open_request(keys: &Keyring, record: &Incoming<'_>) -> Result<Opened, BadRecord> {
    let kind = Kind::of_request_topic(record.topic).ok_or(BadRecord::Topic)?;
    record.check_version()?;
    record.check_signature(
        keys,
        Domain::Request,
        &[
            Some(record.topic.as_bytes()),
            Some(record.key),
            record.raw(HeaderName::RequestId),
            record.raw(HeaderName::UserId),
            record.raw(HeaderName::SessionKey),
            record.raw(HeaderName::Deadline),
        ],
    )?;
    let headers = RequestHeaders {
        request_id: record.required(HeaderName::RequestId)?,
        session_key: record.required(HeaderName::SessionKey)?,
        user_id: record.optional(HeaderName::UserId)?,
        client_address: record.address()?,
        deadline: record.required(HeaderName::Deadline)?,
        traceparent: record.optional(HeaderName::Traceparent)?,
    };
    let request = Request::decode(kind, record.value).and_then(|request| {
        consistent(&headers, record.key, &request)?;
        Ok(request)
    });
    Ok(Opened { kind, headers, request })
}

/// The signed header is who asks; a payload that names another user, or a key that is not the payload's, is refused.
fn consistent(headers: &RequestHeaders, key: &[u8], request: &Request) -> Result<(), Failure> {
    let anonymous = match request {
        Request::Login(_) | Request::AddUser(_) => true,
        Request::Logout(logout) => logout.user_id.is_none() && headers.user_id.is_none(),
        _ => false,
    };
    if !anonymous && headers.user_id.is_none() {
        return Err(Failure::new(ErrorCode::Unauthenticated, "log in first"));
    }
    if headers.user_id.is_some() && headers.user_id.as_ref() != request.user() {
        return Err(Failure::new(
            ErrorCode::InvalidRequest,
            "the request names another user than the one who asks",
        ));
    }
    if request.key(&headers.session_key).as_bytes() != key {
        return Err(Failure::new(ErrorCode::InvalidRequest, "the record's key does not belong to its value"));
    }
    Ok(())
}

/// Verifies a reply record.
///
/// # Errors
/// When its sender cannot be believed; a gateway drops and counts it.
pub fn open_reply<'a>(keys: &Keyring, record: &Incoming<'a>) -> Result<OpenedReply<'a>, BadRecord> {
    let kind = Kind::of_response_topic(record.topic).ok_or(BadRecord::Topic)?;
    record.check_version()?;
    record.check_signature(
        keys,
        Domain::Reply,
        &[
            Some(record.topic.as_bytes()),
            Some(record.key),
            record.raw(HeaderName::RequestId),
            record.raw(HeaderName::SessionKey),
            None,
        ],
    )?;
    Ok(OpenedReply {
        kind,
        request_id: record.required(HeaderName::RequestId)?,
        session_key: record.required(HeaderName::SessionKey)?,
        replayed: record.raw(HeaderName::Replayed) == Some(b"true"),
        answers: record.raw(HeaderName::Answers),
    })
}

/// Verifies and reads a `chat-event` record.
///
/// # Errors
/// When its sender cannot be believed, or its value is not its type's; a gateway drops and counts it.
pub fn open_event(keys: &Keyring, record: &Incoming<'_>) -> Result<OpenedEvent, BadRecord> {
    if record.topic != CHAT_EVENT {
        return Err(BadRecord::Topic);
    }
    record.check_version()?;
    record.check_signature(
        keys,
        Domain::Event,
        &[
            Some(record.topic.as_bytes()),
            Some(record.key),
            record.raw(HeaderName::RequestId),
            record.raw(HeaderName::SessionKey),
            record.raw(HeaderName::Event),
        ],
    )?;
    let name = HeaderName::Event;
    let event_type: EventType = record.required(name)?;
    let event = Event::decode(event_type, record.value).map_err(|_| BadRecord::Header(name))?;
    Ok(OpenedEvent { event, request_id: record.optional(HeaderName::RequestId)? })
}
