//! Random lives of a purchase against a simulated truth: notifications that are lost, repeated, late, in any order and
//! of one second, answers that are ahead of them, and answers that arrive behind later ones.

use super::{events, monthly, report, settle, snapshot, verified};
use crate::event::tests::day;
use crate::notification::{Notification, NotificationKind};
use crate::period::OfferPhase;
use crate::purchase::{Purchase, State};
use crate::stores::google::{Cancellation, PurchaseAnswer, Status};
use crate::time::{DAY, HOUR, Timestamp};
use std::collections::BTreeMap;

/// Number of lives of each of two tests, with different seeds.
const LIVES: u64 = 10_000;
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

    /// The index of one of `count` items.
    fn index(&mut self, count: usize) -> usize {
        let bound = u64::try_from(count.max(1)).expect("a count");
        usize::try_from(self.below(bound)).expect("an index")
    }

    fn shuffle(&mut self, all: &mut [Notification]) {
        for last in (1..all.len()).rev() {
            let other = self.index(last + 1);
            all.swap(last, other);
        }
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

/// A disturbance of what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    /// An answer shows a change before its notification arrives.
    Ahead,
    /// A notification arrives twice, in one window or in two.
    Doubled,
    Lost,
    /// The notifications of a window arrive in any order.
    Reordered,
    /// Two notifications are of one second.
    SameSecond,
    /// An answer arrives behind a later one, or shows less than what is reported.
    Outdated,
    /// A cancellation arrives before the beginning. Only few lives begin with one.
    CancelledFirst,
}

impl Disturbance {
    const ALL: [Self; 6] = [
        Self::Ahead,
        Self::Doubled,
        Self::Lost,
        Self::Reordered,
        Self::SameSecond,
        Self::Outdated,
    ];
}

/// The number of times of each disturbance.
type Disturbances = BTreeMap<Disturbance, u64>;

/// A life of which each change is settled, with disturbances.
struct DisturbedLife<'a> {
    seed: u64,
    chance: Chance,
    changes: &'a [Change],
    known: Purchase,
    /// Notifications that arrive with the next change.
    late: Vec<Notification>,
    /// All notifications that have arrived.
    arrived: Vec<Notification>,
    counts: &'a mut Disturbances,
}

