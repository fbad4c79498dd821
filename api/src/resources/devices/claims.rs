//! Claims of known purchases: they are decided before the request is answered, which takes no query. Claims that are
//! left, for example when the process ends in the meantime, are decided by the run of the platform's claims.

use crate::edge::Edge;
use domain::device::claim::ClaimStatus;
use domain::time::millis;
use domain::{CollapseKey, DevicePlace};
use std::sync::Arc;
use storage::{ClaimCounts, ClaimStep, chain};

/// Maximum number of claims of a request that are decided at once.
const MAX_AT_ONCE: usize = 20;

/// Decides claims by what is known of their purchases. Returns whether some of them are left.
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

/// Counts the claims of a request.
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
