//! `/metrics`

use crate::answer::Text;
use crate::edge::Shared;
use crate::metrics::{CONTENT_TYPE, set_sweep_age};
use axum::extract::State;
use domain::health::State as DestinationState;
use metrics::gauge;
use std::fmt::Write;
use storage::Figures;

/// Renders the gauges of all destinations. They are not in the recorder, because it never drops a gauge, and
/// destinations can be deleted.
fn destinations(all: &[Figures]) -> String {
    let states =
        [DestinationState::Healthy, DestinationState::Failing, DestinationState::Open, DestinationState::Disabled]
            .map(DestinationState::as_str);
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, f64)>| {
        // Writing to a string cannot fail.
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
    family(
        "settle_destination_owed",
        "Deliveries that the destination is owed; 10000 stands for at least as many.",
        owed,
    );
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^52")]
    let age = all.iter().map(|one| (format!("\"{}\"", one.id), one.oldest_owed_ms as f64 / 1000.0)).collect();
    family("settle_destination_oldest_owed_seconds", "Age of the oldest delivery that it is owed.", age);
    text
}

/// `GET /metrics`. Each scrape reads the age of the inbox, the last sweep and the state of destinations from the
/// database. If it does not answer, the age of the inbox is 0 and the gauges of destinations are absent.
pub async fn show(State(edge): State<Shared>) -> Text {
    let age = edge.store.inbox_age().await.ok().flatten();
    gauge!("settle_inbox_age_seconds").set(age.map_or(0.0, |age| age.as_secs_f64()));
    if let Ok(last) = edge.store.last_sweep().await {
        set_sweep_age(&last);
    }
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of keys")]
    gauge!("settle_dispatch_waiting_keys").set(edge.dispatch.unsignalled_purchases() as f64);
    let figures = edge.store.figures().await.unwrap_or_default();
    Text { media: CONTENT_TYPE, text: destinations(&figures) + &edge.metrics.render() }
}
