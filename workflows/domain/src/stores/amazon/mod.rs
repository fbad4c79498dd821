//! Amazon Appstore. Its receipts show no state, lag behind its notifications, and show terms by their length.

mod anchor;
mod grace;
mod lag;
mod payment;
mod revocation;
mod shown;
mod terms;
mod trial;
mod wake;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use {lag::believing_stale_grace, terms::next_date};

use super::{
    AnswerRules, Answers, CustomerSource, Gone, Occurrence, Policy, Proof, RECEIPT_ID, Schedules,
};
use crate::decide::{Assessment, Evidence, Walk};
use crate::notification::NotificationKind;
use crate::purchase::{Moment, Purchase, Stage};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::{LAG, Snapshot};
use std::time::Duration;

pub const POLICY: Policy = Policy {
    store: "amazon",
    purchase_id_key: RECEIPT_ID,
    customer: CustomerSource::Notification,
    proof: Proof::Pair,
    evidence: super::Evidence::Read,
    answers: Answers(&ByCalendar),
    // RVS answers 410.
    gone: Gone::Over,
    can_leave_end: false,
    schedules: Schedules {
        unknown: &UNKNOWN_RECEIPT,
        wrong_customer: &WRONG_CUSTOMER,
        believed_after: DAY,
        settled_unverified: &SETTLED_UNVERIFIED,
    },
    wake: wake::by_reports_and_dates,
    acknowledged_within: |_| None,
};

/// Rechecks after RVS's 400: an unknown receipt.
const UNKNOWN_RECEIPT: [Duration; 5] = [
    MINUTE,
    MINUTE.saturating_mul(10),
    HOUR,
    HOUR.saturating_mul(6),
    DAY,
];
/// Rechecks after RVS's 497: a receipt of another customer.
const WRONG_CUSTOMER: [Duration; 2] = [HOUR, DAY];
/// Kinds whose announcement no receipt can change.
const SETTLED_UNVERIFIED: [NotificationKind; 5] = [
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
    NotificationKind::GraceBegan,
    NotificationKind::TrialConverted,
];

/// Interprets receipts by the calendar and the length of a term, and corrects them by recent notifications.
#[derive(Debug)]
struct ByCalendar;

impl AnswerRules for ByCalendar {
    fn lag(&self) -> Duration {
        LAG
    }

    fn change_terms(&self, purchase: &mut Purchase, snapshot: &Snapshot) -> bool {
        purchase.take_new_terms(snapshot)
    }

    fn unshown_trial_end(&self, purchase: &Purchase, snapshot: &Snapshot) -> Option<Timestamp> {
        purchase.first_trial_end(snapshot)
    }

    fn count_terms(&self, purchase: &mut Purchase, occurrence: Occurrence) {
        purchase.store_terms(occurrence);
    }

    fn begin_terms(&self, purchase: &mut Purchase, time: Timestamp, snapshot: &Snapshot) {
        purchase.begin_row(time, snapshot);
    }

    fn raise_terms(&self, purchase: &mut Purchase, at: Timestamp) {
        purchase.raise_to_announced(at);
    }

    fn counted_end(&self, purchase: &Purchase, number: u64) -> Option<Timestamp> {
        purchase.terms()?.end(number)
    }

    fn calendar_end(&self, purchase: &Purchase, number: u64) -> Option<Timestamp> {
        purchase.calendar()?.end(number)
    }

    fn begun_term(&self, purchase: &Purchase, time: Timestamp) -> Option<u64> {
        Some(purchase.calendar()?.begun(time))
    }

    fn paid_term(&self, purchase: &Purchase, time: Timestamp) -> Option<u64> {
        Some(purchase.calendar()?.containing(time))
    }

    fn billing_cycles(&self, stage: &Stage, snapshot: &Snapshot) -> Option<u64> {
        snapshot.term?;
        Some(stage.terms?.max(1))
    }

    fn grace_end(&self, purchase: &Purchase) -> Option<Timestamp> {
        purchase.shown_grace_end()
    }

    fn has_grace_without_end(&self, purchase: &Purchase) -> bool {
        purchase.is_grace_endless()
    }

    fn revoked_at(&self, purchase: &Purchase) -> Option<Timestamp> {
        purchase.cut_short_at()
    }

    fn may_have_been_trial(&self, purchase: &Purchase) -> bool {
        purchase.may_have_begun_free()
    }

    fn shown(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
        shown::shown(before, after, snapshot)
    }

    fn may_wait(&self, before: &Purchase, report: Moment, at: Timestamp) -> bool {
        lag::may_wait(before, report, at)
    }

    fn must_wait(&self, evidence: &Evidence<'_>, stage: &Stage, report: Moment) -> bool {
        evidence.is_unshown(stage, report)
    }

    fn assess(&self, evidence: &Evidence<'_>, shown: Stage) -> Assessment {
        evidence.correct(shown)
    }

    fn is_payment_counted(&self, walk: &Walk<'_>, time: Timestamp, kind: NotificationKind) -> bool {
        walk.is_term_announced(time, kind)
    }

    fn convert_unseen_trial(
        &self,
        walk: &mut Walk<'_>,
        time: Timestamp,
        later_reports: &[Moment],
    ) -> bool {
        walk.convert(time, later_reports);
        true
    }

    fn was_recovery(&self, time: Timestamp, later_reports: &[Moment]) -> bool {
        payment::was_recovery(time, later_reports)
    }
}
