//! What an admin asks of a workflow: who asks and why, and what is answered when the engine does not hear it.

use super::Fields;
use crate::dispatch::EngineError;
use crate::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;
use workflows::signal::Admin;

/// How long an admin waits for the engine.
const WAIT: Duration = Duration::from_secs(10);

/// Who asks, and why: `by` (`api` unless said) and `reason`.
pub fn admin(fields: &mut Fields) -> Admin {
    let by = fields.text("by").unwrap_or_else(|| "api".to_owned());
    Admin { by: Some(by), reason: fields.text("reason") }
}

/// Waits until the engine took it, not for what comes of it.
///
/// # Errors
/// 503 when it does not answer, 502 when it refuses.
pub async fn taken(call: impl Future<Output = Result<(), EngineError>>) -> Result<(), Error> {
    match timeout(WAIT, call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(EngineError::Rejected(reason))) => {
            Err(Error::Upstream(format!("the workflow engine refuses: {reason}")))
        }
        Ok(Err(EngineError::Unavailable(_))) | Err(_) => {
            Err(Error::Unavailable("the workflow engine does not answer at the moment; try again".to_owned()))
        }
    }
}
