//! Replays of lives: how notifications arrive (with losses, delays, repetitions) and are settled in windows and at
//! wakes.

use super::chance::Chance;
use super::store::{DAY, HOUR, Life, MINUTE};
use crate::catalogue::ProductRef;
use crate::decide::tests::arrows::events;
use crate::decide::tests::notification;
use crate::decide::{SettlingContext, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};
use crate::verification::{Parked, Verification};
use std::collections::{BTreeMap, BTreeSet};

const WINDOW: i64 = 2 * MINUTE;

/// The notifications of a life, each with its time of arrival.
pub type Arrivals = Vec<(Timestamp, Notification)>;

/// One settling in the fixture's notation of arrows: whether the store can be queried, the old state, the kinds, the
/// new state, the events.
pub type Step = (bool, State, Vec<NotificationKind>, State, Vec<String>);

#[derive(Debug, Default)]
pub struct Replay {
    pub known: Purchase,
    pub transitions: Vec<Transition>,
    /// The transitions of each settling, by its time.
    pub settlings: Vec<(Timestamp, Vec<Transition>)>,
    pub steps: BTreeMap<Step, u64>,
    pub reads: Vec<Timestamp>,
    /// The number of outcomes of each notification, by sequence number.
    pub outcomes: BTreeMap<i64, usize>,
    can_query: bool,
    faults: Option<Chance>,
    /// The seed of the store's lag; `None` if it does not lag.
    lag: Option<u64>,
    /// The SKU of each announced payment, and the number of its term.
    pub charges: Vec<(Option<String>, Option<u64>)>,
    /// The time of the first of the current consecutive failures.
    unreachable_since: Option<Timestamp>,
    /// The notifications without an outcome.
    waiting: Vec<(i64, Notification)>,
    /// Whether the purchase is no longer valid. The time of that answer is in the record.
    pub is_gone: bool,
}

/// Returns every notification, arriving six seconds after its time.
pub fn promptly(life: &Life) -> Arrivals {
    life.reports
        .iter()
        .map(|report| (report.store_time.plus_millis(6_000), report.clone()))
        .collect()
}

/// Returns the notifications without a third of them. The first one and vital ones are never lost.
pub fn with_losses(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0xff);
    let mut arrivals = promptly(life);
    let mut is_first = true;
    arrivals.retain(|(_, report)| {
        let is_vital =
            life.vital.contains(&(report.store_time, report.kind)) || std::mem::take(&mut is_first);
        !chance.percent(33) || is_vital
    });
    arrivals
}

/// Returns fewer than half of the notifications; any of them can be lost. An OFF can arrive so late that a snapshot
/// shows what undid it.
pub fn in_part(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0xf);
    let mut arrivals = promptly(life);
    arrivals.retain(|_| chance.percent(45));
    for (time, _) in arrivals
        .iter_mut()
        .filter(|(_, report)| report.kind == NotificationKind::AutoRenewalOff)
    {
        *time = time.plus_millis(if chance.percent(50) { 15 * MINUTE } else { 0 });
    }
    arrivals.sort_by_key(|(time, report)| (*time, report.store_time));
    arrivals
}

/// Returns a single notification. Each kind is equally likely; one that another event soon follows is preferred.
pub fn once(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0x1f);
    let arrivals = promptly(life);
    let followed = |at: &usize| {
        let next = arrivals
            .get(at + 1)
            .map(|(time, report)| (time.millis_since(arrivals[*at].0), report.kind));
        next.is_some_and(|(after, kind)| {
            (20_000..WINDOW).contains(&after) && kind != arrivals[*at].1.kind
        })
    };
    let hasty: Vec<_> = (0..arrivals.len()).filter(followed).collect();
    let kinds: Vec<_> = arrivals
        .iter()
        .map(|(_, report)| report.kind)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let kind = chance.pick(&kinds);
    let alike: Vec<_> = (0..arrivals.len())
        .filter(|at| arrivals[*at].1.kind == kind)
        .collect();
    let one = if hasty.is_empty() || chance.percent(50) {
        chance.pick(&alike)
    } else {
        chance.pick(&hasty)
    };
    arrivals.into_iter().skip(one).take(1).collect()
}

