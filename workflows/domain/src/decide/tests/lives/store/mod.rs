//! A simulated store: the true history of one purchase, its notifications, and the transitions to announce.

mod endings;

use super::chance::Chance;
use crate::decide::tests::notification;
use crate::notification::{Notification, NotificationKind};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// How a purchase is first reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    Bought,
    Changed,
    OneTime,
}

/// One life, as the store knows it.
#[derive(Debug)]
pub struct Life {
    pub reports: Vec<Notification>,
    /// The transitions to announce, in order, each with the time at which it happened.
    pub transitions: Vec<(Timestamp, TransitionKind)>,
    /// The snapshots, each with the time from which it is shown; `None` if the purchase is no longer valid.
    pub shows: Vec<(Timestamp, Option<Snapshot>)>,
    /// When another real purchase replaced this one.
    pub replaced_at: Option<Timestamp>,
    /// Reports that must not be lost, because nothing else would ever show what they report.
    pub vital: Vec<(Timestamp, NotificationKind)>,
    /// Reports that are never late, because no snapshot shows what they report.
    pub prompt: Vec<(Timestamp, NotificationKind)>,
    pub ends: Timestamp,
    /// The charges, in order: the SKU of each payment and the number of its term.
    pub charges: Vec<(String, Option<u64>)>,
}

struct Author {
    chance: Chance,
    /// A second generator for later additions, so that the lives of all existing seeds stay the same.
    other_chance: Chance,
    life: Life,
    now: Timestamp,
    shown: Snapshot,
    anchor: Timestamp,
    begun: i64,
    end: Timestamp,
    in_trial: bool,
    plans: i64,
    has_come_back: bool,
}

/// Returns the life of a seed.
pub fn life(seed: u64, beginning: Beginning) -> Life {
    let mut chance = Chance::new(seed);
    let first: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    let now = first.plus_millis(chance.below(365 * DAY / 1000) * 1000);
    let term = chance.pick(&[
        (1, Unit::Week),
        (2, Unit::Week),
        (1, Unit::Month),
        (1, Unit::Month),
        (3, Unit::Month),
    ]);
    let shown = Snapshot {
        product: Product::Subscription,
        product_id: Some("gold".to_owned()),
        term_sku: Some("gold_0".to_owned()),
        term: Some(Term {
            count: term.0,
            unit: term.1,
        }),
        purchased_at: Some(now),
        auto_renewing: Some(true),
        ..Snapshot::default()
    };
    let life = Life {
        reports: vec![],
        transitions: vec![],
        shows: vec![],
        replaced_at: None,
        vital: vec![],
        prompt: vec![],
        ends: now,
        charges: vec![],
    };
    let mut author = Author {
        chance,
        other_chance: Chance::new(seed ^ 0xffff_ffff),
        life,
        now,
        shown,
        anchor: now,
        begun: 0,
        end: now,
        in_trial: false,
        plans: 0,
        has_come_back: false,
    };
    match beginning {
        Beginning::OneTime => author.one_time(),
        _ => author.subscription(beginning),
    }
    author.life
}

impl Author {
    /// Adds a notification, up to two seconds after what it reports.
    fn report(&mut self, kind: NotificationKind) {
        let at = self.now.plus_millis(self.chance.below(20) * 100);
        let late = self
            .life
            .reports
            .last()
            .map_or(at, |last| last.store_time.plus_millis(100).max(at));
        self.life.reports.push(Notification {
            store_time: late,
            ..notification(kind, 0)
        });
    }

    fn vital(&mut self, kind: NotificationKind) {
        self.report(kind);
        let report = self.life.reports.last().unwrap();
        self.life.vital.push((report.store_time, kind));
    }

    fn announce(&mut self, transition: TransitionKind) {
        self.life.transitions.push((self.now, transition));
    }

    fn charge(&mut self) {
        let sku = self
            .shown
            .term_sku
            .clone()
            .or_else(|| self.shown.product_id.clone());
        let number = self.life.charges.len() + 1;
        let number = self.shown.term.map(|_| u64::try_from(number).unwrap());
        self.life.charges.extend(sku.map(|sku| (sku, number)));
    }

    fn show(&mut self) {
        self.life.shows.push((self.now, Some(self.shown.clone())));
        self.life.ends = self.now;
    }

