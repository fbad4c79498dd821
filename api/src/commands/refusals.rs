//! Warns at startup about each destination that the settings forbid, since the settings may have changed after the
//! destination was created.

use super::destinations;
use protocols::destinations::{Allowed, refusal};
use storage::{Destination, Store, chain};

/// Starts the task that logs a warning for each enabled destination that the settings forbid.
pub fn warn(store: Store, allowed: Allowed) {
    tokio::spawn(async move {
        match destinations::all(&store).await {
            Ok(all) => all
                .iter()
                .filter(|one| one.enabled)
                .for_each(|one| warn_about(one, &allowed)),
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the destinations could not be read at the start"
            ),
        }
    });
}

fn warn_about(destination: &Destination, allowed: &Allowed) {
    if let Some(refused) = refusal(destination, allowed) {
        tracing::warn!(
            destination.id = %destination.id,
            destination.name = destination.name,
            reason = %refused,
            "the settings allow no request to a destination; its pending deliveries wait"
        );
    }
}
