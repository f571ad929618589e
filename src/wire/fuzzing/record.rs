use super::{CANARY, keys};
use crate::{
    ids::Timestamp,
    wire::{
        BadRecord, CHAT_EVENT, DeadLetter, ErrorCode, HeaderName, Incoming, Keyring, Kind, Opened, Origin,
        Outgoing, Reply, Request, RequestHeaders, event_record, open_event, open_reply, open_request,
        reply_record, request_record,
        signing::{self, Domain},
    },
};

/// The most bytes of a stranger's dead letter: its own parts cut to 1 KiB each, and what the worker says of it.
const STRANGERS_BYTES: usize = (2 + 2 * 64) * 1_024 + 1_024;

/// A record as text: the topic, the key, a line `name: value` for each header, an empty line, the value.
#[derive(Debug, Clone)]
struct Text {
    topic: String,
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    value: Vec<u8>,
}

impl Text {
    fn read(data: &[u8]) -> Option<Self> {
        let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
        let mut lines = data[..end].split(|byte| *byte == b'\n');
        let topic = std::str::from_utf8(lines.next()?).ok()?.to_owned();
        let key = lines.next()?.to_vec();
        let header = |line: &[u8]| {
            let colon = line.windows(2).position(|two| two == b": ")?;
            Some((std::str::from_utf8(&line[..colon]).ok()?.to_owned(), line[colon + 2..].to_vec()))
        };
        let headers = lines.filter_map(header).collect();
        Some(Self { topic, key, headers, value: data.get(end + 2..).unwrap_or_default().to_vec() })
    }

    fn of(out: &Outgoing) -> Self {
        let headers = out.headers.iter().map(|(name, value)| (name.clone().into_owned(), value.clone()));
        Self {
            topic: out.topic.to_owned(),
            key: out.key.clone(),
            headers: headers.collect(),
            value: out.value.clone(),
        }
    }

    fn incoming(&self) -> Incoming<'_> {
        Incoming {
            topic: &self.topic,
            key: &self.key,
            value: &self.value,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }

    fn has(&self, name: HeaderName) -> bool {
        self.headers.iter().any(|(n, _)| n == name.as_str())
    }

    fn remove(&mut self, name: HeaderName) {
        self.headers.retain(|(n, _)| n != name.as_str());
    }

    /// Changes the first header of this name, or adds one.
    fn change(&mut self, name: HeaderName, at: usize) {
        match self.headers.iter_mut().find(|(n, _)| n == name.as_str()) {
            Some((_, value)) => flip(value, at),
            None => self.headers.push((name.as_str().to_owned(), b"x".to_vec())),
        }
    }

    /// The same, signed as a record of this domain. The fields are spelled out here once more: docs/protocol.md, "Signed input".
    fn signed(mut self, keys: &Keyring, domain: Domain) -> Self {
        self.remove(HeaderName::KeyId);
        self.remove(HeaderName::Signature);
        let record = self.incoming();
        let mut fields = vec![Some(record.topic.as_bytes()), Some(record.key)];
        fields.extend(signed_headers(domain).iter().map(|name| record.raw(*name)));
        if matches!(domain, Domain::Reply) {
            fields.push(None);
        }
        let signature = signing::sign(keys, domain, &fields, record.value);
        self.headers.push((HeaderName::KeyId.as_str().to_owned(), b"k1".to_vec()));
        self.headers.push((HeaderName::Signature.as_str().to_owned(), signature.into_bytes()));
        self
    }
}

fn signed_headers(domain: Domain) -> &'static [HeaderName] {
    use HeaderName::{Deadline, Event, RequestId, SessionKey, UserId};
    match domain {
        Domain::Request => &[RequestId, UserId, SessionKey, Deadline],
        Domain::Reply => &[RequestId, SessionKey],
        Domain::Event => &[RequestId, SessionKey, Event],
    }
}

fn domain_of(topic: &str) -> Option<Domain> {
    if topic == CHAT_EVENT {
        return Some(Domain::Event);
    }
    let request = Kind::of_request_topic(topic).map(|_| Domain::Request);
    request.or_else(|| Kind::of_response_topic(topic).map(|_| Domain::Reply))
}

fn flip(bytes: &mut Vec<u8>, at: usize) {
    match bytes.len() {
        0 => bytes.push(b'x'),
        len => bytes[at % len] ^= 1 << (at / len % 8),
    }
}

