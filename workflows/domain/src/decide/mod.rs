//! The decision of one settling: what is known afterwards, what happened, and the outcome of each notification.
//!
//! The state comes from the store when it answered; reports name the transitions and fill in what it does not show.
//! Ids, revisions and bodies are not here: they belong to the transaction that records the decision.

mod announce;
mod difference;
mod lag;
mod payment;
mod successor;
mod truth;
mod waiting;
mod wake;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Answer, Behind, Life, Moment, Purchase, Unconfirmed};
use crate::time::Timestamp;
use crate::transition::Transition;
use crate::verification::{Parked, Verification};
use lag::{Evidence, Weighed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use walk::Walk;

/// What a settling knows beside the notifications.
#[derive(Debug, Clone, Copy)]
pub struct SettlingContext<'a> {
    /// What querying the store showed.
    pub verification: &'a Verification,
    /// Whether a change of plan put another receipt in its place that is known to be real.
    pub is_replaced: bool,
    /// Now, by the clock that stamps rows.
    pub now: Timestamp,
}

/// The result of one settling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is known now.
    pub purchase: Purchase,
    /// What happened, in the order in which it is announced.
    pub transitions: Vec<Transition>,
    /// The outcome of each notification, by its sequence number; those that are not listed stay open and wait. `Settled`
    /// becomes `NoChange` where the record finds no change.
    pub outcomes: Vec<(i64, Outcome)>,
    /// What the others wait for.
    pub waits: Option<Waits>,
    /// When to check it again without a notification.
    pub wake: Option<Timestamp>,
    /// How the store stands to a notification that its answer contradicts or contradicted, and the time of that one.
    #[serde(default)]
    pub lag: Option<(Timestamp, Lag)>,
}

/// How an answer of a store that lags stands to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// The answer does not show it yet.
    Behind,
    /// The answer shows it now.
    CaughtUp,
    /// An answer two hours later still contradicts it, and counts.
    Overruled,
}

impl Lag {
    fn between(before: Option<Behind>, after: Option<Behind>) -> Option<(Timestamp, Self)> {
        match (before.filter(|before| !before.is_decided), after) {
            (Some(before), None) => Some((before.since, Self::CaughtUp)),
            (before, Some(after)) if !after.is_decided && before.is_none_or(|before| before.since != after.since) => {
                Some((after.since, Self::Behind))
            }
            (before, Some(after)) if after.is_decided && before.is_some() => Some((after.since, Self::Overruled)),
            _ => None,
        }
    }
}

/// What notifications wait for after their window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// The store cannot be reached.
    Verification,
    /// The store does not show it yet.
    Confirmation,
    /// The store does not accept the receipt.
    Parked(Parked),
}

/// Decides what `notifications` mean for a purchase of which `purchase` is known so far.
///
/// Total and pure. The order of the notifications does not matter, nor whether one of them comes twice.
#[must_use]
pub fn decide(purchase: &Purchase, notifications: &[(i64, Notification)], context: SettlingContext<'_>) -> Decision {
    let is_believed = waiting::is_believed(purchase, context);
    let context = match context.verification {
        Verification::Parked(_) if is_believed => {
            SettlingContext { verification: &Verification::Unverifiable, ..context }
        }
        Verification::Parked(why) => return waiting::park(purchase, notifications, *why, context.now),
        _ => context,
    };
    let ready = waiting::decidable(purchase, notifications, context);
    let (ready, late_store) = confirmed(purchase, ready, context);
    if late_store.is_some() && ready.is_empty() && purchase.stage.is_unknown() {
        return waiting::postpone(purchase, late_store, context);
    }
    let Settled { purchase: mut after, transitions } = settle(purchase, &ready, context, late_store);
    after.is_believed = is_believed || (after.is_believed && !context.verification.is_answer());
    after.set_reported_end(waiting_end(notifications, &ready));
    let waits = match context.verification {
        _ if ready.len() == notifications.len() => None,
        Verification::Unreachable { .. } => Some(Waits::Verification),
        _ => Some(Waits::Confirmation),
    };
    let wake = if is_believed { wake::weekly(&after, context.now) } else { wake::after(&after, context) };
    Decision {
        transitions,
        outcomes: ready.iter().map(|(seq, notification)| (*seq, outcome(notification))).collect(),
        waits,
        wake,
        lag: context.answered_at().and_then(|_| Lag::between(purchase.behind, after.behind)),
        purchase: after,
    }
}

