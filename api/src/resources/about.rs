//! `/v1/about`: the version and the settings, without secrets.

use crate::config::Setting;
use crate::edge::Shared;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

/// This program and its settings.
#[derive(Debug, Serialize, JsonSchema)]
pub struct About {
    /// Its version.
    pub version: &'static str,
    /// Its settings; of secrets only whether they are set.
    pub settings: Vec<Setting>,
    /// The address of Temporal's own UI, with the namespace; null if it is not known.
    pub temporal_ui: Option<String>,
}

/// `GET /v1/about`
pub async fn show(State(edge): State<Shared>) -> Json<About> {
    Json(About {
        version: env!("CARGO_PKG_VERSION"),
        settings: edge.pages.settings.clone(),
        temporal_ui: edge.pages.temporal_ui(),
    })
}
