//! A purchase of another SKU that shares an entitlement with a running purchase: a change of plan over two purchases
//! that no notification links. The vendor's documentation: "User has purchased a different SKU that grants the same
//! entitlement."

use super::OwnedPurchase;
use crate::catalogue::ProductRef;
use crate::decide::Decision;
use crate::transition::TransitionKind;

/// Announces the beginning of `bought` as a change of plan if one of the `others` of the same user ran before it in the
/// same environment, with another SKU and a shared entitlement. The trial and the count of terms remain as decided; a
/// later notification that links the two purchases announces nothing more.
pub fn announce_change(
    mut decision: Decision,
    bought: &OwnedPurchase,
    others: &[OwnedPurchase],
) -> Decision {
    let began = decision
        .transitions
        .iter_mut()
        .find(|transition| transition.kind == TransitionKind::Purchased);
    let (Some(began), Some(since)) = (began, bought.purchase.not_before()) else {
        return decision;
    };
    if bought.purchase.is_one_time_purchase() || !others.iter().any(|other| bought.continues(other))
    {
        return decision;
    }
    began.kind = TransitionKind::PlanChanged;
    let at = began.at.map_or(since, |at| at.max(since));
    decision.purchase.cover_change(at);
    decision
}

impl OwnedPurchase {
    /// Whether this purchase is a change of plan from `other`: another SKU with a shared entitlement, and `other` ran
    /// when this purchase began.
    fn continues(&self, other: &Self) -> bool {
        let entitles = |purchase: &Self, name: &str| {
            purchase
                .listing
                .entitlements
                .iter()
                .any(|entitlement| entitlement.entitlement_ref_id == name)
        };
        let shares = || {
            self.listing
                .entitlements
                .iter()
                .any(|one| entitles(other, &one.entitlement_ref_id))
        };
        let sku = |purchase: &Self| purchase.purchase.sku(ProductRef::Term).map(str::to_owned);
        let is_other = self.collapse_key != other.collapse_key && sku(self) != sku(other);
        let ran = self
            .purchase
            .not_before()
            .is_some_and(|began| other.purchase.ran_at(began));
        let is_running_before = ran && other.is_counted() && !other.purchase.is_one_time_purchase();
        is_other && is_running_before && self.environment == other.environment && shares()
    }
}
