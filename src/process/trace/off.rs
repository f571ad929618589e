//! What is left without the feature `otlp`: the same calls, and nothing behind them.

use std::{borrow::Cow, time::Instant};

use super::TraceContext;
use crate::process::{Exit, metrics::Registry};

/// Makes no spans.
#[derive(Debug, Clone, Default)]
pub struct Tracer(());

/// No span.
#[derive(Debug, Default)]
pub struct Span(());

/// Nothing to be sent.
#[derive(Debug)]
pub(in crate::process) struct Traces;

impl Tracer {
    /// It never is.
    pub fn is_on(&self) -> bool {
        false
    }

    /// None.
    pub fn server(&self, _: String, _: Option<TraceContext>) -> Span {
        Span(())
    }

    /// None.
    pub fn batch(&self, _: String, _: &[TraceContext], _: Instant) -> Span {
        Span(())
    }

    /// None.
    pub fn delivery(&self, _: String, _: TraceContext, _: Instant) -> Span {
        Span(())
    }
}

impl Span {
    /// None.
    pub fn context(&self) -> Option<TraceContext> {
        None
    }

    /// Nothing; the text is not made.
    pub fn text<T: Into<Cow<'static, str>>>(&mut self, _: &'static str, _: impl FnOnce() -> T) {}

    /// Nothing.
    pub fn number(&mut self, _: &'static str, _: i64) {}

    /// Nothing.
    pub fn failed(&mut self, _: &'static str) {}

    /// Nothing.
    pub fn stage(&self, _: &'static str, _: Instant) {}

    /// Nothing.
    pub fn failed_stage(&self, _: &'static str, _: Instant, _: &'static str) {}
}

impl Traces {
    /// Says so when somebody expects spans.
    #[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
    pub(in crate::process) fn start(_: &str, _: &Registry) -> Result<Self, Exit> {
        let asked = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
            .into_iter()
            .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        if let Some(name) = asked {
            tracing::warn!(
                "{name} is set, but this program was built without the feature otlp: it makes no spans"
            );
        }
        Ok(Self)
    }

    pub(in crate::process) fn tracer(&self) -> Tracer {
        Tracer(())
    }

    pub(in crate::process) async fn end(self) {}
}
