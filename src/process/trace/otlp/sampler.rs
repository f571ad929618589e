use opentelemetry::{
    Context, KeyValue, TraceId,
    trace::{Link, SpanKind, TraceContextExt as _, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// `OTEL_TRACES_SAMPLER` and its argument: which part of the traces that begin here is recorded, and whether others' decisions are
/// followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    pub(super) follow: bool,
    /// 0 to 1.
    pub(super) ratio: f64,
}

impl Default for Sampling {
    /// The specification's: all of one's own, and of others what they record.
    fn default() -> Self {
        Self { follow: true, ratio: 1.0 }
    }
}

impl Sampling {
    /// From the two variables. An error says what is wrong.
    pub(super) fn read(name: &str, argument: Option<&str>) -> Result<Self, &'static str> {
        let (follow, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match argument.unwrap_or("1").parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => return Err("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"),
            },
            _ => {
                return Err(
                    "OTEL_TRACES_SAMPLER must be always_on, always_off, traceidratio, or one of these after parentbased_",
                );
            }
        };
        Ok(Self { follow, ratio })
    }

    pub(super) fn sampler(self) -> LinkSampler {
        let own = Sampler::TraceIdRatioBased(self.ratio);
        LinkSampler(if self.follow { Sampler::ParentBased(Box::new(own)) } else { own })
    }
}

/// The specification's sampler, which knows parents only. Here a batch without a parent is judged by what it links to, as if that
/// were its parent: the trace of a recorded request would else end at Kafka. And a stage goes with its batch.
#[derive(Debug, Clone)]
pub(super) struct LinkSampler(Sampler);

impl ShouldSample for LinkSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let of = |parent: Option<&Context>, trace| {
            self.0.should_sample(parent, trace, name, kind, attributes, &[])
        };
        let is_root = parent.is_none_or(|parent| !parent.has_active_span());
        if is_root && !links.is_empty() {
            return decided(links.iter().any(|link| {
                let linked = Context::new().with_remote_span_context(link.span_context.clone());
                of(Some(&linked), link.span_context.trace_id()).decision == SamplingDecision::RecordAndSample
            }));
        }
        match parent.filter(|_| !is_root).map(|parent| parent.span().span_context().clone()) {
            Some(ours) if !ours.is_remote() => decided(ours.is_sampled()),
            _ => of(parent, trace),
        }
    }
}

fn decided(sampled: bool) -> SamplingResult {
    let decision = if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
    SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::process::trace::{TraceContext, otlp::testing};

    #[test]
    fn what_the_variables_may_say() {
        let read = |name: &str, argument: Option<&str>| {
            Sampling::read(name, argument).ok().map(|sampling| (sampling.follow, sampling.ratio))
        };
        for (name, argument, want) in [
            ("always_on", None, Some((false, 1.0))),
            ("always_off", None, Some((false, 0.0))),
            ("traceidratio", Some("0.25"), Some((false, 0.25))),
            ("traceidratio", None, Some((false, 1.0))),
            ("parentbased_always_on", None, Some((true, 1.0))),
            ("parentbased_always_off", Some("unused"), Some((true, 0.0))),
            ("parentbased_traceidratio", Some("1e-3"), Some((true, 0.001))),
            ("parentbased_traceidratio", Some("1.5"), None),
            ("traceidratio", Some("NaN"), None),
            ("traceidratio", Some("half"), None),
            ("jaeger_remote", None, None),
            ("parentbased_", None, None),
            ("AlwaysOn", None, None),
        ] {
            assert_eq!(read(name, argument), want, "{name} {argument:?}");
        }
        assert_eq!(Ok(Sampling::default()), Sampling::read("parentbased_always_on", None));
    }

    /// sampler → whether a request is recorded whose caller records it, does not, or is not there; and a batch with a recorded
    /// record.
    #[test]
    fn who_is_recorded() {
        let caller = |flags| TraceContext::new([0xff; 16], [1; 8], flags);
        for (sampler, want) in [
            ("always_on", [true, true, true, true]),
            ("always_off", [false, false, false, false]),
            ("parentbased_always_on", [true, false, true, true]),
            ("parentbased_always_off", [true, false, false, true]),
        ] {
            let (tracer, kept) = testing::tracer(sampler);
            let server = |caller| tracer.server("x".into(), caller).context().is_some();
            let batch = tracer.batch("b".into(), &[caller(1).unwrap()], Instant::now());
            batch.stage("s", Instant::now());
            let batch_is = batch.context().is_some();
            drop(batch);
            assert_eq!(
                kept.take().len(),
                if batch_is { 2 } else { 0 },
                "{sampler}: a stage goes with its batch"
            );
            assert_eq!([server(caller(1)), server(caller(0)), server(None), batch_is], want, "{sampler}");
        }
    }
}
