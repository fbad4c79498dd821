//! The decision of one settling: the purchase afterwards, its transitions, and the outcome of each notification.
//!
//! The state comes from the store if it answered. The reports name the transitions, and fill in what the store does not
//! show yet. Answers that show the state decide alone (`by_state`). The transaction that records the decision adds ids,
//! revisions and bodies.

pub(crate) mod announce;
mod assessment;
mod beginning;
mod by_state;
mod difference;
mod payment;
pub(crate) mod successor;
mod truth;
mod waiting;
pub(crate) mod wake;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use assessment::{Assessment, Evidence};
pub(crate) use difference::PaidAt;
pub(crate) use walk::Walk;

use crate::notification::{Notification, NotificationKind, Outcome};
use crate::period::{Period, RefundedPayment};
use crate::purchase::{AnsweredStage, Behind, Life, Moment, Purchase, Stage, Unconfirmed};
use crate::stores::{Gone, StorePolicy};
use crate::time::Timestamp;
use crate::transition::Transition;
use crate::verification::{Parked, Verification};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The input of a settling besides the notifications.
#[derive(Debug, Clone, Copy)]
pub struct SettlingContext<'a> {
    /// The rules of the purchase's store.
    pub policy: StorePolicy,
    pub verification: &'a Verification,
    /// Whether a change of plan replaced this purchase by another one that is known to be real.
    pub is_replaced: bool,
    /// The time of the settling, by the database's clock.
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub purchase: Purchase,
    /// Transitions in the order of their announcement.
    pub transitions: Vec<Transition>,
    /// The outcome of each notification, by its sequence number. A notification without an outcome here waits. Where
    /// the transaction finds that the record did not change, it stores `NoChange` instead of `Settled`.
    pub outcomes: Vec<(i64, Outcome)>,
    /// Why the notifications without an outcome wait.
    pub waits: Option<Waits>,
    /// The next wake: when to recheck the purchase without a notification.
    pub wake: Option<Timestamp>,
    /// The time of a notification that the store's answer contradicts or contradicted, and whether the answer shows it
    /// now.
    #[serde(default)]
    pub lag: Option<(Timestamp, Lag)>,
    /// The refunds of payments whose periods the purchase does not have: the ledger may have the payments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<RefundedPayment>,
    /// The charged periods that the answer shows and the purchase does not have: the ledger may lack their payments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<Period>,
}

/// Whether the answer of a store that lags shows what a notification reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// The answer does not show the reported change yet.
    Behind,
    CaughtUp,
    /// An answer two hours later still contradicts the notification, so the answer is believed.
    Overruled,
}

impl Lag {
    fn between(before: Option<Behind>, after: Option<Behind>) -> Option<(Timestamp, Self)> {
        match (before.filter(|before| !before.is_decided), after) {
            (Some(before), None) => Some((before.since, Self::CaughtUp)),
            (before, Some(after))
                if !after.is_decided && before.is_none_or(|before| before.since != after.since) =>
            {
                Some((after.since, Self::Behind))
            }
            (before, Some(after)) if after.is_decided && before.is_some() => {
                Some((after.since, Self::Overruled))
            }
            _ => None,
        }
    }
}

/// Why notifications wait after their window has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    Verification,
    /// The store does not show the reported change yet.
    Confirmation,
    /// The store does not accept the purchase.
    Parked(Parked),
}

