use std::sync::Arc;

use super::{Feed, Hub, Traced, scout::decode};
use crate::{
    gateway::{
        metrics::Metrics,
        pending::{Answer, Pending},
        session::Sessions,
        sse::Epoch,
    },
    kafka::{
        RecordView,
        reader::{Handler, Incarnation},
    },
    process::trace::Tracer,
    wire::{CHAT_EVENT, EndedSession, Keyring, Kind, open_reply},
};

use super::record::Route;

/// Kafka's thread: decodes each record once and gives it to whom it concerns.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    hub: Hub,
    pending: Pending,
    sessions: Sessions,
    keys: Arc<Keyring>,
    metrics: Metrics,
    tracer: Tracer,
}

impl Dispatcher {
    pub(crate) fn new(
        hub: Hub,
        pending: Pending,
        sessions: Sessions,
        keys: Arc<Keyring>,
        metrics: Metrics,
        tracer: Tracer,
    ) -> Self {
        Self { hub, pending, sessions, keys, metrics, tracer }
    }

    fn to_all(&self, feed: &Feed) {
        for shard in self.hub.shards.iter() {
            shard.feed.give(feed.clone());
        }
    }

    fn reply(&self, view: &RecordView<'_>) {
        let reply = match open_reply(&self.keys, &view.record) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, topic = view.record.topic, "dropped a reply");
                self.metrics.dropped_records_total.with_label_values(&["reply"]).inc();
                return;
            }
        };
        let answer =
            Answer::new(reply.kind, reply.request_id, view.record.value, view.timestamp.unwrap_or(0));
        let head = answer.head();
        // Kept first and sent after: a stream that opens between the two gets it twice, never not at all.
        self.pending.answer(reply.session_key, reply.request_id, reply.answers, answer);
        let feed = Feed::Reply {
            key: reply.session_key,
            head,
            stamped: view.timestamp.unwrap_or(0),
            login: reply.kind == Kind::Login,
            traced: Traced::of(&self.tracer, view),
        };
        self.hub.shard_of(&reply.session_key).feed.give(feed);
    }
}

impl Handler for Dispatcher {
    fn begins(&mut self, topic: &'static str, incarnation: &Arc<Incarnation>, partition: i32, offset: i64) {
        if topic == CHAT_EVENT {
            let epoch = Epoch::new(&incarnation.cluster, &incarnation.topic);
            self.to_all(&Feed::Begins { epoch, partition: usize::try_from(partition).unwrap_or(0), offset });
        }
    }

    fn gone(&mut self, topic: &'static str) {
        tracing::warn!(topic, "the topic is gone");
    }

    fn lost(&mut self, topic: &'static str, partition: i32, offset: i64) {
        if topic == CHAT_EVENT {
            self.to_all(&Feed::Lost { partition: usize::try_from(partition).unwrap_or(0), offset });
        }
    }

    fn record(&mut self, topic: &'static str, view: RecordView<'_>) {
        if topic != CHAT_EVENT {
            self.reply(&view);
            return;
        }
        let traced = Traced::of(&self.tracer, &view);
        let record = decode(&self.keys, &self.metrics, &view);
        if let Route::Ended { who, .. } = &record.route {
            match who {
                EndedSession::SessionKey(key) => self.sessions.forget(key),
                EndedSession::UserId(_) => self.sessions.forget_all(),
            }
        }
        self.to_all(&Feed::Record(Arc::new(record), traced));
    }
}
