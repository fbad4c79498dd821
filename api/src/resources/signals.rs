//! An admin's signals to workflows: their author and reason, and the errors if Temporal does not accept them.

use crate::dispatch::EngineError;
use crate::error::Error;
use crate::keys::Acting;
use schemars::JsonSchema;
use serde::Deserialize;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;
use workflows::signal::Admin;

/// Maximum time to wait until Temporal accepts a signal.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Author and reason of an action.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "by": "anna", "reason": "ticket 4711" }]))]
pub struct Action {
    /// Name of the author, recorded next to the key.
    #[schemars(length(max = 200))]
    by: Option<String>,
    /// Reason, recorded in the audit log.
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

impl Action {
    /// Returns the author and reason for a signal.
    pub fn admin(self, edge: &Acting) -> Admin {
        let reason = self.reason.or_else(|| edge.store.actor().reason.clone());
        Admin {
            by: Some(edge.name(self.by)),
            reason,
            key_id: edge.caller.key,
        }
    }
}

/// An empty body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("properties" = {}, "examples" = [{}]))]
pub struct Nothing {}

/// Waits until Temporal has accepted a signal, but not for its effect.
///
/// # Errors
/// 503 if Temporal does not respond; 502 if it rejects the signal.
pub async fn taken(call: impl Future<Output = Result<(), EngineError>>) -> Result<(), Error> {
    match timeout(TIMEOUT, call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(EngineError::Rejected(reason))) => Err(Error::Upstream(format!(
            "the workflow engine refused the signal: {reason}"
        ))),
        Ok(Err(EngineError::Unavailable(_) | EngineError::Exhausted(_))) | Err(_) => Err(
            Error::Unavailable("the workflow engine is not responding; try again".to_owned()),
        ),
    }
}
