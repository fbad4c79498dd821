//! A store whose snapshots lag behind its own notifications.
//!
//! A snapshot is evidence up to its lag, a signed notification is evidence of its instant. Where the newest notification
//! is younger than the lag and the snapshot contradicts it, a payment, grace, auto-renewal or conversion stands, and an
//! end or a scheduled change waits. Nothing opposite is inferred until the first snapshot after the lag, which decides.
//! Incomplete changes, which no notification named and a snapshot shows only in part, wait in the same way.

mod incomplete;

use crate::notification::NotificationKind;
use crate::purchase::{Behind, Life, Moment, Purchase, Stage, Unconfirmed};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{LAG, SAME, Snapshot};
use std::time::Duration;

/// How long a contradiction is checked again after it was decided.
const WATCHED: Duration = DAY.saturating_mul(2);
/// How far the store's clock may be ahead of ours.
const CLOCKS: Duration = HOUR;
/// How long an end that is reported and shown waits for its reason: a change of plan reports its new receipt within that.
/// It is also how much earlier than the end its report can be.
const REASON: Duration = MINUTE.saturating_mul(10);

#[cfg(test)]
std::thread_local! {
    /// A planted fault: a grace that the snapshot shows counts, whatever was paid since.
    static BELIEVES_STALE_GRACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The result of `run` while the fault is planted in this thread.
#[cfg(test)]
pub(in crate::decide) fn believing_stale_grace<T>(run: impl FnOnce() -> T) -> T {
    BELIEVES_STALE_GRACE.set(true);
    let found = run();
    BELIEVES_STALE_GRACE.set(false);
    found
}

const SWITCHES: [NotificationKind; 3] =
    [NotificationKind::AutoRenewalOn, NotificationKind::AutoRenewalOff, NotificationKind::ScheduledToEnd];
/// Kinds that may wait for a snapshot that shows them.
const WAITING: [NotificationKind; 6] = [
    NotificationKind::SubscriptionCancelled,
    NotificationKind::Expired,
    NotificationKind::ConsumableCancelled,
    NotificationKind::EntitlementCancelled,
    NotificationKind::PlanChangeScheduled,
    NotificationKind::OutOfGrace,
];

/// An answer of the store beside the known notifications.
#[derive(Debug, Clone, Copy)]
pub(in crate::decide) struct Evidence<'a> {
    /// What was known before this settling.
    pub before: &'a Purchase,
    /// What is known with the notifications and the answer of this settling.
    pub after: &'a Purchase,
    /// The notifications of this settling that are newer than all before, and the others.
    pub fresh: &'a [Moment],
    pub late: &'a [Moment],
    /// The snapshot; `None` when the receipt is no longer valid.
    pub snapshot: Option<&'a Snapshot>,
    /// When the store was queried.
    pub at: Timestamp,
}

/// What an answer and the newest notifications show together.
#[derive(Debug, Clone)]
pub(in crate::decide) struct Weighed {
    /// Where the purchase stands.
    pub stage: Stage,
    /// The number of paid terms that the answer itself shows.
    pub shown_terms: Option<u64>,
    /// What the answer contradicts.
    pub behind: Option<Behind>,
    /// What rests on notifications alone.
    pub unconfirmed: Unconfirmed,
    /// The first of the consecutive snapshots that show an incomplete change.
    pub incomplete_since: Option<Timestamp>,
}

/// Whether a notification of this kind and time could wait for an answer of `at`.
pub(in crate::decide) fn may_wait((time, kind): Moment, at: Timestamp) -> bool {
    WAITING.contains(&kind) && is_recent(time, at)
}

/// Kinds by which a subscription goes on.
fn running_kinds() -> Vec<NotificationKind> {
    let switched_on = [NotificationKind::AutoRenewalOn];
    [NotificationKind::PAYMENTS.as_slice(), &NotificationKind::BEGINNINGS, &switched_on].concat()
}

/// Whether an answer of `at` may not show yet what happened at `time`.
fn is_recent(time: Timestamp, at: Timestamp) -> bool {
    at.since(time) < LAG && time.since(at) <= CLOCKS
}

impl Weighed {
    /// Notes a contradiction; of several the newest counts. Returns whether the notification stands.
    fn contradict(&mut self, time: Timestamp, at: Timestamp) -> bool {
        let is_decided = !is_recent(time, at);
        let behind = Behind { since: time, is_decided };
        let newest = self.behind.filter(|known| (!known.is_decided, known.since) >= (!is_decided, time));
        self.behind = newest.or(Some(behind));
        !is_decided
    }
}

