//! How an answer decides: it shows the state, and what it shows of an end is completed by what was known before.

use crate::decide::wake::{WEEK, by_dates, recheck};
use crate::period::{OfferPhase, Period};
use crate::purchase::{Halt, Life, Purchase, Stage};
use crate::store_state::{StoreState, StoreStatus};
use crate::stores::{AnswerRules, dates, states};
use crate::time::{DAY, Timestamp};
use crate::verification::{EndReason, SAME, Snapshot};
use std::time::Duration;

/// How long Apple tries to collect a failed payment, counted from the end of the paid period
/// (<https://developer.apple.com/documentation/appstoreservernotifications/notificationtype>).
pub(super) const RETRIED_FOR: Duration = DAY.saturating_mul(60);

#[derive(Debug)]
pub(super) struct BySignature;

impl AnswerRules for BySignature {
    fn shows_states(&self) -> bool {
        true
    }

    fn can_begin_again(&self) -> bool {
        true
    }

    fn complete(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Snapshot {
        let mut complete = snapshot.clone();
        let Some(mut state) = complete.state.take() else {
            return complete;
        };
        let last = before.store_state();
        let last = last.and_then(|last| last.transaction_id.as_ref());
        let is_same = last.is_some() && last == state.transaction_id.as_ref();
        complete.trial_ends_at = complete
            .trial_ends_at
            .filter(|_| is_trial(before, after, snapshot, &state));
        let current = state.transaction_id.as_deref();
        let current = current.and_then(|id| after.periods().of(id));
        state.revoked_at = current.and_then(Period::revoked_at);
        let end = access_end(before, &complete, is_same, state.revoked_at);
        match state.status {
            StoreStatus::Over => complete.ends_at = end,
            StoreStatus::AccountHold => complete.renews_at = end,
            _ => {}
        }
        if let Some(revoked_at) = state.revoked_at {
            let end = complete.ends_at.or(complete.renews_at);
            complete.ends_at = Some(end.map_or(revoked_at, |end| end.min(revoked_at)));
            complete.end_reason = complete.end_reason.or(Some(EndReason::Store));
        }
        complete.state = Some(state);
        complete
    }

    fn shown(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
        let Some(state) = snapshot.state.as_deref() else {
            return dates::shown(before, after, snapshot);
        };
        let stage = states::stage(before, after, snapshot, state);
        let is_running = stage.runs() && !stage.in_grace;
        Stage {
            in_trial: stage.in_trial || (!is_running && is_trial(before, after, snapshot, state)),
            ..stage
        }
    }

    fn unshown_trial_end(&self, purchase: &Purchase, snapshot: &Snapshot) -> Option<Timestamp> {
        let began_at = snapshot.purchased_at?;
        let mut periods = purchase.periods().iter();
        let first = periods.find(|period| period.begins_at.distance(began_at) <= SAME);
        let trial = first.filter(|period| period.phase == OfferPhase::Trial);
        trial?.ends_at
    }

    fn billing_cycles(&self, _stage: &Stage, snapshot: &Snapshot) -> Option<u64> {
        snapshot.state.as_ref()?.cycle
    }

    fn revoked_at(&self, purchase: &Purchase) -> Option<Timestamp> {
        purchase.store_state()?.revoked_at
    }
}

/// Whether the current period is a trial: a free one of a customer who has not paid in this series of payments.
fn is_trial(before: &Purchase, after: &Purchase, shown: &Snapshot, state: &StoreState) -> bool {
    let id = state.transaction_id.as_deref();
    let current = id.and_then(|id| after.periods().of(id));
    let Some(current) = current.filter(|period| period.phase == OfferPhase::Trial) else {
        return false;
    };
    let last = before.paid_period();
    let is_known = last.is_some_and(|last| last.transaction_id == current.transaction_id);
    if is_known && !before.stage.is_unknown() {
        return before.stage.in_trial;
    }
    let Some(previous) = after.periods().before(current) else {
        return true;
    };
    previous.phase == OfferPhase::Trial
        || begins_again(before, shown)
        || after.is_bought_again(current, previous, &before.stage)
}

/// Whether a snapshot shows a later row of payments than the recorded one, which lapsed.
fn begins_again(before: &Purchase, shown: &Snapshot) -> bool {
    let recorded = before.snapshot.as_ref().and_then(|last| last.purchased_at);
    let rows = recorded.zip(shown.purchased_at);
    rows.is_some_and(|(last, shown)| shown.since(last) > SAME)
}

/// The end of access of a purchase that is over or in an account hold, before any revocation. After a failed payment,
/// access lasted until the end of the grace period; what shows the end shows only that of what was paid. `is_same` is
/// whether the last payment is the recorded one.
fn access_end(
    before: &Purchase,
    shown: &Snapshot,
    is_same: bool,
    revoked_at: Option<Timestamp>,
) -> Option<Timestamp> {
    let last = before.snapshot.as_ref().filter(|_| is_same);
    match before.stage.halt {
        Some(Halt::AccountHold) => last.and_then(|last| last.renews_at).or(shown.renews_at),
        _ if before.stage.life == Life::Expired => {
            last.and_then(|last| last.ends_at).or(shown.renews_at)
        }
        _ if before.stage.life == Life::Revoked && revoked_at.is_some() => {
            last.and_then(|last| last.ends_at).or(shown.renews_at)
        }
        _ if before.stage.in_grace => {
            let has_passed = |end: &Timestamp| *end <= shown.at || revoked_at.is_some();
            let grace_end = before.last_grace_end().filter(has_passed);
            shown.renews_at.max(grace_end)
        }
        _ => shown.renews_at,
    }
}

/// The next recheck: by the dates of the last answer, weekly, and when Apple no longer tries to collect a payment.
pub(super) fn wake(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let halted = purchase.stage.halt.map(|_| now.plus(WEEK));
    let is_unpaid = purchase.stage.halt == Some(Halt::AccountHold);
    let period = purchase.paid_period().filter(|_| is_unpaid);
    let paid_until = period.and_then(|period| period.ends_at);
    let retried_until = paid_until.and_then(|end| recheck(end.plus(RETRIED_FOR), now));
    let all = [by_dates(purchase, now), halted, retried_until];
    all.into_iter().flatten().min()
}
