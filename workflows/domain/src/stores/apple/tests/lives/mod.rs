//! Random lives of a subscription against a simulated truth: notifications that are lost, repeated, late, in any order,
//! of one instant, signed before what they announce, and without renewal information.

mod changes;
mod disturbed;
mod endings;
mod ledger;
mod seldom;
mod sequence;
mod truth;

use super::events;
use crate::decide::tests::lives::chance;
use crate::decide::{SettlingContext, decide};
use crate::notification::Notification;
use crate::purchase::{Purchase, State};
use crate::stores::apple::{Doubt, PurchaseFacts, TransactionCause, TransactionFact};
use crate::stores::tests::signed;
use crate::time::Timestamp;
use crate::verification::{SAME, Verification};
use chance::Chance;
use changes::{Change, Feature};
use ledger::Ledger;
use sequence::Sequence;
use std::collections::BTreeMap;
use std::fmt::Debug;
use truth::{Message, Truth};

/// Where the seeds of the second test begin.
const SECOND: u64 = 1_000_000;

/// A disturbance of what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    /// An answer shows a change before its notification arrives.
    Ahead,
    Doubled,
    Lost,
    /// The notifications of a window arrive in any order.
    Reordered,
    /// Two notifications have one signing time.
    SameInstant,
    /// A transaction arrives without renewal information.
    Alone,
    /// A renewal arrives behind its refund.
    BehindRefund,
    /// Notifications arrive behind later ones.
    Late,
}

/// How often each change and disturbance happened, by its name.
#[derive(Debug, Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn count(&mut self, what: impl Debug) {
        *self.0.entry(format!("{what:?}")).or_default() += 1;
    }

    /// Fails unless each of these happened often enough in this number of lives.
    fn assert_frequent(&self, all: &[impl Debug], lives: u64) {
        for one in all {
            let count = self.0.get(&format!("{one:?}"));
            assert!(count > Some(&(lives / 20)), "{one:?}: {self:#?}");
        }
    }
}

/// A life as settle sees it.
struct Settled<'a> {
    seed: u64,
    changes: &'a [Change],
    known: Purchase,
    ledger: Ledger,
    sequence: Sequence,
    /// Whether the platform has a key to query Apple with.
    has_key: bool,
    /// Whether the last settling queried the state.
    has_queried: bool,
    log: Vec<String>,
    /// The first fault, with the story of the life until then.
    fault: Option<String>,
}

impl<'a> Settled<'a> {
    fn new(seed: u64, changes: &'a [Change], has_key: bool) -> Self {
        Self {
            seed,
            changes,
            known: Purchase::default(),
            ledger: Ledger::default(),
            sequence: Sequence::default(),
            has_key,
            has_queried: false,
            log: Vec::new(),
            fault: None,
        }
    }

    /// Settles what was signed, after the queries that it leaves open. Returns the events.
    fn settle(&mut self, window: &[Message], truth: &Truth, now: Timestamp) -> String {
        let mut facts = PurchaseFacts::default();
        for message in window {
            let shown = message.facts.clone();
            facts.transactions.extend(shown.transactions);
            facts.renewals.extend(shown.renewals);
        }
        self.query(&mut facts, truth, now);
        if facts.is_empty() {
            return String::new();
        }
        let Some(shown) = facts.snapshot(Some(&self.known)) else {
            self.check(false, "nothing is shown");
            return String::new();
        };
        let verification = Verification::Verified(Box::new(shown));
        let reported: Vec<Notification> = window.iter().map(Message::notification).collect();
        let reported: Vec<_> = (1..).zip(reported).collect();
        let context = SettlingContext {
            policy: signed(),
            verification: &verification,
            is_replaced: false,
            now,
        };
        let decision = decide(&self.known, &reported, context);
        self.ledger.book(&decision);
        let found = events(&decision);
        let kinds: Vec<_> = window
            .iter()
            .map(|one| (one.kind, one.signed_at.to_string()))
            .collect();
        self.log.push(format!(
            "{now}: {kinds:?} queried {}: {found:?}, {:?}",
            self.has_queried,
            decision.purchase.state()
        ));
        for event in found.split_whitespace() {
            let is_allowed = self.sequence.follow(event);
            self.check(is_allowed, &format!("{event} cannot follow"));
        }
        self.known = decision.purchase;
        found
    }

    /// Queries what the facts leave open, as the check does.
    fn query(&mut self, facts: &mut PurchaseFacts, truth: &Truth, now: Timestamp) {
        self.has_queried = false;
        if !self.has_key {
            return;
        }
        let known = Some(&self.known).filter(|known| known.is_shown());
        if facts.doubt(known) == Some(Doubt::Statuses) {
            self.has_queried = true;
            let shown = truth.statuses(now);
            facts.transactions.extend(shown.transactions);
            facts.renewals.extend(shown.renewals);
        }
        if facts.doubt(known) == Some(Doubt::History) {
            let last = known.and_then(Purchase::paid_period);
            let row = truth.renewal.began_at;
            let since = last.map(|period| period.begins_at).or(row);
            let listed = truth.history(since.map(|since| since.minus(SAME)), now);
            if last.is_some() || facts.shows_beginning(row) {
                facts.transactions.extend(listed);
            } else {
                facts.counted = Some(counted(&listed, row, facts));
            }
        }
    }

