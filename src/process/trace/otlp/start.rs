use std::{sync::Arc, time::Duration};

use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};

use super::{
    Tracer,
    account::{Account, Counted, Gate},
    collector::Collector,
    sampler::Sampling,
    settings::Settings,
};
use crate::process::{Exit, VERSION, metrics::Registry};

/// How long a process that has drained still tries to send its last spans.
const FLUSH: Duration = Duration::from_secs(2);

/// The spans of a process: made, gathered, sent. Ended with it.
#[derive(Debug)]
pub(in crate::process) struct Traces(Option<Running>);

#[derive(Debug)]
struct Running {
    provider: SdkTracerProvider,
    account: Arc<Account>,
}

impl Traces {
    /// Starts what the environment asks for, within a runtime; `program` is the name of the program.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub(in crate::process) fn start(program: &str, registry: &Registry) -> Result<Self, Exit> {
        let settings = Settings::read(|name| std::env::var(name).ok()).map_err(Exit::settings)?;
        let Some(settings) = settings else { return Ok(Self(None)) };
        let account = Account::new(registry, settings.queue, settings.place.clone())?;
        let inner = exporter(&settings, &account).map_err(|why| {
            Exit::settings(format!("spans cannot be sent as the variables OTEL_… ask for it: {why}"))
        })?;
        let counted = Counted { inner, account: Arc::clone(&account) };
        // The other bounds come from OTEL_BSP_… or are the specification's.
        let config = BatchConfigBuilder::default().with_max_queue_size(settings.queue).build();
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(settings.sampling.sampler())
            .with_resource(resource(program, settings.service))
            .with_span_processor(Gate { inner, account: Arc::clone(&account) })
            .build();
        let Sampling { follow, ratio } = settings.sampling;
        tracing::info!(collector = settings.place, ratio, callers_decide = follow, "spans are sent");
        Ok(Self(Some(Running { provider, account })))
    }

    pub(in crate::process) fn tracer(&self) -> Tracer {
        let scope = || InstrumentationScope::builder("parley").with_version(VERSION).build();
        Tracer(self.0.as_ref().map(|running| running.provider.tracer_with_scope(scope())))
    }

    /// Sends what is left, in bounded time.
    pub(in crate::process) async fn end(self) {
        let Some(Running { provider, account }) = self.0 else { return };
        // It blocks. Whether all went out, the account knows.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
        let _ = tokio::time::timeout(FLUSH * 2, ended).await;
        account.sum_up();
    }
}

fn exporter(settings: &Settings, account: &Arc<Account>) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_endpoint(&settings.url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(settings.patience);
    let account = Arc::clone(account);
    let built: Result<_, ExporterBuildError> = if settings.secure {
        let client = Collector::secure(settings.patience, account).map_err(|error| error.to_string())?;
        builder.with_http_client(client).build()
    } else {
        builder.with_http_client(Collector::plain(settings.patience, account)).build()
    };
    // Of all that it may say, only the algorithm of a compression is left: no secret.
    built.map_err(|error| error.to_string())
}

/// Who makes the spans. What the environment says goes first.
fn resource(program: &str, service: Option<String>) -> Resource {
    let own = [
        KeyValue::new("service.name", format!("parley-{program}")),
        KeyValue::new("service.version", VERSION),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    let builder = Resource::builder_empty()
        .with_attributes(own)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match service {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    #[test]
    fn a_program_has_a_name_of_its_own_until_it_is_given_one() {
        let name = |service: Option<&str>| {
            resource("worker", service.map(str::to_owned)).get(&Key::new("service.name")).unwrap().to_string()
        };
        assert_eq!((name(None).as_str(), name(Some("chat")).as_str()), ("parley-worker", "chat"));
    }
}