impl Evidence<'_> {
    /// Where the purchase stands by `shown`, the answer alone, and the notifications that it may not show yet.
    pub fn weigh(&self, shown: Stage) -> Weighed {
        let mut weighed = Weighed {
            shown_terms: shown.terms,
            stage: shown,
            behind: None,
            unconfirmed: Unconfirmed::default(),
            incomplete_since: None,
        };
        let is_subscription = !self.after.is_one_time();
        if !is_subscription || matches!(weighed.stage.life, Life::Replaced | Life::Revoked) {
            return weighed;
        }
        let shown = weighed.stage.clone();
        self.weigh_payment(&mut weighed, &shown);
        self.weigh_switch(&mut weighed, &shown);
        self.hold_incomplete(&mut weighed, &shown);
        self.watch_end(&mut weighed);
        weighed.behind = weighed.behind.or_else(|| self.watched(&weighed.stage));
        weighed
    }

    /// A contradiction that was decided, while it is still checked again and the answer stays the same.
    fn watched(&self, stage: &Stage) -> Option<Behind> {
        let known = &self.before.stage;
        let is_same = (stage.life, stage.in_grace, stage.is_off, stage.terms)
            == (known.life, known.in_grace, known.is_off, known.terms);
        let is_open = |behind: &Behind| self.at.since(behind.since) < WATCHED;
        self.before.behind.filter(|behind| behind.is_decided && is_same && is_open(behind))
    }

    /// Whether it is a notification of this settling.
    fn is_new(&self, moment: Moment) -> bool {
        self.fresh.contains(&moment) || self.late.contains(&moment)
    }

    /// The newest notification of these kinds, unless it is too old to matter.
    fn newest(&self, kinds: &[NotificationKind]) -> Option<Moment> {
        let matters = |time: Timestamp| self.at.since(time) < WATCHED && time.since(self.at) <= CLOCKS;
        self.after.newest(kinds).filter(|(time, _)| matters(*time))
    }

    fn newest_end(&self) -> Option<Moment> {
        self.newest(&NotificationKind::ENDS)
    }

    /// Whether the snapshot shows a paid period that goes on after `time`. A receipt that never shows dates contradicts
    /// nothing.
    fn is_paid_beyond(&self, time: Timestamp) -> bool {
        let margin = self.after.calendar().map_or(SAME, |calendar| calendar.early());
        match self.after.period_end() {
            Some(end) => end.since(time) > margin,
            None => self.before.period_end().is_none(),
        }
    }

    /// Whether this report of a recovery came with the end of the grace: then it reports the end.
    fn ends_grace(&self, time: Timestamp) -> bool {
        self.after.is_end_of_grace(time)
    }

    /// The newest notification about what is paid.
    fn newest_payment(&self) -> Option<Moment> {
        let recovered = self.newest(&[NotificationKind::OutOfGrace]).filter(|(time, _)| !self.ends_grace(*time));
        let others = [
            NotificationKind::TrialConverted,
            NotificationKind::Renewed,
            NotificationKind::GraceBegan,
            NotificationKind::SubscriptionPurchased,
            NotificationKind::PlanChanged,
        ];
        self.newest(&others).max(recovered)
    }

    /// Whether a payment, grace or beginning is news, or stood until now.
    fn stood(&self, (time, kind): Moment) -> bool {
        let known = &self.before.stage;
        if self.is_new((time, kind)) {
            return true;
        }
        known.runs() && known.in_grace == (kind == NotificationKind::GraceBegan)
    }

    /// Lets a reported payment, conversion or grace stand.
    fn weigh_payment(&self, weighed: &mut Weighed, shown: &Stage) {
        let Some(payment) = self.newest_payment().filter(|payment| self.stood(*payment)) else { return };
        #[cfg(test)]
        if shown.in_grace && BELIEVES_STALE_GRACE.get() {
            return;
        }
        let (time, kind) = payment;
        let is_back = shown.life == Life::Expired && self.newest_end() < Some(payment) && self.is_older_end(time);
        let is_contradicted = match kind {
            NotificationKind::GraceBegan => (is_back && self.before.stage.runs()) || self.lacks_grace(shown, time),
            _ if NotificationKind::BEGINNINGS.contains(&kind) => {
                (is_back || self.lacks_return(shown, time)) && self.snapshot.is_some()
            }
            _ => is_back || self.lacks_payment(shown, payment),
        };
        if !is_contradicted || !weighed.contradict(time, self.at) {
            return;
        }
        weighed.unconfirmed.payment = true;
        let goes_on = shown.runs() && !self.before.stage.is_over();
        let is_off = if goes_on { weighed.stage.is_off } else { self.is_switched_off(Some(time)) };
        let changed = self.due_change(kind, shown).or_else(|| self.changed(shown));
        let stage = Stage {
            life: Life::Running,
            is_off,
            in_grace: kind == NotificationKind::GraceBegan,
            in_trial: kind == NotificationKind::GraceBegan && (shown.in_trial || self.before.stage.in_trial),
            terms: if kind == NotificationKind::GraceBegan {
                self.before.stage.terms.or(shown.terms)
            } else {
                self.terms(shown, payment)
            },
            pending: if changed.is_some() { None } else { weighed.stage.pending.take() },
            sku: changed.or_else(|| shown.sku.clone()),
        };
        weighed.stage = stage;
    }

    /// Whether what was bought again after its end is shown without its end and without what was paid.
    fn lacks_return(&self, shown: &Stage, time: Timestamp) -> bool {
        self.before.stage.is_over() && shown.runs() && !self.is_paid_beyond(time)
    }

    /// Whether the end that the snapshot shows is older than what happened at `time`.
    fn is_older_end(&self, time: Timestamp) -> bool {
        let end = self.snapshot.and_then(|snapshot| snapshot.ends_at);
        end.is_none_or(|end| end <= time)
    }

    /// Whether the snapshot shows neither this grace nor that it was repaired since.
    fn lacks_grace(&self, shown: &Stage, time: Timestamp) -> bool {
        let known = &self.before.stage;
        let is_repaired = || {
            let is_announced = self.before.announced.last_covered(&TransitionKind::PAYMENTS) >= Some(time);
            self.is_paid_beyond(time) && (is_announced || known.is_unknown() || shown.terms > known.terms)
        };
        shown.runs() && !shown.in_grace && !is_repaired()
    }

    /// Whether the snapshot does not show the payment of this report yet, or not all of it.
    fn lacks_payment(&self, shown: &Stage, payment: Moment) -> bool {
        let is_partial = self.due_change(NotificationKind::Renewed, shown).or_else(|| self.changed(shown)).is_some();
        let next = self.before.stage.terms.map(|terms| terms.saturating_add(u64::from(self.is_new(payment))));
        let is_leap = next.is_some() && shown.terms > next && self.is_changing(shown);
        let is_lacking = is_partial || is_leap || !self.is_paid_beyond(payment.0);
        shown.runs() && (shown.in_grace || shown.in_trial || is_lacking)
    }

    /// The SKU that a payment changed to by a schedule that was shown earlier, while the snapshot still shows the old one.
    fn due_change(&self, kind: NotificationKind, shown: &Stage) -> Option<String> {
        let known = &self.before.stage;
        let pending = known.pending.as_ref().filter(|sku| !sku.is_empty() && kind.is_payment())?;
        let early = self.after.calendar().map_or(SAME, |calendar| calendar.early());
        let is_due = self.before.change_at().is_some_and(|at| at.since(self.at) <= early);
        (is_due && shown.sku == known.sku).then(|| pending.clone())
    }

    /// The SKU that it changed to a short while ago, while the snapshot still shows the one before.
    fn changed(&self, shown: &Stage) -> Option<String> {
        let (left, at) = self.before.left_sku()?;
        let is_stale = is_recent(at, self.at) && shown.sku.as_ref() == Some(left);
        self.before.stage.sku.clone().filter(|_| is_stale)
    }

    /// The number of the term that was paid.
    fn terms(&self, shown: &Stage, payment: Moment) -> Option<u64> {
        let known = self.before.stage.terms;
        // The payment after an unseen trial is the one that its beginning was taken for.
        let is_first = payment.1 == NotificationKind::TrialConverted
            && self.after.calendar().is_some_and(|calendar| Some(calendar.containing(payment.0)) <= known);
        let is_next = self.is_new(payment) && !is_first;
        let next = || known.map(|terms| terms.saturating_add(u64::from(is_next)));
        let is_partial = self.due_change(NotificationKind::Renewed, shown).or_else(|| self.changed(shown)).is_some();
        let is_leap = shown.terms > next() && self.is_changing(shown);
        let terms = if self.before.stage.is_over() || is_partial || is_leap {
            next()
        } else if self.is_paid_beyond(payment.0) {
            shown.terms.max(known)
        } else {
            let elapsed = || Some(self.after.calendar()?.elapsed(self.after.period_end()?).saturating_add(1));
            let is_counted = self.after.calendar().is_some() && self.after.period_end().is_some();
            if is_counted { elapsed().max(known) } else { next() }
        };
        terms.map(|terms| terms.max(1))
    }

    /// Whether its plan changes just now, so that not every field may show the new one yet.
    fn is_changing(&self, shown: &Stage) -> bool {
        let is_new = |date: Timestamp| is_recent(date, self.at);
        let has_left = self.before.left_sku().is_some_and(|(_, at)| is_new(at));
        let is_near = |date: Timestamp| is_new(date) || (self.before.stage.in_grace && date <= self.at);
        let is_due = self.before.change_at().is_some_and(is_near);
        has_left || (is_due && (self.before.stage.pending.is_some() || shown.sku != self.before.stage.sku))
    }

    /// Whether auto-renewal is off by the last notification about it, if that is later than `since`.
    fn is_switched_off(&self, since: Option<Timestamp>) -> bool {
        let is_later = |time: Timestamp| since.is_none_or(|since| time > since);
        self.newest(&SWITCHES).is_some_and(|(time, kind)| kind != NotificationKind::AutoRenewalOn && is_later(time))
    }

    /// Lets a reported switch of auto-renewal stand.
    fn weigh_switch(&self, weighed: &mut Weighed, shown: &Stage) {
        let Some(switch @ (time, kind)) = self.newest(&SWITCHES) else { return };
        let is_off = kind != NotificationKind::AutoRenewalOn;
        let transition = if is_off { TransitionKind::Cancelled } else { TransitionKind::Resumed };
        let is_news = self.is_new(switch) && self.before.announced.covered(transition) < Some(time);
        if !is_news && (self.is_new(switch) || self.before.stage.is_off != is_off) {
            return;
        }
        let is_back = !is_off && shown.life == Life::Expired && self.newest_end() < Some(switch);
        let is_contradicted = is_back || (shown.runs() && shown.is_off != is_off);
        if !is_contradicted || !weighed.contradict(time, self.at) {
            return;
        }
        weighed.unconfirmed.switch = true;
        weighed.stage.is_off = is_off;
        if is_back && !weighed.stage.runs() {
            let known = self.before.stage.clone();
            let in_grace = known.runs() && known.in_grace;
            weighed.stage = Stage { life: Life::Running, in_grace, is_off, ..known };
        }
    }

    /// Keeps checking a while longer for an end that was not shown in time.
    fn watch_end(&self, weighed: &mut Weighed) {
        let is_decided = |end: &Moment| self.is_new(*end) && !is_recent(end.0, self.at);
        let Some(end) = self.newest_end().filter(is_decided) else { return };
        let kinds = running_kinds();
        let is_cancel = end.1 == NotificationKind::SubscriptionCancelled && weighed.stage.is_off;
        if weighed.stage.runs() && !is_cancel && self.after.newest(&kinds) < Some(end) {
            weighed.contradict(end.0, self.at);
        }
    }

    /// Whether this report of an end or a scheduled change waits: it is the newest of its kind, and `stage`, which all
    /// others and the snapshot show, contradicts it.
    pub fn is_premature(&self, stage: &Stage, moment: Moment) -> bool {
        let (time, kind) = moment;
        let is_newest = |kinds: &[NotificationKind]| self.after.newest(kinds) < Some(moment);
        let runs_on = running_kinds();
        match kind {
            NotificationKind::Expired => stage.runs() && is_newest(&runs_on) && !self.shows_end_of(time),
            NotificationKind::SubscriptionCancelled => {
                stage.runs() && is_newest(&runs_on) && !self.is_cancelled_by_now() && !self.shows_end_of(time)
            }
            NotificationKind::ConsumableCancelled | NotificationKind::EntitlementCancelled => {
                stage.runs() && is_newest(&NotificationKind::BOUGHT)
            }
            NotificationKind::PlanChangeScheduled => {
                let known = &self.before.stage;
                let is_shown = stage.pending.is_some() && stage.pending != known.pending;
                stage.runs()
                    && !is_shown
                    && (known.is_unknown() || stage.sku == known.sku)
                    && is_newest(&NotificationKind::PAYMENTS)
            }
            NotificationKind::OutOfGrace => stage.runs() && stage.in_grace && self.ends_grace(time),
            _ => false,
        }
    }

    /// Whether the snapshot shows a cancellation that lets the paid time run out, and that is news.
    fn is_cancelled_by_now(&self) -> bool {
        let is_shown = self.snapshot.and_then(|snapshot| snapshot.ends_at).is_some_and(|end| end > self.at);
        let off =
            |(_, kind): &Moment| matches!(kind, NotificationKind::AutoRenewalOff | NotificationKind::ScheduledToEnd);
        is_shown && !(self.before.stage.runs() && self.before.stage.is_off) && !self.fresh.iter().any(off)
    }
}