    fn one_time(&mut self) {
        let (bought, cancelled, product) = self.chance.pick(&[
            (
                NotificationKind::ConsumablePurchased,
                NotificationKind::ConsumableCancelled,
                Product::Consumable,
            ),
            (
                NotificationKind::EntitlementPurchased,
                NotificationKind::EntitlementCancelled,
                Product::Entitlement,
            ),
        ]);
        self.shown = Snapshot {
            product,
            term: None,
            term_sku: None,
            auto_renewing: None,
            ..self.shown.clone()
        };
        self.show();
        self.report(bought);
        self.announce(TransitionKind::Purchased);
        self.charge();
        if self.chance.percent(60) {
            self.now = self.now.plus_millis(self.chance.between(DAY, 20 * DAY));
            if self.chance.percent(70) {
                self.shown.ends_at = Some(self.now);
                self.show();
            } else {
                self.life.shows.push((self.now, None));
            }
            // A consumable is never rechecked.
            if product == Product::Consumable {
                self.vital(cancelled);
            } else {
                self.report(cancelled);
            }
        }
    }

    fn subscription(&mut self, beginning: Beginning) {
        self.in_trial = beginning == Beginning::Bought && self.chance.percent(65);
        if self.in_trial {
            self.end = self.now.plus_millis(self.chance.pick(&[7, 14, 30]) * DAY);
            self.anchor = self.end;
            self.shown.trial_ends_at = Some(self.end);
        } else {
            self.next_end();
        }
        self.shown.renews_at = Some(self.end);
        self.show();
        if beginning == Beginning::Changed {
            if self.chance.percent(30) {
                self.report(NotificationKind::SubscriptionPurchased);
            }
            self.vital(NotificationKind::PlanChanged);
            self.announce(TransitionKind::PlanChanged);
        } else {
            self.report(NotificationKind::SubscriptionPurchased);
            if self.in_trial {
                self.announce(TransitionKind::TrialStarted);
            }
            self.announce(TransitionKind::Purchased);
        }
        if !self.in_trial {
            self.charge();
        }
        if self.chance.percent(10) {
            self.soon();
            self.switch_off(true);
            if !(self.is_switched_on() && self.is_paid()) {
                return;
            }
        }
        let terms = self.chance.between(1, 7);
        for _ in 0..terms {
            if !self.term() {
                return;
            }
        }
    }

    /// Moves to the next boundary, counted from the anchor by the calendar.
    fn next_end(&mut self) {
        self.begun += 1;
        self.end = self.boundary(self.begun);
    }

    /// Returns the boundary `begun` terms after the anchor.
    fn boundary(&self, begun: i64) -> Timestamp {
        let term = self.shown.term.unwrap();
        let count = i64::from(term.count) * begun;
        let span = match term.unit {
            Unit::Week => jiff::Span::new().weeks(count),
            Unit::Month => jiff::Span::new().months(count),
            Unit::Day | Unit::Year => panic!("no such term is sold here"),
        };
        let anchor = jiff::Timestamp::from_microsecond(self.anchor.micros()).unwrap();
        let date = jiff::tz::TimeZone::UTC
            .to_datetime(anchor)
            .checked_add(span)
            .unwrap();
        let end = jiff::tz::TimeZone::UTC.to_timestamp(date).unwrap();
        Timestamp::from_micros(end.as_microsecond())
    }

    /// Returns the length of a grace period in days: at most that of the unpaid term, and of the shortest plan if a
    /// change is scheduled.
    fn grace_days(&mut self) -> i64 {
        let term = self.boundary(self.begun + 1).millis_since(self.now) / DAY;
        let days = if self.shown.deferred_sku.is_some() {
            7
        } else {
            term
        };
        let lasts: Vec<_> = [5, 5, 6, 7, 14, 30]
            .into_iter()
            .filter(|lasts| *lasts <= days)
            .collect();
        self.chance.pick(&lasts)
    }

