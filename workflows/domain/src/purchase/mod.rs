//! What is known of one purchase: the reports of its notifications, the last snapshot of the store, and what was
//! announced of both.
//!
//! How these three are brought together is in `decide`. Nothing is guessed: what is not known is `None`.

mod anchor;
mod announced;
mod details;
mod fields;
mod plan;
mod reports;
mod revocation;
mod state;
mod successor;
mod terms;

#[cfg(test)]
mod tests;

pub use state::State;

pub(crate) use announced::Announced;
pub(crate) use reports::Moment;
pub(crate) use state::{Life, Stage};
pub(crate) use terms::{Origin, Terms};

use crate::notification::{Notification, NotificationKind};
use crate::time::{DAY, MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{LAG, Product, SAME, Snapshot};
use anchor::Sight;
use plan::PreviousPlan;
use reports::{Register, ReportTimes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::TRIALS;

/// What is known of one purchase. The default value knows nothing.
///
/// The reports are a record that grows by joining: the same set gives the same record in any order and over any
/// number of settlings. Its size is bounded, and it knows nothing of customers: it is written into histories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    reports: BTreeMap<NotificationKind, ReportTimes>,
    original_receipt_id: Option<Register>,
    is_test: bool,
    /// Whether another receipt took its place. Never undone.
    is_replaced: bool,
    /// The last snapshot of the store.
    pub(crate) snapshot: Option<Snapshot>,
    /// When the store first answered that the receipt is no longer valid, unless it was over before.
    gone_at: Option<Timestamp>,
    /// When the store last answered so.
    gone_again_at: Option<Timestamp>,
    seen: Seen,
    /// The plan before the last change that snapshots of this receipt showed.
    left_plan: Option<PreviousPlan>,
    /// Where it stands.
    pub(crate) stage: Stage,
    /// Where it stood, and what was announced, when the store answered last; later reports go on from there.
    pub(crate) verified: Option<Verified>,
    /// What was announced.
    pub(crate) announced: Announced,
    /// The first of the consecutive queries in which the store did not accept the receipt.
    pub(crate) parked_since: Option<Timestamp>,
    /// Whether the store never knew the receipt, and its platform believes such receipts.
    pub(crate) is_believed: bool,
    /// The newest notification that the last answer contradicts.
    pub(crate) behind: Option<Behind>,
    /// When it ended, by a notification that waits for the store.
    reported_end_at: Option<Timestamp>,
    /// Since when the store shows that another receipt took its place, while nothing is known of that one.
    successor_missing_since: Option<Timestamp>,
}

/// A notification that the store's answer contradicts, so that the purchase is checked again soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Behind {
    /// When it happened by the store, or when an incomplete change was first seen.
    pub since: Timestamp,
    /// Whether an answer two hours later still contradicted it: then the answer counts.
    pub is_decided: bool,
}

/// Which parts of a stage rest on notifications that the answer does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unconfirmed {
    /// Whether it will renew.
    pub switch: bool,
    /// What is paid, and whether it is in grace.
    pub payment: bool,
}

/// Where a purchase stands by an answer of the store.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When the store answered.
    pub at: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    /// The number of paid terms that the answer itself shows.
    pub shown_terms: Option<u64>,
    /// What the answer does not show yet.
    pub unconfirmed: Unconfirmed,
}

/// What was known when the store answered last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verified {
    /// Where it stood.
    pub stage: Stage,
    /// What was announced.
    pub announced: Announced,
    /// The number of paid terms that the snapshot itself showed.
    pub shown_terms: Option<u64>,
}

/// What earlier snapshots showed that the last one does not show any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// The end of its trial.
    trial_ends_at: Option<Timestamp>,
    /// The row of its terms.
    #[serde(alias = "changed")]
    terms: Option<Terms>,
    /// The end of the period that was shown last while it ran.
    period_ends_at: Option<Timestamp>,
    /// The last snapshot in which it was going to renew.
    renewing_at: Option<Timestamp>,
    /// The first snapshot since then in which it was not.
    off_at: Option<Timestamp>,
    /// The last snapshot in which its payment was in order.
    paid_at: Option<Timestamp>,
    /// The first snapshot since then in which it was in grace.
    grace_at: Option<Timestamp>,
    /// The end of the grace that was last shown, until something is paid.
    grace_ends_at: Option<Timestamp>,
    /// When the change of plan takes effect that was last shown as scheduled.
    change_at: Option<Timestamp>,
    /// The first of the consecutive snapshots that show an incomplete change.
    incomplete_since: Option<Timestamp>,
}

