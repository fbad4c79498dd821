//! What is known of one purchase: the reports of its notifications, the store's last snapshot, and what was announced.
//!
//! `decide` combines these three. Nothing is guessed: a value that is not known is `None`.

mod announced;
mod details;
mod fields;
mod lapse;
mod plan;
mod reports;
mod state;
mod successor;
mod terms;

#[cfg(test)]
mod tests;

pub use state::State;

pub(crate) use announced::Announced;
pub(crate) use reports::Moment;
pub(crate) use state::{Halt, Life, Stage};
pub(crate) use terms::{Origin, Terms};

use crate::notification::{Notification, NotificationKind};
use crate::period::{OtherPayments, Period, PeriodRefund, Periods, RefundExtent, RefundedPayment};
use crate::store_state::StoreState;
use crate::stores::{AnswerRules, Occurrence, StorePolicy};
use crate::time::{DAY, MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{LAG, Product, Snapshot};
use plan::PreviousPlan;
use reports::{NewestText, ReportTimes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of one purchase. The default value is a purchase of which nothing is known.
///
/// The same set of reports gives the same value, in any order and over any number of settlings. Its size is bounded. It
/// contains no customer identifier, since Temporal's histories store it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Purchase {
    reports: BTreeMap<NotificationKind, ReportTimes>,
    original_receipt_id: Option<NewestText>,
    is_test: bool,
    /// Whether another purchase replaced this one. Once true, it stays true.
    is_replaced: bool,
    /// The last snapshot of the store.
    pub(crate) snapshot: Option<Snapshot>,
    /// When the store first answered that the purchase is no longer valid, unless it was over before.
    pub(crate) gone_at: Option<Timestamp>,
    /// When the store last answered that the purchase is no longer valid.
    gone_again_at: Option<Timestamp>,
    pub(crate) seen: Seen,
    /// The plan before the last change of plan.
    left_plan: Option<PreviousPlan>,
    pub(crate) stage: Stage,
    /// The stage and the announcements as of the store's last answer. Until the next answer, later reports are walked
    /// from this stage.
    pub(crate) verified: Option<Verified>,
    pub(crate) announced: Announced,
    /// When a query first showed that the store does not accept the purchase; `None` once it is accepted.
    pub(crate) parked_since: Option<Timestamp>,
    /// Whether the store never knew the purchase, and the platform's setting believes such purchases.
    pub(crate) is_believed: bool,
    /// The notification, or the incomplete change, that the last answer contradicts.
    pub(crate) behind: Option<Behind>,
    /// When the purchase ended, according to a notification that waits for the store.
    reported_end_at: Option<Timestamp>,
    /// When the store first showed that another, still unknown purchase replaced this one.
    successor_missing_since: Option<Timestamp>,
    /// The newest periods with their payments, of a store that shows each payment.
    #[serde(skip_serializing_if = "Periods::is_empty")]
    pub(crate) periods: Periods,
    /// The rules of its store, by the store's name. A store that this version does not know is read like the first one,
    /// and not settled.
    #[serde(
        rename = "store",
        deserialize_with = "StorePolicy::of_record",
        skip_serializing_if = "StorePolicy::is_unnamed"
    )]
    #[schemars(skip)]
    pub(crate) policy: StorePolicy,
}

/// A notification or an incomplete change that the store's answer contradicts, so that the purchase is rechecked soon.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub(crate) struct Behind {
    /// When the notification's fact occurred, by the store's clock; for an incomplete change, when it was first seen.
    pub since: Timestamp,
    /// Whether an answer two hours later still contradicted the notification, so that the answer is believed.
    pub is_decided: bool,
}

/// The parts of a stage that only notifications show, and that the store's answer does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unconfirmed {
    pub switch: bool,
    /// State of the payment, and whether a grace period is running.
    pub payment: bool,
}

/// The result of a settling with an answer of the store, for [`Purchase::set_stage`].
#[derive(Debug, Clone)]
pub(crate) struct AnsweredStage {
    pub at: Timestamp,
    pub stage: Stage,
    /// The number of paid terms that the answer alone shows.
    pub shown_terms: Option<u64>,
    /// The parts of the stage that the answer does not show yet.
    pub unconfirmed: Unconfirmed,
}

/// State after the store's last answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Verified {
    pub stage: Stage,
    pub announced: Announced,
    /// The number of paid terms that the answer alone showed.
    pub shown_terms: Option<u64>,
}

