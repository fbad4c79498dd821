//! Changes of plan: the one before, and the one that is scheduled.

use super::Purchase;
use crate::catalogue::ProductRef;
use crate::reading::Snapshot;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The plan that a receipt had before another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LeftPlan {
    /// The SKU of its term.
    term_sku: Option<String>,
    /// The SKU of its product.
    product_id: Option<String>,
    /// When the next plan began.
    left_at: Timestamp,
}

impl LeftPlan {
    /// The plan that `before` showed, if `after` shows another one. It was left at the date that was scheduled for
    /// that, or else at the renewal, as far as that date is past.
    pub fn between(before: Option<&Snapshot>, after: &Snapshot) -> Option<Self> {
        let before = before?;
        let (left, next) = (before.sku(ProductRef::Term)?, after.sku(ProductRef::Term)?);
        if left == next {
            return None;
        }
        let dates = [before.deferred_at, before.renews_at];
        let left_at = dates.into_iter().flatten().find(|date| *date <= after.at).unwrap_or(after.at);
        Some(Self { term_sku: before.term_sku.clone(), product_id: before.product_id.clone(), left_at })
    }

    fn sku(&self, by: ProductRef) -> Option<&str> {
        let term = self.term_sku.as_deref().filter(|_| by == ProductRef::Term);
        term.or(self.product_id.as_deref())
    }
}

impl Purchase {
    /// The SKU before the last change of plan of this receipt; `None` when no change was seen, or none of this SKU.
    #[must_use]
    pub fn previous_sku(&self, by: ProductRef) -> Option<&str> {
        self.left_plan.as_ref()?.sku(by).filter(|left| Some(*left) != self.sku(by))
    }

    /// When its plan began: at the last change of plan that was seen, else with the purchase. The store never changes
    /// the price of a plan that runs.
    #[must_use]
    pub fn plan_began_at(&self) -> Option<Timestamp> {
        self.left_plan.as_ref().map(|left| left.left_at).or_else(|| self.not_before())
    }

    /// The SKU that a scheduled change of plan leads to; `None` also while only a notification told of the change.
    #[must_use]
    pub fn pending_sku(&self) -> Option<&str> {
        self.stage.pending.as_deref().filter(|sku| !sku.is_empty())
    }

    /// When a scheduled change of plan takes effect.
    #[must_use]
    pub fn pending_at(&self) -> Option<Timestamp> {
        self.pending_sku()?;
        self.snapshot.as_ref()?.deferred_at
    }
}
