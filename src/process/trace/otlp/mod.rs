//! Spans by OpenTelemetry's own crates, which are named here and nowhere else.

mod account;
mod collector;
mod sampler;
mod settings;
mod start;

use std::{
    borrow::Cow,
    time::{Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{
        Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState,
        Tracer as _,
    },
};
use opentelemetry_sdk::trace::SdkTracer;
pub(in crate::process) use start::Traces;

use super::TraceContext;

/// The most links of one span. A batch has up to 500 records, and whoever looks at its span follows a few of them.
const LINKS: usize = 64;

/// Makes spans. Cheap to clone. Off by default; then each call is one branch.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

/// A span that is being recorded, or none. Ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Recorded>>);

#[derive(Debug)]
struct Recorded {
    span: opentelemetry_sdk::trace::Span,
    /// Makes its stages.
    tracer: SdkTracer,
}

impl Tracer {
    /// Whether it makes spans at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request that is being served; the caller's context is its parent.
    pub fn server(&self, name: String, caller: Option<TraceContext>) -> Span {
        self.begin(SpanBuilder::from_name(name).with_kind(SpanKind::Server), caller)
    }

    /// The span of a batch that was begun at `since`: a trace of its own, with links to what its records are part of. It is
    /// recorded when one of those is.
    pub fn batch(&self, name: String, links: &[TraceContext], since: Instant) -> Span {
        let linked = links.iter().take(LINKS).map(|link| Link::with_context(remote(*link)));
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Consumer).with_links(linked.collect());
        self.begin(builder.with_start_time(at(since)), None)
    }

    /// The span of a record's way to those who hear it, begun at `since`.
    pub fn delivery(&self, name: String, of: TraceContext, since: Instant) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Consumer);
        self.begin(builder.with_start_time(at(since)), Some(of))
    }

    fn begin(&self, builder: SpanBuilder, parent: Option<TraceContext>) -> Span {
        let Some(tracer) = &self.0 else { return Span(None) };
        // Never the thread's current context: spans are handed on by hand.
        let parent = parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(remote(parent)));
        let span = tracer.build_with_context(builder, &parent);
        Span(span.is_recording().then(|| Box::new(Recorded { span, tracer: tracer.clone() })))
    }
}

impl Span {
    /// What others continue it by, when it is recorded.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span.span_context();
        TraceContext::new(
            context.trace_id().to_bytes(),
            context.span_id().to_bytes(),
            context.trace_flags().to_u8(),
        )
    }

    /// A text about it, made only when it is recorded. Never a secret, and nothing that a person wrote.
    pub fn text<T: Into<Cow<'static, str>>>(&mut self, key: &'static str, value: impl FnOnce() -> T) {
        if let Some(recorded) = &mut self.0 {
            recorded.span.set_attribute(KeyValue::new(key, value().into()));
        }
    }

    /// A number about it.
    pub fn number(&mut self, key: &'static str, value: i64) {
        if let Some(recorded) = &mut self.0 {
            recorded.span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// It came to nothing; `kind` is one of a closed set.
    pub fn failed(&mut self, kind: &'static str) {
        if let Some(recorded) = &mut self.0 {
            fail(&mut recorded.span, kind);
        }
    }

    /// A stage of it that began at `since` and is over.
    pub fn stage(&self, name: &'static str, since: Instant) {
        // Dropped, it ends.
        let _ = self.child(name, since);
    }

    /// A stage that began at `since` and came to nothing.
    pub fn failed_stage(&self, name: &'static str, since: Instant, kind: &'static str) {
        if let Some(mut span) = self.child(name, since) {
            fail(&mut span, kind);
        }
    }

    fn child(&self, name: &'static str, since: Instant) -> Option<opentelemetry_sdk::trace::Span> {
        let recorded = self.0.as_ref()?;
        let parent = Context::new().with_remote_span_context(recorded.span.span_context().clone());
        let builder = SpanBuilder::from_name(name).with_start_time(at(since));
        Some(recorded.tracer.build_with_context(builder, &parent))
    }
}

fn fail(span: &mut opentelemetry_sdk::trace::Span, kind: &'static str) {
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(kind));
}

fn remote(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace()),
        SpanId::from_bytes(context.span()),
        TraceFlags::new(context.flags()),
        true,
        TraceState::default(),
    )
}

