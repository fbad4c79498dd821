//! The new receipt of a change of plan over two receipts whose notification was lost.

use crate::decide::Decision;
use crate::transition::{Transition, TransitionKind};

/// Announces that `decision` is about the receipt in the place of another one, if its beginning was not announced: its
/// purchase becomes the change, else the change follows the renewal by which it was first seen, or precedes what else
/// happened. The notification that may still link the two announces nothing more.
#[must_use]
pub fn announce_succession(mut decision: Decision) -> Decision {
    let purchase = &decision.purchase;
    let began = decision.transitions.iter_mut().find(|transition| transition.kind == TransitionKind::Purchased);
    let Some(since) = purchase.not_before() else { return decision };
    if let Some(began) = began {
        began.kind = TransitionKind::PlanChanged;
        let at = began.at.map_or(since, |at| at.max(since));
        decision.purchase.cover_change(at);
        return decision;
    }
    if !purchase.is_beginning_unannounced() {
        return decision;
    }
    let cycle = purchase.stage.terms.map(|_| 1);
    let is_new_trial = purchase.stage.in_trial && purchase.announced.covered(TransitionKind::TrialStarted).is_none();
    let whats = is_new_trial.then_some(TransitionKind::TrialStarted).into_iter().chain([TransitionKind::PlanChanged]);
    let announced: Vec<_> = whats.map(|what| Transition { kind: what, at: Some(since), cycle }).collect();
    let is_renewal =
        |transition: &Transition| matches!(transition.kind, TransitionKind::Renewed | TransitionKind::Recovered);
    let place = decision.transitions.iter().position(is_renewal).map_or(0, |renewal| renewal.saturating_add(1));
    if is_new_trial {
        decision.purchase.cover_beginning(TransitionKind::TrialStarted, since);
    }
    decision.purchase.cover_change(since);
    decision.transitions.splice(place..place, announced);
    decision
}
