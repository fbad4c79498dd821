//! What we hear of a life, and when: windows, wakes, losses, delays, repetitions.

use super::chance::Chance;
use super::store::{DAY, HOUR, Life, MINUTE};
use crate::catalogue::ProductRef;
use crate::decide::arrows::events;
use crate::decide::tests::told;
use crate::decide::{Given, decide};
use crate::notification::{Kind, Notification};
use crate::purchase::{Purchase, State};
use crate::reading::{Parked, Reading};
use crate::time::Timestamp;
use crate::transition::{Transition, What};
use std::collections::{BTreeMap, BTreeSet};

const WINDOW: i64 = 2 * MINUTE;

/// When which word arrives.
pub type Heard = Vec<(Timestamp, Notification)>;

/// One settling, as the fixture writes arrows: who was asked, the old state, the words, the new one, the events.
pub type Step = (bool, State, Vec<Kind>, State, Vec<String>);

/// What we made of a life.
#[derive(Debug, Default)]
pub struct Made {
    pub known: Purchase,
    pub tells: Vec<Transition>,
    pub steps: BTreeMap<Step, u64>,
    pub reads: Vec<Timestamp>,
    /// Each notification, by its number, and how many outcomes it got.
    pub outcomes: BTreeMap<i64, usize>,
    can_ask: bool,
    /// Whether the store sometimes fails.
    faults: Option<Chance>,
    /// How the store lags, if it does.
    lag: Option<u64>,
    /// The SKU of each payment that was announced, and the number of its term.
    pub charges: Vec<(Option<String>, Option<u64>)>,
    /// The first failure in a row.
    unreachable_since: Option<Timestamp>,
    /// What has no outcome yet.
    waiting: Vec<(i64, Notification)>,
    /// The store does not know it any more: the time of the reading that said so is in the record.
    pub is_gone: bool,
}

/// Every word, six seconds after it was said.
pub fn promptly(life: &Life) -> Heard {
    life.words.iter().map(|word| (word.store_time.plus_millis(6_000), word.clone())).collect()
}

/// A third of the words is lost, but never the first one, nor one that alone could tell.
pub fn with_losses(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0xff);
    let mut heard = promptly(life);
    let mut is_first = true;
    heard.retain(|(_, word)| {
        let is_vital = life.vital.contains(&(word.store_time, word.kind)) || std::mem::take(&mut is_first);
        !chance.percent(33) || is_vital
    });
    heard
}

/// Any word can be lost, and most are. An OFF can be so late that a reading shows what undid it.
pub fn in_part(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0xf);
    let mut heard = promptly(life);
    heard.retain(|_| chance.percent(45));
    for (time, _) in heard.iter_mut().filter(|(_, word)| word.kind == Kind::AutoRenewalOff) {
        *time = time.plus_millis(if chance.percent(50) { 15 * MINUTE } else { 0 });
    }
    heard.sort_by_key(|(time, word)| (*time, word.store_time));
    heard
}

/// One word only: any kind as likely as any other, and rather one after which something else happens at once.
pub fn once(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0x1f);
    let heard = promptly(life);
    let followed = |at: &usize| {
        let next = heard.get(at + 1).map(|(time, word)| (time.millis_since(heard[*at].0), word.kind));
        next.is_some_and(|(after, kind)| (20_000..WINDOW).contains(&after) && kind != heard[*at].1.kind)
    };
    let hasty: Vec<_> = (0..heard.len()).filter(followed).collect();
    let kinds: Vec<_> = heard.iter().map(|(_, word)| word.kind).collect::<BTreeSet<_>>().into_iter().collect();
    let kind = chance.pick(&kinds);
    let alike: Vec<_> = (0..heard.len()).filter(|at| heard[*at].1.kind == kind).collect();
    let one = if hasty.is_empty() || chance.percent(50) { chance.pick(&alike) } else { chance.pick(&hasty) };
    heard.into_iter().skip(one).take(1).collect()
}

/// Words are hours or days late, change places and come twice. The first one comes first.
pub fn with_delays(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0xfff);
    let mut heard = promptly(life);
    for at in 0..heard.len() {
        let is_first = heard[at].1.store_time.millis_since(life.words[0].store_time) < 4_000;
        let is_prompt = life.prompt.contains(&(heard[at].1.store_time, heard[at].1.kind));
        if !is_first && !is_prompt && chance.percent(40) {
            heard[at].0 = heard[at].0.plus_millis(chance.below(3 * DAY));
        }
        if chance.percent(20) {
            let (time, word) = heard[at].clone();
            heard.push((time.plus_millis(chance.below(2 * DAY)), word));
        }
    }
    heard.sort_by_key(|(time, word)| (*time, word.store_time));
    heard
}

/// An admin tells of it some time after it began; no word before that was heard.
pub fn with_adoption(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0xffff);
    let Some((first, word)) = promptly(life).into_iter().next() else { return Vec::new() };
    let lasted = life.ends.millis_since(first) + DAY;
    let time = first.plus_millis(chance.below(lasted));
    let adopted = Notification { store_time: time, ..told(Kind::Adopted, 0) };
    let later = promptly(life).into_iter().filter(|(heard, _)| *heard > time);
    let adopted = Notification { collapse_key: word.collapse_key, ..adopted };
    std::iter::once((time, adopted)).chain(later).collect()
}

/// Settles what is heard, window by window and wake by wake, until long after the end.
pub fn hear(life: &Life, heard: &Heard, can_ask: bool) -> Made {
    hear_as(life, heard, Made { can_ask, ..Made::default() })
}

