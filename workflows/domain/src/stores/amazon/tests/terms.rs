//! Every day on which a subscription can be bought, with every trial and term that the store sells. The subscription is
//! first seen in the middle of its life; each later payment is one renewal of the next cycle, in whatever way it
//! becomes known.

use crate::Decision;
use crate::decide::tests::{notification, settle_with};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::stores::amazon::terms::TRIALS;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Product, Snapshot, Term, Unit, Verification};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const TERMS: [Term; 7] = [
    Term {
        count: 1,
        unit: Unit::Week,
    },
    Term {
        count: 2,
        unit: Unit::Week,
    },
    Term {
        count: 1,
        unit: Unit::Month,
    },
    Term {
        count: 2,
        unit: Unit::Month,
    },
    Term {
        count: 3,
        unit: Unit::Month,
    },
    Term {
        count: 6,
        unit: Unit::Month,
    },
    Term {
        count: 1,
        unit: Unit::Year,
    },
];
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ReportAndSnapshot,
    SnapshotAlone,
    /// The snapshot arrives after a few more reports.
    ReportAlone,
    /// The snapshot does not show the payment for an hour.
    SnapshotLags,
}

const WAYS: [Way; 4] = [
    Way::ReportAndSnapshot,
    Way::SnapshotAlone,
    Way::ReportAlone,
    Way::SnapshotLags,
];
/// How the subscription is first seen.
const SIGHTS: [NotificationKind; 4] = [
    NotificationKind::Adopted,
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOn,
    NotificationKind::OutOfGrace,
];

/// One subscription, as the store knows it.
#[derive(Debug, Clone, Copy)]
struct Sold {
    purchased_at: Timestamp,
    trial: Option<Term>,
    term: Term,
    /// Whether terms keep the day of the month of the purchase, even after a trial of months.
    keeps_day: bool,
}

impl Sold {
    /// Returns the end of the trial or of a paid term after it.
    fn boundary(&self, number: i64) -> Timestamp {
        match self.trial {
            Some(trial)
                if self.keeps_day && (trial.unit, self.term.unit) == (Unit::Month, Unit::Month) =>
            {
                let months = Term {
                    count: 1,
                    unit: Unit::Month,
                };
                let months_passed = i64::from(trial.count) + number * i64::from(self.term.count);
                months.after(self.purchased_at, months_passed).unwrap()
            }
            _ => {
                let anchor = self.trial.map_or(self.purchased_at, |trial| {
                    trial.after(self.purchased_at, 1).unwrap()
                });
                self.term.after(anchor, number).unwrap()
            }
        }
    }

    /// Returns the number of payments after the subscription is first seen: a year of months if a month can be too
    /// short for the day.
    fn renewals(&self) -> i64 {
        let day = self.boundary(1).to_string()[8..10].parse::<u8>().unwrap();
        if day >= 28
            && self.term
                == (Term {
                    count: 1,
                    unit: Unit::Month,
                })
        {
            12
        } else {
            3
        }
    }

    fn shown(&self, at: Timestamp, number: i64) -> Snapshot {
        Snapshot {
            at,
            product: Product::Subscription,
            term_sku: Some("gold".to_owned()),
            term: Some(self.term),
            purchased_at: Some(self.purchased_at),
            renews_at: Some(self.boundary(number)),
            auto_renewing: Some(true),
            ..Snapshot::default()
        }
    }
}

fn read(known: &Purchase, reports: &[Notification], shown: Snapshot) -> Decision {
    let at = shown.at;
    settle_with(known, reports, &Verification::Verified(Box::new(shown)), at)
}

fn report(kind: NotificationKind, at: Timestamp) -> Notification {
    Notification {
        store_time: at,
        ..notification(kind, 0)
    }
}

/// Settles the payment at the end of this term in the given way. Returns the purchase and the transitions.
fn pay(
    known: &Purchase,
    sold: Sold,
    number: i64,
    way: Way,
) -> (Purchase, Vec<(TransitionKind, Option<u64>)>) {
    let due = sold.boundary(number);
    let reports = [report(NotificationKind::Renewed, due.plus_millis(7_000))];
    let at = due.plus_millis(3 * MINUTE);
    let shown = || sold.shown(at, number + 1);
    let decisions = match way {
        Way::ReportAndSnapshot => vec![read(known, &reports, shown())],
        Way::SnapshotAlone => vec![read(known, &[], shown())],
        Way::ReportAlone => vec![settle_with(
            known,
            &reports,
            &Verification::Unreachable { since: due },
            at,
        )],
        Way::SnapshotLags => {
            let first = read(known, &reports, sold.shown(at, number));
            let then = read(
                &first.purchase,
                &[],
                sold.shown(at.plus_millis(60 * MINUTE), number + 1),
            );
            vec![first, then]
        }
    };
    let reported = decisions.iter().flat_map(|decision| &decision.transitions);
    let reported = reported
        .map(|transition| (transition.kind, transition.cycle))
        .collect();
    (decisions.last().unwrap().purchase.clone(), reported)
}

