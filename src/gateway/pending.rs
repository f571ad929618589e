//! Who waits for which reply, and the replies of the last seconds for those who come late.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::sse;
use crate::{
    ids::{RequestId, SessionKey},
    wire::{ErrorCode, Kind, ReplyHead},
};

/// How long a reply is kept for a stream that opens late (docs/protocol.md section 3).
const KEPT: Duration = Duration::from_secs(15);
/// Bytes of replies kept; above that the oldest go early, and `GET /api/requests/{id}` still has them.
const KEPT_BYTES: usize = 32 << 20;

/// A reply as it goes to browsers: the value of the record with `kind` and `requestId` before its own fields. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The whole JSON object.
    pub(crate) json: Bytes,
    /// The broker's timestamp, milliseconds since 1970.
    pub(crate) stamped: i64,
}

impl Answer {
    /// Splices the value, which is a JSON object, without reading it.
    pub(crate) fn new(kind: Kind, request: RequestId, value: &[u8], stamped: i64) -> Self {
        let start = format!("{{\"kind\":\"{kind}\",\"requestId\":\"{request}\"");
        let fields = value.trim_ascii().strip_prefix(b"{").unwrap_or(b"}");
        let mut json = BytesMut::with_capacity(start.len() + fields.len() + 1);
        json.extend_from_slice(start.as_bytes());
        if !fields.trim_ascii_start().starts_with(b"}") {
            json.extend_from_slice(b",");
        }
        json.extend_from_slice(fields);
        Self { json: json.freeze(), stamped }
    }

    fn is_mismatch(&self) -> bool {
        let head = serde_json::from_slice::<ReplyHead>(&self.json);
        head.is_ok_and(|head| head.error_code == Some(ErrorCode::IdempotencyMismatch))
    }

    /// As an event, but for its id.
    pub(crate) fn head(&self) -> Bytes {
        sse::event("reply", &self.json)
    }
}

/// See the module. Cheap to clone. One lock, taken once per request and once per reply, never on the way of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<RequestId, Vec<Waiting>>,
    kept: HashMap<RequestId, Kept>,
    by_session: HashMap<SessionKey, Vec<RequestId>>,
    /// When each was kept, with its number: a later reply to the same request has another one.
    order: VecDeque<(Instant, RequestId, u64)>,
    number: u64,
    bytes: usize,
}

/// One who waits, and the signature of the record that was sent.
#[derive(Debug)]
struct Waiting {
    record: Vec<u8>,
    sender: oneshot::Sender<Answer>,
}

#[derive(Debug)]
struct Kept {
    session: SessionKey,
    answer: Answer,
    number: u64,
}

/// The place in the queue of one who waits; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    request: RequestId,
    pending: Pending,
    receiver: oneshot::Receiver<Answer>,
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the reply to the record with this signature. Before the record is sent, so that no reply is missed. The same
    /// key may have named another body a moment ago, whose reply is not this one's.
    pub(crate) fn wait(&self, request: RequestId, record: &[u8]) -> Waiter {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting { record: record.to_vec(), sender };
        self.state().waiting.entry(request).or_default().push(waiting);
        Waiter { request, pending: self.clone(), receiver }
    }

    /// A reply has come; `record` is the signature of the record that it answers, when it says so.
    pub(crate) fn answer(
        &self,
        session: SessionKey,
        request: RequestId,
        record: Option<&[u8]>,
        answer: Answer,
    ) {
        let mut state = self.state();
        let theirs = |waiting: &Waiting| record.is_none_or(|record| record == waiting.record);
        let (meant, others) =
            state.waiting.remove(&request).unwrap_or_default().into_iter().partition::<Vec<_>, _>(theirs);
        for waiting in meant {
            // Whoever waited may have left.
            let _ = waiting.sender.send(answer.clone());
        }
        if !others.is_empty() {
            state.waiting.insert(request, others);
        }
        state.forget_old(Instant::now());
        state.forget(request);
        state.bytes += answer.json.len();
        state.number += 1;
        let number = state.number;
        state.kept.insert(request, Kept { session, answer, number });
        state.by_session.entry(session).or_default().push(request);
        state.order.push_back((Instant::now(), request, number));
    }

    /// The replies of the last seconds to this session, oldest first.
    pub(crate) fn of_session(&self, session: &SessionKey) -> Vec<Answer> {
        let mut state = self.state();
        state.forget_old(Instant::now());
        let requests = state.by_session.get(session);
        requests.into_iter().flatten().filter_map(|id| Some(state.kept.get(id)?.answer.clone())).collect()
    }

    /// The kept reply to one request of this session. That the same key came with another body is told to whoever sent that
    /// body; the request's own outcome is another, and stands in PostgreSQL.
    pub(crate) fn of_request(&self, session: &SessionKey, request: RequestId) -> Option<Answer> {
        let state = self.state();
        let kept = state.kept.get(&request).filter(|kept| kept.session == *session);
        let answer = kept.map(|kept| kept.answer.clone());
        drop(state);
        answer.filter(|answer| !answer.is_mismatch())
    }
}

impl State {
    fn forget_old(&mut self, now: Instant) {
        while let Some((since, request, number)) = self.order.front().copied() {
            if now.duration_since(since) < KEPT && self.bytes <= KEPT_BYTES {
                return;
            }
            self.order.pop_front();
            if self.kept.get(&request).is_some_and(|kept| kept.number == number) {
                self.forget(request);
            }
        }
    }

