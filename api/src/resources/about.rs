//! `/v1/about`: the version and, for admin keys that reach all apps, the settings without secrets.

use crate::config::Setting;
use crate::edge::{Edge, Shared};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Serialize;
use storage::Role;

/// Version and settings of this process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct About {
    /// Version of settle.
    pub version: &'static str,
    /// Settings; secrets show only whether they are set. Null for a key with a role below `admin` or limited to one
    /// app.
    pub settings: Option<Vec<Setting>>,
    /// URL of the Temporal UI for the namespace; null if not known, and for a key limited to one app.
    pub temporal_ui: Option<String>,
}

impl About {
    /// Returns what a key with this role may see; `app` is the only app that the key reaches, if it is limited to one.
    pub fn of(edge: &Edge, role: Role, app: Option<AppId>) -> Self {
        let sees_all = app.is_none() && role >= Role::Admin;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            settings: sees_all.then(|| edge.pages.settings.clone()),
            temporal_ui: edge.pages.temporal_ui().filter(|_| app.is_none()),
        }
    }
}

/// `GET /v1/about`
pub async fn show(State(edge): State<Shared>, caller: Caller) -> Json<About> {
    Json(About::of(&edge, caller.role, caller.app))
}