/// Decides what `notifications`, each with its sequence number, mean for `purchase`.
///
/// Pure and infallible. The result depends neither on the order of the notifications nor on repetitions. A
/// [`NotificationKind::Claimed`] changes nothing and never waits: its claim is read when the decision is recorded.
pub fn decide(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    if purchase.policy != context.policy {
        return decide(&purchase.of_store(context.policy), notifications, context);
    }
    let is_claim = |(_, one): &&(i64, Notification)| one.kind == NotificationKind::Claimed;
    let claims: Vec<i64> = notifications
        .iter()
        .filter(is_claim)
        .map(|(seq, _)| *seq)
        .collect();
    if claims.is_empty() {
        return decide_reports(purchase, notifications, context);
    }
    let reports: Vec<_> = notifications
        .iter()
        .filter(|one| !is_claim(one))
        .cloned()
        .collect();
    let mut decision = decide_reports(purchase, &reports, context);
    decision
        .outcomes
        .extend(claims.into_iter().map(|seq| (seq, Outcome::Settled)));
    decision.outcomes.sort_unstable_by_key(|(seq, _)| *seq);
    decision
}

/// Decides what the reports of the store mean.
fn decide_reports(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    context: SettlingContext<'_>,
) -> Decision {
    if purchase.rules().shows_states() {
        return by_state::decide(purchase, notifications, context);
    }
    let is_believed = waiting::is_believed(purchase, context);
    let context = match context.verification {
        Verification::Parked(_) if is_believed => SettlingContext {
            verification: &Verification::Unverifiable,
            ..context
        },
        Verification::Parked(reason) => {
            return waiting::park(purchase, notifications, *reason, context);
        }
        // There is no last known stage that could remain in effect.
        Verification::Gone
            if context.policy.gone == Gone::LastKnown && purchase.stage.is_unknown() =>
        {
            return waiting::park(purchase, notifications, Parked::UnknownReceipt, context);
        }
        _ => context,
    };
    let ready = waiting::decidable(purchase, notifications, context);
    let (ready, late_store) = confirmed(purchase, ready, context);
    if late_store.is_some() && ready.is_empty() && purchase.stage.is_unknown() {
        return waiting::postpone(purchase, late_store, context);
    }
    let Settled {
        purchase: mut after,
        transitions,
    } = settle(purchase, &ready, context, late_store);
    after.is_believed = is_believed || (after.is_believed && !context.verification.is_answer());
    after.set_reported_end(waiting_end(notifications, &ready));
    let waits = match context.verification {
        _ if ready.len() == notifications.len() => None,
        Verification::Unreachable { .. } => Some(Waits::Verification),
        _ => Some(Waits::Confirmation),
    };
    let wake = if is_believed {
        wake::weekly(&after, context.now)
    } else {
        wake::next(&after, context)
    };
    Decision {
        transitions,
        outcomes: ready
            .iter()
            .map(|(seq, notification)| (*seq, outcome(notification)))
            .collect(),
        waits,
        wake,
        lag: context
            .answered_at()
            .and_then(|_| Lag::between(purchase.behind, after.behind)),
        refunds: Vec::new(),
        older: Vec::new(),
        purchase: after,
    }
}

/// Splits off the reports of an end or a scheduled change that must wait until a later snapshot shows them. Returns the
/// other notifications, and the newest of those that wait.
fn confirmed<'a>(
    purchase: &Purchase,
    ready: Vec<&'a (i64, Notification)>,
    context: SettlingContext<'_>,
) -> (Vec<&'a (i64, Notification)>, Option<Behind>) {
    let Some(at) = context.answered_at() else {
        return (ready, None);
    };
    let rules = purchase.rules();
    let moment =
        |(_, notification): &&(i64, Notification)| (notification.store_time, notification.kind);
    let (others, doubtful): (Vec<_>, Vec<_>) = ready
        .iter()
        .partition(|one| !rules.may_wait(purchase, moment(one), at));
    if doubtful.is_empty() {
        return (ready, None);
    }
    let merged = Merged::of(purchase, &others, context);
    let Some(assessment) = &merged.assessment else {
        return (ready, None);
    };
    let evidence = merged.evidence(purchase, context);
    let waiting: BTreeSet<Moment> = doubtful
        .iter()
        .map(moment)
        .filter(|moment| rules.must_wait(&evidence, &assessment.stage, *moment))
        .collect();
    let late_store = waiting
        .iter()
        .map(|(time, _)| Behind {
            since: *time,
            is_decided: false,
        })
        .max();
    (
        ready
            .into_iter()
            .filter(|one| !waiting.contains(&moment(one)))
            .collect(),
        late_store,
    )
}