/// The notifications that the answer does not contradict, or contradicts for good; and the newest of the others, which
/// wait for the answer to show them.
fn confirmed<'a>(
    purchase: &Purchase,
    ready: Vec<&'a (i64, Notification)>,
    context: SettlingContext<'_>,
) -> (Vec<&'a (i64, Notification)>, Option<Behind>) {
    let Some(at) = context.answered_at() else { return (ready, None) };
    let moment = |(_, notification): &&(i64, Notification)| (notification.store_time, notification.kind);
    let (others, doubtful): (Vec<_>, Vec<_>) = ready.iter().partition(|one| !lag::may_wait(moment(one), at));
    if doubtful.is_empty() {
        return (ready, None);
    }
    let merged = Merged::of(purchase, &others, context);
    let Some(weighed) = &merged.weighed else { return (ready, None) };
    let evidence = merged.evidence(purchase, context);
    let waiting: BTreeSet<Moment> =
        doubtful.iter().map(moment).filter(|moment| evidence.is_premature(&weighed.stage, *moment)).collect();
    let late_store = waiting.iter().map(|(time, _)| Behind { since: *time, is_decided: false }).max();
    (ready.into_iter().filter(|one| !waiting.contains(&moment(one))).collect(), late_store)
}

/// When the purchase ended by the newest notification of an end that is not decided now.
fn waiting_end(notifications: &[(i64, Notification)], ready: &[&(i64, Notification)]) -> Option<Timestamp> {
    let is_ready = |seq: i64| ready.iter().any(|(decided, _)| *decided == seq);
    let ends = notifications.iter().filter(|(seq, one)| one.kind.is_end() && !is_ready(*seq));
    ends.map(|(_, one)| one.store_time).max()
}

const fn outcome(notification: &Notification) -> Outcome {
    match notification.kind {
        NotificationKind::Unknown => Outcome::Unknown,
        _ => Outcome::Settled,
    }
}

/// The reports of one settling of known kinds, each once.
#[derive(Debug, Default)]
struct Reports {
    /// Those newer than all that were settled before, in the order of the store's clock.
    fresh: Vec<Moment>,
    /// The others that are new.
    late: Vec<Moment>,
}

impl Reports {
    fn of(purchase: &Purchase, decidable: &[&(i64, Notification)]) -> Self {
        let all = decidable.iter().map(|(_, notification)| (notification.store_time, notification.kind));
        let reports: BTreeSet<Moment> = all.filter(|(_, kind)| *kind != NotificationKind::Unknown).collect();
        let reports = reports.into_iter().filter(|report| !purchase.has_report(*report));
        let (fresh, late) = reports.partition(|report| Some(*report) > purchase.announced.newest);
        Self { fresh, late }
    }
}

impl SettlingContext<'_> {
    /// When the store answered, if it did.
    const fn answered_at(&self) -> Option<Timestamp> {
        match self.verification {
            Verification::Verified(snapshot) => Some(snapshot.at),
            Verification::Gone => Some(self.now),
            Verification::Unverifiable | Verification::Unreachable { .. } | Verification::Parked(_) => None,
        }
    }
}

/// What is known with the notifications and the answer of a settling.
struct Merged {
    after: Purchase,
    reports: Reports,
    /// What both show together, if the store answered.
    weighed: Option<Weighed>,
}