/// Returns the notifications hours or days late, out of order and repeated. The first one still arrives first.
pub fn with_delays(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0xfff);
    let mut arrivals = promptly(life);
    for at in 0..arrivals.len() {
        let is_first = arrivals[at]
            .1
            .store_time
            .millis_since(life.reports[0].store_time)
            < 4_000;
        let is_prompt = life
            .prompt
            .contains(&(arrivals[at].1.store_time, arrivals[at].1.kind));
        if !is_first && !is_prompt && chance.percent(40) {
            arrivals[at].0 = arrivals[at].0.plus_millis(chance.below(3 * DAY));
        }
        if chance.percent(20) {
            let (time, report) = arrivals[at].clone();
            arrivals.push((time.plus_millis(chance.below(2 * DAY)), report));
        }
    }
    arrivals.sort_by_key(|(time, report)| (*time, report.store_time));
    arrivals
}

/// Returns an import by an admin some time after the beginning. No notification from before the import arrives.
pub fn with_adoption(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0xffff);
    let Some((first, report)) = promptly(life).into_iter().next() else {
        return Vec::new();
    };
    let lasted = life.ends.millis_since(first) + DAY;
    let time = first.plus_millis(chance.below(lasted));
    let adopted = Notification {
        store_time: time,
        ..notification(NotificationKind::Adopted, 0)
    };
    let later = promptly(life)
        .into_iter()
        .filter(|(arrivals, _)| *arrivals > time);
    let adopted = Notification {
        collapse_key: report.collapse_key,
        ..adopted
    };
    std::iter::once((time, adopted)).chain(later).collect()
}

/// Settles the arrivals, window by window and wake by wake, until long after the end of the life.
pub fn settle_life(life: &Life, arrivals: &Arrivals, can_query: bool) -> Replay {
    settle_all(
        life,
        arrivals,
        Replay {
            can_query,
            ..Replay::default()
        },
    )
}

/// Settles the arrivals by a store that sometimes cannot be reached or does not accept the purchase.
pub fn settle_with_faults(life: &Life, arrivals: &Arrivals, seed: u64) -> Replay {
    settle_all(
        life,
        arrivals,
        Replay {
            can_query: true,
            faults: Some(Chance::new(seed ^ 0xf_ffff)),
            ..Replay::default()
        },
    )
}

/// Settles the arrivals by a store that lags.
pub fn settle_lagging(life: &Life, arrivals: &Arrivals, seed: u64) -> Replay {
    settle_all(
        life,
        arrivals,
        Replay {
            can_query: true,
            lag: Some(seed ^ 0xff_ffff),
            ..Replay::default()
        },
    )
}

/// Loses a third of the notifications, as in [`with_losses`]. Others are repeated hours later.
pub fn with_losses_and_repetitions(life: &Life, seed: u64) -> Arrivals {
    let mut chance = Chance::new(seed ^ 0xfff_ffff);
    let mut arrivals = with_losses(life, seed);
    for at in 0..arrivals.len() {
        if chance.percent(30) {
            let (time, report) = arrivals[at].clone();
            arrivals.push((time.plus_millis(chance.below(3 * HOUR)), report));
        }
    }
    arrivals.sort_by_key(|(time, report)| (*time, report.store_time));
    arrivals
}

fn settle_all(life: &Life, arrivals: &Arrivals, mut replay: Replay) -> Replay {
    let can_query = replay.can_query;
    let until = arrivals
        .iter()
        .map(|(time, _)| *time)
        .max()
        .unwrap_or(life.ends)
        .max(life.ends)
        .plus_millis(16 * DAY);
    // The notification that links a purchase to the one that it replaced wakes that one.
    let mut linked = life.replaced_at.map(|at| at.plus_millis(3 * MINUTE));
    let mut wake: Option<Timestamp> = None;
    let mut window = Vec::new();
    let mut rest = arrivals.iter().peekable();
    loop {
        let quiet = window
            .last()
            .map(|(time, _): &(Timestamp, Notification)| time.plus_millis(WINDOW));
        let arrives = rest.peek().map(|(time, _)| *time);
        let settles = [quiet, wake, linked].into_iter().flatten().min();
        match (arrives, settles) {
            (Some(arrives), settles) if settles.is_none_or(|settles| arrives <= settles) => {
                window.extend(rest.next().cloned());
            }
            (_, Some(settles)) if settles <= until => {
                linked = linked.filter(|at| *at > settles);
                wake = replay.settle(life, settles, &mut window);
            }
            _ => break,
        }
    }
    replay.faults = None;
    replay.settle(life, until, &mut window);
    replay.is_gone = can_query && life.read(until) == Verification::Gone;
    replay
}

