//! The stage of a purchase whose store shows the state: the shown state, with what the shown payment adds to it.

use crate::period::OfferPhase;
use crate::purchase::{Halt, Life, Purchase, Stage};
use crate::store_state::{StoreState, StoreStatus};
use crate::verification::{EndReason, Snapshot};

/// Returns the stage according to a snapshot with this state. `before` is the purchase before this settling; `after`
/// includes this snapshot.
pub(super) fn stage(
    before: &Purchase,
    after: &Purchase,
    snapshot: &Snapshot,
    state: &StoreState,
) -> Stage {
    let is_replaced = after.is_replaced() || snapshot.end_reason == Some(EndReason::Replaced);
    let (life, halt) = match state.status {
        _ if is_replaced => (Life::Replaced, None),
        _ if state.revoked_at.is_some() => (Life::Revoked, None),
        StoreStatus::Pending => (Life::Expired, Some(Halt::Pending)),
        StoreStatus::AccountHold => (Life::Expired, Some(Halt::AccountHold)),
        StoreStatus::Paused => (Life::Expired, Some(Halt::Paused)),
        StoreStatus::Active | StoreStatus::Grace => (Life::Running, None),
        StoreStatus::Over => (Life::Expired, None),
    };
    let sku = snapshot
        .term_sku
        .clone()
        .or_else(|| before.stage.sku.clone());
    if after.is_one_time() {
        return Stage {
            life,
            halt,
            sku,
            ..Stage::default()
        };
    }
    let runs = life == Life::Running;
    let in_grace = runs && state.status == StoreStatus::Grace;
    let has_new_payment = before.store_state().is_some_and(|last| {
        state.transaction_id.is_some() && state.transaction_id != last.transaction_id
    });
    let in_trial = if runs && !in_grace {
        snapshot.trial_ends_at.is_some()
    } else if before.stage.is_unknown() || before.stage.halt == Some(Halt::Pending) {
        state.phase == Some(OfferPhase::Trial)
    } else {
        before.stage.in_trial && !has_new_payment
    };
    let is_off = if life == Life::Replaced {
        before.stage.is_off
    } else if runs || halt.is_some() {
        let renews = snapshot.auto_renewing.unwrap_or(!before.stage.is_off);
        !renews || state.is_prepaid || state.ends_after_commitment
    } else {
        true
    };
    let planned = state.planned.as_ref().filter(|_| runs);
    let pending = planned.map(|planned| {
        let new = planned.difference(&state.skus).next().cloned();
        new.unwrap_or_default()
    });
    Stage {
        life,
        in_trial,
        in_grace,
        is_off,
        terms: state.cycle.or(before.stage.terms),
        sku,
        pending,
        halt,
    }
}
