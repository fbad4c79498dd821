//! Purchases that no longer affect the state of their user. A customer may have thousands of them, which a settling
//! need not read.

use super::OwnedPurchase;
use crate::environment::Environment;
use crate::ids::CollapseKey;
use crate::purchase::State;
use crate::time::{DAY, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long after its end a subscription still counts: a change of plan may be reported late.
const REPORTED_WITHIN: Duration = DAY.saturating_mul(30);

/// Returns the purchases that no longer affect the user's state: one-time purchases that grant nothing, and
/// subscriptions that ended more than thirty days ago. On each platform and in each environment, one paid purchase is
/// not among them, because it makes the user a former subscriber. The extended attributes of a profile need all
/// purchases.
pub fn spent(owned: &[OwnedPurchase], now: Timestamp) -> Vec<CollapseKey> {
    let place = |one: &OwnedPurchase| (one.platform_id, one.environment == Environment::Sandbox);
    let (over, counted): (Vec<_>, Vec<_>) = owned.iter().partition(|one| one.is_long_over(now));
    let mut paid: BTreeSet<_> = counted
        .into_iter()
        .filter(|one| one.purchase.was_paid())
        .map(place)
        .collect();
    let spent = over
        .into_iter()
        .filter(|one| !one.purchase.was_paid() || !paid.insert(place(one)));
    spent.map(|one| one.collapse_key).collect()
}

impl OwnedPurchase {
    fn is_long_over(&self, now: Timestamp) -> bool {
        let state = self.purchase.state();
        if self.purchase.is_one_time_purchase() {
            return state != State::Unknown && !self.is_entitling();
        }
        state.is_active() == Some(false)
            && self.purchase.successor_missing_since().is_none()
            && self
                .expiration()
                .is_some_and(|end| end.plus(REPORTED_WITHIN) < now)
    }
}
