//! Google Play: how its values map into settle's closed lists, its policy, and how an answer decides.
//!
//! The values are those of the API's machine-readable description (`androidpublisher` v3). An unknown value maps to the
//! enum's catch-all variant, or to nothing.

mod answer;
mod mapping;
mod money;
mod rules;

#[cfg(test)]
mod tests;

pub use answer::{ItemAnswer, OrderAnswer, PlannedItem, PurchaseAnswer, Status};
pub use mapping::{
    Cancellation, billing_cycles, country, currency, end_reason, environment, offer, phase,
    product, sku, transaction_id,
};
pub use money::{OrderState, amount, refund_extent};
pub use rules::ACKNOWLEDGED_WITHIN;

use super::{Answers, CustomerSource, Evidence, Gone, Policy, Proof, RECEIPT_ID, Schedules};
use crate::time::{DAY, HOUR, MINUTE};
use std::time::Duration;

pub const POLICY: Policy = Policy {
    store: "google",
    purchase_id_key: RECEIPT_ID,
    customer: CustomerSource::Answer,
    proof: Proof::Possession,
    evidence: Evidence::Read,
    answers: Answers(&rules::ByState),
    // 404 and 410 of a known purchase.
    gone: Gone::LastKnown,
    can_leave_end: true,
    schedules: Schedules {
        unknown: &UNKNOWN_TOKEN,
        wrong_customer: &[],
        // A notification has no state: none is believed without an answer.
        believed_after: Duration::MAX,
        settled_unverified: &[],
    },
    wake: rules::wake,
    acknowledged_within: rules::acknowledged_within,
};

/// 404, and 410 of a token that is minutes old.
const UNKNOWN_TOKEN: [Duration; 5] = [
    MINUTE,
    MINUTE.saturating_mul(10),
    HOUR,
    HOUR.saturating_mul(6),
    DAY,
];