impl DisturbedLife<'_> {
    fn count(&mut self, disturbance: Disturbance) {
        *self.counts.entry(disturbance).or_default() += 1;
    }

    /// Settles a change with what arrives by then, and checks what is announced.
    fn settle_change(&mut self, number: usize) {
        let (seed, changes) = (self.seed, self.changes);
        let change = &changes[number];
        let is_beginning = number == 0 || change.kind == NotificationKind::SubscriptionPurchased;
        let luck = if is_beginning {
            0
        } else {
            self.chance.below(100)
        };
        let is_switched =
            luck < 70 && change.truth.status == Status::Active && self.chance.percent(15);
        let mut expected = change.expected.to_owned();
        let mut window = std::mem::take(&mut self.late);
        if luck < 70 {
            window.extend(self.notifications(change));
        } else if luck < 85 {
            self.late = self.notifications(change);
            self.count(Disturbance::Ahead);
        } else {
            self.count(Disturbance::Lost);
        }
        if is_switched {
            window.extend(self.switches(change));
            expected.push_str(" cancelled resumed");
        }
        self.disturb(&mut window);
        if !is_beginning && !is_switched && self.chance.percent(10) {
            let reported = std::mem::take(&mut window);
            self.settle_outdated(number - 1, &reported);
        }
        let answer = verified(snapshot(&change.truth.answer()));
        let decision = settle(&self.known, &window, &answer);
        assert_eq!(
            events(&decision),
            expected,
            "life {seed}, change {number}: {changes:#?}"
        );
        self.known = decision.purchase;
        assert_eq!(
            state(&self.known),
            change.truth.state(),
            "life {seed}, change {number}: {changes:#?}"
        );
        if number > 0 && self.chance.percent(30) {
            let earlier = self.chance.index(number);
            self.settle_outdated(earlier, &[]);
        }
    }

    /// Whether the life can be settled from its second change on: the customer cancels what has begun.
    fn is_cancelled_first(&mut self) -> bool {
        let (first, second) = (self.changes.first(), self.changes.get(1));
        let has_begun = first.is_some_and(|first| first.truth.status == Status::Active);
        let is_cancelled = second.is_some_and(|one| one.kind == NotificationKind::AutoRenewalOff);
        has_begun && is_cancelled && self.chance.percent(50)
    }

    /// Settles the first two changes by the notifications of the second one. That of the beginning is late or lost.
    fn settle_cancelled_first(&mut self) {
        let (seed, changes) = (self.seed, self.changes);
        self.count(Disturbance::CancelledFirst);
        let mut window = self.notifications(&changes[1]);
        self.disturb(&mut window);
        if self.chance.percent(80) {
            self.late = self.notifications(&changes[0]);
        }
        let answer = verified(snapshot(&changes[1].truth.answer()));
        let decision = settle(&self.known, &window, &answer);
        assert_eq!(
            events(&decision),
            format!("{} cancelled", changes[0].expected),
            "life {seed}: {changes:#?}"
        );
        self.known = decision.purchase;
        assert_eq!(state(&self.known), changes[1].truth.state(), "life {seed}");
    }

    /// The notifications of a change: one, or two within a second.
    fn notifications(&mut self, change: &Change) -> Vec<Notification> {
        let first = notified(change);
        if !self.chance.percent(30) {
            return vec![first];
        }
        self.count(Disturbance::SameSecond);
        // The store reports an end and that renewal is off, or one payment as a renewal and as a recovery.
        let kind = match change.kind {
            NotificationKind::Expired | NotificationKind::SubscriptionCancelled => {
                NotificationKind::AutoRenewalOff
            }
            other => other,
        };
        let second = report(kind, change.truth.changed_at.plus_millis(400));
        vec![first, second]
    }

    /// Two notifications of one moment, half an hour after a change: the customer switches renewal off and on.
    fn switches(&mut self, change: &Change) -> [Notification; 2] {
        self.count(Disturbance::SameSecond);
        let time = change.truth.changed_at.plus(HOUR / 2);
        [
            NotificationKind::AutoRenewalOff,
            NotificationKind::AutoRenewalOn,
        ]
        .map(|kind| report(kind, time))
    }

    /// Repeats notifications of a window and of earlier ones, and shuffles all.
    fn disturb(&mut self, window: &mut Vec<Notification>) {
        if !window.is_empty() && self.chance.percent(20) {
            let again = window.clone();
            window.extend(again);
            self.count(Disturbance::Doubled);
        }
        if !self.arrived.is_empty() && self.chance.percent(20) {
            let place = self.chance.index(self.arrived.len());
            window.push(self.arrived[place].clone());
            self.count(Disturbance::Doubled);
        }
        if window.len() > 1 {
            self.chance.shuffle(window);
            self.count(Disturbance::Reordered);
        }
        self.arrived.extend_from_slice(window);
    }

    /// Settles the answer about an earlier change again, with these reports: nothing changes.
    fn settle_outdated(&mut self, earlier: usize, reported: &[Notification]) {
        let (seed, changes) = (self.seed, self.changes);
        let answer = verified(snapshot(&changes[earlier].truth.answer()));
        let decision = settle(&self.known, reported, &answer);
        assert_eq!(
            (events(&decision), decision.purchase.state()),
            (String::new(), self.known.state()),
            "life {seed}, the answer about change {earlier}: {changes:#?}"
        );
        self.known = decision.purchase;
        self.count(Disturbance::Outdated);
    }
}

#[test]
fn each_change_of_a_life_is_announced_once() {
    let mut counts = Disturbances::new();
    for seed in 0..LIVES {
        let mut chance = Chance::new(seed);
        let changes = life(&mut chance);
        let mut disturbed = DisturbedLife {
            seed,
            chance,
            changes: &changes,
            known: Purchase::default(),
            late: Vec::new(),
            arrived: Vec::new(),
            counts: &mut counts,
        };
        let is_cancelled_first = disturbed.is_cancelled_first();
        if is_cancelled_first {
            disturbed.settle_cancelled_first();
        }
        let from = if is_cancelled_first { 2 } else { 0 };
        (from..changes.len()).for_each(|number| disturbed.settle_change(number));
        let orders = changes.last().map_or(0, |last| last.truth.number);
        assert_eq!(
            u32::try_from(disturbed.known.periods().iter().count()),
            Ok(orders),
            "life {seed}"
        );
    }
    let is_frequent = |one: &Disturbance| counts.get(one).is_some_and(|count| *count > LIVES / 10);
    assert!(Disturbance::ALL.iter().all(is_frequent), "{counts:?}");
    let cancelled_first = counts.get(&Disturbance::CancelledFirst);
    assert!(cancelled_first > Some(&(LIVES / 50)), "{counts:?}");
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
            chance.shuffle(&mut window);
            // A part of the notifications arrives behind the answer.
            let place = chance.index(window.len());
            let is_late = chance.percent(30);
            let late = window.split_off(if is_late { place } else { window.len() });
            let answer = verified(snapshot(&change.truth.answer()));
            let decision = settle(&known, &std::mem::replace(&mut window, late), &answer);
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