/// A one-time purchase was taken back.
const TAKEN_BACK: [NotificationKind; 2] =
    [NotificationKind::ConsumableCancelled, NotificationKind::EntitlementCancelled];
/// A recovery is not reported so close to the end of the grace, or later: that is its end.
const AT_THE_END: Duration = MINUTE.saturating_mul(10);
/// How long a change of plan is remembered after the store stopped showing it as scheduled.
const CHANGING: Duration = DAY.saturating_mul(7);
/// Auto-renewal was switched off.
const SWITCHED_OFF: [NotificationKind; 2] = [NotificationKind::AutoRenewalOff, NotificationKind::SubscriptionCancelled];

impl Purchase {
    /// Adds the report of one notification. One of an unknown kind adds nothing.
    pub(crate) fn add_report(&mut self, notification: &Notification) {
        if notification.kind == NotificationKind::Unknown {
            return;
        }
        self.reports.entry(notification.kind).or_default().at(notification.store_time);
        self.is_test |= notification.is_test;
        if notification.kind == NotificationKind::PlanChanged {
            let old = notification.related_receipt_id.as_ref();
            Register::join(&mut self.original_receipt_id, notification, old);
        }
    }

    /// Takes over a snapshot of the store.
    pub(crate) fn apply_snapshot(&mut self, snapshot: &Snapshot) {
        let changed = self.changed_terms(snapshot);
        let is_new_trial = snapshot.trial_ends_at.is_some_and(|end| self.seen.trial_ends_at != Some(end));
        if changed.is_some() || is_new_trial {
            self.seen.terms = changed;
        }
        // While a payment fails, the change waits for it.
        let was_scheduled = self.snapshot.as_ref().is_some_and(|last| last.deferred_at.is_some());
        let is_new = |date: &Timestamp| was_scheduled || snapshot.at.since(*date) < CHANGING;
        self.seen.change_at = snapshot.deferred_at.or(self.seen.change_at.filter(is_new));
        self.seen.trial_ends_at = snapshot.trial_ends_at.or(self.seen.trial_ends_at);
        let last = self.snapshot.replace(snapshot.clone());
        self.keep_terms(if last.is_some() { Sight::Later } else { Sight::First });
        if snapshot.ends_at.is_none_or(|end| end > snapshot.at) && self.grace_end().is_none() {
            self.seen.period_ends_at = self.period_end().or(self.seen.period_ends_at);
        }
        self.seen.grace_ends_at = self.grace_end().or(self.seen.grace_ends_at);
        self.gone_at = None;
        self.gone_again_at = None;
    }

    /// Notes the answer that the receipt is no longer valid. What was over before keeps its end.
    pub(crate) fn invalidate(&mut self, now: Timestamp) {
        let was_over = matches!(self.stage.life, Life::Expired | Life::Replaced);
        self.gone_at = self.gone_at.or(Some(now).filter(|_| !was_over));
        self.gone_again_at = Some(now);
    }

    /// Notes such an answer while a newer notification reports that it runs.
    pub(crate) const fn invalidate_unconfirmed(&mut self, now: Timestamp) {
        self.gone_again_at = Some(now);
    }

    /// Begins a new row of terms with a payment after the end.
    pub(crate) fn begin_again(&mut self, time: Timestamp, snapshot: &Snapshot) {
        if let Some(term) = snapshot.term.filter(|term| term.count > 0) {
            self.seen.terms =
                Some(Terms { anchor: time, term, before: self.stage.terms.unwrap_or(0), origin: Origin::Seen });
        }
    }

    /// Notes when it ended by a notification that waits for the store, if one does.
    pub(crate) const fn set_reported_end(&mut self, at: Option<Timestamp>) {
        self.reported_end_at = at;
    }

    /// Notes since when snapshots show an incomplete change, if the last one does.
    pub(crate) fn set_incomplete_since(&mut self, at: Option<Timestamp>) {
        self.seen.incomplete_since = at;
    }

    /// The first of the consecutive snapshots that show an incomplete change.
    pub(crate) const fn incomplete_since(&self) -> Option<Timestamp> {
        self.seen.incomplete_since
    }

