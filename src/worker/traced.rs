//! The span of a batch (OpenTelemetry's conventions for messaging). A batch is of many traces and part of none: it has links.

use std::time::Instant;

use super::batch::Batch;
use crate::{
    kafka::Partition,
    process::trace::{Span, TraceContext, Tracer},
};

/// Begins it, when a record of the batch is part of a trace that somebody records; `since` is when the batch was full. Whose
/// record is not believed has no say.
pub(super) fn begin(tracer: &Tracer, partition: &Partition, batch: &Batch<'_>, since: Instant) -> Span {
    if !tracer.is_on() {
        return Span::default();
    }
    let texts = batch.jobs.iter().filter_map(|job| job.headers.traceparent.as_deref());
    let linked = sampled(texts);
    if linked.is_empty() {
        return Span::default();
    }
    let topic = partition.topic();
    let mut span = tracer.batch(format!("process {topic}"), &linked, since);
    span.text("messaging.system", || "kafka");
    span.text("messaging.operation.name", || "process");
    span.text("messaging.operation.type", || "process");
    span.text("messaging.destination.name", || topic.to_owned());
    span.text("messaging.destination.partition.id", || partition.number().to_string());
    span.number("messaging.batch.message_count", count(batch.views.len()));
    span.number("parley.batch.sampled", count(linked.len()));
    span
}

/// Those of the contexts that are recorded, each once: requests of one trace come in one batch.
fn sampled<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<TraceContext> {
    let mut found: Vec<TraceContext> = Vec::new();
    for context in texts.filter_map(|text| text.parse::<TraceContext>().ok()) {
        // Whoever sends a request again within one span stands beside itself, as a rule.
        if context.sampled() && found.last() != Some(&context) {
            found.push(context);
        }
    }
    found
}

fn count(records: usize) -> i64 {
    i64::try_from(records).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_to_what_is_recorded() {
        let text = |n: u8, flags: u8| TraceContext::new([n; 16], [n; 8], flags).unwrap().to_string();
        let texts = [text(1, 1), text(1, 1), text(2, 0), "nonsense".to_owned(), text(3, 3)];
        let found: Vec<u8> =
            sampled(texts.iter().map(String::as_str)).iter().map(|context| context.trace()[0]).collect();
        assert_eq!(found, [1, 3]);
    }
}
