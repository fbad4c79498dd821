//! How a store's answers are interpreted: which terms their dates count, which stage they show, and which reports are
//! believed beside them.
//!
//! By default, the dates are exact and nothing is computed. Computations are in the folder of the store that needs
//! them.

use super::dates;
use crate::decide::{Assessment, Evidence, Walk};
use crate::notification::NotificationKind;
use crate::purchase::{Moment, Purchase, Stage};
use crate::time::Timestamp;
use crate::verification::Snapshot;
use std::fmt::Debug;
use std::time::Duration;

/// How a store's answers are interpreted.
#[derive(Debug, Clone, Copy)]
pub struct Answers(pub(super) &'static dyn AnswerRules);

impl Answers {
    /// Exact dates: paid time beyond the last paid end is a payment, and no end is inferred.
    pub const BY_DATES: Self = Self(&ByDates);

    pub(crate) const fn rules(self) -> &'static dyn AnswerRules {
        self.0
    }
}

#[derive(Debug)]
struct ByDates;

impl AnswerRules for ByDates {}

/// Whether a snapshot is the first one of its purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occurrence {
    First,
    Later,
}

/// The rules by which answers are interpreted.
pub(crate) trait AnswerRules: Debug + Sync {
    /// Maximum time by which an answer lags behind the store's own notifications.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether answers show the state, so that they alone decide, and no report is believed without one.
    fn shows_states(&self) -> bool {
        false
    }

    /// Whether a purchase can begin again after its end. The shown beginning is then that of the present series of
    /// payments, and changes with each new series.
    fn can_begin_again(&self) -> bool {
        false
    }

    /// Returns the SKU of the product to which the plan with this SKU belongs; `None` if the SKU does not show it.
    fn product_sku<'a>(&self, _sku: &'a str) -> Option<&'a str> {
        None
    }

    /// A snapshot with a state, with what else is known of its dates. `before` is the purchase before this settling; `after`
    /// includes its reports and the shown payments. Applied twice, it changes nothing more.
    fn complete(&self, _before: &Purchase, _after: &Purchase, snapshot: &Snapshot) -> Snapshot {
        snapshot.clone()
    }

    /// Takes up the terms of a snapshot that is not applied yet. Returns whether the length of a term changed.
    fn change_terms(&self, _purchase: &mut Purchase, _snapshot: &Snapshot) -> bool {
        false
    }

    /// Returns the end of a trial that a snapshot does not show. The snapshot is not applied yet.
    fn unshown_trial_end(&self, _purchase: &Purchase, _snapshot: &Snapshot) -> Option<Timestamp> {
        None
    }

    /// Counts the terms according to the snapshot that was applied.
    fn count_terms(&self, _purchase: &mut Purchase, _occurrence: Occurrence) {}

    /// Begins a new row of terms at a payment that was made after the end.
    fn begin_terms(&self, _purchase: &mut Purchase, _time: Timestamp, _snapshot: &Snapshot) {}

    /// Raises the number of the current term after an answer taken at this time has set the stage.
    fn raise_terms(&self, _purchase: &mut Purchase, _at: Timestamp) {}

    /// Returns when the term with this number ends, counted from the beginning of the purchase.
    fn counted_end(&self, _purchase: &Purchase, _number: u64) -> Option<Timestamp> {
        None
    }

    /// Like [`AnswerRules::counted_end`], if the shown dates follow the calendar.
    fn calendar_end(&self, _purchase: &Purchase, _number: u64) -> Option<Timestamp> {
        None
    }

    /// Returns the number of the term that contains this time.
    fn begun_term(&self, _purchase: &Purchase, _time: Timestamp) -> Option<u64> {
        None
    }

    /// Returns the number of the term whose payment was reported at this time.
    fn paid_term(&self, _purchase: &Purchase, _time: Timestamp) -> Option<u64> {
        None
    }

    /// Returns the number of terms that were paid or granted. `None` if the dates do not show how many there were
    /// before the first answer.
    fn billing_cycles(&self, _stage: &Stage, _snapshot: &Snapshot) -> Option<u64> {
        None
    }

    /// Returns the end of the running grace period; `None` if none runs.
    fn grace_end(&self, purchase: &Purchase) -> Option<Timestamp> {
        purchase.snapshot.as_ref()?.grace_ends_at
    }

    /// Whether a grace period runs whose true end is unknown.
    fn has_grace_without_end(&self, _purchase: &Purchase) -> bool {
        false
    }

    /// Returns when a subscription that is over was revoked. By default `None`, because an end date does not
    /// distinguish a revocation from any other end.
    fn revoked_at(&self, _purchase: &Purchase) -> Option<Timestamp> {
        None
    }

    /// Whether it cannot be determined if a purchase that is over was a trial.
    fn may_have_been_trial(&self, _purchase: &Purchase) -> bool {
        false
    }

    /// Returns the stage according to a snapshot. `before` is the purchase before this settling; `after` includes its
    /// reports and this snapshot.
    fn shown(&self, before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
        dates::shown(before, after, snapshot)
    }

    /// Whether [`AnswerRules::must_wait`] can hold back a report of this kind and age. `at` is the time of the answer.
    fn may_wait(&self, _before: &Purchase, _report: Moment, _at: Timestamp) -> bool {
        false
    }

    /// Whether a report must wait for a later answer, because `stage`, the stage according to the answer and all other
    /// reports, contradicts it.
    fn must_wait(&self, _evidence: &Evidence<'_>, _stage: &Stage, _report: Moment) -> bool {
        false
    }

    /// Returns the stage according to an answer, which shows `shown`, and the reports that it may not show yet.
    fn assess(&self, _evidence: &Evidence<'_>, shown: Stage) -> Assessment {
        Assessment::exact(shown)
    }

    /// Whether a reported payment is among the announced ones. By default, the answer decides; without an answer, the
    /// report is a new payment.
    fn is_payment_counted(
        &self,
        walk: &Walk<'_>,
        _time: Timestamp,
        _kind: NotificationKind,
    ) -> bool {
        let shown = walk.truth.as_ref();
        shown.is_some_and(|truth| truth.terms <= walk.stage.terms)
    }

    /// Announces the conversion of a trial that no answer showed. Returns false if the conversion is a payment like any
    /// other.
    fn convert_unseen_trial(
        &self,
        _walk: &mut Walk<'_>,
        _time: Timestamp,
        _later_reports: &[Moment],
    ) -> bool {
        false
    }

    /// Whether a reported renewal was the recovery of a payment whose failure no report named.
    fn was_recovery(&self, _time: Timestamp, _later_reports: &[Moment]) -> bool {
        false
    }
}
