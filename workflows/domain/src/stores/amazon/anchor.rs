//! The anchor: the date from which the terms of a purchase are counted.
//!
//! The anchor is the end of the trial, else the date of the purchase. A trial that no snapshot showed lies between the
//! purchase and the first term, so the purchase is the wrong anchor. Therefore, every renewal date that the store shows
//! is compared with the row of terms; a date that is not a boundary of the row becomes the new anchor. The number of an
//! announced term never decreases.

use super::terms::TRIALS;
use crate::notification::NotificationKind;
use crate::purchase::{Origin, Purchase, Terms};
use crate::stores::Occurrence;
use crate::time::{HOUR, Timestamp};
use crate::verification::{LAG, SAME, Snapshot};
use std::time::Duration;

/// Maximum distance of two dates of the store that count as the same.
const SAME_DATE: Duration = HOUR.saturating_mul(2);
/// Maximum length of an accelerated term of the sandbox. The shortest term that is sold is a week.
const MAX_ACCELERATED: Duration = HOUR.saturating_mul(12);
/// How long before its date a term can be paid.
const MAX_EARLY_PAYMENT: Duration = HOUR.saturating_mul(84);

impl Purchase {
    /// Returns the row of the purchase's terms: the known row while the length of a term stays the same, else one that
    /// starts at the beginning.
    pub(super) fn terms(&self) -> Option<Terms> {
        let shown = self.snapshot.as_ref()?.term.filter(|term| term.count > 0);
        let known = self
            .seen
            .terms
            .filter(|known| shown.is_none_or(|term| term == known.term));
        known.or_else(|| self.first_terms())
    }

    /// Terms of the purchase; `None` if the store's dates do not follow the calendar, as in an accelerated test.
    pub(super) fn calendar(&self) -> Option<Terms> {
        let terms = self.terms()?;
        let ends = self
            .period_end()
            .filter(|end| end.since(terms.anchor) > SAME);
        ends.is_none_or(|end| terms.ending(end).is_some())
            .then_some(terms)
    }

    /// Begins a new row of terms at a payment that was made after the end.
    pub(super) fn begin_row(&mut self, time: Timestamp, snapshot: &Snapshot) {
        if let Some(term) = snapshot.term.filter(|term| term.count > 0) {
            self.seen.terms = Some(Terms {
                anchor: time,
                term,
                before: self.stage.terms.unwrap_or(0),
                origin: Origin::Seen,
            });
        }
    }

    /// Returns the row that begins at the end of the trial or, without a trial, at the purchase.
    fn first_terms(&self) -> Option<Terms> {
        let snapshot = self.snapshot.as_ref()?;
        let term = snapshot.term.filter(|term| term.count > 0)?;
        let trial_end = self.trial_end();
        let anchor = trial_end
            .or(snapshot.purchased_at)
            .or_else(|| self.began_at())?;
        let is_seen = trial_end.is_some()
            || NotificationKind::BEGINNINGS
                .iter()
                .any(|kind| self.was_reported(*kind));
        let origin = if is_seen {
            Origin::Seen
        } else {
            Origin::Purchase
        };
        Some(Terms {
            anchor,
            term,
            before: 0,
            origin,
        })
    }

    /// Returns the end of a trial whose field the first snapshot lacks. The purchase has such a trial if the store did
    /// not know it at first and, within two hours of the purchase, shows a renewal date that is the end of a trial that
    /// the store sells, and not the end of a term. A lagging store shows each field separately, so a refunded trial can
    /// be gone before its end is shown.
    pub(super) fn first_trial_end(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let (purchased_at, renews_at) = snapshot.purchased_at.zip(snapshot.renews_at)?;
        let term = snapshot.term.filter(|term| term.count > 0)?;
        let is_fresh = self.snapshot.is_none()
            && self.parked_since.is_some()
            && snapshot.at.since(purchased_at) < LAG
            && self.was_reported(NotificationKind::SubscriptionPurchased)
            && !self.was_reported(NotificationKind::PlanChanged);
        let is_plain = !snapshot.in_intro_offer
            && snapshot.offer.is_none()
            && snapshot.grace_ends_at.is_none();
        let is_term = Terms {
            anchor: purchased_at,
            term,
            before: 0,
            origin: Origin::Seen,
        }
        .is_end(renews_at);
        let is_trial = || {
            TRIALS
                .iter()
                .filter_map(|trial| trial.after(purchased_at, 1))
                .any(|end| end == renews_at)
        };
        (is_fresh && is_plain && !self.is_sandbox() && !is_term && is_trial()).then_some(renews_at)
    }

