//! `/metrics`: the recorder, the description of every metric, and its rendering for Prometheus.

use crate::answer::Text;
use crate::edge::Shared;
use axum::extract::State;
use domain::health::State as DestinationState;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use storage::Figures;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// How often histograms are moved into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// Bounds of the settling lag's buckets, in seconds.
const LAG_BUCKETS_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Bounds of the buckets of a request's duration, in seconds; its time-out is 15.
const REQUEST_BUCKETS_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// The format that is rendered.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    more: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Metrics {
    /// Creates the recorder and installs it for the whole process. Where one is installed already (several edges in one
    /// test process), this one stays empty but works.
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

    /// Appends text from another source (for example the Temporal SDK's metrics) to the rendered metrics.
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

/// Moves the samples of histograms into their buckets, so that memory does not grow without scrapes.
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
    describe_counter!("settle_notifications_accepted_total", "Notifications stored in the inbox.");
    describe_counter!("settle_notifications_duplicate_total", "Notifications that the store had sent before.");
    describe_counter!("settle_notifications_refused_total", "Notifications refused, by reason.");
    describe_counter!("settle_verifications_total", "Attempts to verify a receipt with a store, by answer.");
    describe_counter!("settle_deliveries_total", "Attempts to deliver, by outcome.");
    describe_counter!(
        "settle_capped_values_total",
        "Values that were cut in bodies, by kind of destination. A claim that storage repeats counts again."
    );
    describe_counter!(
        "settle_refused_ids_total",
        "Events that died unsent for the customer's id, by kind of destination and reason. A claim that storage repeats \
         counts again."
    );
    describe_counter!(
        "settle_destination_events_total",
        "Events about destinations that were recorded, by destination and event."
    );
    describe_counter!("settle_sweep_findings_total", "Purchases and destinations that the sweep woke, by why.");
    describe_counter!("settle_pruned_total", "Rows whose bodies were removed for their age.");
    describe_counter!("settle_alarms_total", "Alarms raised, by kind.");
    describe_counter!("settle_dispatch_signals_total", "Signals sent to the engine, by result.");
    describe_gauge!("settle_inbox_age_seconds", Unit::Seconds, "Age of the oldest notification without an outcome.");
    describe_gauge!("settle_audit_violations", "Rows that break a rule of the audit; must read 0.");
    describe_gauge!("settle_dispatch_waiting_keys", "Purchases that wait for their signal in this process.");
    describe_histogram!(
        "settle_settling_lag_seconds",
        Unit::Seconds,
        "Time from the end of a window until its purchase was loaded for settling."
    );
    describe_histogram!("settle_verification_seconds", Unit::Seconds, "Duration of a verification with a store.");
}

/// The gauges of all destinations. They are written here, because the recorder never drops a gauge, and
/// destinations can be deleted.
fn destinations(all: &[Figures]) -> String {
    let states =
        [DestinationState::Healthy, DestinationState::Failing, DestinationState::Open, DestinationState::Disabled]
            .map(DestinationState::as_str);
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, f64)>| {
        // A string takes all that is written.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{destination={labels}}} {value}");
        }
    };
    let state = |one: &Figures| states.map(|is| (format!("\"{}\",state=\"{is}\"", one.id), one.state == is));
    let state = all.iter().flat_map(state).map(|(labels, is)| (labels, f64::from(is))).collect();
    family("settle_destination_state", "1 for the state that the destination is in, 0 for the others.", state);
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of deliveries")]
    let owed = all.iter().map(|one| (format!("\"{}\"", one.id), one.owed as f64)).collect();
    family("settle_destination_owed", "Deliveries that the destination is owed, up to 100,000.", owed);
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^52")]
    let age = all.iter().map(|one| (format!("\"{}\"", one.id), one.oldest_owed_ms as f64 / 1000.0)).collect();
    family("settle_destination_oldest_owed_seconds", "Age of the oldest delivery that it is owed.", age);
    text
}

/// `GET /metrics`. The inbox's age and the state of destinations are read at each scrape; a storage that does not
/// answer
/// leaves them out.
pub async fn show(State(edge): State<Shared>) -> Text {
    let age = edge.store.inbox_age().await.ok().flatten();
    gauge!("settle_inbox_age_seconds").set(age.map_or(0.0, |age| age.as_secs_f64()));
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of keys")]
    gauge!("settle_dispatch_waiting_keys").set(edge.dispatch.waiting() as f64);
    let figures = edge.store.figures().await.unwrap_or_default();
    Text { media: CONTENT_TYPE, text: destinations(&figures) + &edge.metrics.render() }
}
