//! The date from which terms are counted if neither the purchase nor the end of the trial shows it.

use crate::Decision;
use crate::decide::tests::{notification, settle_with};
use crate::environment::Environment;
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Product, Snapshot, Term, Unit, Verification};

fn time(text: &str) -> Timestamp {
    let text = if text.contains('T') {
        format!("{text}:00Z")
    } else {
        format!("{text}T00:00:00Z")
    };
    text.parse().unwrap()
}

/// Returns the snapshot of a subscription that began on 31 January, with terms of `months` months.
fn shown(months: u16, at: &str, renews_at: &str) -> Snapshot {
    Snapshot {
        at: time(at),
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        term: Some(Term {
            count: months,
            unit: Unit::Month,
        }),
        purchased_at: Some(time("2026-01-31")),
        renews_at: Some(time(renews_at)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

fn monthly(at: &str, renews_at: &str) -> Snapshot {
    shown(1, at, renews_at)
}

fn read(known: &Purchase, reports: &[(NotificationKind, &str)], shown: Snapshot) -> Decision {
    let at = shown.at;
    settle_with(
        known,
        &notifications(reports),
        &Verification::Verified(Box::new(shown)),
        at,
    )
}

fn notifications(reports: &[(NotificationKind, &str)]) -> Vec<Notification> {
    reports
        .iter()
        .map(|(kind, at)| Notification {
            store_time: time(at),
            ..notification(*kind, 0)
        })
        .collect()
}

fn cycles(decision: &Decision) -> Vec<(TransitionKind, Option<u64>)> {
    decision
        .transitions
        .iter()
        .map(|transition| (transition.kind, transition.cycle))
        .collect()
}

/// Settles the steps, by report and by snapshot alone. Each step must announce one more renewal than the previous one.
fn renews(known: &Purchase, mut cycle: u64, steps: &[Snapshot]) {
    let (mut by_report, mut by_snapshot) = (known.clone(), known.clone());
    for shown in steps {
        cycle += 1;
        let report = shown.at.to_string().replace(":00.000000Z", "");
        let reported = read(
            &by_report,
            &[(NotificationKind::Renewed, &report)],
            shown.clone(),
        );
        assert_eq!(
            cycles(&reported),
            [(TransitionKind::Renewed, Some(cycle))],
            "report of {report}"
        );
        let seen = read(&by_snapshot, &[], shown.clone());
        assert_eq!(
            cycles(&seen),
            [(TransitionKind::Renewed, Some(cycle))],
            "snapshot of {report}"
        );
        (by_report, by_snapshot) = (reported.purchase, seen.purchase);
    }
}

fn bought() -> Purchase {
    let report = [(NotificationKind::SubscriptionPurchased, "2026-01-31")];
    read(
        &Purchase::default(),
        &report,
        monthly("2026-01-31", "2026-02-28"),
    )
    .purchase
}

#[test]
fn a_clamped_date_is_refined_by_later_ones_in_silence() {
    let adopted = read(
        &Purchase::default(),
        &[(NotificationKind::Adopted, "2027-02-10")],
        {
            Snapshot {
                purchased_at: Some(time("2026-01-10")),
                ..monthly("2027-02-10T01:00", "2027-02-28")
            }
        },
    );
    assert_eq!(
        (cycles(&adopted), adopted.purchase.billing_cycles()),
        (vec![], Some(13))
    );
    let step = |at, renews_at| Snapshot {
        purchased_at: Some(time("2026-01-10")),
        ..monthly(at, renews_at)
    };
    let steps = [
        ("2027-02-28", "2027-03-31"),
        ("2027-03-31", "2027-04-30"),
        ("2027-04-30", "2027-05-31"),
    ];
    renews(
        &adopted.purchase,
        13,
        &steps.map(|(at, renews_at)| step(at, renews_at)),
    );
    let moved = read(&adopted.purchase, &[], step("2027-02-20", "2027-02-26"));
    assert_eq!(
        (cycles(&moved), moved.purchase.billing_cycles()),
        (vec![], Some(13))
    );
    renews(&moved.purchase, 13, &[step("2027-02-26", "2027-03-26")]);
}

#[test]
fn added_days_are_no_renewal_and_a_payment_that_moves_them_is() {
    let credited = read(&bought(), &[], monthly("2026-02-10", "2026-03-10"));
    assert_eq!(
        (cycles(&credited), credited.purchase.billing_cycles()),
        (vec![], Some(1))
    );
    renews(
        &credited.purchase,
        1,
        &[
            monthly("2026-03-10", "2026-04-10"),
            monthly("2026-04-10", "2026-05-10"),
        ],
    );
    let paid = read(
        &bought(),
        &[(NotificationKind::Renewed, "2026-02-28")],
        monthly("2026-02-28", "2026-03-10"),
    );
    assert_eq!(cycles(&paid), [(TransitionKind::Renewed, Some(2))]);
    renews(
        &paid.purchase,
        2,
        &[
            monthly("2026-03-10", "2026-04-10"),
            monthly("2026-04-10", "2026-05-10"),
        ],
    );
}

#[test]
fn free_months_that_no_snapshot_calls_a_trial_are_not_paid() {
    let report = [(NotificationKind::SubscriptionPurchased, "2026-01-31")];
    let began = read(
        &Purchase::default(),
        &report,
        monthly("2026-01-31", "2026-04-30"),
    );
    assert_eq!(cycles(&began), [(TransitionKind::Purchased, Some(1))]);
    renews(
        &began.purchase,
        1,
        &[
            monthly("2026-04-30", "2026-05-31"),
            monthly("2026-05-31", "2026-06-30"),
        ],
    );
    let week = read(
        &Purchase::default(),
        &report,
        monthly("2026-01-31", "2026-02-07"),
    );
    renews(
        &week.purchase,
        1,
        &[
            monthly("2026-02-07", "2026-03-07"),
            monthly("2026-03-07", "2026-04-07"),
        ],
    );
    // The trial is shown after all, so the terms begin at its end.
    let trial = Snapshot {
        trial_ends_at: Some(time("2026-04-30")),
        ..monthly("2026-02-01", "2026-04-30")
    };
    let trial = read(&began.purchase, &[], trial);
    assert_eq!(cycles(&trial), [(TransitionKind::TrialStarted, Some(1))]);
    let paid = read(
        &trial.purchase,
        &[],
        monthly("2026-04-30T00:10", "2026-05-31"),
    );
    assert_eq!(
        cycles(&paid),
        [
            (TransitionKind::TrialConverted, Some(1)),
            (TransitionKind::Renewed, Some(1))
        ]
    );
}

#[test]
fn a_first_sight_in_grace_counts_from_the_renewal_that_failed() {
    // An unseen month of trial, then terms of two months.
    for grace_ends_at in ["2026-05-04", "2026-04-28"] {
        let failed = Snapshot {
            grace_ends_at: Some(time(grace_ends_at)),
            ..shown(2, "2026-04-28T01:00", "2026-04-28")
        };
        let first = read(
            &Purchase::default(),
            &[(NotificationKind::GraceBegan, "2026-04-28")],
            failed,
        );
        assert_eq!(
            (cycles(&first), first.purchase.billing_cycles()),
            (vec![(TransitionKind::GraceBegan, Some(1))], Some(1))
        );
        let paid = read(
            &first.purchase,
            &[(NotificationKind::OutOfGrace, "2026-04-30")],
            shown(2, "2026-04-30T01:00", "2026-06-28"),
        );
        assert_eq!(cycles(&paid), [(TransitionKind::Recovered, Some(2))]);
        let steps = [
            ("2026-06-28", "2026-08-28"),
            ("2026-08-28", "2026-10-28"),
            ("2026-10-28", "2026-12-28"),
        ];
        renews(
            &paid.purchase,
            2,
            &steps.map(|(at, renews_at)| shown(2, at, renews_at)),
        );
    }
}

#[test]
fn reports_before_the_first_snapshot_are_counted_in_its_row() {
    let reports = [
        (NotificationKind::SubscriptionPurchased, "2026-01-31"),
        (NotificationKind::Renewed, "2026-02-28"),
    ];
    let reports = [
        reports[0],
        reports[1],
        (NotificationKind::Renewed, "2026-04-28"),
        (NotificationKind::Renewed, "2026-06-28"),
    ];
    let alone = settle_with(
        &Purchase::default(),
        &notifications(&reports),
        &Verification::Unverifiable,
        time("2026-07-01"),
    );
    let first = read(&alone.purchase, &[], shown(2, "2026-07-02", "2026-08-28"));
    assert_eq!(
        (cycles(&first), first.purchase.billing_cycles()),
        (vec![], Some(4))
    );
    let steps = [
        ("2026-08-28", "2026-10-28"),
        ("2026-10-28", "2026-12-28"),
        ("2026-12-28", "2027-02-28"),
    ];
    renews(
        &first.purchase,
        4,
        &steps.map(|(at, renews_at)| shown(2, at, renews_at)),
    );
}

#[test]
fn a_longer_term_shown_later_than_its_date_is_one_renewal() {
    let deferred = Snapshot {
        deferred_at: Some(time("2026-02-28")),
        deferred_sku: Some("gold_yearly".to_owned()),
        ..monthly("2026-02-02", "2026-02-28")
    };
    let known = read(
        &bought(),
        &[(NotificationKind::PlanChangeScheduled, "2026-02-02")],
        deferred,
    )
    .purchase;
    let moved = read(
        &known,
        &[(NotificationKind::Renewed, "2026-02-28")],
        monthly("2026-02-28T00:05", "2027-02-28"),
    );
    let yearly = |at, renews_at| Snapshot {
        term_sku: Some("gold_yearly".to_owned()),
        ..shown(12, at, renews_at)
    };
    let changed = read(
        &moved.purchase,
        &[],
        yearly("2026-02-28T01:00", "2027-02-28"),
    );
    let both = [cycles(&moved), cycles(&changed)].concat();
    assert_eq!(
        both,
        [
            (TransitionKind::Renewed, Some(2)),
            (TransitionKind::PlanChanged, Some(2))
        ]
    );
    renews(&changed.purchase, 2, &[yearly("2027-02-28", "2028-02-28")]);
}

#[test]
fn shortened_test_terms_are_counted_by_their_dates() {
    for shorten in [
        |shown| Snapshot {
            environment: Environment::Sandbox,
            ..shown
        },
        |shown| Snapshot {
            is_test: true,
            ..shown
        },
        |shown: Snapshot| shown,
    ] {
        let minutes = |at, renews_at| shorten(monthly(at, renews_at));
        let first = minutes("2026-01-31T00:01", "2026-01-31T00:30");
        let known = read(
            &Purchase::default(),
            &[(NotificationKind::SubscriptionPurchased, "2026-01-31")],
            first,
        )
        .purchase;
        let steps = [
            ("2026-01-31T00:30", "2026-01-31T01:00"),
            ("2026-01-31T01:00", "2026-01-31T01:30"),
        ];
        let steps = steps.map(|(at, renews_at)| minutes(at, renews_at));
        renews(&known, 1, &steps);
        assert_eq!(known.billing_cycles(), Some(1));
    }
}

#[test]
fn a_record_with_a_changed_row_keeps_it() {
    let known = bought();
    let mut stored = serde_json::to_value(&known).unwrap();
    let seen = stored["seen"].as_object_mut().unwrap();
    let row = seen.remove("terms").unwrap();
    seen.insert("changed".to_owned(), row);
    assert_eq!(serde_json::from_value::<Purchase>(stored).unwrap(), known);
}

#[test]
fn an_answer_without_a_purchase_raises_no_row() {
    let known = settle_with(
        &bought(),
        &notifications(&[(NotificationKind::Renewed, "2026-02-28")]),
        &Verification::Unverifiable,
        time("2026-02-28"),
    );
    let gone = settle_with(
        &known.purchase,
        &[],
        &Verification::Gone,
        time("2026-02-28T00:10"),
    )
    .purchase;
    let shown = read(&gone, &[], monthly("2026-02-28T01:00", "2026-03-31"));
    assert_eq!(
        (cycles(&shown), shown.purchase.billing_cycles()),
        (vec![], Some(2))
    );
}