    /// Adopts a new row of terms, or discards the row because of a new trial. Returns whether the length of a term
    /// changed.
    pub(super) fn take_new_terms(&mut self, snapshot: &Snapshot) -> bool {
        let changed = self.changed_terms(snapshot);
        let is_new_trial = snapshot
            .trial_ends_at
            .is_some_and(|end| self.seen.trial_ends_at != Some(end));
        if changed.is_some() || is_new_trial {
            self.seen.terms = changed;
        }
        changed.is_some()
    }

    /// Returns the row that begins with a change of the term's length, if the snapshot shows such a change.
    fn changed_terms(&self, snapshot: &Snapshot) -> Option<Terms> {
        let old = self.terms().filter(|_| self.stage.runs())?;
        let term = snapshot
            .term
            .filter(|term| term.count > 0 && *term != old.term)?;
        // The last answer's count, because an unconfirmed notification may already have counted the first term of the
        // new row.
        let last_count = self
            .verified
            .as_ref()
            .map_or(self.stage.terms, |verified| verified.shown_terms);
        let is_open =
            |date: &Timestamp| *date <= snapshot.at && old.is_open(*date) && old.is_end(*date);
        let scheduled = self.seen.change_at.filter(is_open);
        // A change whose payment failed begins with the recovery, which may precede the scheduled date.
        let is_early = |date: &Timestamp| self.stage.in_grace && *date > snapshot.at;
        let due = last_count.and_then(|count| old.end(count));
        let paid_at = || {
            self.newest(&NotificationKind::PAYMENTS)
                .map(|(time, _)| time)
        };
        let repaired = || paid_at().filter(|time| due.is_some_and(|due| *time > due));
        let shown = || {
            self.snapshot
                .as_ref()
                .and_then(|last| last.deferred_at.or(last.renews_at))
        };
        let shown = || shown().filter(|date| !is_early(date)).or_else(repaired);
        let anchor = scheduled
            .or_else(shown)
            .or_else(|| old.end(last_count.unwrap_or(0)))
            .unwrap_or(snapshot.at);
        let before = scheduled
            .and_then(|date| old.ending(date))
            .or(last_count)
            .unwrap_or(0);
        Some(Terms {
            anchor,
            term,
            before,
            origin: Origin::Seen,
        })
    }

    /// Stores the row of terms, corrected by the shown renewal date.
    pub(super) fn store_terms(&mut self, occurrence: Occurrence) {
        if self.is_converted_first() {
            self.seen.terms = None;
        }
        let Some(row) = self.terms() else { return };
        let shown = self
            .shown_end(row, occurrence)
            .filter(|_| !self.is_changing());
        let counted = shown.and_then(|end| Some((end, self.number(row, end, occurrence)?)));
        self.seen.terms = Some(match counted {
            Some((end, number)) if !row.is_end(end) || row.ending(end) != Some(number) => Terms {
                anchor: end,
                before: number,
                origin: Origin::Renewal,
                ..row
            },
            _ => row,
        });
    }

    /// Raises the number of the current term to the number of announced terms, if all of these must have begun before
    /// the shown renewal date.
    pub(super) fn raise_to_announced(&mut self, at: Timestamp) {
        let row = self
            .calendar()
            .filter(|_| self.stage.runs() && !self.stage.in_trial);
        let Some(row) = row else { return };
        let Some(end) = self
            .shown_end(row, Occurrence::Later)
            .filter(|_| !self.is_changing())
        else {
            return;
        };
        let announced = self.announced_before(end, at);
        if row.ending(end).is_some_and(|number| number < announced) {
            self.seen.terms = Some(Terms {
                anchor: end,
                before: announced,
                origin: Origin::Renewal,
                ..row
            });
        }
    }

    /// Whether a scheduled change of plan is taking effect, and the store may not show its new term yet. A shown date
    /// is then no boundary of the old row.
    fn is_changing(&self) -> bool {
        let at = self.snapshot.as_ref().map(|snapshot| snapshot.at);
        let date = self
            .seen
            .change_at
            .filter(|date| self.seen.terms.is_none_or(|row| row.is_open(*date)));
        date.zip(at).is_some_and(|(date, at)| {
            date.since(at) <= MAX_EARLY_PAYMENT
                && (at.since(date) <= MAX_EARLY_PAYMENT || self.is_repaired_late(date, at))
        })
    }