/// The same, while the store cannot be reached or does not accept the receipt now and then.
pub fn hear_with_faults(life: &Life, heard: &Heard, seed: u64) -> Made {
    hear_as(life, heard, Made { can_ask: true, faults: Some(Chance::new(seed ^ 0xf_ffff)), ..Made::default() })
}

/// The same by a store that lags.
pub fn hear_late(life: &Life, heard: &Heard, seed: u64) -> Made {
    hear_as(life, heard, Made { can_ask: true, lag: Some(seed ^ 0xff_ffff), ..Made::default() })
}

/// A third of the notifications is lost as in [`with_losses`], and others come twice, the second time hours later.
pub fn with_losses_and_repetitions(life: &Life, seed: u64) -> Heard {
    let mut chance = Chance::new(seed ^ 0xfff_ffff);
    let mut heard = with_losses(life, seed);
    for at in 0..heard.len() {
        if chance.percent(30) {
            let (time, word) = heard[at].clone();
            heard.push((time.plus_millis(chance.below(3 * HOUR)), word));
        }
    }
    heard.sort_by_key(|(time, word)| (*time, word.store_time));
    heard
}

fn hear_as(life: &Life, heard: &Heard, mut made: Made) -> Made {
    let can_ask = made.can_ask;
    let until = heard.iter().map(|(time, _)| *time).max().unwrap_or(life.ends).max(life.ends).plus_millis(16 * DAY);
    // What links a receipt to the one it replaced wakes it.
    let mut linked = life.replaced_at.map(|at| at.plus_millis(3 * MINUTE));
    let mut wake: Option<Timestamp> = None;
    let mut window = Vec::new();
    let mut rest = heard.iter().peekable();
    loop {
        let quiet = window.last().map(|(time, _): &(Timestamp, Notification)| time.plus_millis(WINDOW));
        let arrives = rest.peek().map(|(time, _)| *time);
        let settles = [quiet, wake, linked].into_iter().flatten().min();
        match (arrives, settles) {
            (Some(arrives), settles) if settles.is_none_or(|settles| arrives <= settles) => {
                window.extend(rest.next().cloned());
            }
            (_, Some(settles)) if settles <= until => {
                linked = linked.filter(|at| *at > settles);
                wake = made.settle(life, settles, &mut window);
            }
            _ => break,
        }
    }
    made.faults = None;
    made.settle(life, until, &mut window);
    made.is_gone = can_ask && life.read(until) == Reading::Gone;
    made
}

/// The terms that the transitions of one settling say to be paid.
fn payments(transitions: &[Transition]) -> Vec<Option<u64>> {
    let is_trial = transitions.iter().any(|one| one.what == What::TrialStarted);
    let pays = |one: &&Transition| match one.what {
        What::Renewed | What::Recovered => true,
        What::Purchased => !is_trial,
        What::PlanChanged => one.cycle == Some(1) && !is_trial,
        _ => false,
    };
    transitions.iter().filter(pays).map(|one| one.cycle).collect()
}

impl Made {
    fn ask(&mut self, life: &Life, now: Timestamp) -> Reading {
        let since = self.unreachable_since.take();
        if let Some(seed) = self.lag {
            return life.read_late(now, seed);
        }
        let Some(chance) = &mut self.faults else { return life.read(now) };
        let is_reachable = since.is_some_and(|since| now.millis_since(since) >= DAY) || chance.percent(70);
        if is_reachable {
            return life.read(now);
        }
        if chance.percent(30) {
            return Reading::Parked(chance.pick(&[Parked::UnknownReceipt, Parked::WrongCustomer]));
        }
        self.unreachable_since = since.or(Some(now));
        Reading::Unreachable { since: since.unwrap_or(now) }
    }

    fn settle(&mut self, life: &Life, now: Timestamp, window: &mut Heard) -> Option<Timestamp> {
        let can_ask = self.can_ask;
        let reading = if can_ask { self.ask(life, now) } else { Reading::Unverifiable };
        let is_replaced = life.replaced_at.is_some_and(|at| at <= now);
        for (_, word) in window.drain(..) {
            let number = i64::try_from(self.outcomes.len()).unwrap();
            self.outcomes.insert(number, 0);
            self.waiting.push((number, word));
        }
        let told = std::mem::take(&mut self.waiting);
        let decision = decide(&self.known, &told, Given { reading: &reading, is_replaced, now });
        let mut words: Vec<_> = told.iter().map(|(_, word)| (word.store_time, word.kind)).collect();
        words.sort_unstable();
        let words = words.into_iter().map(|(_, kind)| kind).collect();
        let step = (can_ask, self.known.state(), words, decision.purchase.state(), events(&decision));
        *self.steps.entry(step).or_default() += 1;
        for (number, _) in &decision.outcomes {
            *self.outcomes.get_mut(number).unwrap() += 1;
        }
        let is_open = |number: &i64| decision.outcomes.iter().all(|(decided, _)| decided != number);
        self.waiting = told.into_iter().filter(|(number, _)| is_open(number)).collect();
        let paid = payments(&decision.transitions);
        let sku = decision.purchase.sku(ProductRef::Term).map(str::to_owned);
        self.charges.extend(paid.into_iter().map(|cycle| (sku.clone(), cycle)));
        self.tells.extend(decision.transitions);
        self.known = decision.purchase;
        self.reads.push(now);
        decision.wake
    }
}
