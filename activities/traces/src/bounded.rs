//! A bounded queue before the exporter. A span that finds the queue full is dropped and counted, as are spans that the
//! collector does not accept. Whatever the collector does, no task waits for it.

use metrics::counter;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The number of spans that wait for the exporter or are being sent to the collector.
pub type Waiting = Arc<AtomicUsize>;

/// Passes on at most `limit` spans that are not exported yet.
#[derive(Debug)]
pub struct Bounded<P> {
    pub inner: P,
    /// Number of spans in the queue.
    pub waiting: Waiting,
    /// Maximum number of spans in the queue.
    pub limit: usize,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return count_dropped("queue", 1);
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[derive(Debug)]
pub struct Counted<E> {
    inner: E,
    waiting: Waiting,
    is_failing: AtomicBool,
}

impl<E> Counted<E> {
    /// Creates an exporter that counts the spans leaving the queue.
    pub const fn new(inner: E, waiting: Waiting) -> Self {
        Self {
            inner,
            waiting,
            is_failing: AtomicBool::new(false),
        }
    }

    /// Counts the result of one request, and logs when it differs from the previous one.
    fn record(&self, spans: usize, result: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match result {
            Ok(()) => {
                counter!("settle_spans_exported_total")
                    .increment(u64::try_from(spans).unwrap_or(u64::MAX));
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                count_dropped("export", spans);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "spans are not exported, and are dropped");
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.record(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn count_dropped(reason: &'static str, spans: usize) {
    counter!("settle_spans_dropped_total", "reason" => reason)
        .increment(u64::try_from(spans).unwrap_or(u64::MAX));
}
