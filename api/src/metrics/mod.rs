//! The metrics recorder, the descriptions of all metrics, and their rendering for Prometheus.

mod table;

pub use table::{METRICS, Metric, MetricKind, help};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use storage::LastSweep;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// Time between two moves of histogram samples into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// Bucket bounds of `settle_settling_lag_seconds`.
const LAG_BUCKETS_SECONDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// Bucket bounds of `settle_verification_seconds`; a request to a store times out after 15 s.
const REQUEST_BUCKETS_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// `content-type` of the rendered metrics.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Creates the recorder and installs it for the whole process. If one is already installed (several edges in one
    /// test process), the new one renders no metrics.
    pub fn install() -> Self {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // An error means that another recorder is installed, which then records for this process.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        gauge!("settle_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(upkeep(handle.clone()));
        }
        Self { handle }
    }

    /// Returns all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// Periodically moves histogram samples into their buckets: otherwise memory grows while nothing scrapes the metrics.
async fn upkeep(handle: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let lag = Matcher::Full("settle_settling_lag_seconds".to_owned());
    let verification = Matcher::Full("settle_verification_seconds".to_owned());
    // The only possible error is an empty list of bounds.
    let lagging = PrometheusBuilder::new().set_buckets_for_metric(lag, LAG_BUCKETS_SECONDS);
    lagging
        .and_then(|all| all.set_buckets_for_metric(verification, REQUEST_BUCKETS_SECONDS))
        .unwrap_or_default()
}

/// Sets the gauge of the time since the last sweep.
pub fn set_sweep_age(last: &LastSweep) {
    gauge!("settle_sweep_age_seconds").set(last.age.as_secs_f64());
}

fn describe() {
    for metric in METRICS {
        let unit = match metric.unit {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, unit, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
}
