//! A change of plan over two purchases whose notification was lost: announces it with the new purchase.

use crate::decide::Decision;
use crate::transition::{Transition, TransitionKind};

/// Announces the change of plan if the purchase of `decision` replaced another one and its beginning was not announced.
/// The transition `Purchased` becomes `PlanChanged`; without one, the change follows the renewal by which the purchase
/// was first seen, or precedes all other transitions. A later notification that links the two purchases announces
/// nothing more.
pub fn announce_succession(mut decision: Decision) -> Decision {
    let purchase = &decision.purchase;
    let began = decision
        .transitions
        .iter_mut()
        .find(|transition| transition.kind == TransitionKind::Purchased);
    let Some(since) = purchase.not_before() else {
        return decision;
    };
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
    let is_new_trial = purchase.stage.in_trial
        && purchase
            .announced
            .covered(TransitionKind::TrialStarted)
            .is_none();
    let kinds = is_new_trial
        .then_some(TransitionKind::TrialStarted)
        .into_iter()
        .chain([TransitionKind::PlanChanged]);
    let announced: Vec<_> = kinds
        .map(|what| Transition {
            kind: what,
            at: Some(since),
            cycle,
        })
        .collect();
    let is_renewal = |transition: &Transition| {
        matches!(
            transition.kind,
            TransitionKind::Renewed | TransitionKind::Recovered
        )
    };
    let place = decision
        .transitions
        .iter()
        .position(is_renewal)
        .map_or(0, |renewal| renewal.saturating_add(1));
    if is_new_trial {
        decision
            .purchase
            .cover_beginning(TransitionKind::TrialStarted, since);
    }
    decision.purchase.cover_change(since);
    decision.transitions.splice(place..place, announced);
    decision
}
