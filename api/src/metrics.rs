//! `/metrics`: the recorder, the description of every metric, and its rendering for Prometheus.

use crate::edge::Shared;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// How often histograms are moved into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// Bounds of the settling lag's buckets, in seconds.
const LAG_BUCKETS_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Bounds of the buckets of what one request takes, in seconds; it is given up after 15.
const REQUEST_BUCKETS_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// The format that is rendered.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    more: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Metrics {
    /// Makes the recorder and installs it for the whole process. Where one is installed already
    /// (several edges in one test process), this one stays empty but works.
    #[must_use]
    pub fn install() -> Self {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // Not installed: another one is, and counts for the process.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(upkeep(handle.clone()));
        }
        Self { handle, more: None }
    }

    /// The same, followed by text that somebody else renders (for example the Temporal SDK's own).
    #[must_use]
    pub fn with_more(mut self, more: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.more = Some(Arc::new(more));
        self
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        if let Some(more) = &self.more {
            text.push_str(&more());
        }
        text
    }
}

/// Moves what histograms gathered into their buckets, so that memory does not grow while nobody scrapes.
async fn upkeep(handle: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let lag = Matcher::Full("settle_settling_lag_seconds".to_owned());
    let verification = Matcher::Full("settle_verification_seconds".to_owned());
    // Only an empty list of buckets is refused, and then a summary is shown instead.
    let lagging = PrometheusBuilder::new().set_buckets_for_metric(lag, LAG_BUCKETS_SECONDS);
    lagging.and_then(|all| all.set_buckets_for_metric(verification, REQUEST_BUCKETS_SECONDS)).unwrap_or_default()
}

fn describe() {
    describe_counter!("settle_notifications_accepted_total", "Notifications kept in the inbox.");
    describe_counter!("settle_notifications_duplicate_total", "Notifications that the store had told before.");
    describe_counter!("settle_notifications_refused_total", "Notifications refused, by reason.");
    describe_counter!("settle_verifications_total", "Attempts to ask a store about a receipt, by answer.");
    describe_counter!("settle_deliveries_total", "Attempts to deliver, by outcome.");
    describe_counter!("settle_sweep_findings_total", "Purchases that the sweep woke, by why.");
    describe_counter!("settle_alarms_total", "Alarms raised, by kind.");
    describe_counter!("settle_dispatch_signals_total", "Signals sent to the engine, by result.");
    describe_gauge!("settle_inbox_age_seconds", Unit::Seconds, "Age of the oldest notification that is still open.");
    describe_gauge!("settle_dispatch_waiting_keys", "Purchases that wait for their signal in this process.");
    describe_histogram!(
        "settle_settling_lag_seconds",
        Unit::Seconds,
        "For how long a window had been over when its purchase was loaded for settling."
    );
    describe_histogram!("settle_verification_seconds", Unit::Seconds, "For how long a store was waited for.");
}

/// `GET /metrics`. The inbox's age is read at each scrape; a storage that does not answer leaves it out.
pub async fn show(State(edge): State<Shared>) -> impl IntoResponse {
    let age_ms = edge.store.inbox_age().await.ok().flatten();
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^52")]
    gauge!("settle_inbox_age_seconds").set(age_ms.map_or(0.0, |ms| ms as f64 / 1000.0));
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of keys")]
    gauge!("settle_dispatch_waiting_keys").set(edge.dispatch.waiting() as f64);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], edge.metrics.render())
}
