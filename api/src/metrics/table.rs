//! All metrics with their meanings, units and labels. [The reference](../telemetry/README.md) has the same rows; a test
//! compares it with this table, the sources and the served metrics.

#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// Unit for display; empty for plain numbers.
    pub unit: &'static str,
    /// Names of the labels, in the order of the reference.
    pub labels: &'static [&'static str],
    /// Meaning of the metric, shown in the line `# HELP`.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    /// Returns the metric's type in the line `# TYPE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        unit: "",
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        unit: "",
        labels,
        help,
    }
}

impl Metric {
    const fn seconds(self) -> Self {
        Self {
            unit: "seconds",
            ..self
        }
    }

    const fn bytes(self) -> Self {
        Self {
            unit: "bytes",
            ..self
        }
    }

    const fn samples(self) -> Self {
        Self {
            kind: MetricKind::Histogram,
            ..self
        }
    }
}

pub const METRICS: &[Metric] = &[
    counter("settle_accept_failures_total", &["listener"], "Connections that the system did not accept."),
    counter("settle_alarms_total", &["kind"], "Alarms that this process raised and stored; a repetition counts again."),
    counter(
        "settle_api_refused_total",
        &["reason"],
        "Refused requests of the API; reason is unknown, expired, revoked, slowed, role or app; of the page also origin, form or link.",
    ),
    gauge("settle_build_info", &["version"], "1, with the version of this process."),
    counter(
        "settle_capped_values_total",
        &["kind"],
        "Values that were cut in bodies, by kind of destination. A lease that storage repeats counts again.",
    ),
    gauge("settle_check_violations", &[], "Rows that break a rule of the check; must read 0."),
    counter(
        "settle_claims_total",
        &["result"],
        "New claims of purchases by devices; result is stored, known, dropped or displaced.",
    ),
    gauge("settle_connections", &["listener"], "Open connections."),
    counter(
        "settle_connections_closed_total",
        &["listener", "why", "phase"],
        "Connections that settle closed; why is time, room, memory or descriptors.",
    ),
    counter(
        "settle_connections_refused_total",
        &["listener"],
        "Connections of an address that had a request under way in each of its own.",
    ),
    counter(
        "settle_database_long_calls_total",
        &["purpose", "waits_for"],
        "Calls of the database that took more than two seconds, counted while they run; waits_for is queue, pool, connect, begin, statement, commit, rollback or code.",
    ),
    counter(
        "settle_deliveries_given_up_total",
        &["why"],
        "Deliveries that waited too long; why is no_login after 30 days without an external id of the customer.",
    ),
    counter(
        "settle_deliveries_total",
        &["outcome"],
        "Attempts to deliver, for each event of a request; outcome is delivered, retry or failed.",
    ),
    counter(
        "settle_destination_events_total",
        &["destination", "event"],
        "Events about destinations that were recorded.",
    ),
    gauge(
        "settle_destination_oldest_pending_seconds",
        &["destination"],
        "Age of the oldest delivery that is pending for the destination; for 500 destinations at most, as settle_destination_state.",
    )
    .seconds(),
    gauge(
        "settle_destination_pending",
        &["destination"],
        "Deliveries that are pending for the destination; 10000 stands for at least as many. For 500 destinations at most, as settle_destination_state.",
    ),
    gauge(
        "settle_destination_state",
        &["destination", "state"],
        "1 for the state that the destination is in, 0 for the others; state is healthy, failing, open or disabled. For \
         500 destinations at most: the open ones first, then the failing ones, then those furthest behind.",
    ),
    gauge("settle_destinations", &["state"], "Destinations in the state, all of them."),
    gauge("settle_destinations_omitted", &[], "Destinations without samples of their own in settle_destination_state."),
    counter(
        "settle_device_deliveries_total",
        &["outcome"],
        "Attempts to deliver events of devices; outcome is that of settle_deliveries_total.",
    ),
    counter("settle_device_events_total", &["result"], "Events that devices reported."),
    counter(
        "settle_device_requests_refused_total",
        &["reason"],
        "Requests of devices that were refused; reason is disk (too little room), bytes (of its address) or quota (of its platform's day).",
    ),
    gauge("settle_disk_free_bytes", &[], "Free room on the disk with the SQLite database.").bytes(),
    gauge("settle_disk_full", &[], "1 while the disk of the database is full, which answers notifications 503."),
    gauge(
        "settle_dispatch_limit",
        &[],
        "Signals that this process sends to Temporal at the same time, at most; it follows the time that Temporal takes.",
    ),
    counter(
        "settle_dispatch_signals_total",
        &["result"],
        "Signals to Temporal; result is sent, unavailable or rejected.",
    ),
    gauge("settle_dispatch_waiting_keys", &[], "Purchases that wait for their signal in this process."),
    gauge(
        "settle_figures_age_seconds",
        &[],
        "Age of the figures that are read from the database: of the inbox, sweeps and destinations.",
    )
    .seconds(),
    gauge("settle_inbox_age_seconds", &[], "Age of the oldest notification without an outcome.").seconds(),
    counter("settle_notifications_accepted_total", &[], "Notifications stored in the inbox."),
    counter(
        "settle_notifications_duplicate_total",
        &[],
        "Notifications of a repeated message, and duplicate notifications in another message.",
    ),
    counter("settle_notifications_refused_total", &["reason"], "Messages of stores that were refused."),
    counter("settle_pruned_total", &[], "Rows whose bodies were removed for their age."),
    counter(
        "settle_refused_ids_total",
        &["kind", "reason"],
        "Events that failed unsent for the customer's id, by kind of destination. A lease that storage repeats counts again.",
    ),
    gauge("settle_request_body_bytes", &["listener"], "Bytes of request bodies that are read or worked on.").bytes(),
    gauge(
        "settle_settling_lag_seconds",
        &[],
        "Time from the end of a window until its purchase was loaded for settling.",
    )
    .seconds()
    .samples(),
    gauge(
        "settle_silent_store_purchases",
        &["store"],
        "Purchases that wait for a store which has not answered for half a minute.",
    ),
    counter(
        "settle_spans_dropped_total",
        &["reason"],
        "Spans that were not exported; reason is queue (it was full) or export (the collector did not take them).",
    ),
    counter("settle_spans_exported_total", &[], "Spans that the collector took."),
    gauge("settle_sweep_age_seconds", &[], "Time since a sweep finished; an alarm is raised at 300.").seconds(),
    counter("settle_sweep_findings_total", &["why"], "Purchases and destinations that the sweep woke."),
    counter(
        "settle_temporal_actions_total",
        &["workflow", "action"],
        "Actions of Temporal that this process caused, as Temporal Cloud bills them; workflow is purchase, destination, stream, claims or sweep; action is start, signal, query, timer, upsert, activity, retry, local_activities (those of a workflow task), heartbeat or continue_as_new.",
    ),
    counter(
        "settle_unknown_proxy_requests_total",
        &[],
        "Requests with X-Forwarded-For from an address that is no trusted proxy: all its clients count as one.",
    ),
    gauge("settle_verification_seconds", &[], "Duration of a request to a store.").seconds().samples(),
    counter("settle_verifications_total", &["answer"], "Queries of a store about a purchase."),
    gauge("settle_workers", &[], "Workers that poll Temporal, as this process found last."),
];

/// Returns the meaning of a metric; empty if there is no metric with this name.
pub fn help(name: &str) -> &'static str {
    METRICS
        .iter()
        .find(|metric| metric.name == name)
        .map_or("", |metric| metric.help)
}