/// Shows the subscription first in this term, and then each payment in its way. Returns what is wrong, if anything.
fn live(
    sold: Sold,
    occurrence: NotificationKind,
    first: i64,
    way: impl Fn(i64) -> Way,
) -> Result<(), String> {
    let begun = sold.boundary(first - 1);
    let reports = [report(occurrence, begun.plus_millis(7_000))];
    let at = if occurrence == NotificationKind::Adopted {
        begun.plus_millis(2 * DAY)
    } else {
        begun.plus_millis(2 * MINUTE)
    };
    let seen = read(&Purchase::default(), &reports, sold.shown(at, first));
    let payments = seen
        .transitions
        .iter()
        .filter(|reported| {
            matches!(
                reported.kind,
                TransitionKind::Renewed | TransitionKind::Recovered
            )
        })
        .count();
    let is_payment = matches!(
        occurrence,
        NotificationKind::Renewed | NotificationKind::OutOfGrace
    );
    if payments != usize::from(is_payment) {
        return Err(format!("the first sight announces {:?}", seen.transitions));
    }
    let mut known = seen.purchase;
    let mut cycle = known.billing_cycles().ok_or("no cycles")?;
    let end = first + sold.renewals();
    for number in first..end {
        let way = way(number);
        let (after, reported) = pay(&known, sold, number, way);
        cycle += 1;
        if reported != [(TransitionKind::Renewed, Some(cycle))]
            || after.billing_cycles() != Some(cycle)
        {
            let due = sold.boundary(number);
            return Err(format!(
                "{way:?} at {due} announces {reported:?} and {:?}, cycle {cycle}",
                after.billing_cycles()
            ));
        }
        known = after;
    }
    // A snapshot after reports without snapshots announces nothing more.
    let last = sold.boundary(end - 1).plus_millis(60 * MINUTE);
    let late = read(&known, &[], sold.shown(last, end));
    if late.transitions.is_empty() && late.purchase.billing_cycles() == Some(cycle) {
        return Ok(());
    }
    Err(format!(
        "the last snapshot announces {:?} and {:?}, cycle {cycle}",
        late.transitions,
        late.purchase.billing_cycles()
    ))
}

/// Checks all combinations of one year, each with its own mixture of first sights and ways.
fn lives_of(year: i64) -> (usize, Vec<String>) {
    let first: Timestamp = format!("{year}-01-01T13:45:10Z").parse().unwrap();
    let next: Timestamp = format!("{}-01-01T00:00:00Z", year + 1).parse().unwrap();
    let trials = std::iter::once(None).chain(TRIALS.into_iter().map(Some));
    let (mut count, mut wrong) = (0_usize, Vec::new());
    for (place, trial) in trials.enumerate() {
        for term in TERMS {
            let days = (0..366)
                .map(|day| first.plus_millis(day * DAY))
                .take_while(|day| *day < next);
            for purchased_at in days {
                count += 1;
                let sold = Sold {
                    purchased_at,
                    trial,
                    term,
                    keeps_day: (count + place).is_multiple_of(3),
                };
                let occurrence = SIGHTS[count % SIGHTS.len()];
                let middle = 1 + i64::try_from(count % 5).unwrap();
                let ways = count / 7;
                let way = |number: i64| match ways % 6 {
                    mixture @ 0..=3 => WAYS[mixture],
                    _ => WAYS[(usize::try_from(number).unwrap() * 7 + ways / 3) % WAYS.len()],
                };
                if let Err(error) = live(sold, occurrence, middle, way) {
                    wrong.push(format!(
                        "{sold:?}, {occurrence:?} in term {middle}: {error}"
                    ));
                }
            }
        }
    }
    (count, wrong)
}

fn check(year: i64, days: usize) {
    let (count, wrong) = lives_of(year);
    let some: Vec<_> = wrong
        .iter()
        .step_by(wrong.len() / 12 + 1)
        .map(String::as_str)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {count} subscriptions are announced wrongly:\n{}",
        wrong.len(),
        some.join("\n")
    );
    assert_eq!(count, days * 6 * TERMS.len());
}

#[test]
fn every_subscription_of_a_common_year_renews_once_each_term() {
    check(2026, 365);
}

#[test]
fn every_subscription_of_a_leap_year_renews_once_each_term() {
    check(2028, 366);
}