    /// Simulates one term and what happens at its end. Returns whether the life continues.
    fn term(&mut self) -> bool {
        let left = self.end.millis_since(self.now);
        self.now = self.now.plus_millis(HOUR + self.chance.below(left / 8));
        let choices = if self.in_trial { 8 } else { 13 };
        match self.chance.below(choices) {
            0..=3 => self.switch_off(false),
            4 | 5 => self.schedule(),
            6 => return self.is_refunded(),
            7 if self.chance.percent(80) => return self.is_replaced(),
            8 => self.report(NotificationKind::Unknown),
            9 | 10 if left > 2 * DAY => {
                self.now = self.end.plus_millis(-DAY);
                self.switch_off(true);
            }
            _ => {}
        }
        if self.shown.auto_renewing == Some(false) {
            return self.is_switched_on() && self.is_paid();
        }
        self.is_paid()
    }

    /// Advances the time by less than a minute, so that both reports fall into one window.
    fn soon(&mut self) {
        self.now = self.now.plus_millis(30_000 + self.chance.below(MINUTE / 2));
    }

    fn switch_off(&mut self, is_vital: bool) {
        self.shown.auto_renewing = Some(false);
        self.shown.ends_at = Some(self.end);
        self.shown.renews_at = None;
        let kind = match self.chance.below(10) {
            0 if !is_vital => NotificationKind::SubscriptionCancelled,
            1 | 2 if !is_vital => NotificationKind::ScheduledToEnd,
            _ => NotificationKind::AutoRenewalOff,
        };
        // Shortly before the end, only this notification reports it: the next snapshot already shows the end.
        if is_vital || self.end.millis_since(self.now) < 9 * DAY {
            self.vital(kind)
        } else {
            self.report(kind)
        }
        self.announce(TransitionKind::Cancelled);
        self.show();
    }

    fn switch_on(&mut self) {
        self.shown.auto_renewing = Some(true);
        self.shown.ends_at = None;
        self.shown.renews_at = Some(self.end);
        // One of the two reports must arrive, because nothing else may show that auto-renewal was off.
        let off = self
            .life
            .reports
            .last()
            .filter(|report| report.kind == NotificationKind::AutoRenewalOff);
        match off.map(|report| (report.store_time, report.kind)) {
            Some(off) if self.chance.percent(50) => {
                self.life.vital.push(off);
                self.report(NotificationKind::AutoRenewalOn);
            }
            _ => self.vital(NotificationKind::AutoRenewalOn),
        }
        self.announce(TransitionKind::Resumed);
        self.show();
    }

    /// Returns whether auto-renewal is switched on again before the end.
    fn is_switched_on(&mut self) -> bool {
        let left = self.end.millis_since(self.now);
        if self.chance.percent(5) {
            let off = self
                .life
                .reports
                .last()
                .map(|report| (report.store_time, report.kind));
            self.life.vital.extend(off);
            self.life.replaced_at = Some(self.now.plus_millis(3 * HOUR));
            return false;
        }
        if self.chance.percent(30) && left > 3 * DAY {
            self.now = self.now.plus_millis(left / 3);
            if self.chance.percent(30) {
                self.switch_on_vitally();
                self.soon();
                self.switch_off(true);
            } else {
                self.report(NotificationKind::ScheduledToEnd);
            }
        }
        if self.chance.percent(65) {
            let left = self.end.millis_since(self.now);
            if self.chance.percent(40) {
                self.soon();
            } else {
                self.now = self.now.plus_millis(HOUR + self.chance.below(left / 2));
            }
            if self.end.millis_since(self.now) > HOUR {
                self.switch_on();
                if self.other_chance.percent(15) && self.end.millis_since(self.now) > 9 * DAY {
                    // Refunded while the switch may still take precedence over what the store shows.
                    self.now = self
                        .now
                        .plus_millis(self.other_chance.between(5 * MINUTE, 2 * HOUR));
                    return self.is_refunded();
                }
                return true;
            }
        }
        self.now = self.end;
        self.shown.trial_ends_at = None;
        let kind = if self.chance.percent(20) {
            NotificationKind::SubscriptionCancelled
        } else {
            NotificationKind::Expired
        };
        self.over(self.end, EndReason::Customer, kind);
        if self.chance.percent(8) {
            self.life.replaced_at = Some(self.now.plus_millis(3 * HOUR));
            return false;
        }
        self.comes_back()
    }

    fn switch_on_vitally(&mut self) {
        self.switch_on();
        let on = self.life.reports.last().unwrap();
        self.life.vital.push((on.store_time, on.kind));
    }