/// Facts that snapshots showed over time. The last snapshot may not show them any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Seen {
    pub trial_ends_at: Option<Timestamp>,
    /// The current row of equal terms.
    #[serde(alias = "changed")]
    pub terms: Option<Terms>,
    /// The last shown end of a period in which the purchase ran and its payment was in order.
    pub period_ends_at: Option<Timestamp>,
    /// The time of the last answer that showed auto-renewal as on.
    pub renewing_at: Option<Timestamp>,
    /// The time of the first answer after `renewing_at` that showed auto-renewal as off.
    pub off_at: Option<Timestamp>,
    /// The time of the last answer that showed no failed payment.
    pub paid_at: Option<Timestamp>,
    /// The time of the first answer after `paid_at` that showed a grace period.
    pub grace_at: Option<Timestamp>,
    /// The last shown end of a grace period; `None` once the payment has recovered.
    pub grace_ends_at: Option<Timestamp>,
    /// The date of the change of plan that was last shown as scheduled.
    pub change_at: Option<Timestamp>,
    /// The time of the first snapshot that showed an incomplete change, as long as all later ones show it too.
    pub incomplete_since: Option<Timestamp>,
}

/// Kinds which report the cancellation of a one-time purchase.
const TAKEN_BACK: [NotificationKind; 2] = [
    NotificationKind::ConsumableCancelled,
    NotificationKind::EntitlementCancelled,
];
/// How long before the shown end of the grace period an `OutOfGrace` may be reported and still report that end instead
/// of a recovery. The margin allows for the store's clocks: it reports the end on that date.
const GRACE_END_MARGIN: Duration = MINUTE.saturating_mul(10);
/// After the end of a subscription, how long before its shown end an `OutOfGrace` may have been reported and still have
/// reported that end instead of a recovery. Wider than [`GRACE_END_MARGIN`], since the subscription may end this long
/// before or after its grace period.
pub(crate) const UNPAID_END_MARGIN: Duration = LAG;
/// How long after its date a change of plan is stored once the store no longer shows it as scheduled.
const CHANGE_REMEMBERED_FOR: Duration = DAY.saturating_mul(7);
/// Kinds which report that auto-renewal is off. `ScheduledToEnd` counts even if no other kind was reported.
const SWITCHED_OFF: [NotificationKind; 3] = [
    NotificationKind::AutoRenewalOff,
    NotificationKind::SubscriptionCancelled,
    NotificationKind::ScheduledToEnd,
];

impl Purchase {
    /// Returns a copy of this purchase under the policy of a store.
    pub(crate) fn of_store(&self, policy: StorePolicy) -> Self {
        Self {
            policy,
            ..self.clone()
        }
    }