impl Merged {
    fn of(before: &Purchase, notifications: &[&(i64, Notification)], context: SettlingContext<'_>) -> Self {
        let mut after = before.clone();
        after.parked_since = None;
        let reports = Reports::of(before, notifications);
        for (_, notification) in notifications {
            after.add_report(notification);
        }
        if context.is_replaced {
            after.replace();
        }
        let mut merged = Self { after, reports, weighed: None };
        match context.verification {
            Verification::Verified(snapshot) => {
                if let Some(time) = merged.begins_again(before) {
                    merged.after.begin_again(time, snapshot);
                }
                merged.after.apply_snapshot(snapshot);
                let shown = truth::shown(before, &merged.after, snapshot);
                merged.weighed = Some(merged.evidence(before, context).weigh(shown));
            }
            Verification::Gone => {
                let weighed = merged.evidence(before, context).weigh(truth::gone(&merged.after));
                if weighed.stage.runs() {
                    merged.after.invalidate_unconfirmed(context.now);
                } else {
                    merged.after.invalidate(context.now);
                }
                merged.weighed = Some(weighed);
            }
            Verification::Unverifiable | Verification::Unreachable { .. } | Verification::Parked(_) => {
                if let (Some(time), Some(last)) = (merged.begins_again(before), &before.snapshot) {
                    merged.after.begin_again(time, last);
                }
            }
        }
        merged
    }

    fn evidence<'a>(&'a self, before: &'a Purchase, context: SettlingContext<'a>) -> Evidence<'a> {
        let snapshot = match context.verification {
            Verification::Verified(snapshot) => Some(snapshot.as_ref()),
            _ => None,
        };
        let at = context.answered_at().unwrap_or(context.now);
        Evidence { before, after: &self.after, fresh: &self.reports.fresh, late: &self.reports.late, snapshot, at }
    }

    /// When it was paid again after its end, if it was.
    fn begins_again(&self, before: &Purchase) -> Option<Timestamp> {
        let pays = |(time, kind): &&Moment| match kind {
            NotificationKind::SubscriptionPurchased | NotificationKind::Renewed | NotificationKind::TrialConverted => {
                true
            }
            NotificationKind::OutOfGrace => !before.is_end_of_grace(*time),
            _ => false,
        };
        let is_over = matches!(before.stage.life, Life::Cut | Life::Expired);
        // What was paid before the end belongs to the terms that ended.
        let is_later = |(time, _): &&Moment| before.expires_at().is_none_or(|end| *time > end);
        let paid = self.reports.fresh.iter().filter(|_| is_over).filter(pays);
        paid.filter(is_later).map(|(time, _)| *time).next()
    }
}

/// What a settling knows, and what happened.
struct Settled {
    purchase: Purchase,
    transitions: Vec<Transition>,
}

/// Brings notifications and answer together: the stage afterwards, and the transitions on the way to it.
fn settle(
    before: &Purchase,
    notifications: &[&(i64, Notification)],
    context: SettlingContext<'_>,
    late_store: Option<Behind>,
) -> Settled {
    let Merged { mut after, reports, weighed } = Merged::of(before, notifications, context);
    let truth = weighed.as_ref().map(|weighed| weighed.stage.clone());
    let goal = truth.clone().unwrap_or_else(|| truth::reported(&after));
    let mut walk = Walk::new(&after, &reports, truth);
    walk.follow();
    walk.reach(&goal);
    walk.end_without_successor(context.now);
    let Walk { stage, mut announced, transitions, .. } = walk;
    let has_reports = !reports.fresh.is_empty() || !reports.late.is_empty();
    announced.newest = announced.newest.max(reports.fresh.last().copied());
    announced.is_unverified = weighed.is_none() && (announced.is_unverified || has_reports);
    after.announced = announced;
    match (weighed, after.answered_at()) {
        (Some(weighed), Some(at)) => {
            after.behind = weighed.behind.max(late_store);
            after.set_incomplete_since(weighed.incomplete_since);
            let switch = weighed.unconfirmed.switch || late_store.is_some();
            let unconfirmed = Unconfirmed { switch, ..weighed.unconfirmed };
            after.leave_plan(before, &stage, at);
            after.set_stage(Answer { at, stage, shown_terms: weighed.shown_terms, unconfirmed });
        }
        _ => after.stage = stage,
    }
    after.note_missing_successor(before, context.now);
    Settled { purchase: after, transitions }
}