    fn forget(&mut self, request: RequestId) {
        let Some(Kept { session, answer, .. }) = self.kept.remove(&request) else { return };
        self.bytes -= answer.json.len();
        if let Some(requests) = self.by_session.get_mut(&session) {
            requests.retain(|other| *other != request);
            if requests.is_empty() {
                self.by_session.remove(&session);
            }
        }
    }
}

impl Waiter {
    /// The reply, if it comes within `time`.
    pub(crate) async fn within(mut self, time: Duration) -> Option<Answer> {
        tokio::time::timeout(time, &mut self.receiver).await.ok()?.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.receiver.close();
        let mut state = self.pending.state();
        if let Some(waiters) = state.waiting.get_mut(&self.request) {
            waiters.retain(|waiting| !waiting.sender.is_closed());
            if waiters.is_empty() {
                state.waiting.remove(&self.request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u8) -> SessionKey {
        SessionKey([n; 32])
    }

    #[test]
    fn a_value_is_spliced_behind_its_kind_and_request() {
        let id: RequestId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        for (value, want) in [
            (r#"{"isSuccess":true}"#, r#"{"kind":"Logout","requestId":"ID","isSuccess":true}"#),
            ("{}", r#"{"kind":"Logout","requestId":"ID"}"#),
            (" { } ", r#"{"kind":"Logout","requestId":"ID" }"#),
            ("", r#"{"kind":"Logout","requestId":"ID"}"#),
        ] {
            let json = Answer::new(Kind::Logout, id, value.as_bytes(), 0).json;
            assert_eq!(std::str::from_utf8(&json).unwrap().replace(&id.to_string(), "ID"), want);
        }
    }

    #[tokio::test]
    async fn those_who_wait_get_it_and_those_who_come_late_too() {
        let pending = Pending::default();
        let (one, two) = (RequestId::fresh(), RequestId::fresh());
        let (first, second) = (pending.wait(one, b"a"), pending.wait(one, b"a"));
        drop(first);
        for request in [one, two, one] {
            pending.answer(session(1), request, Some(b"a"), Answer::new(Kind::Login, request, b"{}", 0));
        }
        assert!(second.within(Duration::from_secs(5)).await.is_some());
        assert!(pending.wait(one, b"a").within(Duration::ZERO).await.is_none(), "only the next one");
        assert_eq!(pending.of_session(&session(1)).len(), 2, "one per request");
        assert_eq!(pending.of_session(&session(2)).len(), 0);
        assert!(pending.of_request(&session(1), two).is_some());
        assert!(pending.of_request(&session(2), two).is_none(), "not for another session");
        assert!(pending.state().waiting.is_empty());
    }

    /// Two bodies under one key: the late reply to the first is not the answer to the second.
    #[tokio::test]
    async fn a_reply_answers_the_record_that_it_names() {
        let pending = Pending::default();
        let id = RequestId::fresh();
        let reply = |text: &[u8]| Answer::new(Kind::ChangeStatus, id, text, 0);
        let (busy, free) = (pending.wait(id, b"busy"), pending.wait(id, b"free"));
        pending.answer(session(1), id, Some(b"busy"), reply(b"{\"n\":1}"));
        pending.answer(session(1), id, Some(b"free"), reply(b"{\"n\":2}"));
        assert!(busy.within(Duration::from_secs(5)).await.unwrap().json.ends_with(b"\"n\":1}"));
        assert!(free.within(Duration::from_secs(5)).await.unwrap().json.ends_with(b"\"n\":2}"));
        let silent = pending.wait(id, b"x");
        pending.answer(session(1), id, None, reply(b"{}"));
        assert!(silent.within(Duration::from_secs(5)).await.is_some(), "a worker of before names none");
        assert!(pending.state().waiting.is_empty());
    }

    #[test]
    fn a_mismatch_is_not_the_outcome_of_the_request() {
        let pending = Pending::default();
        let id = RequestId::fresh();
        let mismatch =
            br#"{"userId":"a-b","isSuccess":false,"errorCode":"idempotency_mismatch","errorMessage":"x"}"#;
        pending.answer(session(1), id, Some(b"a"), Answer::new(Kind::AddChat, id, mismatch, 0));
        assert!(pending.of_request(&session(1), id).is_none());
        assert_eq!(pending.of_session(&session(1)).len(), 1, "its stream is told all the same");
        let said = br#"{"isSuccess":true,"message":"\"errorCode\":\"idempotency_mismatch\""}"#;
        pending.answer(session(1), id, Some(b"a"), Answer::new(Kind::AddChat, id, said, 0));
        assert!(pending.of_request(&session(1), id).is_some(), "a text is no code");
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let pending = Pending::default();
        let value = vec![b' '; KEPT_BYTES / 4];
        let ids: Vec<RequestId> = (0..6).map(|_| RequestId::fresh()).collect();
        for id in &ids {
            pending.answer(
                session(1),
                *id,
                None,
                Answer::new(Kind::Login, *id, &[b"{", value.as_slice(), b"}"].concat(), 0),
            );
        }
        assert!(pending.of_session(&session(1)).len() < 6);
        pending.state().forget_old(Instant::now() + KEPT);
        assert_eq!((pending.of_session(&session(1)).len(), pending.state().bytes), (0, 0));
    }
}
