use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use prometheus::{IntCounter, IntCounterVec};

use crate::process::metrics::Registry;

crate::metrics! {
    /// What every program that makes spans counts.
    pub(super) struct Metrics {
        /// Where there is a collector: spans recorded, by what became of them: exported, dropped (too many waited), failed (not taken).
        spans_total: IntCounterVec ["outcome"],
    }
}

/// Where every span ends, counted, and said once for as long as it goes wrong. Shared by all that a span passes on its way.
#[derive(Debug)]
pub(super) struct Account {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
    /// Spans that were taken and have not been handed to the exporter.
    waiting: AtomicUsize,
    /// The most of these.
    room: usize,
    said_full: AtomicBool,
    /// The collector took none the last time.
    failing: AtomicBool,
    /// Why, by whoever sends.
    reason: Mutex<String>,
    /// The collector, for the log.
    place: String,
}

impl Account {
    pub(super) fn new(registry: &Registry, room: usize, place: String) -> prometheus::Result<Arc<Self>> {
        let metrics = Metrics::register(registry)?;
        let outcome = |name| metrics.spans_total.with_label_values(&[name]);
        Ok(Arc::new(Self {
            exported: outcome("exported"),
            dropped: outcome("dropped"),
            failed: outcome("failed"),
            waiting: AtomicUsize::new(0),
            room,
            said_full: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            reason: Mutex::new(String::new()),
            place,
        }))
    }

    /// Whether there is room for one more; if not, it is lost.
    fn take(&self) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.room {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.dropped.inc();
        if !self.said_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                room = self.room,
                "more spans than can be sent: those for which there is no room are dropped, counted in parley_spans_total, and \
                 not spoken of again; record fewer with OTEL_TRACES_SAMPLER, or raise OTEL_BSP_MAX_QUEUE_SIZE"
            );
        }
        false
    }

    /// Why what is being sent now will fail. No URL, which may hold a secret.
    pub(super) fn because(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn sent(&self, spans: usize, taken: bool) {
        let counter = if taken { &self.exported } else { &self.failed };
        counter.inc_by(spans as u64);
        let before = self.failing.swap(!taken, Ordering::Relaxed);
        let collector = self.place.as_str();
        match (before, taken) {
            (false, false) => {
                let reason = std::mem::take(&mut *self.reason.lock().unwrap_or_else(PoisonError::into_inner));
                tracing::warn!(
                    collector,
                    reason,
                    "the collector does not take spans: they are dropped and counted in parley_spans_total until it does"
                );
            }
            (true, true) => {
                tracing::info!(collector, failed = self.failed.get(), "the collector takes spans again");
            }
            _ => {}
        }
    }

    /// At the end: what was lost, when something was.
    pub(super) fn sum_up(&self) {
        let left = self.waiting.load(Ordering::Relaxed);
        let (dropped, failed) = (self.dropped.get(), self.failed.get());
        if left > 0 || dropped > 0 || failed > 0 {
            tracing::warn!(left, dropped, failed, exported = self.exported.get(), "spans were lost");
        }
    }
}

/// The SDK's batch processor behind a count of what waits in it: its own queue, of the same size, is never full, so that every span
/// lost is one that was counted here.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) inner: BatchSpanProcessor,
    pub(super) account: Arc<Account>,
}

impl SpanProcessor for Gate {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.account.take() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter whose every batch is accounted for.
#[derive(Debug)]
pub(super) struct Counted<E> {
    pub(super) inner: E,
    pub(super) account: Arc<Account>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.account.waiting.fetch_sub(spans, Ordering::Relaxed);
        let result = self.inner.export(batch).await;
        self.account.sent(spans, result.is_ok());
        // Accounted for: the processor has nothing to add.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        trace::{BatchConfigBuilder, SdkTracerProvider},
    };

    use super::*;

    /// Says what it gets, and answers when and as it is told.
    #[derive(Debug)]
    struct Told {
        got: mpsc::Sender<usize>,
        answers: Mutex<mpsc::Receiver<bool>>,
    }

    impl SpanExporter for Told {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.got.send(batch.len()).unwrap();
            let taken = self.answers.lock().unwrap().recv().unwrap_or(false);
            if taken { Ok(()) } else { Err(OTelSdkError::InternalFailure("told so".into())) }
        }
    }

    #[test]
    fn a_collector_that_hangs_costs_a_bounded_queue_and_every_span_is_counted() {
        const ROOM: usize = 8;
        let ((got, batches), (answer, answers)) = (mpsc::channel(), mpsc::channel());
        let account = Account::new(&Registry::new(), ROOM, "http://collector".into()).unwrap();
        let inner = Told { got, answers: Mutex::new(answers) };
        let counted = Counted { inner, account: Arc::clone(&account) };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(ROOM)
            .with_max_export_batch_size(ROOM)
            .with_scheduled_delay(Duration::from_secs(3600));
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(config.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Gate { inner, account: Arc::clone(&account) })
            .build();
        let tracer = provider.tracer("test");
        let spans = |count| (0..count).for_each(|_| drop(tracer.start("x")));
        // The first full batch is with the exporter, which does not answer.
        spans(ROOM);
        assert_eq!(batches.recv_timeout(Duration::from_secs(60)).unwrap(), ROOM);
        spans(100);
        assert_eq!((account.dropped.get(), account.waiting.load(Ordering::Relaxed)), (92, ROOM));
        // It fails, then takes the rest.
        answer.send(false).unwrap();
        assert_eq!(batches.recv_timeout(Duration::from_secs(60)).unwrap(), ROOM);
        answer.send(true).unwrap();
        provider.shutdown_with_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((account.failed.get(), account.exported.get(), account.dropped.get()), (8, 8, 92));
        assert!(!account.failing.load(Ordering::Relaxed), "it took the last ones");
    }
}
