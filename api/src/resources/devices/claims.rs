//! Claims of known purchases. They are decided before the response is sent, without a query to the store. Remaining
//! claims, for example after the process ended in between, are decided by the run for the platform's claims.

use crate::edge::Edge;
use domain::device::claim::ClaimStatus;
use domain::time::millis;
use domain::{CollapseKey, DevicePlace};
use std::sync::Arc;
use storage::{ClaimCounts, ClaimStep, chain};

/// Maximum number of claims that are decided while a request is handled.
const MAX_AT_ONCE: usize = 20;

/// Decides claims from what is known about their purchases. Returns whether undecided claims remain.
pub async fn decide(edge: &Arc<Edge>, claims: Vec<(DevicePlace, CollapseKey)>) -> bool {
    let mut is_left = claims.len() > MAX_AT_ONCE;
    for (place, key) in claims.into_iter().take(MAX_AT_ONCE) {
        match edge.store.examine_claim(place, key).await {
            Ok(ClaimStep::Done(status)) => is_left |= status == ClaimStatus::Pending,
            Ok(ClaimStep::Query) => is_left = true,
            Ok(ClaimStep::Recheck) => edge.wake_for_persons(),
            Ok(ClaimStep::Reported(open)) => {
                edge.dispatch.notify(
                    open.collapse_key,
                    open.seq,
                    millis(open.quiet),
                    open.cap.map(millis),
                );
            }
            Err(error) => {
                tracing::debug!(collapse_key = %key, error = chain(&error), "a claim was not decided; its run does");
                is_left = true;
            }
        }
    }
    is_left
}

/// Adds the claims of a request to the metrics.
pub fn count(claims: ClaimCounts, known: usize) {
    let ClaimCounts {
        new,
        dropped,
        displaced,
    } = claims;
    for (result, number) in [
        ("stored", new),
        ("dropped", dropped),
        ("displaced", displaced),
        ("known", known),
    ] {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        metrics::counter!("settle_claims_total", "result" => result).increment(number);
    }
}
