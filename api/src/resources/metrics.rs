//! `/metrics`: metrics for Prometheus.

use crate::answer::Text;
use crate::edge::Shared;
use crate::metrics::CONTENT_TYPE;
use axum::extract::State;
use metrics::gauge;

/// `GET /metrics`. Does not read the database: [`Figures`](crate::figures::Figures) are a few seconds old.
pub async fn show(State(edge): State<Shared>) -> Text {
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of keys")]
    gauge!("settle_dispatch_waiting_keys").set(edge.dispatch.unsignalled_purchases() as f64);
    Text {
        media: CONTENT_TYPE,
        text: edge.figures.destinations().to_string() + &edge.metrics.render(),
    }
}
