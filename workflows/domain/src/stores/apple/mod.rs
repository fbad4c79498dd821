//! The App Store: how its values map into settle's closed lists, its policy, and how what Apple signed decides.
//!
//! The values are those of App Store Server Notifications V2 and of the App Store Server API. An unknown value maps to
//! the enum's catch-all variant, or to nothing.

mod answer;
mod doubt;
mod lanes;
mod mapping;
mod money;
mod rules;
mod storefronts;

#[cfg(test)]
mod tests;

pub use answer::{Doubt, PurchaseFacts, Renewal, RenewalFact, Revocation, TransactionFact};
pub use mapping::{
    Intent, OfferKind, Ownership, ProductKind, SubscriptionStatus, TransactionCause, country,
    currency, end_reason, environment, offer, phase, product, revoked_reason,
};
pub use money::{PriceTier, RevocationKind, amount, refund_extent, total};

use super::{Answers, CustomerSource, Evidence, Gone, Policy, Proof, Schedules};
use crate::time::{DAY, HOUR, MINUTE};
use std::time::Duration;

pub const POLICY: Policy = Policy {
    store: "apple",
    purchase_id_key: "original_transaction_id",
    customer: CustomerSource::Answer,
    proof: Proof::Signed,
    evidence: Evidence::Signed,
    answers: Answers(&rules::BySignature),
    // 4040010 of a known purchase.
    gone: Gone::LastKnown,
    can_leave_end: true,
    schedules: Schedules {
        unknown: &UNKNOWN_TRANSACTION,
        wrong_customer: &[],
        // What is signed is the answer: nothing else is believed.
        believed_after: Duration::MAX,
        settled_unverified: &[],
    },
    wake: rules::wake,
    acknowledged_within: |_| None,
};

/// 4040010 of a transaction that no signed fact shows.
const UNKNOWN_TRANSACTION: [Duration; 4] =
    [MINUTE.saturating_mul(10), HOUR, HOUR.saturating_mul(6), DAY];