/// Returns the time of the newest notification of an end that waits.
fn waiting_end(
    notifications: &[(i64, Notification)],
    ready: &[&(i64, Notification)],
) -> Option<Timestamp> {
    let is_ready = |seq: i64| ready.iter().any(|(decided, _)| *decided == seq);
    let ends = notifications
        .iter()
        .filter(|(seq, one)| one.kind.is_end() && !is_ready(*seq));
    ends.map(|(_, one)| one.store_time).max()
}

const fn outcome(notification: &Notification) -> Outcome {
    match notification.kind {
        NotificationKind::Unknown => Outcome::Unknown,
        _ => Outcome::Settled,
    }
}

/// The new reports of one settling, each once, without those of an unknown kind.
#[derive(Debug, Default)]
struct Reports {
    /// Reports newer than all that were settled before, in the order of the store's clock.
    fresh: Vec<Moment>,
    /// Reports older than one that was settled before.
    late: Vec<Moment>,
}

impl Reports {
    fn of(purchase: &Purchase, decidable: &[&(i64, Notification)]) -> Self {
        let all = decidable
            .iter()
            .map(|(_, notification)| (notification.store_time, notification.kind));
        let reports: BTreeSet<Moment> = all
            .filter(|(_, kind)| *kind != NotificationKind::Unknown)
            .collect();
        let reports = reports
            .into_iter()
            .filter(|report| !purchase.has_report(*report));
        let (fresh, late) = reports.partition(|report| Some(*report) > purchase.announced.newest);
        Self { fresh, late }
    }
}

impl SettlingContext<'_> {
    /// Returns when the store answered, if it did.
    const fn answered_at(&self) -> Option<Timestamp> {
        match self.verification {
            Verification::Verified(snapshot) => Some(snapshot.at),
            Verification::Gone => Some(self.now),
            Verification::Unverifiable
            | Verification::Unreachable { .. }
            | Verification::Parked(_) => None,
        }
    }
}

/// A purchase with the notifications and the store's answer of a settling merged into it.
struct Merged {
    after: Purchase,
    reports: Reports,
    /// The stage according to both; `None` if the store did not answer.
    assessment: Option<Assessment>,
}

impl Merged {
    fn of(
        before: &Purchase,
        notifications: &[&(i64, Notification)],
        context: SettlingContext<'_>,
    ) -> Self {
        let mut after = before.clone();
        let reports = Reports::of(before, notifications);
        for (_, notification) in notifications {
            after.add_report(notification);
        }
        if context.is_replaced {
            after.replace();
        }
        let mut merged = Self {
            after,
            reports,
            assessment: None,
        };
        let rules = before.rules();
        match context.verification {
            Verification::Verified(snapshot) => {
                if let Some(time) = merged.begins_again(before) {
                    rules.begin_terms(&mut merged.after, time, snapshot);
                }
                merged.after.apply_snapshot(snapshot);
                let shown = rules.shown(before, &merged.after, snapshot);
                merged.assessment = Some(merged.assess(before, context, shown));
            }
            // This answer says nothing about the state: the reports are walked as if the store had not answered.
            Verification::Gone if context.policy.gone == Gone::LastKnown => {}
            // The purchase is over. `truth::gone` sets the state; `invalidate` dates the end unless it was over before.
            Verification::Gone => {
                let gone = truth::gone(&merged.after);
                let assessment = merged.assess(before, context, gone);
                if assessment.stage.runs() {
                    merged.after.invalidate_unconfirmed(context.now);
                } else {
                    merged.after.invalidate(context.now);
                }
                merged.assessment = Some(assessment);
            }
            Verification::Unverifiable
            | Verification::Unreachable { .. }
            | Verification::Parked(_) => {
                if let (Some(time), Some(last)) = (merged.begins_again(before), &before.snapshot) {
                    rules.begin_terms(&mut merged.after, time, last);
                }
            }
        }
        merged.after.parked_since = None;
        merged
    }

