//! Claims of known purchases, and those with a transaction that the store signed. They are decided before the response is
//! sent, without a query to the store. Remaining claims, for example after the process ended in between, are decided by
//! the run for the platform's claims.

use crate::edge::Edge;
use domain::device::claim::ClaimStatus;
use domain::time::millis;
use domain::{CollapseKey, DevicePlace};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{ClaimAnswer, ClaimCounts, ClaimResult, ClaimStep, Error, Open, chain};

/// Maximum number of claims that are decided while a request is handled.
const MAX_AT_ONCE: usize = 20;

/// Decides claims: by what the device's signed transactions show, else by what is known about their purchases. Returns
/// whether undecided claims remain.
pub async fn decide(
    edge: &Arc<Edge>,
    claims: Vec<(DevicePlace, CollapseKey)>,
    mut answers: BTreeMap<CollapseKey, ClaimAnswer>,
) -> bool {
    let mut is_left = claims.len() > MAX_AT_ONCE;
    for (place, key) in claims.into_iter().take(MAX_AT_ONCE) {
        let decided = match answers.remove(&key) {
            Some(answer) => by_answer(edge, place, key, answer).await,
            None => by_knowledge(edge, place, key).await,
        };
        is_left |= decided.unwrap_or_else(|error| {
            tracing::debug!(collapse_key = %key, error = chain(&error), "a claim was not decided; its run does");
            true
        });
    }
    is_left
}

/// Decides a claim by what is known about its purchase. Returns whether it remains undecided.
async fn by_knowledge(
    edge: &Arc<Edge>,
    place: DevicePlace,
    key: CollapseKey,
) -> Result<bool, Error> {
    Ok(match edge.store.examine_claim(place, key).await? {
        ClaimStep::Done(status) => status == ClaimStatus::Pending,
        ClaimStep::Query => true,
        ClaimStep::Recheck => {
            edge.wake_for_persons();
            false
        }
        ClaimStep::Reported(open) => {
            notify(edge, open);
            false
        }
    })
}

/// Decides a claim by what a signed transaction shows. Returns whether it remains undecided.
async fn by_answer(
    edge: &Arc<Edge>,
    place: DevicePlace,
    key: CollapseKey,
    answer: ClaimAnswer,
) -> Result<bool, Error> {
    match edge.store.finish_claim(place, key, answer).await? {
        ClaimResult::Reported(open) => notify(edge, open),
        ClaimResult::Verified => edge.wake_for_persons(),
        ClaimResult::NotVerified => {}
    }
    Ok(false)
}

fn notify(edge: &Edge, open: Open) {
    edge.dispatch.notify(
        open.collapse_key,
        open.seq,
        millis(open.quiet),
        open.cap.map(millis),
    );
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
