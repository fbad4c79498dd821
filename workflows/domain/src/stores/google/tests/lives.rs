//! Random lives of a purchase against a simulated truth: notifications that are lost, repeated and late, answers that are
//! ahead of them, and answers that arrive behind later ones.

use super::{events, monthly, report, settle, snapshot, verified};
use crate::event::tests::day;
use crate::notification::{Notification, NotificationKind};
use crate::period::OfferPhase;
use crate::purchase::{Purchase, State};
use crate::stores::google::{Cancellation, PurchaseAnswer, Status};
use crate::time::{DAY, HOUR, Timestamp};
use std::collections::BTreeMap;

const LIVES: u64 = 1_500;
const MAX_CHANGES: usize = 14;

/// A generator of pseudo-random numbers (xorshift), so that a failure repeats.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The truth about a purchase.
#[derive(Debug, Clone)]
struct Truth {
    changed_at: Timestamp,
    status: Status,
    /// The number of orders.
    number: u32,
    is_off: bool,
    in_trial: bool,
    expires_at: Timestamp,
    began_at: Option<Timestamp>,
    reason: Option<Cancellation>,
}

/// A change of the truth: its notification, the events that it causes, and the truth behind it.
#[derive(Debug, Clone)]
struct Change {
    kind: NotificationKind,
    expected: &'static str,
    truth: Truth,
}

impl Truth {
    fn beginning(chance: &mut Chance) -> Change {
        let is_pending = chance.percent(20);
        let in_trial = chance.percent(40);
        let began_at = day(1);
        let truth = Self {
            changed_at: began_at,
            status: if is_pending {
                Status::Pending
            } else {
                Status::Active
            },
            number: u32::from(!is_pending),
            is_off: false,
            in_trial,
            expires_at: began_at.plus(DAY * if in_trial { 7 } else { 30 }),
            began_at: (!is_pending).then_some(began_at),
            reason: None,
        };
        let expected = match (is_pending, in_trial) {
            (true, _) => "",
            (false, true) => "journey.trial.started purchased",
            (false, false) => "purchased",
        };
        Change {
            kind: NotificationKind::SubscriptionPurchased,
            expected,
            truth,
        }
    }

    /// The next change; `None` after the end.
    fn change(&self, chance: &mut Chance) -> Option<Change> {
        let mut next = self.clone();
        next.changed_at = self.changed_at.plus(DAY);
        let choice = chance.below(100);
        let (kind, expected) = match self.status {
            Status::Pending if choice < 70 => next.begin(),
            Status::Pending => {
                next.status = Status::PendingCanceled;
                (NotificationKind::Unknown, "")
            }
            Status::Active if choice < 40 => next.renew(if self.in_trial {
                "journey.trial.converted renewed"
            } else {
                "renewed"
            }),
            Status::Active if choice < 55 => {
                next.status = Status::Canceled;
                next.is_off = true;
                (NotificationKind::AutoRenewalOff, "cancelled")
            }
            Status::Active if choice < 70 => {
                next.status = Status::Grace;
                next.expires_at = next.changed_at.plus(DAY * 3);
                (NotificationKind::GraceBegan, "in_grace_period")
            }
            Status::Active if choice < 80 => next.halt(Status::Hold),
            Status::Active if choice < 92 && !self.in_trial => {
                next.status = Status::Paused;
                (NotificationKind::Unknown, "paused")
            }
            Status::Active => next.revoke(),
            Status::Canceled if choice < 50 => {
                next.status = Status::Active;
                next.is_off = false;
                (NotificationKind::AutoRenewalOn, "resumed")
            }
            Status::Canceled => next.end(Cancellation::User),
            Status::Grace if choice < 50 => next.renew(if self.in_trial {
                "journey.trial.converted renewal_in_grace_period"
            } else {
                "renewal_in_grace_period"
            }),
            Status::Grace if choice < 75 => next.halt(Status::Hold),
            Status::Hold if choice < 60 => next.renew(if self.in_trial {
                "journey.trial.converted renewed"
            } else {
                "renewed"
            }),
            Status::Paused if choice < 60 => next.renew("resumed"),
            Status::Paused if choice < 75 => next.halt(Status::Hold),
            Status::Grace | Status::Hold | Status::Paused => next.end(Cancellation::System),
            Status::Expired | Status::PendingCanceled | Status::Voided => return None,
        };
        Some(Change {
            kind,
            expected,
            truth: next,
        })
    }