    /// Assesses the purchase: the stage that the answer shows, corrected by recent reports that the store may not show
    /// yet.
    fn assess(&self, before: &Purchase, context: SettlingContext<'_>, shown: Stage) -> Assessment {
        let evidence = self.evidence(before, context);
        before.rules().assess(&evidence, shown)
    }

    fn evidence<'a>(&'a self, before: &'a Purchase, context: SettlingContext<'a>) -> Evidence<'a> {
        let snapshot = match context.verification {
            Verification::Verified(snapshot) => Some(snapshot.as_ref()),
            _ => None,
        };
        let at = context.answered_at().unwrap_or(context.now);
        Evidence {
            before,
            after: &self.after,
            fresh: &self.reports.fresh,
            late: &self.reports.late,
            snapshot,
            at,
        }
    }

    /// Returns the time of the first new report of a payment after the end of the subscription, if there is one.
    fn begins_again(&self, before: &Purchase) -> Option<Timestamp> {
        let pays = |(time, kind): &&Moment| match kind {
            NotificationKind::SubscriptionPurchased
            | NotificationKind::Renewed
            | NotificationKind::TrialConverted => true,
            NotificationKind::OutOfGrace => !before.is_end_of_grace(*time),
            _ => false,
        };
        let is_over = matches!(before.stage.life, Life::Cut | Life::Expired);
        // A payment before the end belongs to the terms that ended.
        let is_later = |(time, _): &&Moment| before.expires_at().is_none_or(|end| *time > end);
        let paid = self.reports.fresh.iter().filter(|_| is_over).filter(pays);
        paid.filter(is_later).map(|(time, _)| *time).next()
    }
}

/// The purchase after a settling, and its transitions.
struct Settled {
    purchase: Purchase,
    transitions: Vec<Transition>,
}

/// Walks the reports, then announces the difference between the stage after the walk and the purchase's current stage.
fn settle(
    before: &Purchase,
    notifications: &[&(i64, Notification)],
    context: SettlingContext<'_>,
    late_store: Option<Behind>,
) -> Settled {
    let Merged {
        mut after,
        reports,
        assessment,
    } = Merged::of(before, notifications, context);
    let truth = assessment
        .as_ref()
        .map(|assessment| assessment.stage.clone());
    let goal = truth.clone().unwrap_or_else(|| truth::reported(&after));
    let mut walk = Walk::new(&after, &reports, truth, context.now);
    walk.take_up_beginning();
    walk.follow();
    if context.policy.can_leave_end {
        walk.leave_end(&goal);
    }
    walk.reach(&goal);
    walk.end_without_successor();
    walk.date_by_next();
    let Walk {
        stage,
        mut announced,
        transitions,
        ..
    } = walk;
    let has_reports = !reports.fresh.is_empty() || !reports.late.is_empty();
    announced.newest = announced.newest.max(reports.fresh.last().copied());
    announced.is_unverified = assessment.is_none() && (announced.is_unverified || has_reports);
    after.announced = announced;
    match (assessment, after.answered_at()) {
        (Some(assessment), Some(at)) => {
            after.behind = assessment.behind.max(late_store);
            after.set_incomplete_since(assessment.incomplete_since);
            let switch = assessment.unconfirmed.switch || late_store.is_some();
            let unconfirmed = Unconfirmed {
                switch,
                ..assessment.unconfirmed
            };
            after.record_plan_change(before, &stage, at);
            after.set_stage(AnsweredStage {
                at,
                stage,
                shown_terms: assessment.shown_terms,
                unconfirmed,
            });
        }
        _ => after.stage = stage,
    }
    after.record_missing_successor(before, context.now);
    Settled {
        purchase: after,
        transitions,
    }
}
