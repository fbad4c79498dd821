//! The decision by an answer that shows the state: the later answer is true, and no report is believed without one.
//!
//! Each change between two answers is announced once. Reports date it, and name what came and went between the two. What
//! an earlier answer shows of payments adds up, its state does not count.

mod passage;
mod replay;

use super::{Decision, Reports, SettlingContext, Waits, waiting, wake};
use crate::notification::{Notification, Outcome};
use crate::period::OtherPayments;
use crate::purchase::{AnsweredStage, Life, Purchase, Unconfirmed};
use crate::store_state::StoreState;
use crate::time::{DAY, HOUR, Timestamp};
use crate::verification::{Parked, SAME, Snapshot, Verification};
use passage::Passage;

pub(super) fn decide(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    let is_unknown = purchase.stage.is_unknown();
    match context.verification {
        Verification::Verified(shown) => match shown.state.as_deref() {
            Some(state) => {
                let answer = StateAnswer {
                    snapshot: shown,
                    state,
                };
                settle(purchase, notifications, answer, context)
            }
            None => postpone(purchase, notifications, context),
        },
        Verification::Parked(reason) if is_unknown => {
            park(purchase, notifications, *reason, context)
        }
        Verification::Gone if is_unknown => {
            park(purchase, notifications, Parked::UnknownReceipt, context)
        }
        Verification::Parked(_) | Verification::Gone => {
            last_known(purchase, notifications, context)
        }
        Verification::Unverifiable | Verification::Unreachable { .. } => {
            postpone(purchase, notifications, context)
        }
    }
}

/// A snapshot and the state in it.
#[derive(Clone, Copy)]
struct StateAnswer<'a> {
    snapshot: &'a Snapshot,
    state: &'a StoreState,
}

/// The outcomes of notifications on which the store answered, of whatever kind they are.
fn settled(notifications: &[(i64, Notification)]) -> Vec<(i64, Outcome)> {
    let all = notifications.iter();
    all.map(|(seq, _)| (*seq, Outcome::Settled)).collect()
}

/// The store shows nothing of a purchase that no answer showed before. It is queried again by the schedule. Then, if
/// another purchase took its place, it is over, and nothing is given up.
fn park(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    reason: Parked,
    context: SettlingContext<'_>,
) -> Decision {
    let decision = waiting::park(purchase, notifications, reason, context);
    if !context.is_replaced || decision.purchase.parked_since.is_some() {
        return decision;
    }
    let mut after = decision.purchase;
    after.replace();
    after.stage.life = Life::Replaced;
    Decision {
        purchase: after,
        transitions: Vec::new(),
        outcomes: settled(notifications),
        waits: None,
        wake: None,
        lag: None,
        refunds: Vec::new(),
        older: Vec::new(),
    }
}

/// The store no longer shows the purchase: what was known last stays true, except for the payments whose voids and
/// refunds are reported.
fn last_known(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    let mut after = purchase.clone();
    after.parked_since = None;
    let others = add_payments(&mut after, &StoreState::default(), notifications);
    Decision {
        transitions: Vec::new(),
        outcomes: settled(notifications),
        waits: None,
        wake: wake::next(&after, context),
        lag: None,
        refunds: others.refunds,
        older: others.periods,
        purchase: after,
    }
}

/// All notifications wait until the store answers. A purchase without any is read again later than the others, so that
/// few settlings are in vain while the store refuses the platform.
fn postpone(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    let next = match context.verification {
        Verification::Unreachable { .. } => wake::next(purchase, context),
        _ => None,
    };
    let wait = if notifications.is_empty() { DAY } else { HOUR };
    Decision {
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: (!notifications.is_empty()).then_some(Waits::Verification),
        wake: next.or_else(|| Some(context.now.plus(wait))),
        lag: None,
        refunds: Vec::new(),
        older: Vec::new(),
        purchase: purchase.clone(),
    }
}

