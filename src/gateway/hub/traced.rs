use std::time::Instant;

use crate::{
    kafka::RecordView,
    process::trace::{TraceContext, Tracer},
    wire::HeaderName,
};

/// A record whose trace is recorded, on its way to those who hear it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traced {
    context: TraceContext,
    came: Instant,
}

impl Traced {
    /// Of a record as it comes; `None` when nobody records its trace, which is asked first of all.
    pub(super) fn of(tracer: &Tracer, view: &RecordView<'_>) -> Option<Self> {
        if !tracer.is_on() {
            return None;
        }
        let text = std::str::from_utf8(view.record.raw(HeaderName::Traceparent)?).ok()?;
        let context: TraceContext = text.parse().ok()?;
        context.sampled().then(|| Self { context, came: Instant::now() })
    }

    /// It is in the outboxes of this many streams of a shard. A gateway where nobody hears it has no part in the trace.
    pub(super) fn delivered(&self, tracer: &Tracer, event: &'static str, streams: u64) {
        if streams > 0 {
            let mut span = tracer.delivery(format!("deliver {event}"), self.context, self.came);
            span.text("messaging.system", || "kafka");
            span.text("messaging.operation.type", || "process");
            span.number("parley.streams", i64::try_from(streams).unwrap_or(i64::MAX));
        }
    }
}
