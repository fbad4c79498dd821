//! Grace periods whose date is not later than the renewal: an artefact in the store's test environment, a failed
//! payment in production.

use crate::Decision;
use crate::decide::tests::{notification, settle_with};
use crate::environment::Environment;
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit, Verification};
use TransitionKind::{
    Expired, GraceBegan, Purchased, Recovered, Renewed, TrialDidNotConvert, TrialStarted,
};

const HOUR: i64 = 3_600_000;

fn day(days: i64) -> Timestamp {
    let first: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
    first.plus_millis(days * 24 * HOUR)
}

/// Returns the snapshot of a monthly subscription that began on day 0.
fn shown(at: Timestamp) -> Snapshot {
    Snapshot {
        at,
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(day(0)),
        renews_at: Some(day(31)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

/// Returns the snapshot of a failed payment: the grace date, the renewal and, in a trial, its end are the same date.
fn failed(at: Timestamp, date: Timestamp) -> Snapshot {
    Snapshot {
        renews_at: Some(date),
        grace_ends_at: Some(date),
        ..shown(at)
    }
}

fn of_sandbox(shown: Snapshot) -> Snapshot {
    Snapshot {
        environment: Environment::Sandbox,
        ..shown
    }
}

fn of_test(shown: Snapshot) -> Snapshot {
    Snapshot {
        is_test: true,
        ..shown
    }
}

fn settle(
    known: &Purchase,
    reports: &[(NotificationKind, Timestamp)],
    shown: Snapshot,
) -> Decision {
    let reports: Vec<_> = reports
        .iter()
        .map(|(kind, at)| Notification {
            store_time: *at,
            ..notification(*kind, 0)
        })
        .collect();
    let at = shown.at;
    settle_with(
        known,
        &reports,
        &Verification::Verified(Box::new(shown)),
        at,
    )
}

fn kinds(decision: &Decision) -> Vec<TransitionKind> {
    decision
        .transitions
        .iter()
        .map(|transition| transition.kind)
        .collect()
}

fn bought() -> Purchase {
    settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, day(0))],
        shown(day(0)),
    )
    .purchase
}

fn in_trial() -> Purchase {
    let trial = Snapshot {
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        ..shown(day(0))
    };
    settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, day(0))],
        trial,
    )
    .purchase
}

#[test]
fn a_failed_payment_is_grace_with_the_old_renewal_s_date_too() {
    let (at, report) = (
        day(31).plus_millis(HOUR),
        [(NotificationKind::GraceBegan, day(31))],
    );
    let grace = settle(&bought(), &report, failed(at, day(31)));
    assert_eq!(
        (kinds(&grace), grace.purchase.state()),
        (vec![GraceBegan], State::Grace)
    );
    let unreported = settle(&bought(), &[], failed(at, day(31)));
    assert_eq!(
        (kinds(&unreported), unreported.purchase.billing_cycles()),
        (vec![GraceBegan], Some(1))
    );
    // The date is that of the failure, not of the end of the grace period.
    let later = settle(&grace.purchase, &[], failed(day(35), day(31)));
    assert_eq!(
        (kinds(&later), later.purchase.state()),
        (vec![], State::Grace)
    );
    let repaired = Snapshot {
        renews_at: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        ..shown(day(36))
    };
    let repaired = settle(
        &later.purchase,
        &[(NotificationKind::OutOfGrace, day(36))],
        repaired,
    );
    assert_eq!(
        (kinds(&repaired), repaired.purchase.billing_cycles()),
        (vec![Recovered], Some(2))
    );
}

#[test]
fn a_renewal_that_moved_with_the_grace_is_no_payment() {
    for date in [day(36), day(47), "2026-03-10T00:00:00Z".parse().unwrap()] {
        for reports in [&[(NotificationKind::GraceBegan, day(31))][..], &[]] {
            let grace = settle(&bought(), reports, failed(day(32), date));
            assert_eq!(
                (kinds(&grace), grace.purchase.state()),
                (vec![GraceBegan], State::Grace),
                "{date}"
            );
            assert_eq!(grace.purchase.billing_cycles(), Some(1));
        }
    }
    let grace = settle(&bought(), &[], failed(day(32), day(36))).purchase;
    let lapsed = settle(&grace, &[], failed(day(36).plus_millis(2 * HOUR), day(36)));
    assert_eq!(
        (kinds(&lapsed), lapsed.purchase.state()),
        (vec![Expired], State::Expired)
    );
}

