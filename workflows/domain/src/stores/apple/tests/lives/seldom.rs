//! Lives that are settled now and then, with what arrived by then: nothing is announced twice, and at last the truth is
//! shown.

use super::changes::life;
use super::truth::{Message, Truth};
use super::{Counts, Disturbance, SECOND, Settled, assert_none, index, shuffle};
use crate::decide::tests::lives::chance::{Chance, seeds};
use crate::time::{MINUTE, Timestamp};

/// A life that is settled after several changes, whose notifications may arrive behind later ones.
struct SeldomSettled<'a> {
    settled: Settled<'a>,
    chance: Chance,
    window: Vec<Message>,
    /// Late notifications, each with the number of the change with which it arrives.
    late: Vec<(usize, Message)>,
    /// Whether a notification arrived behind later ones.
    has_been_late: bool,
    /// Notifications that arrive at last.
    last: Vec<Message>,
    /// The signing time of the newest content that is settled.
    newest: Timestamp,
    counts: &'a mut Counts,
}

impl SeldomSettled<'_> {
    /// Lets the notification of a change arrive, and settles now and then.
    fn arrive(&mut self, number: usize) {
        let change = &self.settled.changes[number];
        let message = change.message.clone();
        let luck = self.chance.below(100);
        if number > 0 && luck < 12 && self.settled.has_key {
            self.counts.count(Disturbance::Lost);
            self.last.push(message);
        } else if number > 0 && luck < 35 {
            self.counts.count(Disturbance::Late);
            self.has_been_late = true;
            let later = index(&mut self.chance, 3);
            self.late.push((number + 1 + later, message));
        } else {
            self.window.push(message);
        }
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(due, _)| *due <= number);
        self.late = late;
        self.window
            .extend(due.into_iter().map(|(_, message)| message));
        if !self.window.is_empty() && self.chance.percent(45) {
            let window = std::mem::take(&mut self.window);
            self.settle(window, &change.truth, change.truth.at.plus(MINUTE));
        }
    }

    fn settle(&mut self, mut window: Vec<Message>, truth: &Truth, now: Timestamp) {
        if self.chance.percent(20) {
            window.extend(window.clone());
            self.counts.count(Disturbance::Doubled);
        }
        if window.len() > 1 {
            shuffle(&mut self.chance, &mut window);
            self.counts.count(Disturbance::Reordered);
        }
        let signed = window.iter().map(|message| message.signed_at);
        self.newest = signed.fold(self.newest, Timestamp::max);
        self.settled.settle(&window, truth, now);
        self.check(truth);
        if self.settled.has_key && self.chance.percent(25) {
            self.settled.settle(&[], truth, now.plus(MINUTE));
            self.check(truth);
        }
    }

    /// Compares with the truth, if what is settled shows it.
    fn check(&mut self, truth: &Truth) {
        let changes = self.settled.changes.iter();
        let mut newest = changes.filter(|one| one.truth.at <= truth.at);
        let is_newest = newest.all(|one| one.message.signed_at <= self.newest);
        // Without a key, what is late is not known; a renewal is signed before it begins.
        let is_running = truth.period().bought_at <= truth.at;
        let is_known = self.settled.has_queried || is_newest;
        if is_known && is_running && self.settled.has_key {
            let found = self.settled.known.state();
            let fault = format!("{found:?} in place of {:?}", truth.state);
            self.settled.check(found == truth.state, &fault);
        }
    }

    /// Lets all that is left arrive, and compares with the truth.
    fn finish(mut self) -> Option<String> {
        let change = self.settled.changes.last().expect("a change");
        let truth = &change.truth;
        let mut rest = std::mem::take(&mut self.window);
        rest.extend(self.late.drain(..).map(|(_, message)| message));
        rest.append(&mut self.last);
        shuffle(&mut self.chance, &mut rest);
        let later = rest.split_off(index(&mut self.chance, rest.len() + 1));
        let now = truth.at.plus(MINUTE * 5);
        for window in [rest, later] {
            if !window.is_empty() {
                self.settle(window, truth, now);
            }
        }
        // Without a key, what arrives behind later notifications was announced in another way.
        let is_counted = self.settled.has_key || !self.has_been_late;
        let mut settled = self.settled;
        settled.settle(&[], truth, now.plus(MINUTE * 5));
        if is_counted {
            settled.check_state(truth);
        } else {
            let found = settled.known.state();
            settled.check(found == truth.state, &format!("at last {found:?}"));
        }
        let end = settled.known.expires_at();
        // A grace period that nothing showed.
        let is_paid_end = truth.is_halted() && end <= Some(truth.period_end());
        let mut all = settled.changes.iter();
        let is_grace_end = all.any(|one| one.truth.renewal.grace_ends_at == end);
        let is_paid_end = is_paid_end || (truth.is_halted() && is_grace_end);
        settled.check(
            is_paid_end || !is_counted || end == Some(truth.access_until),
            "another end",
        );
        settled.check_money(truth);
        if is_counted {
            settled.check_counts();
        }
        settled.fault
    }
}

#[test]
fn a_life_that_is_seldom_settled_announces_nothing_twice() {
    let lives = seeds().count() as u64;
    let mut counts = Counts::default();
    let mut faults = Vec::new();
    for seed in seeds().map(|seed| seed + SECOND) {
        let mut chance = Chance::new(seed);
        let changes = life(&mut chance);
        let has_key = chance.percent(70);
        let mut seldom = SeldomSettled {
            settled: Settled::new(seed, &changes, has_key),
            chance,
            window: Vec::new(),
            late: Vec::new(),
            has_been_late: false,
            last: Vec::new(),
            newest: Timestamp::default(),
            counts: &mut counts,
        };
        (0..changes.len()).for_each(|number| seldom.arrive(number));
        faults.extend(seldom.finish());
        changes.iter().for_each(|one| counts.count(one.feature));
    }
    assert_none(&faults);
    counts.assert_frequent(
        &[
            Disturbance::Doubled,
            Disturbance::Lost,
            Disturbance::Reordered,
            Disturbance::Late,
        ],
        lives,
    );
}
