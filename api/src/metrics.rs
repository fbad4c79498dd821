//! The recorder of metrics, the description of every metric, and their rendering for Prometheus.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use storage::LastSweep;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// Time between two moves of histogram samples into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// Bucket bounds of `settle_settling_lag_seconds`.
const LAG_BUCKETS_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Bucket bounds of `settle_verification_seconds`; a request to a store times out after 15 s.
const REQUEST_BUCKETS_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// The `content-type` of the rendered metrics.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Creates the recorder and installs it for the whole process. If one is installed already (several edges in one
    /// test process), the new one renders no metrics.
    #[must_use]
    pub fn install() -> Self {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // An error means that another recorder is installed, which then records for this process.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(upkeep(handle.clone()));
        }
        Self { handle }
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// Moves histogram samples into their buckets regularly: otherwise memory grows while nothing scrapes the metrics.
async fn upkeep(handle: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let lag = Matcher::Full("settle_settling_lag_seconds".to_owned());
    let verification = Matcher::Full("settle_verification_seconds".to_owned());
    // Only an empty list of bounds is an error.
    let lagging = PrometheusBuilder::new().set_buckets_for_metric(lag, LAG_BUCKETS_SECONDS);
    lagging.and_then(|all| all.set_buckets_for_metric(verification, REQUEST_BUCKETS_SECONDS)).unwrap_or_default()
}

/// Sets the gauge of the time since the last sweep.
pub fn set_sweep_age(last: &LastSweep) {
    gauge!("settle_sweep_age_seconds").set(last.age.as_secs_f64());
}

fn describe() {
    describe_connections();
    describe_counter!("settle_notifications_accepted_total", "Notifications stored in the inbox.");
    describe_counter!(
        "settle_notifications_duplicate_total",
        "Notifications of a repeated message, and duplicate notifications in another message."
    );
    describe_counter!("settle_notifications_refused_total", "Notifications refused, by reason.");
    describe_counter!("settle_verifications_total", "Attempts to verify a receipt with a store, by answer.");
    describe_counter!("settle_deliveries_total", "Attempts to deliver, by outcome.");
    describe_counter!(
        "settle_deliveries_given_up_total",
        "Deliveries that waited too long, by why: `no_login` after 30 days without an external id of the customer."
    );
    describe_counter!(
        "settle_api_refused_total",
        "Refused requests of the API, by reason: `unknown`, `expired`, `revoked`, `slowed`, `role` or `app`."
    );
    describe_counter!("settle_device_events_total", "Events that devices reported, by result.");
    describe_counter!("settle_claims_total", "New claims of receipts by devices, by result: stored or dropped.");
    describe_counter!("settle_device_deliveries_total", "Attempts to deliver events of devices, by outcome.");
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
    describe_gauge!(
        "settle_figures_age_seconds",
        Unit::Seconds,
        "Age of the figures that are read from the database: of the inbox, sweeps and destinations."
    );
    describe_gauge!("settle_inbox_age_seconds", Unit::Seconds, "Age of the oldest notification without an outcome.");
    describe_gauge!(
        "settle_sweep_age_seconds",
        Unit::Seconds,
        "Time since a sweep finished; an alarm is raised at 300."
    );
    describe_gauge!("settle_audit_violations", "Rows that break a rule of the audit; must read 0.");
    describe_gauge!("settle_dispatch_waiting_keys", "Purchases that wait for their signal in this process.");
    describe_histogram!(
        "settle_settling_lag_seconds",
        Unit::Seconds,
        "Time from the end of a window until its purchase was loaded for settling."
    );
    describe_histogram!("settle_verification_seconds", Unit::Seconds, "Duration of a verification with a store.");
}

fn describe_connections() {
    describe_gauge!("settle_connections", "Open connections, by listener.");
    describe_gauge!("settle_request_body_bytes", "Bytes of request bodies that are read or worked on, by listener.");
    describe_counter!(
        "settle_connections_closed_total",
        "Connections that were closed, by listener, why (time, room, memory, descriptors) and phase."
    );
    describe_counter!(
        "settle_connections_refused_total",
        "Connections of an address that had a request under way in each of its own, by listener."
    );
    describe_counter!("settle_accept_failures_total", "Connections that the system did not accept, by listener.");
}