#[test]
fn a_trial_whose_payment_failed_does_not_convert() {
    for date in [day(7), day(13)] {
        for reports in [&[(NotificationKind::GraceBegan, day(7))][..], &[]] {
            let shown = Snapshot {
                trial_ends_at: None,
                ..failed(day(7).plus_millis(HOUR), date)
            };
            let grace = settle(&in_trial(), reports, shown);
            assert_eq!(
                (kinds(&grace), grace.purchase.state()),
                (vec![GraceBegan], State::Grace),
                "{date}"
            );
            assert_eq!(grace.purchase.is_free_trial_conversion(), Some(false));
        }
    }
    // All three dates are the same, as in the public sample, but the purchase is a production one.
    let sample = Snapshot {
        trial_ends_at: Some(day(7)),
        ..failed(day(7).plus_millis(-HOUR), day(7))
    };
    let grace = settle(
        &in_trial(),
        &[(NotificationKind::GraceBegan, day(7).plus_millis(-HOUR))],
        sample,
    );
    assert_eq!(
        (kinds(&grace), grace.purchase.state()),
        (vec![GraceBegan], State::Grace)
    );
}

#[test]
fn a_first_sight_in_such_a_grace_counts_what_was_paid() {
    for (at, date) in [(day(32), day(36)), (day(32), day(31)), (day(32), day(46))] {
        let first = settle(
            &Purchase::default(),
            &[(NotificationKind::GraceBegan, day(31))],
            failed(at, date),
        );
        assert_eq!(
            (kinds(&first), first.purchase.billing_cycles()),
            (vec![GraceBegan], Some(1)),
            "{date}"
        );
    }
}

#[test]
fn without_a_calendar_the_date_of_a_grace_is_no_payment() {
    let known = settle(
        &bought(),
        &[],
        Snapshot {
            term: None,
            ..shown(day(1))
        },
    )
    .purchase;
    for date in [day(31), day(36)] {
        let grace = settle(
            &known,
            &[],
            Snapshot {
                term: None,
                ..failed(day(32), date)
            },
        );
        assert_eq!(kinds(&grace), [GraceBegan]);
    }
}

#[test]
fn a_date_that_an_earlier_failure_left_behind_is_no_grace() {
    let renewed = Snapshot {
        renews_at: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        grace_ends_at: Some(day(36)),
        ..shown(day(37))
    };
    let read = settle(&bought(), &[(NotificationKind::Renewed, day(31))], renewed);
    assert_eq!(
        (kinds(&read), read.purchase.state()),
        (vec![Renewed], State::Active)
    );
}

#[test]
fn in_the_test_world_one_date_for_all_is_no_grace() {
    let trap = |at| Snapshot {
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        ..failed(at, day(7))
    };
    for shown in [of_sandbox(trap(day(1))), of_test(trap(day(1)))] {
        let trial = settle(&in_trial(), &[], shown.clone());
        assert_eq!(
            (kinds(&trial), trial.purchase.state()),
            (vec![], State::Trial)
        );
        let first = settle(
            &Purchase::default(),
            &[(NotificationKind::SubscriptionPurchased, day(1))],
            shown,
        );
        assert_eq!(
            (kinds(&first), first.purchase.state()),
            (vec![TrialStarted, Purchased], State::Trial)
        );
    }
    // A notification from the store's test programme has the same effect as its snapshot.
    let report = Notification {
        store_time: day(0),
        is_test: true,
        ..notification(NotificationKind::SubscriptionPurchased, 0)
    };
    let verification = Verification::Verified(Box::new(trap(day(1))));
    assert_eq!(
        settle_with(&Purchase::default(), &[report], &verification, day(1))
            .purchase
            .state(),
        State::Trial
    );
    // A later date is a grace period there too.
    let grace = Snapshot {
        grace_ends_at: Some(day(36)),
        ..shown(day(32))
    };
    assert_eq!(
        kinds(&settle(&bought(), &[], of_sandbox(grace))),
        [GraceBegan]
    );
}

#[test]
fn records_without_the_environment_are_of_production() {
    let mut stored = serde_json::to_value(of_sandbox(shown(day(0)))).unwrap();
    stored.as_object_mut().unwrap().remove("environment");
    let snapshot: Snapshot = serde_json::from_value(stored).unwrap();
    assert_eq!(snapshot.environment, Environment::Production);
}

/// A subscription whose payment fails at `due`. Its grace period lasts until `grace` and ends unpaid.
struct Unpaid {
    term: Term,
    trial_ends_at: Option<Timestamp>,
    due: Timestamp,
    grace: Timestamp,
}

impl Unpaid {
    fn shown(&self, at: Timestamp) -> Snapshot {
        let trial_ends_at = self.trial_ends_at.filter(|end| *end > at);
        Snapshot {
            term: Some(self.term),
            trial_ends_at,
            renews_at: Some(self.due),
            ..shown(at)
        }
    }

