//! How an answer decides: it shows the state, and what it shows of dates is completed by what was known before.

use super::mapping;
use crate::decide::successor;
use crate::decide::wake::{WEEK, by_dates, recheck};
use crate::duty;
use crate::notification::NotificationKind;
use crate::period::{Period, RefundExtent};
use crate::purchase::{Halt, Purchase, Stage};
use crate::store_state::{StoreState, StoreStatus};
use crate::stores::{AnswerRules, dates, states};
use crate::time::{DAY, MINUTE, Timestamp};
use crate::verification::{EndReason, Product, SAME, Snapshot};
use std::time::Duration;

/// How long after its end a token is still answered (<https://developer.android.com/google/play/billing/security>), with
/// a margin of a day.
const ANSWERED_FOR: Duration = DAY.saturating_mul(59);
/// How long after its beginning a purchase must be acknowledged, and a tester's one
/// (<https://developer.android.com/google/play/billing/integrate>).
pub const ACKNOWLEDGED_WITHIN: Duration = DAY.saturating_mul(3);
const TEST_ACKNOWLEDGED_WITHIN: Duration = MINUTE.saturating_mul(3);

#[derive(Debug)]
pub(super) struct ByState;

impl AnswerRules for ByState {
    fn shows_states(&self) -> bool {
        true
    }

    fn product_sku<'a>(&self, sku: &'a str) -> Option<&'a str> {
        mapping::product_sku(sku)
    }

    fn complete(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Snapshot {
        let mut complete = snapshot.clone();
        let Some(mut state) = complete.state.take() else {
            return complete;
        };
        let known = before.stage.sku.clone();
        // Of several parts, the same one identifies the purchase as long as it has it.
        complete.term_sku = known
            .filter(|sku| state.skus.contains(sku))
            .or(complete.term_sku);
        let has_paid = before.stage.goes_on() && !before.stage.in_trial;
        if has_paid {
            // A free period of a customer who pays already.
            complete.trial_ends_at = None;
        }
        let current = state.transaction_id.as_deref();
        let current = current.and_then(|id| after.periods().of(id));
        complete.renews_at = access_end(before, current, &complete, state.status);
        if state.status == StoreStatus::Over {
            complete.ends_at = if is_one_time(&complete) {
                taken_back_at(before, after, &complete)
            } else {
                complete.renews_at
            };
        }
        state.revoked_at = revoked_at(after, current, &complete, &state);
        if let Some(revoked_at) = state.revoked_at {
            let end = complete.ends_at.or(complete.renews_at);
            complete.ends_at = Some(end.map_or(revoked_at, |end| end.min(revoked_at)));
            complete.end_reason = Some(EndReason::Internal);
        }
        complete.state = Some(state);
        complete
    }

    fn shown(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
        match snapshot.state.as_deref() {
            Some(state) => states::stage(before, after, snapshot, state),
            None => dates::shown(before, after, snapshot),
        }
    }

    fn billing_cycles(&self, _stage: &Stage, snapshot: &Snapshot) -> Option<u64> {
        snapshot.state.as_ref()?.cycle
    }

    fn revoked_at(&self, purchase: &Purchase) -> Option<Timestamp> {
        purchase.store_state()?.revoked_at
    }
}

/// Whether it shows a purchase that is not a subscription.
const fn is_one_time(shown: &Snapshot) -> bool {
    matches!(shown.product, Product::Consumable | Product::Entitlement)
}

/// The end of the term, and of access where there is none. In a hold and a pause, and behind them, the store shows a date
/// that moves on.
fn access_end(
    before: &Purchase,
    current: Option<&Period>,
    shown: &Snapshot,
    status: StoreStatus,
) -> Option<Timestamp> {
    let last = before.snapshot.as_ref().and_then(|last| last.renews_at);
    let past = shown.renews_at.filter(|end| *end <= shown.at);
    match (status, before.stage.halt) {
        (
            StoreStatus::AccountHold | StoreStatus::Paused | StoreStatus::Over,
            Some(Halt::AccountHold | Halt::Paused),
        ) => last.or(past),
        (StoreStatus::AccountHold | StoreStatus::Paused, _) => {
            let known = before.expires_at().filter(|_| before.stage.runs());
            let known = known.filter(|end| *end <= shown.at);
            known.or(past).or(Some(shown.at))
        }
        (StoreStatus::Over, _) if before.stage.is_over() => last.or(shown.renews_at),
        // The end of a hold that no answer showed: access lasted until the end of grace, else of what was paid.
        (StoreStatus::Over, _) if shown.end_reason == Some(EndReason::Store) => {
            let paid_until = current.and_then(|period| period.ends_at);
            let known = before.last_grace_end().max(paid_until);
            known.min(shown.renews_at).or(shown.renews_at)
        }
        _ => shown.renews_at,
    }
}