    /// Returns the rules by which the store's answers are interpreted.
    pub(crate) fn rules(&self) -> &'static dyn AnswerRules {
        self.policy.answers.rules()
    }

    /// Adds the report of one notification. A notification of an unknown kind adds nothing.
    pub(crate) fn add_report(&mut self, notification: &Notification) {
        if notification.kind == NotificationKind::Unknown {
            return;
        }
        self.reports
            .entry(notification.kind)
            .or_default()
            .add(notification.store_time);
        self.is_test |= notification.is_test;
        if notification.kind == NotificationKind::PlanChanged {
            let old = notification.related_receipt_id.as_ref();
            NewestText::update(&mut self.original_receipt_id, notification, old);
        }
    }

    /// Stores a snapshot, and updates the facts that snapshots showed over time.
    pub(crate) fn apply_snapshot(&mut self, snapshot: &Snapshot) {
        let rules = self.rules();
        let has_new_terms = rules.change_terms(self, snapshot);
        // A scheduled change whose payment fails takes effect only when that payment recovers.
        let was_scheduled = self
            .snapshot
            .as_ref()
            .is_some_and(|last| last.deferred_at.is_some());
        let is_new =
            |date: &Timestamp| was_scheduled || snapshot.at.since(*date) < CHANGE_REMEMBERED_FOR;
        let has_begun_early =
            |date: &Timestamp| has_new_terms && self.stage.in_grace && *date > snapshot.at;
        let known = self
            .seen
            .change_at
            .filter(is_new)
            .filter(|date| !has_begun_early(date));
        self.seen.change_at = snapshot.deferred_at.or(known);
        self.seen.trial_ends_at = snapshot
            .trial_ends_at
            .or(self.seen.trial_ends_at)
            .or_else(|| rules.unshown_trial_end(self, snapshot));
        let last = self.snapshot.replace(snapshot.clone());
        let occurrence = if last.is_some() {
            Occurrence::Later
        } else {
            Occurrence::First
        };
        rules.count_terms(self, occurrence);
        if snapshot.ends_at.is_none_or(|end| end > snapshot.at) && self.grace_end().is_none() {
            self.seen.period_ends_at = self.period_end().or(self.seen.period_ends_at);
        }
        self.seen.grace_ends_at = self.grace_end().or(self.seen.grace_ends_at);
        self.gone_at = None;
        self.gone_again_at = None;
    }

    /// Adds what an answer shows of payments. Neither order nor repetition changes the result. Returns those whose
    /// periods it does not have.
    pub(crate) fn add_payments(&mut self, state: &StoreState) -> OtherPayments {
        let mut others = OtherPayments::default();
        for period in &state.periods {
            self.periods.add(period);
        }
        for voided in &state.voided {
            let (id, at) = (voided.transaction_id.as_str(), voided.at);
            let extent = match voided.units {
                Some(units) => RefundExtent::Units(units),
                None => RefundExtent::Full,
            };
            let is_current = state.transaction_id.as_deref() == Some(id);
            if is_current && self.periods.of(id).is_none() {
                self.periods.add(&Period::unread(id, at));
            }
            if voided.units.is_none() {
                self.periods.void(id, at);
            }
            let refunded = RefundedPayment {
                transaction_id: id.to_owned(),
                refund: PeriodRefund { at, extent },
                tax: None,
            };
            if !self.periods.refund(&refunded) {
                others.refunds.push(refunded);
            }
        }
        let shown = state.periods.iter();
        let dropped = shown.filter(|period| self.periods.of(&period.transaction_id).is_none());
        for period in dropped {
            others.refunds.extend(period.refunded_payment());
            others
                .periods
                .extend(period.is_charged().then(|| period.clone()));
        }
        others
    }

    /// Adds a refund that is reported by itself. Returns whether the purchase has the payment's period.
    pub(crate) fn add_refund(&mut self, refunded: &RefundedPayment) -> bool {
        self.periods.refund(refunded)
    }

    /// Records the answer that the purchase is no longer valid. A purchase that was over before keeps its end.
    pub(crate) fn invalidate(&mut self, now: Timestamp) {
        let was_over =
            self.stage.is_over() && matches!(self.stage.life, Life::Expired | Life::Replaced);
        self.gone_at = self.gone_at.or(Some(now).filter(|_| !was_over));
        self.gone_again_at = Some(now);
    }

    /// Records the answer that the purchase is no longer valid although a newer notification reports that it runs.
    pub(crate) const fn invalidate_unconfirmed(&mut self, now: Timestamp) {
        self.gone_again_at = Some(now);
    }

    /// Sets when the purchase ended according to a notification that waits until the store shows that end; `None` if
    /// none waits.
    pub(crate) const fn set_reported_end(&mut self, at: Option<Timestamp>) {
        self.reported_end_at = at;
    }

    /// Sets the time of the first snapshot that showed an incomplete change; `None` if the last snapshot shows none.
    pub(crate) fn set_incomplete_since(&mut self, at: Option<Timestamp>) {
        self.seen.incomplete_since = at;
    }

    /// Returns the time of the first snapshot that showed an incomplete change, as long as all later ones show it too.
    pub(crate) const fn incomplete_since(&self) -> Option<Timestamp> {
        self.seen.incomplete_since
    }

    /// Whether an `OutOfGrace` of this time reports the end of the grace period instead of a recovery, by
    /// [`GRACE_END_MARGIN`].
    pub(crate) fn is_end_of_grace(&self, time: Timestamp) -> bool {
        self.seen
            .grace_ends_at
            .is_some_and(|end| end.since(time) <= GRACE_END_MARGIN)
    }

    /// Returns the last shown end of a grace period; `None` once the payment has recovered.
    pub(crate) const fn last_grace_end(&self) -> Option<Timestamp> {
        self.seen.grace_ends_at
    }

    /// Returns the date of the change of plan that was last shown as scheduled.
    pub(crate) const fn change_at(&self) -> Option<Timestamp> {
        self.seen.change_at
    }

    /// Records that another purchase replaced this one.
    pub(crate) const fn replace(&mut self) {
        self.is_replaced = true;
    }

    /// Records that the beginning was announced as a change of plan, so that a later notification of that change
    /// announces nothing.
    pub(crate) fn cover_change(&mut self, at: Timestamp) {
        self.cover_beginning(TransitionKind::PlanChanged, at);
    }

    /// Records that a transition of the beginning was announced.
    pub(crate) fn cover_beginning(&mut self, transition: TransitionKind, at: Timestamp) {
        self.announced.cover(transition, at);
        if let Some(verified) = &mut self.verified {
            verified.announced.cover(transition, at);
        }
    }

    /// Whether another purchase replaced this one, even if the store still shows this one as running.
    pub(crate) const fn is_replaced(&self) -> bool {
        self.is_replaced
    }

    /// Sets the stage after an answer of the store. The unconfirmed parts do not count as shown by the answer.
    pub(crate) fn set_stage(&mut self, answer: AnsweredStage) {
        let AnsweredStage {
            at,
            stage,
            shown_terms,
            unconfirmed,
        } = answer;
        self.correct_stale_times(&stage);
        if stage.goes_on() && !stage.is_off {
            self.seen.renewing_at = if unconfirmed.switch {
                self.seen.renewing_at
            } else {
                Some(at)
            };
            self.seen.off_at = None;
        } else if !unconfirmed.switch {
            self.seen.off_at = self.seen.off_at.or(Some(at));
        }
        if stage.runs() && !stage.in_grace {
            self.seen.paid_at = if unconfirmed.payment {
                self.seen.paid_at
            } else {
                Some(at)
            };
            self.seen.grace_at = None;
        } else if (stage.in_grace || stage.halt == Some(Halt::AccountHold)) && !unconfirmed.payment
        {
            self.seen.grace_at = self.seen.grace_at.or(Some(at));
        }
        if stage.runs() && !stage.in_grace {
            self.seen.grace_ends_at = None;
        }
        self.verified = Some(Verified {
            stage: stage.clone(),
            announced: self.announced.clone(),
            shown_terms,
        });
        self.stage = stage;
        self.rules().raise_terms(self, at);
    }

    /// Corrects the times at which auto-renewal was last shown as on and the payment as in order: a snapshot taken
    /// after the switch or the failed payment may have lagged. Such a time is moved to just before the report.
    fn correct_stale_times(&mut self, stage: &Stage) {
        let was_renewing = self.stage.runs() && !self.stage.is_off;
        if was_renewing && (stage.is_off || !stage.goes_on()) {
            self.seen.renewing_at = self.before_newest(self.seen.renewing_at, &SWITCHED_OFF);
        }
        if self.stage.runs() && !self.stage.in_grace && stage.in_grace {
            self.seen.paid_at =
                self.before_newest(self.seen.paid_at, &[NotificationKind::GraceBegan]);
        }
    }

    /// Returns the time of an answer. If the answer may not show the newest report of these kinds yet, the time is
    /// moved to just before that report.
    fn before_newest(
        &self,
        seen_at: Option<Timestamp>,
        kinds: &[NotificationKind],
    ) -> Option<Timestamp> {
        let newest = self.newest(kinds).map(|(time, _)| time);
        seen_at.map(|at| match newest {
            Some(time) if time <= at && at.since(time) < self.rules().lag() => time.plus_millis(-1),
            _ => at,
        })
    }

    /// Returns the time of the store's last answer.
    pub(crate) fn answered_at(&self) -> Option<Timestamp> {
        let shown_at = self.snapshot.as_ref().map(|snapshot| snapshot.at);
        self.gone_at.max(self.gone_again_at).max(shown_at)
    }

    /// Kinds of all reported notifications.
    pub(crate) fn reported_kinds(&self) -> impl Iterator<Item = NotificationKind> + '_ {
        self.reports.keys().copied()
    }

    /// Whether any notification of this kind was reported.
    pub(crate) fn was_reported(&self, kind: NotificationKind) -> bool {
        self.reports.contains_key(&kind)
    }

    pub(crate) fn has_report(&self, (time, kind): Moment) -> bool {
        self.reports
            .get(&kind)
            .is_some_and(|reports| reports.times().any(|known| known == time))
    }

    /// Returns the time of the newest report that announced a transition.
    pub(crate) fn last_announced_report(&self) -> Option<Timestamp> {
        let is_report = |at: &Timestamp| {
            self.reports
                .values()
                .any(|reports| reports.times().any(|time| time == *at))
        };
        self.announced
            .through
            .values()
            .copied()
            .filter(is_report)
            .max()
    }

    /// Returns all stored reports later than `since`, in the order of the store's clock.
    pub(crate) fn reports_after(&self, since: Option<Moment>) -> Vec<Moment> {
        let reports = self.reports.iter();
        let all = reports.flat_map(|(kind, reports)| {
            reports
                .first()
                .into_iter()
                .chain(reports.times())
                .map(|time| (time, *kind))
        });
        let mut reports: Vec<_> = all.filter(|report| Some(*report) > since).collect();
        reports.sort_unstable();
        reports.dedup();
        reports
    }

    /// Returns the end of the trial; `None` if neither a snapshot nor a conversion showed a trial.
    pub(crate) fn trial_end(&self) -> Option<Timestamp> {
        let converted = || self.reports.get(&NotificationKind::TrialConverted)?.first();
        self.seen.trial_ends_at.or_else(converted)
    }

    /// Returns the end of the trial, if a snapshot showed one.
    pub(crate) const fn shown_trial_end(&self) -> Option<Timestamp> {
        self.seen.trial_ends_at
    }

    /// Whether a snapshot ever showed a trial.
    pub(crate) const fn has_shown_trial(&self) -> bool {
        self.seen.trial_ends_at.is_some()
    }

    /// Returns when the current period ends, according to the store.
    pub(crate) fn period_end(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.ends_at.or(snapshot.renews_at)
    }

    /// Returns the last shown end of a period in which the purchase ran and its payment was in order.
    pub(crate) const fn last_period_end(&self) -> Option<Timestamp> {
        self.seen.period_ends_at
    }

    /// Returns the end of the running grace period according to the store; `None` if no grace period runs.
    pub(crate) fn grace_end(&self) -> Option<Timestamp> {
        self.rules().grace_end(self)
    }

    /// Whether a grace period runs whose true end is unknown.
    pub(crate) fn has_grace_without_end(&self) -> bool {
        self.rules().has_grace_without_end(self)
    }

    /// Whether the purchase is a consumable or an entitlement. A purchase never changes between these and a
    /// subscription.
    pub(crate) fn is_one_time(&self) -> bool {
        match self.snapshot.as_ref().map(|snapshot| snapshot.product) {
            Some(Product::Subscription) => false,
            Some(Product::Consumable | Product::Entitlement) => true,
            Some(Product::Unknown) | None => NotificationKind::BOUGHT
                .iter()
                .chain(&TAKEN_BACK)
                .any(|kind| self.was_reported(*kind)),
        }
    }

    /// Whether a one-time purchase was cancelled after it was last bought, according to the reports.
    pub(crate) fn is_taken_back(&self) -> bool {
        self.newest(&TAKEN_BACK) > self.newest(&NotificationKind::BOUGHT)
    }

    /// Returns when the purchase began, according to the reports.
    pub(crate) fn began_at(&self) -> Option<Timestamp> {
        let beginning: &[NotificationKind] = if self.is_one_time() {
            &NotificationKind::BOUGHT
        } else {
            &NotificationKind::BEGINNINGS
        };
        beginning
            .iter()
            .filter_map(|kind| self.reports.get(kind)?.first())
            .min()
    }

    /// Returns the newest report of these kinds.
    pub(crate) fn newest(&self, kinds: &[NotificationKind]) -> Option<Moment> {
        kinds
            .iter()
            .filter_map(|kind| Some((self.reports.get(kind)?.last()?, *kind)))
            .max()
    }

    /// Returns the earliest time of a report of these kinds after `since`.
    fn first_after(&self, since: Option<Moment>, kinds: &[NotificationKind]) -> Option<Timestamp> {
        let reports = kinds
            .iter()
            .filter_map(|kind| Some((*kind, self.reports.get(kind)?)));
        let moments =
            reports.flat_map(|(kind, reports)| reports.times().map(move |time| (time, kind)));
        moments
            .filter(|moment| Some(*moment) > since)
            .min()
            .map(|(time, _)| time)
    }
}