    fn failed(&self) -> Decision {
        let first = settle(
            &Purchase::default(),
            &[(NotificationKind::SubscriptionPurchased, day(0))],
            self.shown(day(0)),
        );
        let at = self.due.plus_millis(HOUR);
        let grace = Snapshot {
            grace_ends_at: Some(self.grace),
            ..self.shown(at)
        };
        settle(
            &first.purchase,
            &[(NotificationKind::GraceBegan, self.due)],
            grace,
        )
    }

    fn over(&self, at: Timestamp, reason: EndReason) -> Snapshot {
        Snapshot {
            renews_at: None,
            auto_renewing: Some(false),
            ends_at: Some(self.grace),
            end_reason: Some(reason),
            ..self.shown(at)
        }
    }
}

fn one(unit: Unit) -> Term {
    Term { count: 1, unit }
}

fn unpaid() -> [Unpaid; 4] {
    let of = |term, days: [i64; 2]| Unpaid {
        term,
        trial_ends_at: None,
        due: day(days[0]),
        grace: day(days[1]),
    };
    [
        of(one(Unit::Week), [7, 14]),
        of(
            Term {
                count: 2,
                unit: Unit::Week,
            },
            [14, 28],
        ),
        of(one(Unit::Month), [31, 59]),
        Unpaid {
            trial_ends_at: Some(day(7)),
            ..of(one(Unit::Week), [7, 14])
        },
    ]
}

#[test]
fn a_grace_that_lasts_one_whole_term_is_no_payment() {
    for case in unpaid() {
        let failed = case.failed();
        assert_eq!(kinds(&failed), [GraceBegan]);
        let report = [(NotificationKind::Expired, case.grace.plus_millis(5_000))];
        for reports in [&report[..], &[]] {
            let over = settle(
                &failed.purchase,
                reports,
                case.over(case.grace.plus_millis(HOUR), EndReason::Store),
            );
            let is_trial = case.trial_ends_at.is_some();
            let expected = if is_trial {
                &[TrialDidNotConvert, Expired][..]
            } else {
                &[Expired]
            };
            assert_eq!(
                (kinds(&over), over.purchase.billing_cycles()),
                (expected.to_vec(), Some(1)),
                "{:?}",
                case.term
            );
            assert!(
                over.purchase.payment_issues_began_at().is_some()
                    && over.purchase.revoked_at().is_none()
            );
            let later = case.over(case.grace.plus_millis(24 * HOUR), EndReason::Store);
            let later = settle(
                &over.purchase,
                &[(NotificationKind::SubscriptionCancelled, case.grace)],
                later,
            );
            assert_eq!(
                (kinds(&later), later.purchase.billing_cycles()),
                (vec![], Some(1)),
                "{:?}",
                case.term
            );
            assert_eq!(later.purchase.is_free_trial_conversion(), Some(false));
        }
    }
}

#[test]
fn a_grace_never_shown_is_unpaid_when_the_store_ends_it() {
    for case in unpaid() {
        let first = settle(
            &Purchase::default(),
            &[(NotificationKind::SubscriptionPurchased, day(0))],
            case.shown(day(0)),
        );
        let report = [(NotificationKind::GraceBegan, case.due)];
        let stale = settle(
            &first.purchase,
            &report,
            case.shown(case.due.plus_millis(HOUR)),
        );
        let over = settle(
            &stale.purchase,
            &[],
            case.over(case.grace.plus_millis(HOUR), EndReason::Store),
        );
        assert!(
            !kinds(&over).contains(&Recovered),
            "{:?}: {:?}",
            case.term,
            kinds(&over)
        );
        assert_eq!(over.purchase.billing_cycles(), Some(1));
        let later = settle(
            &over.purchase,
            &[],
            case.over(case.grace.plus_millis(24 * HOUR), EndReason::Store),
        );
        assert_eq!(
            (kinds(&later), later.purchase.billing_cycles()),
            (vec![], Some(1))
        );
    }
}

#[test]
fn what_was_paid_in_a_grace_of_one_term_ends_as_a_paid_term() {
    for case in unpaid() {
        let failed = case.failed().purchase;
        let reports = [
            (
                NotificationKind::OutOfGrace,
                case.due.plus_millis(48 * HOUR),
            ),
            (NotificationKind::Expired, case.grace),
        ];
        let over = settle(
            &failed,
            &reports,
            case.over(case.grace.plus_millis(HOUR), EndReason::Customer),
        );
        let is_trial = case.trial_ends_at.is_some();
        let cycles = if is_trial { 1 } else { 2 };
        assert!(
            kinds(&over).contains(&Recovered),
            "{:?}: {:?}",
            case.term,
            kinds(&over)
        );
        assert_eq!(
            (kinds(&over).last(), over.purchase.billing_cycles()),
            (Some(&Expired), Some(cycles))
        );
    }
}