    /// Whether this time lies at the end of its grace, or later: a recovery reported for then is the end.
    pub(crate) fn is_end_of_grace(&self, time: Timestamp) -> bool {
        self.seen.grace_ends_at.is_some_and(|end| end.since(time) <= AT_THE_END)
    }

    /// The end of its last grace, as it was last shown.
    pub(crate) const fn last_grace_end(&self) -> Option<Timestamp> {
        self.seen.grace_ends_at
    }

    /// When a scheduled change of plan takes effect.
    pub(crate) const fn change_at(&self) -> Option<Timestamp> {
        self.seen.change_at
    }

    /// Notes that another receipt took its place.
    pub(crate) const fn replace(&mut self) {
        self.is_replaced = true;
    }

    /// Notes that its beginning was announced as a change of plan: a notification of that change is no news.
    pub(crate) fn cover_change(&mut self, at: Timestamp) {
        self.cover_beginning(TransitionKind::PlanChanged, at);
    }

    /// Notes that a part of its beginning was announced.
    pub(crate) fn cover_beginning(&mut self, transition: TransitionKind, at: Timestamp) {
        self.announced.cover(transition, at);
        if let Some(verified) = &mut self.verified {
            verified.announced.cover(transition, at);
        }
    }

    /// Whether another receipt took its place, whatever the store still shows of this one.
    pub(crate) const fn is_replaced(&self) -> bool {
        self.is_replaced
    }

    /// Sets the stage by an answer of the store. What rests on notifications alone was not seen in the answer.
    pub(crate) fn set_stage(&mut self, answer: Answer) {
        let Answer { at, stage, shown_terms, unconfirmed } = answer;
        self.forget_stale(&stage);
        if stage.runs() && !stage.is_off {
            self.seen.renewing_at = if unconfirmed.switch { self.seen.renewing_at } else { Some(at) };
            self.seen.off_at = None;
        } else if !unconfirmed.switch {
            self.seen.off_at = self.seen.off_at.or(Some(at));
        }
        if stage.runs() && !stage.in_grace {
            self.seen.paid_at = if unconfirmed.payment { self.seen.paid_at } else { Some(at) };
            self.seen.grace_at = None;
        } else if stage.in_grace && !unconfirmed.payment {
            self.seen.grace_at = self.seen.grace_at.or(Some(at));
        }
        if stage.runs() && !stage.in_grace {
            self.seen.grace_ends_at = None;
        }
        self.verified = Some(Verified { stage: stage.clone(), announced: self.announced.clone(), shown_terms });
        self.stage = stage;
        self.count_announced(at);
    }

    /// Moves sights before a switch or a failed payment that the snapshot of then did not show yet, since its
    /// notification came later.
    fn forget_stale(&mut self, stage: &Stage) {
        let was_renewing = self.stage.runs() && !self.stage.is_off;
        if was_renewing && (stage.is_off || !stage.runs()) {
            self.seen.renewing_at = self.before_newest(self.seen.renewing_at, &SWITCHED_OFF);
        }
        if self.stage.runs() && !self.stage.in_grace && stage.in_grace {
            self.seen.paid_at = self.before_newest(self.seen.paid_at, &[NotificationKind::GraceBegan]);
        }
    }

    /// A sight, moved before the newest report of these kinds if that was a short while earlier.
    fn before_newest(&self, seen_at: Option<Timestamp>, kinds: &[NotificationKind]) -> Option<Timestamp> {
        let newest = self.newest(kinds).map(|(time, _)| time);
        seen_at.map(|at| match newest {
            Some(time) if time <= at && at.since(time) < LAG => time.plus_millis(-1),
            _ => at,
        })
    }

    /// When the store answered last.
    pub(crate) fn answered_at(&self) -> Option<Timestamp> {
        let shown_at = self.snapshot.as_ref().map(|snapshot| snapshot.at);
        self.gone_at.max(self.gone_again_at).max(shown_at)
    }

    /// Whether any notification of this kind was reported.
    pub(crate) fn was_reported(&self, kind: NotificationKind) -> bool {
        self.reports.contains_key(&kind)
    }

    /// Whether this report is stored.
    pub(crate) fn has_report(&self, (time, kind): Moment) -> bool {
        self.reports.get(&kind).is_some_and(|reports| reports.times().any(|known| known == time))
    }