/// When a one-time purchase was taken back: no answer shows the time.
fn taken_back_at(before: &Purchase, after: &Purchase, shown: &Snapshot) -> Option<Timestamp> {
    let last = before.snapshot.as_ref().and_then(|last| last.ends_at);
    let reported = after.newest(&[
        NotificationKind::ConsumableCancelled,
        NotificationKind::EntitlementCancelled,
    ]);
    last.filter(|_| before.stage.is_over())
        .or(reported.map(|(time, _)| time))
        .or(shown.ends_at)
}

/// When access was taken away before the end of what was paid: by a void of the current payment, by a revocation, or by an
/// end before that of a payment that was returned in full.
fn revoked_at(
    after: &Purchase,
    current: Option<&Period>,
    shown: &Snapshot,
    state: &StoreState,
) -> Option<Timestamp> {
    if after.is_replaced() || shown.end_reason == Some(EndReason::Replaced) {
        return None;
    }
    let voided = current.filter(|period| period.is_voided());
    let voided = voided.and_then(|period| period.voided_at);
    if voided.is_some() || state.status != StoreStatus::Over {
        return voided;
    }
    if is_one_time(shown) {
        return (!state.has_fallen_through)
            .then_some(shown.ends_at)
            .flatten();
    }
    let reported = after.newest(&[NotificationKind::SubscriptionCancelled]);
    let reported = reported.map(|(time, _)| time);
    let reported = reported.filter(|time| Some(*time) >= shown.purchased_at);
    let refunded = || {
        let period = current?;
        let is_full = period.refund?.extent == RefundExtent::Full;
        let cut = shown.ends_at?;
        (is_full && period.ends_at?.since(cut) > SAME).then_some(cut)
    };
    reported.or_else(refunded)
}

/// How long after its beginning a purchase must be acknowledged. A prepaid plan that is shorter than a week must be
/// acknowledged within half its length.
pub(super) fn acknowledged_within(shown: &Snapshot) -> Option<Duration> {
    if shown.is_test {
        return Some(TEST_ACKNOWLEDGED_WITHIN);
    }
    let is_prepaid = shown.state.as_ref().is_some_and(|state| state.is_prepaid);
    let term = shown.purchased_at.zip(shown.renews_at);
    let term = term.map(|(from, until)| until.since(from));
    let short = term.filter(|term| is_prepaid && *term < WEEK);
    Some(short.map_or(ACKNOWLEDGED_WITHIN, |term| term / 2))
}

/// How long after its beginning the acknowledgement of a purchase is due; for that of a tester, when the others are.
fn within(purchase: &Purchase) -> Duration {
    let shown = purchase.snapshot.as_ref().filter(|shown| !shown.is_test);
    shown
        .and_then(acknowledged_within)
        .unwrap_or(ACKNOWLEDGED_WITHIN)
}

/// The next recheck: by the dates of the last answer, before a duty or the store's knowledge ends, and weekly.
pub(super) fn wake(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let state = purchase.store_state();
    let later = |date: Timestamp| Some(date).filter(|date| *date > now);
    let halted = purchase.stage.halt.map(|halt| match halt {
        Halt::Pending => now.plus(DAY),
        Halt::AccountHold | Halt::Paused => now.plus(WEEK),
    });
    let resumes = state.and_then(|state| recheck(state.resumes_at?, now));
    let resumes = resumes.filter(|_| purchase.stage.halt == Some(Halt::Paused));
    let is_unacknowledged = state.is_some_and(|state| state.is_acknowledged == Some(false));
    let bought = purchase.not_before().filter(|_| is_unacknowledged);
    let duty = bought.and_then(|bought| later(bought.plus(duty::checked_after(within(purchase)))));
    let is_known = purchase.stage.is_over() && !purchase.is_one_time();
    let end = purchase.expires_at().filter(|_| is_known);
    let last = end.and_then(|end| later(end.plus(ANSWERED_FOR)));
    let all = [
        by_dates(purchase, now),
        halted,
        resumes,
        duty,
        last,
        successor::next_check(purchase, now),
    ];
    all.into_iter().flatten().min()
}