/// Returns the terms that the transitions of one settling pay.
fn payments(transitions: &[Transition]) -> Vec<Option<u64>> {
    let is_trial = transitions
        .iter()
        .any(|one| one.kind == TransitionKind::TrialStarted);
    let pays = |one: &&Transition| match one.kind {
        TransitionKind::Renewed | TransitionKind::Recovered => true,
        TransitionKind::Purchased => !is_trial,
        TransitionKind::PlanChanged => one.cycle == Some(1) && !is_trial,
        _ => false,
    };
    transitions
        .iter()
        .filter(pays)
        .map(|one| one.cycle)
        .collect()
}

impl Replay {
    fn query(&mut self, life: &Life, now: Timestamp) -> Verification {
        let since = self.unreachable_since.take();
        if let Some(seed) = self.lag {
            return life.show_late(now, seed);
        }
        let Some(chance) = &mut self.faults else {
            return life.read(now);
        };
        let is_reachable =
            since.is_some_and(|since| now.millis_since(since) >= DAY) || chance.percent(70);
        if is_reachable {
            return life.read(now);
        }
        if chance.percent(30) {
            return Verification::Parked(
                chance.pick(&[Parked::UnknownReceipt, Parked::WrongCustomer]),
            );
        }
        self.unreachable_since = since.or(Some(now));
        Verification::Unreachable {
            since: since.unwrap_or(now),
        }
    }

    fn settle(&mut self, life: &Life, now: Timestamp, window: &mut Arrivals) -> Option<Timestamp> {
        let can_query = self.can_query;
        let verification = if can_query {
            self.query(life, now)
        } else {
            Verification::Unverifiable
        };
        let is_replaced = life.replaced_at.is_some_and(|at| at <= now);
        for (_, report) in window.drain(..) {
            let number = i64::try_from(self.outcomes.len()).unwrap();
            self.outcomes.insert(number, 0);
            self.waiting.push((number, report));
        }
        let reported = std::mem::take(&mut self.waiting);
        let decision = decide(
            &self.known,
            &reported,
            SettlingContext {
                policy: crate::StorePolicy::default(),
                verification: &verification,
                is_replaced,
                now,
            },
        );
        let mut reports: Vec<_> = reported
            .iter()
            .map(|(_, report)| (report.store_time, report.kind))
            .collect();
        reports.sort_unstable();
        let reports = reports.into_iter().map(|(_, kind)| kind).collect();
        let step = (
            can_query,
            self.known.state(),
            reports,
            decision.purchase.state(),
            events(&decision),
        );
        *self.steps.entry(step).or_default() += 1;
        for (number, _) in &decision.outcomes {
            *self.outcomes.get_mut(number).unwrap() += 1;
        }
        let is_open = |number: &i64| {
            decision
                .outcomes
                .iter()
                .all(|(decided, _)| decided != number)
        };
        self.waiting = reported
            .into_iter()
            .filter(|(number, _)| is_open(number))
            .collect();
        let paid = payments(&decision.transitions);
        let sku = decision.purchase.sku(ProductRef::Term).map(str::to_owned);
        self.charges
            .extend(paid.into_iter().map(|cycle| (sku.clone(), cycle)));
        self.transitions.extend(&decision.transitions);
        self.settlings.push((now, decision.transitions));
        self.known = decision.purchase;
        self.reads.push(now);
        decision.wake
    }
}
