//! `/v1/overview`: the overall state, in numbers.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{Overview, RunningProcess};

/// App of the overview.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub struct OfApp {
    /// Only this app; by default, all apps that the caller can access.
    pub app_id: Option<AppId>,
}

/// `GET /v1/overview`
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    Query(OfApp { app_id }): Query<OfApp>,
) -> Result<Json<Overview>, Error> {
    let app = caller.app(&edge, app_id).await?;
    Ok(Json(of(&edge, app).await?))
}

/// Returns a sentence, without a full stop, about running processes of an older release; `None` if there are none.
pub fn older(processes: &[RunningProcess]) -> Option<String> {
    let older: Vec<String> = processes
        .iter()
        .filter(|one| one.is_older)
        .map(process)
        .collect();
    match older.as_slice() {
        [] => None,
        [one] => Some(format!("an older process runs: {one}; upgrade or stop it")),
        all => Some(format!(
            "older processes run: {}; upgrade or stop them",
            all.join(", ")
        )),
    }
}

/// Returns a process's command, release, host and process id as text.
pub fn process(one: &RunningProcess) -> String {
    let number = one
        .pid
        .map_or_else(String::new, |pid| format!(" (process {pid})"));
    format!("{} {} at {}{number}", one.role, one.version, one.host)
}

/// Returns the overview of one app, or of all.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of(edge: &Edge, app: Option<AppId>) -> Result<Overview, Error> {
    Ok(edge.store.overview(app).await?)
}
