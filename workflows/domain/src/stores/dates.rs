//! The stage of a purchase according to exact dates. Nothing is computed from the length of a term, from the time
//! between two reports, or from the distance of an end: a tester's terms last minutes, and the end of a month may
//! drift.

use crate::purchase::{Life, Purchase, Stage};
use crate::time::Timestamp;
use crate::verification::{EndReason, SAME, Snapshot};

/// Returns the stage according to a snapshot. `before` is the purchase before this settling; `after` includes this
/// snapshot.
pub(super) fn shown(before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
    let known_sku = || before.stage.sku.clone();
    let sku = snapshot.term_sku.clone().or_else(known_sku);
    let is_subscription = !after.is_one_time();
    let is_past = |end: Timestamp| !is_subscription || end <= snapshot.at;
    let is_replaced = after.is_replaced() || snapshot.end_reason == Some(EndReason::Replaced);
    let life = match snapshot.ends_at {
        _ if is_replaced => Life::Replaced,
        Some(end) if is_past(end) && is_subscription => Life::Expired,
        Some(end) if is_past(end) => Life::Revoked,
        _ => Life::Running,
    };
    if !is_subscription {
        return Stage {
            life,
            sku,
            ..Stage::default()
        };
    }
    let runs = life == Life::Running;
    let in_grace = runs && after.grace_end().is_some();
    let paid_until = after.period_end().filter(|_| runs && !in_grace);
    let in_trial = is_in_trial(before, after, paid_until);
    let terms = if in_trial {
        0
    } else {
        terms(before, paid_until)
    };
    Stage {
        life,
        in_trial,
        in_grace,
        is_off: !runs || is_off(before, snapshot),
        terms: Some(terms),
        pending: snapshot
            .deferred_sku
            .clone()
            .filter(|pending| runs && Some(pending) != sku.as_ref()),
        sku,
        halt: None,
    }
}

/// Whether auto-renewal is off; without end date, flag and renewal date, the known value remains.
fn is_off(before: &Purchase, snapshot: &Snapshot) -> bool {
    let by_flag = snapshot.auto_renewing.map(|renews| !renews);
    let by_date = snapshot.renews_at.map(|_| false);
    let known = before.stage.is_off;
    snapshot.ends_at.is_some() || by_flag.or(by_date).unwrap_or(known)
}

/// Whether the purchase has had only a trial so far: no paid time lies beyond it. Time by which an end or a failed
/// payment was postponed is not paid.
fn is_in_trial(before: &Purchase, after: &Purchase, paid_until: Option<Timestamp>) -> bool {
    let Some(trial_end) = after.shown_trial_end() else {
        return false;
    };
    let is_within = |end: Timestamp| end.since(trial_end) <= SAME;
    match paid_until {
        Some(end) => is_within(end),
        None if before.stage.is_unknown() => after.period_end().is_none_or(is_within),
        None => before.stage.in_trial,
    }
}

/// Returns the number of payments that answers and reports showed: one more than known if time was paid beyond the last
/// paid end. The state in which the purchase is first seen counts as one.
fn terms(before: &Purchase, paid_until: Option<Timestamp>) -> u64 {
    let known = before.stage.terms.unwrap_or(0);
    // A payment that a report announced since the last answer is the one that this answer shows.
    let last = before.verified.as_ref();
    let answered = last.and_then(|last| last.shown_terms).unwrap_or(known);
    let ends = paid_until.zip(before.last_period_end());
    let is_paid = ends.is_some_and(|(end, last)| end.since(last) > SAME);
    let shown = answered.saturating_add(u64::from(is_paid));
    shown.max(known).max(1)
}
