//! The export of spans by OTLP over HTTP, configured by the standard `OTEL_*` variables.

use crate::bounded::{Bounded, Counted, Waiting};
use crate::ids::Ids;
use crate::send::Sender;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use std::sync::OnceLock;
use std::time::Duration;

/// How long the process waits for the collector when it ends.
const LAST_EXPORT: Duration = Duration::from_secs(2);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

static EXPORTING: OnceLock<Exporting> = OnceLock::new();

/// Settings of this process's export. The SDK itself reads the sampler, the endpoint, the request headers and the batch
/// sizes from the standard variables.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// `service.name`, unless the environment sets one.
    pub service_name: Option<&'static str>,
    /// `service.instance.id`: an id of this process.
    pub instance: String,
    /// How long a request to the collector may take.
    pub timeout: Duration,
    /// Maximum number of spans that wait for the collector.
    pub queue: usize,
}

/// Starts the export, for the rest of the process. Must be called only once, within the runtime.
///
/// # Errors
/// The endpoint cannot be used; the text says why.
pub fn start(settings: ExportSettings) -> Result<(), String> {
    let sender = Sender::new(settings.timeout).map_err(|error| error.to_string())?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(sender)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(settings.timeout)
        .build()
        .map_err(|error| error.to_string())?;
    let waiting = Waiting::default();
    let queue = BatchSpanProcessor::builder(Counted::new(exporter, waiting.clone())).build();
    let provider = SdkTracerProvider::builder()
        .with_id_generator(Ids::default())
        .with_resource(resource(&settings))
        .with_span_processor(Bounded {
            inner: queue,
            waiting,
            limit: settings.queue,
        })
        .build();
    let tracer = provider.tracer("settle");
    // A second start in one process, which only tests make, keeps the first export.
    let _ = EXPORTING.set(Exporting { provider, tracer });
    Ok(())
}

/// Exports the waiting spans within two seconds, and ends the export.
pub fn stop() {
    if let Some(exporting) = EXPORTING.get() {
        // Spans that the collector does not accept now are lost, and counted.
        let _ = exporting.provider.shutdown_with_timeout(LAST_EXPORT);
    }
}

/// Returns the tracer; `None` while nothing is exported.
pub fn tracer() -> Option<&'static SdkTracer> {
    EXPORTING.get().map(|exporting| &exporting.tracer)
}

fn resource(settings: &ExportSettings) -> Resource {
    let own = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", settings.instance.clone()),
    ];
    let builder = Resource::builder().with_attributes(own);
    settings
        .service_name
        .into_iter()
        .fold(builder, |builder, name| builder.with_service_name(name))
        .build()
}