fn settle(
    before: &Purchase,
    notifications: &[(i64, Notification)],
    answer: StateAnswer<'_>,
    context: SettlingContext<'_>,
) -> Decision {
    let all: Vec<_> = notifications.iter().collect();
    let reports = Reports::of(before, &all);
    let mut after = before.clone();
    for (_, notification) in notifications {
        after.add_report(notification);
    }
    if context.is_replaced {
        after.replace();
    }
    after.parked_since = None;
    let others = add_payments(&mut after, answer.state, notifications);
    let at = answer.snapshot.at;
    let later = before
        .snapshot
        .as_ref()
        .filter(|last| last.state.is_some() && last.at > at);
    let rules = before.rules();
    let mut snapshot = rules.complete(before, &after, later.unwrap_or(answer.snapshot));
    snapshot.state = snapshot
        .state
        .map(|state| Box::new(state.without_payments()));
    after.apply_snapshot(&snapshot);
    let goal = rules.shown(before, &after, &snapshot);
    let shown_terms = goal.terms;
    let mut walk = Passage::new(before, &after, &reports, goal, context.now).pass();
    walk.end_without_successor();
    walk.date_by_next();
    let (stage, mut announced, transitions) = (walk.stage, walk.announced, walk.transitions);
    announced.newest = announced.newest.max(reports.fresh.last().copied());
    announced.is_unverified = false;
    after.announced = announced;
    after.behind = None;
    after.record_plan_change(before, &stage, snapshot.at);
    after.set_stage(AnsweredStage {
        at: snapshot.at,
        stage,
        shown_terms,
        unconfirmed: Unconfirmed::default(),
    });
    after.record_missing_successor(before, context.now);
    Decision {
        transitions,
        outcomes: settled(notifications),
        waits: None,
        wake: wake::next(&after, context),
        lag: None,
        refunds: others.refunds,
        older: others.periods,
        purchase: after,
    }
}

/// Adds the payments of an answer, with their reported voids and refunds. Returns those whose periods the purchase does
/// not have.
fn add_payments(
    purchase: &mut Purchase,
    state: &StoreState,
    notifications: &[(i64, Notification)],
) -> OtherPayments {
    let mut others = purchase.add_payments(&with_voids(state, notifications));
    let reported = notifications
        .iter()
        .filter_map(|(_, notification)| notification.refunded.as_ref());
    for refunded in reported {
        if !purchase.add_refund(refunded) {
            others.refunds.push(refunded.clone());
        }
    }
    others
}

/// An answer's state with the payments whose voids are reported: an answer does not show them.
fn with_voids(state: &StoreState, notifications: &[(i64, Notification)]) -> StoreState {
    let reported = notifications.iter();
    let reported = reported.filter_map(|(_, notification)| notification.voided.clone());
    let voided = state.voided.iter().cloned().chain(reported).collect();
    StoreState {
        voided,
        ..state.clone()
    }
}

/// The number of payments that an answer shows and that were not announced. `after` includes the answer.
fn unannounced_payments(before: &Purchase, after: &Purchase) -> u64 {
    let Some(state) = after.store_state() else {
        return 0;
    };
    let Some(id) = &state.transaction_id else {
        return 0;
    };
    let known = before.store_state();
    let last = known.and_then(|known| known.transaction_id.as_ref());
    if last == Some(id) {
        return 0;
    }
    if begins_again(before, after) {
        return state.cycle.unwrap_or(1);
    }
    let is_known = before.periods().of(id).is_some();
    match (before.stage.terms, state.cycle) {
        (Some(announced), Some(shown)) if shown > announced => shown.saturating_sub(announced),
        // Another series of payments, such as that of the plan behind a change.
        (Some(_), _) => u64::from(last.is_some() && !is_known),
        (None, _) => u64::from(!is_known && is_longer(before, after)),
    }
}

/// Whether an answer shows a new series of payments, which began after the known one. `after` includes the answer.
fn begins_again(before: &Purchase, after: &Purchase) -> bool {
    let beginning = |purchase: &Purchase| purchase.snapshot.as_ref()?.purchased_at;
    let shown = beginning(before).zip(beginning(after));
    let is_later = shown.is_some_and(|(last, now)| now.since(last) > SAME);
    is_later && after.rules().can_begin_again()
}

/// Whether more time is paid than before.
fn is_longer(before: &Purchase, after: &Purchase) -> bool {
    let ends: Option<(Timestamp, Timestamp)> = after.period_end().zip(before.period_end());
    ends.is_some_and(|(end, last)| end.since(last) > SAME)
}