    /// Whether the payment for the change failed and recovered late: the purchase still shows the change as scheduled,
    /// or a payment was reported in the last two hours.
    fn is_repaired_late(&self, date: Timestamp, at: Timestamp) -> bool {
        let is_scheduled = self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.deferred_at.is_some());
        let paid = self
            .newest(&NotificationKind::PAYMENTS)
            .map(|(time, _)| time)
            .filter(|time| *time > date);
        is_scheduled || paid.is_some_and(|paid| at.since(paid) <= SAME_DATE)
    }

    /// Whether a new report of a conversion reveals a trial that no snapshot showed, so that terms are counted from its
    /// end. False if more than one term was known: then the conversion is the payment of one of them.
    fn is_converted_first(&self) -> bool {
        let last = self.verified.as_ref().map(|verified| &verified.stage);
        let is_first =
            last.is_none_or(|stage| !stage.in_grace && stage.terms.is_none_or(|terms| terms <= 1));
        let is_fresh = || {
            self.reports_after(self.announced.newest)
                .iter()
                .any(|(_, kind)| *kind == NotificationKind::TrialConverted)
        };
        !self.has_shown_trial() && !self.stage.is_over() && is_first && is_fresh()
    }

    /// Returns the shown end of the current paid period; `None` if that date may not be a boundary of terms.
    fn shown_end(&self, row: Terms, occurrence: Occurrence) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref()?;
        let in_trial = snapshot.trial_ends_at.is_some_and(|end| end > snapshot.at);
        if in_trial || self.is_one_time() {
            return None;
        }
        if self.grace_end().is_some() {
            // The failed renewal was due at the end of the last paid term. The store may move its date with each
            // attempt, so a known row is more reliable.
            return snapshot
                .renews_at
                .filter(|due| occurrence == Occurrence::First && *due <= snapshot.at);
        }
        match snapshot.ends_at {
            None => snapshot.renews_at,
            // With auto-renewal off, the end is the date on which the subscription would have renewed. Any other date
            // may be that of a refund.
            Some(end) if end > snapshot.at => {
                let nearest = || row.end(row.ending(end)?);
                let is_boundary =
                    || nearest().is_some_and(|near| near.distance(end) <= MAX_EARLY_PAYMENT);
                Some(end).filter(|_| occurrence == Occurrence::First || is_boundary())
            }
            Some(_) => None,
        }
    }

    /// Returns the number of the term that ends at `end`; `None` if an accelerated term cannot be counted.
    fn number(&self, row: Terms, end: Timestamp, occurrence: Occurrence) -> Option<u64> {
        let at = self.snapshot.as_ref()?.at;
        let is_shortened = self.is_sandbox() || end.since(row.anchor) <= MAX_ACCELERATED;
        let nearest = row
            .ending(end)
            .or_else(|| (!is_shortened).then(|| row.before.saturating_add(1)))?;
        if occurrence == Occurrence::First && !row.is_end(end) {
            // The time between the anchor and the first whole term is the trial.
            let whole = row.begun(end).saturating_sub(1).max(1);
            return Some(
                whole
                    .min(row.containing(at).max(1))
                    .max(self.announced_before(end, at)),
            );
        }
        let last = self
            .seen
            .period_ends_at
            .filter(|_| occurrence == Occurrence::Later)
            .and_then(|last| Some((last, row.ending(last)?)));
        let (has_moved, known) = match last {
            Some((last, number)) => (end.since(last) > SAME_DATE, number),
            None => (false, 0),
        };
        let is_paid = has_moved
            && self
                .reports_after(self.announced.newest)
                .iter()
                .any(|(_, kind)| kind.is_payment());
        let at_least = if is_paid { known.saturating_add(1) } else { 0 };
        // At most one term more than known, or the number of terms that have begun by now.
        let at_most = row.containing(at).max(known.saturating_add(1));
        Some(
            nearest
                .min(at_most)
                .max(at_least)
                .max(self.announced_before(end, at)),
        )
    }

    /// Returns the number of announced terms if all of them must have begun before the renewal date `end`; else 0.
    fn announced_before(&self, end: Timestamp, at: Timestamp) -> u64 {
        self.stage
            .terms
            .filter(|_| self.stage.runs() && end.since(at) > MAX_EARLY_PAYMENT)
            .unwrap_or(0)
    }
}
