//! A purchase that continues another one by the store's own link: a change of plan, a new beginning before the end, or the
//! next payment of a prepaid plan.
//!
//! The transaction that records a decision passes the purchase that the store links, as it was before it was replaced. Of a
//! chain, it passes the nearest one that has begun: a pending one that fell through continues nothing.

use crate::decide::Decision;
use crate::purchase::{Life, Purchase, Stage};
use crate::transition::{Transition, TransitionKind};
use crate::verification::SAME;

/// Announces the beginning in a decision as the continuation of `former`. Without a beginning in it, or if `former` was
/// over by then, nothing changes.
pub fn announce_continuation(mut decision: Decision, former: &Purchase) -> Decision {
    let purchase = &decision.purchase;
    let began = decision.transitions.iter().find(|one| is_beginning(one));
    let began = began.copied();
    let Some(began) = began.filter(|_| former.ran_until(purchase)) else {
        return decision;
    };
    let kinds = continuation(former, purchase);
    // Who has had a paid period begins no trial; a trial that goes on in another plan began before.
    let is_trial = purchase.stage.in_trial && former.stage.in_trial;
    let at = began.at.or_else(|| purchase.not_before());
    let announced = kinds.iter().map(|kind| Transition {
        kind: *kind,
        ..began
    });
    let others = decision.transitions.iter();
    let others = others.filter(|one| one.kind != TransitionKind::TrialStarted);
    let transitions = others.flat_map(|one| {
        if is_beginning(one) {
            announced.clone().collect::<Vec<_>>()
        } else {
            vec![*one]
        }
    });
    decision.transitions = transitions.collect();
    decision.purchase.stage.in_trial = is_trial;
    if !is_trial {
        decision.purchase.begin_without_trial();
    }
    for kind in kinds {
        if let Some(at) = at {
            decision.purchase.cover_beginning(kind, at);
        }
    }
    decision
}

const fn is_beginning(transition: &Transition) -> bool {
    matches!(transition.kind, TransitionKind::Purchased)
}

/// What the beginning of `purchase` is for a customer who had `former`.
fn continuation(former: &Purchase, purchase: &Purchase) -> Vec<TransitionKind> {
    let skus = |purchase: &Purchase| {
        let state = purchase.store_state();
        state.map(|state| state.skus.clone()).unwrap_or_default()
    };
    let is_planned = purchase.stage.pending.is_some();
    let is_prepaid = former.store_state().is_some_and(|state| state.is_prepaid);
    let resumed = former.stage.is_off.then_some(TransitionKind::Resumed);
    if skus(former) != skus(purchase) {
        vec![TransitionKind::PlanChanged]
    } else if is_planned {
        let resumed = resumed.filter(|_| !purchase.stage.is_off);
        let planned = [TransitionKind::PlanChangeScheduled];
        resumed.into_iter().chain(planned).collect()
    } else if is_prepaid {
        vec![TransitionKind::Renewed]
    } else {
        vec![resumed.unwrap_or(TransitionKind::Renewed)]
    }
}

impl Purchase {
    /// Whether it had begun, and was not over before `next` began.
    fn ran_until(&self, next: &Self) -> bool {
        let stage: &Stage = &self.stage;
        let has_begun = stage.goes_on() || stage.is_over();
        let is_paid = self.store_state().is_some_and(|state| state.is_paid());
        let is_past = || {
            let ends = self.expires_at().zip(next.not_before());
            ends.is_some_and(|(end, began)| began.since(end) > SAME)
        };
        let was_over = matches!(stage.life, Life::Expired | Life::Revoked) && stage.halt.is_none();
        has_begun && is_paid && !(was_over && is_past())
    }

    /// Records that a free period of it is no trial.
    fn begin_without_trial(&mut self) {
        self.seen.trial_ends_at = None;
        if let Some(verified) = &mut self.verified {
            verified.stage.in_trial = false;
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.trial_ends_at = None;
        }
    }
}