/// Every property of records. Gives whether the value of this one, once it was signed, was taken.
pub(crate) fn record(data: &[u8]) -> bool {
    let Some(text) = Text::read(data) else { return false };
    let keys = keys();
    assert!(open(&keys, Domain::Request, &text).is_err(), "a request that nobody signed is believed");
    assert!(open(&keys, Domain::Reply, &text).is_err(), "a reply that nobody signed is believed");
    assert!(open(&keys, Domain::Event, &text).is_err(), "an event that nobody signed is believed");
    a_strangers_dead_letter_is_bounded(&text);
    let Some(domain) = domain_of(&text.topic) else { return false };
    let unsigned = text.clone();
    let signed = text.signed(&keys, domain);
    let opened = open(&keys, domain, &signed);
    assert_ne!(opened, Err(BadRecord::Signature), "what was signed is not believed: {signed:?}");
    if matches!(opened, Err(BadRecord::Version | BadRecord::Topic)) {
        return false;
    }
    for other in [Domain::Request, Domain::Reply, Domain::Event] {
        if std::mem::discriminant(&other) != std::mem::discriminant(&domain) {
            let moved = unsigned.clone().signed(&keys, other);
            assert!(open(&keys, domain, &moved).is_err(), "a signature of {other:?} is good as {domain:?}");
        }
    }
    for forged in changed(&signed, domain, data) {
        assert!(open(&keys, domain, &forged).is_err(), "a changed record is believed: {forged:?}");
    }
    match domain {
        Domain::Request => a_request_comes_out_as_it_went_in(&keys, &signed),
        Domain::Reply => a_reply_comes_out_as_it_went_in(&keys, &signed),
        Domain::Event => an_event_comes_out_as_it_went_in(&keys, &signed),
    }
}

fn open(keys: &Keyring, domain: Domain, text: &Text) -> Result<(), BadRecord> {
    let record = text.incoming();
    match domain {
        Domain::Request => open_request(keys, &record).map(drop),
        Domain::Reply => open_reply(keys, &record).map(drop),
        Domain::Event => open_event(keys, &record).map(drop),
    }
}

/// The record with each signed part changed, added or removed in turn.
fn changed(signed: &Text, domain: Domain, data: &[u8]) -> Vec<Text> {
    let at = data.iter().fold(7_usize, |n, byte| n.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Text)| {
        let mut copy = signed.clone();
        change(&mut copy);
        all.push(copy);
    };
    with(&|text| flip(&mut text.key, at));
    with(&|text| flip(&mut text.value, at));
    with(&|text| text.value.push(b' '));
    if let Some(other) = Kind::ALL.into_iter().find(|kind| kind.request_topic() != signed.topic) {
        with(&|text| text.topic = other.request_topic().to_owned());
    }
    let headers = signed_headers(domain).iter().chain(&[HeaderName::KeyId, HeaderName::Signature]);
    for name in headers {
        with(&|text| text.change(*name, at));
        if signed.has(*name) {
            with(&|text| text.remove(*name));
        }
    }
    all
}

fn a_strangers_dead_letter_is_bounded(text: &Text) {
    let letter = DeadLetter {
        record: &text.incoming(),
        origin: Origin { partition: i32::MAX, offset: i64::MAX, timestamp: Some(i64::MAX) },
        code: ErrorCode::IdempotencyMismatch,
        message: "why",
        attempts: u32::MAX,
        verified: false,
    }
    .to_record();
    let topic = text.topic.len();
    let headers: usize = letter.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = letter.key.len() + letter.value.len() + headers;
    assert!(bytes <= STRANGERS_BYTES + topic, "a stranger's dead letter has {bytes} bytes");
}

fn a_request_comes_out_as_it_went_in(keys: &Keyring, signed: &Text) -> bool {
    let Ok(opened) = open_request(keys, &signed.incoming()) else { return false };
    let request = match &opened.request {
        Ok(request) => request,
        Err(failure) => {
            assert!(!failure.message.contains(CANARY), "a refusal repeats what was sent: {failure}");
            return false;
        }
    };
    let again = Text::of(&request_record(keys, &opened.headers, request));
    let reopened: Result<Opened, BadRecord> = open_request(keys, &again.incoming());
    assert_eq!(reopened.as_ref(), Ok(&opened), "another request came out than went in");
    let decoded = Request::decode(opened.kind, &request.encode());
    assert_eq!(decoded.map(|request| request.fingerprint()), Ok(request.fingerprint()));
    true
}

fn a_reply_comes_out_as_it_went_in(keys: &Keyring, signed: &Text) -> bool {
    let Ok(opened) = open_reply(keys, &signed.incoming()) else { return false };
    let Ok(reply) = Reply::decode(&signed.value) else { return false };
    let to = RequestHeaders {
        request_id: opened.request_id,
        session_key: opened.session_key,
        user_id: None,
        client_address: None,
        deadline: Timestamp::from_micros(0),
        traceparent: None,
    };
    let out = reply_record(keys, opened.kind, &signed.key, &to, &reply, opened.replayed, opened.answers);
    let again = Text::of(&out);
    assert_eq!(open_reply(keys, &again.incoming()), Ok(opened), "another reply came out than went in");
    let decoded = Reply::decode(&again.value);
    assert!(
        decoded.is_ok_and(|decoded| decoded == reply),
        "another reply is read than was written: {reply:?}"
    );
    true
}

fn an_event_comes_out_as_it_went_in(keys: &Keyring, signed: &Text) -> bool {
    let Ok(opened) = open_event(keys, &signed.incoming()) else { return false };
    let again = Text::of(&event_record(keys, &opened.event, opened.request_id, None, None));
    let reopened = open_event(keys, &again.incoming());
    assert_eq!(reopened.as_ref(), Ok(&opened), "another event came out than went in");
    true
}
