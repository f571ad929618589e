use std::borrow::Cow;

use super::{
    CHAT_EVENT, Event, HeaderName, Keyring, Kind, Reply, Request, RequestHeaders, VERSION,
    signing::{self, Domain},
};
use crate::ids::{RequestId, SessionKey};

/// A record on its way to Kafka: topic, key, value and headers, all signed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic.
    pub topic: &'static str,
    /// The key, which decides the partition.
    pub key: Vec<u8>,
    /// The value: UTF-8 JSON.
    pub value: Vec<u8>,
    /// Header names and values, in order.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
}

impl Outgoing {
    pub(super) fn new(topic: &'static str, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { topic, key, value, headers: Vec::with_capacity(10) }
    }

    pub(super) fn push(&mut self, name: HeaderName, value: impl Into<Vec<u8>>) {
        self.headers.push((Cow::Borrowed(name.as_str()), value.into()));
    }

    pub(super) fn push_raw(&mut self, name: String, value: Vec<u8>) {
        self.headers.push((Cow::Owned(name), value));
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name.as_str()).map(|(_, value)| value.as_slice())
    }
}

/// A signed request record.
pub fn request_record(keys: &Keyring, headers: &RequestHeaders, request: &Request) -> Outgoing {
    let topic = request.kind().request_topic();
    let key = request.key(&headers.session_key);
    let mut out = Outgoing::new(topic, key.into_bytes(), request.encode());
    let request_id = headers.request_id.to_string();
    let session_key = headers.session_key.to_string();
    let deadline = headers.deadline.to_string();
    let user_id = headers.user_id.as_ref().map(|user| user.as_str());
    let signature = signing::sign(
        keys,
        Domain::Request,
        &[
            Some(topic.as_bytes()),
            Some(&out.key),
            Some(request_id.as_bytes()),
            user_id.map(str::as_bytes),
            Some(session_key.as_bytes()),
            Some(deadline.as_bytes()),
        ],
        &out.value,
    );
    out.push(HeaderName::ParleyVersion, VERSION);
    out.push(HeaderName::RequestId, request_id);
    out.push(HeaderName::SessionKey, session_key);
    if let Some(user) = user_id {
        out.push(HeaderName::UserId, user);
    }
    if let Some(address) = &headers.client_address {
        out.push(HeaderName::ClientAddress, address.as_str());
    }
    out.push(HeaderName::Deadline, deadline);
    if let Some(trace) = &headers.traceparent {
        out.push(HeaderName::Traceparent, trace.as_str());
    }
    out.push(HeaderName::KeyId, keys.active_id());
    out.push(HeaderName::Signature, signature);
    out
}

/// A signed reply record, keyed like its request. `answers` is the signature of the record that it answers: under one
/// `Idempotency-Key` several may be under way, and whoever sent one of them knows its reply by it. Not signed itself: who could
/// change it can only make a caller wait in vain for what `GET /api/requests/{id}` tells.
pub fn reply_record(
    keys: &Keyring,
    kind: Kind,
    key: &[u8],
    to: &RequestHeaders,
    reply: &Reply,
    replayed: bool,
    answers: Option<&[u8]>,
) -> Outgoing {
    let mut out = Outgoing::new(kind.response_topic(), key.to_vec(), reply.encode());
    let request_id = to.request_id.to_string();
    let session_key = to.session_key.to_string();
    let fields = [
        Some(out.topic.as_bytes()),
        Some(out.key.as_slice()),
        Some(request_id.as_bytes()),
        Some(session_key.as_bytes()),
        None,
    ];
    let signature = signing::sign(keys, Domain::Reply, &fields, &out.value);
    out.push(HeaderName::ParleyVersion, VERSION);
    out.push(HeaderName::RequestId, request_id);
    out.push(HeaderName::SessionKey, session_key);
    if replayed {
        out.push(HeaderName::Replayed, "true");
    }
    if let Some(request) = answers {
        out.push(HeaderName::Answers, request);
    }
    if let Some(trace) = &to.traceparent {
        out.push(HeaderName::Traceparent, trace.as_str());
    }
    out.push(HeaderName::KeyId, keys.active_id());
    out.push(HeaderName::Signature, signature);
    out
}

/// A signed `chat-event` record. `cause` is the request that it came of, if any.
pub fn event_record(
    keys: &Keyring,
    event: &Event,
    cause: Option<RequestId>,
    session: Option<SessionKey>,
    traceparent: Option<&str>,
) -> Outgoing {
    let mut out = Outgoing::new(CHAT_EVENT, event.key().into_bytes(), event.encode());
    let request_id = cause.map(|id| id.to_string());
    let session_key = session.map(|key| key.to_string());
    let event_type = event.event_type().as_str();
    let fields = [
        Some(CHAT_EVENT.as_bytes()),
        Some(out.key.as_slice()),
        request_id.as_ref().map(String::as_bytes),
        session_key.as_ref().map(String::as_bytes),
        Some(event_type.as_bytes()),
    ];
    let signature = signing::sign(keys, Domain::Event, &fields, &out.value);
    out.push(HeaderName::ParleyVersion, VERSION);
    out.push(HeaderName::Event, event_type);
    if let Some(id) = request_id {
        out.push(HeaderName::RequestId, id);
    }
    if let Some(key) = session_key {
        out.push(HeaderName::SessionKey, key);
    }
    if let Some(trace) = traceparent {
        out.push(HeaderName::Traceparent, trace);
    }
    out.push(HeaderName::KeyId, keys.active_id());
    out.push(HeaderName::Signature, signature);
    out
}