    fn schedule(&mut self) {
        if self.in_trial
            || self.shown.auto_renewing == Some(false)
            || self.end.millis_since(self.now) < 9 * DAY
        {
            return;
        }
        self.plans += 1;
        self.shown.deferred_at = Some(self.end);
        self.shown.deferred_sku = Some(format!("gold_{}", self.plans));
        self.report(NotificationKind::PlanChangeScheduled);
        self.announce(TransitionKind::PlanChangeScheduled);
        self.show();
    }

    /// Returns whether the next term is paid, at once or in a grace period.
    fn is_paid(&mut self) -> bool {
        self.now = self.end;
        self.shown.trial_ends_at = None;
        let fails = if self.in_trial { 40 } else { 32 };
        if !self.chance.percent(fails) {
            self.renew(TransitionKind::Renewed);
            if self.chance.percent(12) {
                self.soon();
                self.switch_off(true);
                return self.is_switched_on() && self.is_paid();
            }
            return true;
        }
        let days = self.grace_days();
        let grace_end = self.now.plus_millis(days * DAY);
        self.shown.grace_ends_at = Some(grace_end);
        self.report(NotificationKind::GraceBegan);
        self.announce(TransitionKind::GraceBegan);
        self.show();
        if self.chance.percent(5) {
            self.life.replaced_at = Some(self.now.plus_millis(3 * HOUR));
            return false;
        }
        if self.chance.percent(70) {
            let is_soon = self.chance.percent(60) && !self.in_trial;
            if is_soon {
                self.soon();
            } else {
                self.now = self
                    .now
                    .plus_millis(HOUR + self.chance.below((days - 1) * DAY));
            }
            self.renew(TransitionKind::Recovered);
            if self.end.millis_since(grace_end) < DAY {
                // There is no check between the recovery and the next payment.
                let repair = self
                    .life
                    .reports
                    .last()
                    .map(|report| (report.store_time, report.kind));
                self.life.vital.extend(repair);
            }
            if is_soon
                && self
                    .life
                    .reports
                    .last()
                    .is_some_and(|report| report.kind == NotificationKind::Renewed)
            {
                self.report(NotificationKind::OutOfGrace);
            }
            if is_soon {
                let reported: Vec<_> = self
                    .life
                    .reports
                    .iter()
                    .rev()
                    .take(3)
                    .map(|report| (report.store_time, report.kind))
                    .collect();
                self.life.vital.extend(reported.first());
                self.life.prompt.extend(reported);
            }
            return true;
        }
        self.now = grace_end;
        let kind = self.chance.pick(&[
            NotificationKind::SubscriptionCancelled,
            NotificationKind::Expired,
            NotificationKind::OutOfGrace,
        ]);
        self.over(grace_end, EndReason::Store, kind);
        false
    }

    fn renew(&mut self, transition: TransitionKind) {
        if self.in_trial {
            self.announce(TransitionKind::TrialConverted);
        }
        self.announce(transition);
        let reports: &[NotificationKind] = match (self.in_trial, transition) {
            (true, _) => self.chance.pick(&[
                &[NotificationKind::TrialConverted],
                &[NotificationKind::TrialConverted, NotificationKind::Renewed],
                &[NotificationKind::Renewed],
            ]),
            (false, TransitionKind::Recovered) => self.chance.pick(&[
                &[NotificationKind::Renewed],
                &[NotificationKind::OutOfGrace],
                &[NotificationKind::OutOfGrace],
                &[NotificationKind::Renewed, NotificationKind::OutOfGrace],
            ]),
            (false, _) if self.chance.percent(8) => &[NotificationKind::Unknown],
            (false, _) => &[NotificationKind::Renewed],
        };
        for kind in reports {
            self.report(*kind);
        }
        if let Some(sku) = self.shown.deferred_sku.take() {
            self.announce(TransitionKind::PlanChanged);
            self.anchor = self.end;
            self.begun = 0;
            let units = [
                (1, Unit::Week),
                (1, Unit::Month),
                (2, Unit::Month),
                (3, Unit::Month),
            ];
            let (count, unit) = self.chance.pick(&units);
            self.shown.term_sku = Some(sku);
            self.shown.term = Some(Term { count, unit });
            self.shown.deferred_at = None;
        }
        self.in_trial = false;
        self.charge();
        self.next_end();
        self.shown.renews_at = Some(self.end);
        self.shown.grace_ends_at = None;
        self.show();
    }
}
