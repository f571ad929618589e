use std::{ops::ControlFlow, time::Duration};

use crate::{
    ids::Timestamp,
    kafka::{
        KafkaArgs, KafkaSettings, Producer, ProducerSettings, RecordView,
        scan::{From, Scan},
    },
    process::{Exit, Secret},
    wire::HeaderName,
};

/// Checks the settings together with the password beside them.
pub(super) fn kafka(args: &KafkaArgs) -> Result<KafkaSettings, Exit> {
    let password = Secret::read("PARLEY_KAFKA_PASSWORD", args.kafka_password_file.as_deref());
    let password = password.map_err(Exit::settings)?;
    args.check(password.as_ref().map(Secret::reveal)).map_err(Exit::settings)
}

/// A producer for a few records.
pub(super) fn producer(kafka: &KafkaSettings) -> Result<Producer, Exit> {
    let settings = ProducerSettings { message_timeout: Duration::from_secs(10), linger: Duration::ZERO };
    Producer::start(kafka, "parley-tool", settings).map_err(Exit::failure)
}

/// Runs blocking work with Kafka beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Exit> + Send + 'static,
) -> Result<T, Exit> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Exit::failure(format!("interrupted: {error}")))?
}

/// Every record that stands in these topics now.
pub(super) fn scan(
    kafka: &KafkaSettings,
    topics: &[&str],
    from: From,
    each: impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
) -> Result<(), Exit> {
    let scan = Scan::start(kafka, topics, from).map_err(Exit::failure)?;
    scan.to_end(each).map_err(Exit::failure)
}

/// A header's text; empty when there is none.
pub(super) fn header(view: &RecordView<'_>, name: HeaderName) -> String {
    let found = view.record.headers.iter().find(|(n, _)| *n == name.as_str());
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

/// A broker's timestamp for people.
pub(super) fn time(milliseconds: Option<i64>) -> String {
    milliseconds.map_or_else(
        || "no time".to_owned(),
        |ms| Timestamp::from_micros(ms.saturating_mul(1_000)).to_string(),
    )
}