/// The time of day of a moment that lies a little back.
fn at(since: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(since.elapsed()).unwrap_or(now)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A tracer whose spans stay here.

    use std::sync::{Arc, Mutex, PoisonError};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};

    use super::{sampler::Sampling, *};

    /// What became of a span, as tests ask for it.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Seen {
        pub(crate) name: String,
        pub(crate) kind: String,
        pub(crate) context: TraceContext,
        pub(crate) parent: [u8; 8],
        pub(crate) links: Vec<TraceContext>,
        /// `key=value`.
        pub(crate) attributes: Vec<String>,
        pub(crate) failed: bool,
    }

    /// The spans that ended.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<Seen>>>);

    impl Kept {
        pub(crate) fn take(&self) -> Vec<Seen> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            let context = |span: &SpanContext| {
                TraceContext::new(
                    span.trace_id().to_bytes(),
                    span.span_id().to_bytes(),
                    span.trace_flags().to_u8(),
                )
                .unwrap()
            };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
                name: span.name.to_string(),
                kind: format!("{:?}", span.span_kind),
                context: context(&span.span_context),
                parent: span.parent_span_id.to_bytes(),
                links: span.links.links.iter().map(|link| context(&link.span_context)).collect(),
                attributes: span.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect(),
                failed: matches!(span.status, Status::Error { .. }),
            });
        }

        fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: std::time::Duration) -> opentelemetry_sdk::error::OTelSdkResult {
            Ok(())
        }
    }

    /// A tracer by the name of its sampler, and what it makes.
    pub(crate) fn tracer(sampler: &str) -> (Tracer, Kept) {
        let kept = Kept::default();
        let sampling = Sampling::read(sampler, None).unwrap();
        let provider =
            SdkTracerProvider::builder().with_sampler(sampling.sampler()).with_span_processor(kept.clone());
        (Tracer(Some(provider.build().tracer("parley"))), kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(flags: u8) -> TraceContext {
        TraceContext::new([7; 16], [9; 8], flags).unwrap()
    }

    #[test]
    fn a_request_continues_its_callers_trace() {
        let (tracer, kept) = testing::tracer("parentbased_always_on");
        let mut span = tracer.server("GET /x".into(), Some(caller(1)));
        let context = span.context().unwrap();
        assert_eq!((context.trace(), context.sampled()), ([7; 16], true));
        span.text("http.route", || "/x");
        span.number("http.response.status_code", 503);
        span.failed("503");
        drop(span);
        let [seen] = <[_; 1]>::try_from(kept.take()).unwrap();
        assert_eq!((seen.name.as_str(), seen.kind.as_str(), seen.failed), ("GET /x", "Server", true));
        assert_eq!((seen.context, seen.parent), (context, [9; 8]));
        assert_eq!(seen.attributes, ["http.route=/x", "http.response.status_code=503", "error.type=503"]);
    }

    #[test]
    fn what_the_caller_does_not_record_is_not_recorded() {
        let (tracer, kept) = testing::tracer("parentbased_always_on");
        let mut span = tracer.server("GET /x".into(), Some(caller(0)));
        span.text("never", || -> String { panic!("no text is made for a span that is none") });
        assert_eq!(span.context(), None);
        drop(span);
        assert!(tracer.server("GET /x".into(), None).context().is_some(), "a trace of its own");
        assert_eq!(kept.take().len(), 1);
        assert!(
            !Tracer::default().is_on() && Tracer::default().server(String::new(), None).context().is_none()
        );
    }

    #[test]
    fn a_batch_links_to_its_records_and_has_stages() {
        let (tracer, kept) = testing::tracer("parentbased_always_off");
        let links: Vec<TraceContext> =
            (1..=100).map(|n| TraceContext::new([n; 16], [n; 8], 1).unwrap()).collect();
        let since = Instant::now();
        let batch = tracer.batch("process t".into(), &links, since);
        let context = batch.context().expect("recorded because its records are");
        batch.stage("decode", since);
        batch.failed_stage("transaction", since, "conflict");
        drop(batch);
        let seen = kept.take();
        let names: Vec<(&str, bool)> = seen.iter().map(|span| (span.name.as_str(), span.failed)).collect();
        assert_eq!(names, [("decode", false), ("transaction", true), ("process t", false)]);
        assert!(seen[..2].iter().all(|stage| stage.parent == context.span()));
        assert_eq!((seen[2].parent, seen[2].links.as_slice()), ([0; 8], &links[..LINKS]));
        assert_ne!(context.trace(), links[0].trace(), "a trace of its own");
    }
}
