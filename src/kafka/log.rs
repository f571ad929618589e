//! librdkafka's own log lines, into ours.

use rdkafka::{ClientContext, config::RDKafkaLogLevel, error::KafkaError};

/// A client context that logs, for clients that need no other callback. librdkafka repeats itself while a broker is away, so
/// connection errors are `debug`: who looks after the client says it once, through its readiness.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(facility, "{message}"),
        _ => tracing::trace!(facility, "{message}"),
    }
}
