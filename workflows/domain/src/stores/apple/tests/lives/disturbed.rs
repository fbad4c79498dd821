//! Lives of which each change is settled by itself: what is announced is exactly what happened.

use super::changes::{Change, Feature, life};
use super::truth::Message;
use super::{Counts, Disturbance, Settled, assert_none, index, shuffle};
use crate::decide::tests::lives::chance::{Chance, seeds};
use crate::time::MINUTE;

/// A life of which each change is settled by itself, with disturbances.
struct DisturbedLife<'a> {
    settled: Settled<'a>,
    chance: Chance,
    /// Notifications that arrive with the next change, and those that arrive at last.
    late: Vec<Message>,
    last: Vec<Message>,
    arrived: Vec<Message>,
    counts: &'a mut Counts,
}

impl DisturbedLife<'_> {
    /// Settles a change, and what follows it at once. Returns the number of settled changes.
    fn settle_change(&mut self, number: usize) -> usize {
        let change = &self.settled.changes[number];
        let next = self.settled.changes.get(number + 1);
        let is_refunded = |next: &&Change| {
            let is_renewal = matches!(change.feature, Feature::Renewed | Feature::SignedBefore);
            let is_paid = change.expected == "renewed" && is_renewal;
            next.feature == Feature::Refunded && is_paid
        };
        let is_resumed =
            |next: &&Change| (change.feature, next.feature) == (Feature::Off, Feature::On);
        if let Some(next) = next.filter(is_refunded).filter(|_| self.chance.percent(60)) {
            self.settle_behind_refund(change, next);
            return 2;
        }
        if let Some(next) = next.filter(is_resumed).filter(|_| self.chance.percent(60)) {
            self.settle_same_instant(change, next);
            return 2;
        }
        let found = self.settle_disturbed(change, number == 0);
        let of = format!("change {number}, {:?}", change.feature);
        self.settled.check_events(&found, &change.expected, &of);
        1
    }

    fn settle_disturbed(&mut self, change: &Change, is_first: bool) -> String {
        let is_hidden = change.message.facts.transactions[0].transaction_id != change.truth.current;
        let luck = if is_first { 0 } else { self.chance.below(100) };
        let now = change.truth.at.plus(MINUTE);
        let mut window = std::mem::take(&mut self.late);
        if luck < 60 || is_hidden {
            let mut message = change.message.clone();
            if self.chance.percent(12) && !is_first {
                message.facts.renewals.clear();
                self.counts.count(Disturbance::Alone);
            }
            window.push(message);
            self.disturb(&mut window);
            return self.settled.settle(&window, &change.truth, now);
        }
        self.disturb(&mut window);
        let late = self.settled.settle(&window, &change.truth, now);
        if luck < 80 {
            self.late.push(change.message.clone());
            self.counts.count(Disturbance::Ahead);
        } else {
            self.counts.count(Disturbance::Lost);
            if luck < 90 {
                self.last.push(change.message.clone());
            }
        }
        let found = self.settled.settle(&[], &change.truth, now.plus(MINUTE));
        let both = [late, found];
        let both: Vec<_> = both.iter().filter(|one| !one.is_empty()).cloned().collect();
        both.join(" ")
    }

    /// Repeats notifications of a window and of earlier ones, and shuffles all.
    fn disturb(&mut self, window: &mut Vec<Message>) {
        if !window.is_empty() && self.chance.percent(20) {
            window.extend(window.clone());
            self.counts.count(Disturbance::Doubled);
        }
        if !self.arrived.is_empty() && self.chance.percent(20) {
            let place = self.index(self.arrived.len());
            window.push(self.arrived[place].clone());
            self.counts.count(Disturbance::Doubled);
        }
        self.shuffle(window);
        self.arrived.extend_from_slice(window);
    }

    fn index(&mut self, count: usize) -> usize {
        index(&mut self.chance, count)
    }

    fn shuffle(&mut self, window: &mut [Message]) {
        if window.len() > 1 {
            shuffle(&mut self.chance, window);
            self.counts.count(Disturbance::Reordered);
        }
    }

    /// Settles a refund with, or before, the renewal that it refunds.
    fn settle_behind_refund(&mut self, renewal: &Change, refund: &Change) {
        self.counts.count(Disturbance::BehindRefund);
        let now = refund.truth.at.plus(MINUTE);
        let mut window = std::mem::take(&mut self.late);
        window.push(refund.message.clone());
        if self.chance.percent(50) {
            window.push(renewal.message.clone());
            self.disturb(&mut window);
            let found = self.settled.settle(&window, &refund.truth, now);
            self.settled
                .check_events(&found, "renewed expired", "one window");
            return;
        }
        self.disturb(&mut window);
        let expected = if self.settled.known.state().is_active() == Some(true) {
            "expired"
        } else {
            ""
        };
        let found = self.settled.settle(&window, &refund.truth, now);
        self.settled.check_events(&found, expected, "two windows");
        let late = std::slice::from_ref(&renewal.message);
        let found = self.settled.settle(late, &refund.truth, now.plus(MINUTE));
        self.settled.check_events(&found, "", "two windows");
    }

    /// Lets all that is left arrive, and compares with the truth.
    fn finish(mut self) -> Option<String> {
        let truth = &self.settled.changes.last().expect("a change").truth;
        let mut rest = std::mem::take(&mut self.late);
        rest.append(&mut self.last);
        self.shuffle(&mut rest);
        let mut settled = self.settled;
        let found = settled.settle(&rest, truth, truth.at.plus(MINUTE * 5));
        settled.check_events(&found, "", "repair");
        settled.check_state(truth);
        settled.check_end(truth);
        settled.check_money(truth);
        settled.fault
    }

    /// Settles two changes that were signed at one instant.
    fn settle_same_instant(&mut self, first: &Change, second: &Change) {
        self.counts.count(Disturbance::SameInstant);
        let mut window = std::mem::take(&mut self.late);
        let mut message = first.message.clone();
        message.sign_again(second.message.signed_at);
        window.extend([message, second.message.clone()]);
        self.disturb(&mut window);
        let now = second.truth.at.plus(MINUTE);
        let found = self.settled.settle(&window, &second.truth, now);
        // A planned change is announced before them.
        self.settled
            .check_events(&found, "cancelled resumed", "one instant");
    }
}

#[test]
fn each_change_of_a_life_is_announced_once() {
    let lives = seeds().count() as u64;
    let mut counts = Counts::default();
    let mut faults = Vec::new();
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        let changes = life(&mut chance);
        let mut disturbed = DisturbedLife {
            settled: Settled::new(seed, &changes, true),
            chance,
            late: Vec::new(),
            last: Vec::new(),
            arrived: Vec::new(),
            counts: &mut counts,
        };
        let mut number = 0;
        while number < changes.len() && disturbed.settled.fault.is_none() {
            let count = disturbed.settle_change(number);
            number += count;
            let truth = &changes[number - 1].truth;
            disturbed.settled.check_state(truth);
            disturbed.settled.check_end(truth);
            changes[number - count..number]
                .iter()
                .for_each(|one| disturbed.counts.count(one.feature));
        }
        faults.extend(disturbed.finish());
    }
    assert_none(&faults);
    counts.assert_frequent(&Feature::ALL, lives);
    counts.assert_frequent(
        &[
            Disturbance::Ahead,
            Disturbance::Doubled,
            Disturbance::Lost,
            Disturbance::Reordered,
            Disturbance::SameInstant,
            Disturbance::Alone,
            Disturbance::BehindRefund,
        ],
        lives,
    );
}
