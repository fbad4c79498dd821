//! Changes of plan: the plan before the last change, and the scheduled plan.

use super::{Purchase, Stage};
use crate::catalogue::ProductRef;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plan that a purchase had before its last change of plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PreviousPlan {
    term_sku: Option<String>,
    product_id: Option<String>,
    /// When this plan ended and the next one began.
    left_at: Timestamp,
    noticed_at: Timestamp,
}

impl PreviousPlan {
    fn sku(&self, by: ProductRef) -> Option<&str> {
        let term = self.term_sku.as_deref().filter(|_| by == ProductRef::Term);
        term.or(self.product_id.as_deref())
    }
}

impl Purchase {
    /// Records the plan before a change of plan if the SKU of `stage` differs from that of `before`. The change took
    /// effect on its scheduled date, else at the renewal, else at `at`; dates later than `at` are ignored.
    pub(crate) fn record_plan_change(&mut self, before: &Self, stage: &Stage, at: Timestamp) {
        let Some((left, next)) = before.stage.sku.as_ref().zip(stage.sku.as_ref()) else {
            return;
        };
        if left == next {
            return;
        }
        let last = before.snapshot.as_ref();
        let dates = [before.change_at(), last.and_then(|last| last.renews_at)];
        self.left_plan = Some(PreviousPlan {
            term_sku: Some(left.clone()),
            product_id: last.and_then(|last| last.product_id.clone()),
            left_at: dates
                .into_iter()
                .flatten()
                .find(|date| *date <= at)
                .unwrap_or(at),
            noticed_at: at,
        });
    }

    /// Returns the SKU of the term before the last change of plan, and when the change was noticed.
    pub(crate) fn last_plan_change(&self) -> Option<(&String, Timestamp)> {
        let left = self.left_plan.as_ref()?;
        Some((left.term_sku.as_ref()?, left.noticed_at))
    }

    /// Returns the SKU before the last change of plan of this purchase; `None` if no change was seen, or the change
    /// kept the SKU.
    pub fn previous_sku(&self, by: ProductRef) -> Option<&str> {
        self.left_plan
            .as_ref()?
            .sku(by)
            .filter(|left| Some(*left) != self.sku(by))
    }

    /// Returns when the current plan began: at the last known change of plan, else with the purchase. The price listed
    /// at that time applies, since the store never changes the price of a running plan.
    pub fn plan_began_at(&self) -> Option<Timestamp> {
        self.left_plan
            .as_ref()
            .map(|left| left.left_at)
            .or_else(|| self.not_before())
    }

    /// Returns the SKU of a scheduled change of plan; `None` also while only a notification has reported the change.
    pub fn pending_sku(&self) -> Option<&str> {
        self.stage.pending.as_deref().filter(|sku| !sku.is_empty())
    }

    /// Returns when a scheduled change of plan takes effect.
    pub fn pending_at(&self) -> Option<Timestamp> {
        self.pending_sku()?;
        self.snapshot.as_ref()?.deferred_at
    }
}
