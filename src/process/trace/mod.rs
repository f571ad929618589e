//! Distributed traces: the trace context that crosses HTTP and Kafka (W3C Trace Context), and the spans that a service makes of
//! its work, sent to a collector by OTLP over HTTP. What the environment says decides, by the names of the OpenTelemetry
//! specification (`OTEL_EXPORTER_OTLP_ENDPOINT` and others); without an endpoint, or built without the feature `otlp`, no span is
//! made and nothing but a branch is left of it. See `docs/tracing.md`.

mod context;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

pub use context::{InvalidTraceContext, TraceContext};
#[cfg(not(feature = "otlp"))]
use off as spans;
#[cfg(feature = "otlp")]
use otlp as spans;
#[cfg(all(test, feature = "otlp"))]
pub(crate) use otlp::testing;
pub use spans::{Span, Tracer};

pub(super) use spans::Traces;