    fn story(&self) -> String {
        let changes = self.changes.iter().map(|one| {
            let truth = &one.truth;
            let about = &one.message.facts.transactions[0];
            format!(
                "  {} {:?} {:?}: {:?} {} {} until {} next {:?} on {} cycle {} signed {} about {} {}",
                truth.at,
                one.feature,
                one.expected,
                truth.state,
                truth.current,
                truth.renewal.product,
                truth.access_until,
                truth.renewal.next_product,
                truth.renewal.is_on,
                truth.cycle,
                one.message.signed_at,
                about.transaction_id,
                about.bought_at,
            )
        });
        let changes: Vec<_> = changes.collect();
        format!(
            "life {}, key {}\n{}\n{}",
            self.seed,
            self.has_key,
            changes.join("\n"),
            self.log.join("\n")
        )
    }

    /// Remembers the first fault.
    fn check(&mut self, is_right: bool, fault: &str) {
        if !is_right && self.fault.is_none() {
            self.fault = Some(format!("{fault}\n{}", self.story()));
        }
    }

    fn check_events(&mut self, found: &str, expected: &str, of: &str) {
        let fault = format!("{of}: {found:?} in place of {expected:?}");
        self.check(found == expected, &fault);
    }

    fn check_state(&mut self, truth: &Truth) {
        let found = (self.known.state(), self.known.billing_cycles());
        let expected = (truth.state, Some(truth.cycle));
        self.check(
            found == expected,
            &format!("{found:?} in place of {expected:?}"),
        );
    }

    fn check_end(&mut self, truth: &Truth) {
        let found = self.known.expires_at();
        let expected = Some(truth.access_until);
        self.check(
            found == expected,
            &format!("end {found:?} in place of {expected:?}"),
        );
    }

    /// Checks that no event came more often than its change. A payment after a failure that was not seen has another
    /// name, and so has a beginning that arrives behind a later period. A refund may switch renewal off.
    fn check_counts(&mut self) {
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        let mut allow = |event| *left.entry(event).or_default() += 1;
        for change in self.changes {
            for event in change.expected.split_whitespace() {
                match event {
                    "renewed" | "renewal_in_grace_period" => allow("payment"),
                    "purchased" => ["purchased", "sku_change", "payment"].map(&mut allow)[0],
                    other => allow(other),
                }
            }
            let is_refund = matches!(change.feature, Feature::Refunded | Feature::RefundedUnpaid);
            if is_refund && !change.truth.renewal.is_on {
                allow("cancelled");
            }
            // A switch in an account hold that was not seen.
            match (change.feature, change.truth.state) {
                (Feature::OffUnpaid, State::AccountHold) => allow("cancelled"),
                (Feature::On, State::AccountHold) => allow("resumed"),
                // Behind a switch that was not seen either, it is like a new beginning.
                (Feature::UpgradedInHold, _) => {
                    ["resumed", "expired", "purchased"]
                        .into_iter()
                        .for_each(&mut allow);
                }
                _ => {}
            }
        }
        for (event, count) in self.sequence.counts().clone() {
            let about = match event.as_str() {
                "renewed" | "renewal_in_grace_period" => "payment",
                other => other,
            };
            let most = left.get(about).copied().unwrap_or_default();
            self.check(count <= most, &format!("{event} too often"));
        }
    }

    fn check_money(&mut self, truth: &Truth) {
        let wrong = self.ledger.difference(truth);
        self.check(wrong.is_none(), &format!("{wrong:?}"));
    }
}

/// The number of listed periods of this row up to the newest fact.
fn counted(listed: &[TransactionFact], row: Option<Timestamp>, facts: &PurchaseFacts) -> u64 {
    let newest = facts.transactions.iter().map(|fact| fact.bought_at).max();
    let of_row = listed.iter().filter(|one| {
        let is_period = one.cause != TransactionCause::SeatAddition;
        is_period && Some(one.bought_at.plus(SAME)) >= row && Some(one.bought_at) <= newest
    });
    u64::try_from(of_row.count()).expect("a count")
}

fn index(chance: &mut Chance, count: usize) -> usize {
    let count = i64::try_from(count).expect("a count");
    usize::try_from(chance.below(count)).expect("an index")
}

fn shuffle(chance: &mut Chance, window: &mut [Message]) {
    for last in (1..window.len()).rev() {
        let other = index(chance, last + 1);
        window.swap(last, other);
    }
}

/// Fails with the first of these faults.
fn assert_none(faults: &[String]) {
    for fault in faults {
        println!("FAULT {fault}");
    }
    if let Some(first) = faults.first() {
        panic!("{} faulty lives: {first}", faults.len());
    }
}