    /// All stored reports later than `since`, in the order of the store's clock.
    pub(crate) fn reports_after(&self, since: Option<Moment>) -> Vec<Moment> {
        let reports = self.reports.iter();
        let all = reports
            .flat_map(|(kind, reports)| reports.first().into_iter().chain(reports.times()).map(|time| (time, *kind)));
        let mut reports: Vec<_> = all.filter(|report| Some(*report) > since).collect();
        reports.sort_unstable();
        reports.dedup();
        reports
    }

    /// The end of its trial, as far as a trial was seen.
    pub(crate) fn trial_end(&self) -> Option<Timestamp> {
        let converted = || self.reports.get(&NotificationKind::TrialConverted)?.first();
        self.seen.trial_ends_at.or_else(converted)
    }

    /// Whether a snapshot ever showed a trial.
    pub(crate) const fn has_shown_trial(&self) -> bool {
        self.seen.trial_ends_at.is_some()
    }

    /// Its terms, unless the dates of the store do not follow the calendar, as in an accelerated test.
    pub(crate) fn calendar(&self) -> Option<Terms> {
        let terms = self.terms()?;
        let ends = self.period_end().filter(|end| end.since(terms.anchor) > SAME);
        ends.is_none_or(|end| terms.ending(end).is_some()).then_some(terms)
    }

    /// When the present period ends, by the store.
    pub(crate) fn period_end(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.ends_at.or(snapshot.renews_at)
    }

    /// The end of the period that was shown last while it ran and no payment had failed.
    pub(crate) const fn last_period_end(&self) -> Option<Timestamp> {
        self.seen.period_ends_at
    }

    /// The date of the grace that the store grants.
    ///
    /// The store's sandbox shows the end of the trial, the renewal and the grace as one date
    /// (<https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-examples.html>), so that there only a later date
    /// is a grace. For money the store shows the date only while the grace runs; only one that was over before the
    /// payment was due belongs to an earlier failure.
    pub(crate) fn grace_end(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref()?;
        let due = snapshot.renews_at.max(snapshot.trial_ends_at);
        let is_test = self.is_sandbox();
        snapshot.grace_ends_at.filter(|grace| match due {
            Some(due) if is_test => *grace > due,
            Some(due) => due.since(*grace) <= SAME || *grace > snapshot.at,
            None => true,
        })
    }

    /// Whether the store shows a grace whose date is not later than the renewal. The renewal is then no sign of a
    /// payment: it is the one that failed, or it moved with the grace.
    pub(crate) fn has_grace_without_end(&self) -> bool {
        let renews_at = self.snapshot.as_ref().and_then(|snapshot| snapshot.renews_at);
        self.grace_end().is_some_and(|grace| renews_at.is_some_and(|due| grace.since(due) <= SAME))
    }

    /// A consumable or an entitlement. A receipt never changes from one to a subscription.
    pub(crate) fn is_one_time(&self) -> bool {
        match self.snapshot.as_ref().map(|snapshot| snapshot.product) {
            Some(Product::Subscription) => false,
            Some(Product::Consumable | Product::Entitlement) => true,
            Some(Product::Unknown) | None => {
                NotificationKind::BOUGHT.iter().chain(&TAKEN_BACK).any(|kind| self.was_reported(*kind))
            }
        }
    }

    /// Whether a one-time purchase was cancelled, by the reports.
    pub(crate) fn is_taken_back(&self) -> bool {
        self.newest(&TAKEN_BACK) > self.newest(&NotificationKind::BOUGHT)
    }

    /// When it began, by the reports.
    fn began_at(&self) -> Option<Timestamp> {
        let beginning: &[NotificationKind] =
            if self.is_one_time() { &NotificationKind::BOUGHT } else { &NotificationKind::BEGINNINGS };
        beginning.iter().filter_map(|kind| self.reports.get(kind)?.first()).min()
    }

    /// The newest report of these kinds.
    pub(crate) fn newest(&self, kinds: &[NotificationKind]) -> Option<Moment> {
        kinds.iter().filter_map(|kind| Some((self.reports.get(kind)?.last()?, *kind))).max()
    }

    /// The earliest time of a report of these kinds after `since`.
    fn first_after(&self, since: Option<Moment>, kinds: &[NotificationKind]) -> Option<Timestamp> {
        let reports = kinds.iter().filter_map(|kind| Some((*kind, self.reports.get(kind)?)));
        let moments = reports.flat_map(|(kind, reports)| reports.times().map(move |time| (time, kind)));
        moments.filter(|moment| Some(*moment) > since).min().map(|(time, _)| time)
    }
}