    fn begin(&mut self) -> (NotificationKind, &'static str) {
        self.status = Status::Active;
        self.number = 1;
        self.began_at = Some(self.changed_at);
        self.expires_at = self
            .changed_at
            .plus(DAY * if self.in_trial { 7 } else { 30 });
        let expected = if self.in_trial {
            "journey.trial.started purchased"
        } else {
            "purchased"
        };
        (NotificationKind::SubscriptionPurchased, expected)
    }

    fn renew(&mut self, expected: &'static str) -> (NotificationKind, &'static str) {
        self.status = Status::Active;
        self.number += 1;
        self.in_trial = false;
        self.expires_at = self.changed_at.plus(DAY * 30);
        (NotificationKind::Renewed, expected)
    }

    fn halt(&mut self, status: Status) -> (NotificationKind, &'static str) {
        self.status = status;
        self.expires_at = self.changed_at;
        (NotificationKind::Unknown, "")
    }

    fn end(&mut self, reason: Cancellation) -> (NotificationKind, &'static str) {
        self.status = Status::Expired;
        self.reason = Some(reason);
        self.expires_at = self.changed_at;
        let expected = if self.in_trial {
            "journey.trial.did_not_convert expired"
        } else {
            "expired"
        };
        (NotificationKind::Expired, expected)
    }

    fn revoke(&mut self) -> (NotificationKind, &'static str) {
        let (_, expected) = self.end(Cancellation::User);
        (NotificationKind::SubscriptionCancelled, expected)
    }

    /// What is shown an hour after the change.
    fn answer(&self) -> PurchaseAnswer {
        let mut answer = monthly(self.number.max(1), self.changed_at.plus(HOUR));
        answer.status = self.status;
        answer.started_at = self.began_at;
        answer.cancellation = self.reason.map(|by| (by, None));
        let item = &mut answer.items[0];
        item.expires_at = Some(self.expires_at);
        item.renews = Some(!self.is_off);
        if self.in_trial {
            item.phase = Some(OfferPhase::Trial);
        }
        if self.number == 0 {
            item.order = None;
            item.expires_at = None;
            answer.orders.clear();
        }
        answer
    }

    fn state(&self) -> State {
        match (self.status, self.in_trial) {
            (Status::Pending, _) => State::Pending,
            (Status::Active, true) => State::Trial,
            (Status::Active, false) => State::Active,
            (Status::Canceled, true) => State::TrialOff,
            (Status::Canceled, false) => State::Off,
            (Status::Grace, _) => State::Grace,
            (Status::Hold, _) => State::AccountHold,
            (Status::Paused, _) => State::Paused,
            (Status::Expired | Status::PendingCanceled | Status::Voided, _) => State::Expired,
        }
    }
}

fn life(chance: &mut Chance) -> Vec<Change> {
    let mut changes = vec![Truth::beginning(chance)];
    while changes.len() < MAX_CHANGES {
        let last = changes.last().and_then(|last| last.truth.change(chance));
        let Some(next) = last else { break };
        changes.push(next);
    }
    changes
}

fn notified(change: &Change) -> Notification {
    report(change.kind, change.truth.changed_at)
}

/// The state, with a revocation as an end: its report may be lost.
fn state(purchase: &Purchase) -> State {
    match purchase.state() {
        State::Revoked => State::Expired,
        other => other,
    }
}

/// Settles an answer that was requested before the last one.
fn arrive_late(known: &Purchase, earlier: &Truth, seed: u64) {
    let late = settle(known, &[], &verified(snapshot(&earlier.answer())));
    assert_eq!(
        (events(&late), late.purchase.state()),
        (String::new(), known.state()),
        "life {seed}"
    );
}

#[test]
fn each_change_of_a_life_is_announced_once() {
    for seed in 0..LIVES {
        let mut chance = Chance::new(seed);
        let changes = life(&mut chance);
        let mut known = Purchase::default();
        let mut late: Vec<Notification> = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            let mut window = std::mem::take(&mut late);
            let is_first = number == 0 || change.kind == NotificationKind::SubscriptionPurchased;
            match chance.below(100) {
                luck if is_first || luck < 70 => window.push(notified(change)),
                luck if luck < 85 => late.push(notified(change)),
                _ => {}
            }
            if chance.percent(20) {
                window.extend(window.clone());
            }
            let answer = verified(snapshot(&change.truth.answer()));
            let decision = settle(&known, &window, &answer);
            assert_eq!(
                events(&decision),
                change.expected,
                "life {seed}, change {number}: {changes:#?}"
            );
            known = decision.purchase;
            assert_eq!(
                state(&known),
                change.truth.state(),
                "life {seed}, change {number}"
            );
            let earlier = number.checked_sub(1).and_then(|last| changes.get(last));
            if let Some(earlier) = earlier.filter(|_| chance.percent(30)) {
                arrive_late(&known, &earlier.truth, seed);
            }
        }
        let orders = changes.last().map_or(0, |last| last.truth.number);
        assert_eq!(
            u32::try_from(known.periods().iter().count()),
            Ok(orders),
            "life {seed}"
        );
    }
}

/// The number of events by what they are about: a payment after a hold or a pause that was not seen has another name.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        let about = match name {
            "renewed" | "resumed" | "renewal_in_grace_period" => "payment or resumed",
            other => other,
        };
        *counts.entry(about).or_default() += 1;
    }
    counts
}

#[test]
fn a_life_that_is_seldom_read_announces_nothing_twice() {
    for seed in 0..LIVES {
        let mut chance = Chance::new(seed + LIVES);
        let changes = life(&mut chance);
        let mut known = Purchase::default();
        let mut window: Vec<Notification> = Vec::new();
        let mut announced = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            if number == 0 || chance.percent(80) {
                window.push(notified(change));
            }
            let is_last = number + 1 == changes.len();
            if !is_last && chance.percent(60) {
                continue;
            }
            if chance.percent(30) {
                window.reverse();
            }
            let answer = verified(snapshot(&change.truth.answer()));
            let decision = settle(&known, &std::mem::take(&mut window), &answer);
            announced.push(events(&decision));
            known = decision.purchase;
            assert_eq!(
                state(&known),
                change.truth.state(),
                "life {seed}: {changes:#?}"
            );
        }
        let truth = counted(
            changes
                .iter()
                .flat_map(|one| one.expected.split_whitespace()),
        );
        let found = counted(announced.iter().flat_map(|one| one.split_whitespace()));
        for (about, count) in found {
            let most = truth.get(about).copied().unwrap_or_default();
            assert!(
                count <= most,
                "life {seed}: {about} {count} times: {announced:?} {changes:#?}"
            );
        }
    }
}

#[test]
fn the_order_of_answers_does_not_change_the_payments() {
    for seed in 0..200 {
        let mut chance = Chance::new(seed);
        let changes = life(&mut chance);
        let settle_all = |order: Vec<&Change>| {
            order
                .into_iter()
                .fold(Purchase::default(), |known, change| {
                    let answer = verified(snapshot(&change.truth.answer()));
                    settle(&known, &[], &answer).purchase
                })
        };
        let forwards = settle_all(changes.iter().collect());
        let backwards = settle_all(changes.iter().rev().collect());
        assert_eq!(forwards.periods(), backwards.periods(), "life {seed}");
        assert_eq!(forwards.state(), backwards.state(), "life {seed}");
    }
}
