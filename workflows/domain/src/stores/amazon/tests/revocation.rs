//! Distinguishes purchases that were revoked before the end of the paid time from those that merely ended.

use crate::decide::tests::{notification, settle_with};
use crate::notification::{Notification, NotificationKind};
use crate::payment::{RefundStatus, refund_status};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit, Verification};

const REASONS: [Option<EndReason>; 5] = [
    None,
    Some(EndReason::Customer),
    Some(EndReason::Store),
    Some(EndReason::Internal),
    Some(EndReason::Other(9)),
];

fn time(text: &str) -> Timestamp {
    format!("{text}:00Z").parse().unwrap()
}

/// Returns the snapshot of a monthly subscription that began on 10 January.
fn monthly(at: &str, renews_at: &str) -> Snapshot {
    Snapshot {
        at: time(at),
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(time("2026-01-10T00:00")),
        renews_at: Some(time(renews_at)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

fn settle(known: &Purchase, reports: &[(NotificationKind, &str)], shown: Snapshot) -> Purchase {
    let report = |(kind, at): &(NotificationKind, &str)| Notification {
        store_time: time(at),
        ..notification(*kind, 0)
    };
    let reports: Vec<_> = reports.iter().map(report).collect();
    let at = shown.at;
    settle_with(
        known,
        &reports,
        &Verification::Verified(Box::new(shown)),
        at,
    )
    .purchase
}

/// Settles an end, and checks again a day later, since an incomplete change may wait for that.
fn settle_end(known: &Purchase, shown: Snapshot) -> Purchase {
    let later = Snapshot {
        at: shown.at.plus_millis(86_400_000),
        ..shown.clone()
    };
    settle(&settle(known, &[], shown), &[], later)
}

fn over(running: Snapshot, at: &str, ends_at: &str, reason: Option<EndReason>) -> Snapshot {
    Snapshot {
        at: time(at),
        renews_at: None,
        trial_ends_at: None,
        auto_renewing: Some(false),
        ends_at: Some(time(ends_at)),
        end_reason: reason,
        ..running
    }
}

fn bought() -> Purchase {
    let shown = monthly("2026-01-10T00:02", "2026-02-10T00:00");
    settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, "2026-01-10T00:00")],
        shown,
    )
}

fn renewed() -> Purchase {
    settle(
        &bought(),
        &[(NotificationKind::Renewed, "2026-02-10T00:00")],
        monthly("2026-02-10T00:05", "2026-03-10T00:00"),
    )
}

fn without_term(running: Snapshot) -> Snapshot {
    Snapshot {
        term: None,
        ..running
    }
}

#[test]
fn an_end_before_that_of_what_was_paid_is_a_revocation() {
    let running = monthly("2026-01-10T00:00", "2026-02-10T00:00");
    for reason in REASONS {
        for ends_at in [
            "2026-01-10T00:00",
            "2026-01-10T01:00",
            "2026-01-20T00:00",
            "2026-02-09T21:00",
        ] {
            let refunded = settle_end(
                &bought(),
                over(running.clone(), "2026-02-12T00:00", ends_at, reason),
            );
            assert_eq!(
                (refunded.state(), refunded.revoked_at()),
                (State::Expired, Some(time(ends_at))),
                "{reason:?}"
            );
        }
        for ends_at in ["2026-02-10T00:00", "2026-02-10T01:30", "2026-02-20T00:00"] {
            let refunded = settle_end(
                &renewed(),
                over(running.clone(), "2026-02-21T00:00", ends_at, reason),
            );
            assert_eq!(
                (refunded.state(), refunded.revoked_at()),
                (State::Expired, Some(time(ends_at))),
                "{reason:?}"
            );
        }
    }
}

#[test]
fn a_beginning_that_was_over_at_the_first_check_was_revoked() {
    let reports = [
        (NotificationKind::SubscriptionPurchased, "2026-01-10T00:00"),
        (NotificationKind::SubscriptionCancelled, "2026-01-10T01:00"),
    ];
    let shown = over(
        monthly("2026-01-10T00:00", "2026-02-10T00:00"),
        "2026-01-10T01:10",
        "2026-01-10T01:00",
        None,
    );
    let both = settle(&Purchase::default(), &reports, shown.clone());
    assert_eq!(both.revoked_at(), Some(time("2026-01-10T01:00")));
    let adopted = settle(
        &Purchase::default(),
        &[(NotificationKind::Adopted, "2026-01-11T00:00")],
        shown.clone(),
    );
    assert_eq!(adopted.revoked_at(), Some(time("2026-01-10T01:00")));
    let both = settle(&Purchase::default(), &reports, without_term(shown));
    assert_eq!(both.revoked_at(), Some(time("2026-01-10T01:00")));
}

#[test]
fn a_natural_end_is_no_revocation() {
    let running = monthly("2026-01-10T00:00", "2026-02-10T00:00");
    let off = Snapshot {
        ends_at: Some(time("2026-02-10T00:00")),
        renews_at: None,
        ..running.clone()
    };
    let off = Snapshot {
        at: time("2026-01-20T00:00"),
        auto_renewing: Some(false),
        ..off
    };
    for reason in REASONS {
        for known in [
            bought(),
            settle(
                &bought(),
                &[(NotificationKind::AutoRenewalOff, "2026-01-20T00:00")],
                off.clone(),
            ),
        ] {
            for ends_at in ["2026-02-10T00:00", "2026-02-10T01:00", "2026-02-09T23:00"] {
                let finished = settle_end(
                    &known,
                    over(running.clone(), "2026-02-11T00:00", ends_at, reason),
                );
                assert_eq!(
                    (finished.state(), finished.revoked_at()),
                    (State::Expired, None),
                    "{ends_at}, {reason:?}"
                );
            }
        }
        // Two unreported renewals, followed by the end.
        let finished = settle_end(
            &bought(),
            over(
                running.clone(),
                "2026-04-11T00:00",
                "2026-04-10T00:00",
                reason,
            ),
        );
        assert_eq!(
            (finished.billing_cycles(), finished.revoked_at()),
            (Some(3), None)
        );
        let failed = Snapshot {
            grace_ends_at: Some(time("2026-02-15T00:00")),
            ..running.clone()
        };
        let failed = Snapshot {
            at: time("2026-02-10T01:00"),
            ..failed
        };
        let grace = settle(
            &bought(),
            &[(NotificationKind::GraceBegan, "2026-02-10T00:00")],
            failed,
        );
        assert_eq!(grace.state(), State::Grace);
        let unpaid = settle_end(
            &grace,
            over(
                running.clone(),
                "2026-02-16T00:00",
                "2026-02-15T00:00",
                reason,
            ),
        );
        assert_eq!(
            (unpaid.state(), unpaid.revoked_at()),
            (State::Expired, None)
        );
    }
}

#[test]
fn a_trial_is_taken_back_only_before_its_end() {
    let end = "2026-01-17T00:00";
    let trial = Snapshot {
        trial_ends_at: Some(time(end)),
        ..monthly("2026-01-10T00:02", end)
    };
    for shown in [trial.clone(), without_term(trial)] {
        let report = [(NotificationKind::SubscriptionPurchased, "2026-01-10T00:00")];
        let known = settle(&Purchase::default(), &report, shown.clone());
        let finished = |ends_at| {
            settle_end(
                &known,
                over(
                    shown.clone(),
                    "2026-01-18T00:00",
                    ends_at,
                    Some(EndReason::Customer),
                ),
            )
            .revoked_at()
        };
        assert_eq!((finished(end), finished("2026-01-17T01:00")), (None, None));
        assert_eq!(finished("2026-01-12T00:00"), Some(time("2026-01-12T00:00")));
        let paid = Snapshot {
            trial_ends_at: None,
            renews_at: Some(time("2026-02-17T00:00")),
            ..shown.clone()
        };
        let paid = settle(
            &known,
            &[(NotificationKind::TrialConverted, end)],
            Snapshot {
                at: time("2026-01-17T00:02"),
                ..paid
            },
        );
        let refunded = over(
            shown.clone(),
            "2026-01-18T00:00",
            "2026-01-17T01:00",
            Some(EndReason::Store),
        );
        assert_eq!(
            settle(&paid, &[], refunded).revoked_at(),
            Some(time("2026-01-17T01:00"))
        );
    }
}

#[test]
fn without_a_term_the_period_that_was_shown_decides() {
    let running = without_term(monthly("2026-01-10T00:02", "2026-02-10T00:00"));
    let known = settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, "2026-01-10T00:00")],
        running.clone(),
    );
    let shown = Snapshot {
        renews_at: Some(time("2026-03-10T00:00")),
        at: time("2026-02-10T00:05"),
        ..running.clone()
    };
    let renewed = settle(
        &known,
        &[(NotificationKind::Renewed, "2026-02-10T00:00")],
        shown,
    );
    for reason in REASONS {
        let finished = |known: &Purchase, at| {
            settle_end(known, over(running.clone(), "2026-03-12T00:00", at, reason)).revoked_at()
        };
        for at in ["2026-01-10T01:00", "2026-01-20T00:00", "2026-02-09T00:00"] {
            assert_eq!(finished(&known, at), Some(time(at)), "{reason:?}");
        }
        for at in ["2026-02-10T01:00", "2026-02-20T00:00"] {
            assert_eq!(finished(&renewed, at), Some(time(at)), "{reason:?}");
        }
        assert_eq!(
            (
                finished(&known, "2026-02-10T00:00"),
                finished(&renewed, "2026-03-10T00:00")
            ),
            (None, None)
        );
        // The payment was reported, but the store showed no period for it: the shortest that is sold is a week.
        let reported = settle(
            &known,
            &[(NotificationKind::Renewed, "2026-02-10T00:00")],
            Snapshot {
                at: time("2026-02-10T00:05"),
                ..running.clone()
            },
        );
        assert_eq!(
            finished(&reported, "2026-02-10T01:00"),
            Some(time("2026-02-10T01:00"))
        );
        assert_eq!(finished(&reported, "2026-03-10T00:00"), None);
    }
}

#[test]
fn an_end_that_an_unseen_trial_explains_is_no_revocation() {
    let adopted = |ends_at| {
        let shown = over(
            monthly("2026-01-10T00:00", "2026-02-10T00:00"),
            "2026-09-01T00:00",
            ends_at,
            None,
        );
        settle(
            &Purchase::default(),
            &[(NotificationKind::Adopted, "2026-09-01T00:00")],
            shown,
        )
        .revoked_at()
    };
    for ends_at in ["2026-06-10T00:00", "2026-06-17T00:00", "2026-06-24T00:00"] {
        assert_eq!(adopted(ends_at), None, "{ends_at}");
    }
    assert_eq!(adopted("2026-06-14T00:00"), Some(time("2026-06-14T00:00")));
}

#[test]
fn a_shortened_term_of_a_test_ends_at_the_store_s_date() {
    let running = Snapshot {
        is_test: true,
        ..monthly("2026-01-10T00:01", "2026-01-10T00:30")
    };
    let known = settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, "2026-01-10T00:00")],
        running.clone(),
    );
    let finished =
        |at| settle_end(&known, over(running.clone(), "2026-01-10T01:00", at, None)).revoked_at();
    assert_eq!(
        (finished("2026-01-10T00:30"), finished("2026-01-10T00:10")),
        (None, Some(time("2026-01-10T00:10")))
    );
}

#[test]
fn the_reason_is_awaited() {
    let running = monthly("2026-01-10T00:00", "2026-02-10T00:00");
    let finished = |reason| {
        settle_end(
            &bought(),
            over(
                running.clone(),
                "2026-01-20T00:00",
                "2026-01-20T00:00",
                reason,
            ),
        )
    };
    assert_eq!(finished(Some(EndReason::Pending)).revoked_at(), None);
    assert_eq!(
        finished(Some(EndReason::Internal)).revoked_at(),
        Some(time("2026-01-20T00:00"))
    );
}

fn gone(known: &Purchase, at: &str) -> Purchase {
    settle_with(known, &[], &Verification::Gone, time(at)).purchase
}

#[test]
fn a_410_revokes_only_before_the_end_of_what_was_paid() {
    let switched_off = Snapshot {
        renews_at: None,
        ends_at: Some(time("2026-02-10T00:00")),
        auto_renewing: Some(false),
        ..monthly("2026-01-20T00:02", "2026-02-10T00:00")
    };
    let off = settle(
        &bought(),
        &[(NotificationKind::AutoRenewalOff, "2026-01-20T00:00")],
        switched_off,
    );
    for known in [&off, &bought()] {
        for at in ["2026-02-10T00:10", "2026-02-12T00:00", "2026-02-20T00:00"] {
            let over = gone(known, at);
            let is_over = (over.state(), over.revoked_at(), refund_status(&over));
            assert_eq!(
                is_over,
                (State::Expired, None, RefundStatus::Unknown),
                "{at}"
            );
            let again = gone(&over, "2026-02-27T00:00");
            assert_eq!(
                (again.revoked_at(), again.expires_at()),
                (None, over.expires_at()),
                "{at}"
            );
        }
        let early = time("2026-02-05T00:00");
        let over = gone(known, "2026-02-05T00:00");
        assert_eq!(
            (over.revoked_at(), over.expires_at(), refund_status(&over)),
            (Some(early), Some(early), RefundStatus::Refunded(early))
        );
    }
    assert_eq!(
        gone(&off, "2026-02-10T00:10").expires_at(),
        Some(time("2026-02-10T00:00"))
    );
    let unlimited = settle(
        &Purchase::default(),
        &[],
        without_term(monthly("2026-01-10T00:02", "2026-02-10T00:00")),
    );
    assert_eq!(gone(&unlimited, "2026-02-10T00:10").revoked_at(), None);
    assert_eq!(
        gone(&unlimited, "2026-02-05T00:00").revoked_at(),
        Some(time("2026-02-05T00:00"))
    );
}

#[test]
fn a_410_in_an_unpaid_grace_revokes_nothing() {
    let grace = Snapshot {
        grace_ends_at: Some(time("2026-02-16T00:00")),
        ..monthly("2026-02-10T00:05", "2026-02-10T00:00")
    };
    let failed = settle(
        &bought(),
        &[(NotificationKind::GraceBegan, "2026-02-10T00:00")],
        grace,
    );
    for at in ["2026-02-12T00:00", "2026-02-16T00:10"] {
        let over = gone(&failed, at);
        assert_eq!(
            (over.state(), over.revoked_at()),
            (State::Expired, None),
            "{at}"
        );
        assert_eq!(
            over.expires_at(),
            Some(time(at).min(time("2026-02-16T00:00"))),
            "{at}"
        );
        assert_eq!(refund_status(&over), RefundStatus::Unknown, "{at}");
    }
}

#[test]
fn a_410_after_the_end_of_a_trial_revokes_nothing() {
    let trial = Snapshot {
        trial_ends_at: Some(time("2026-01-17T00:00")),
        ..monthly("2026-01-10T00:02", "2026-01-17T00:00")
    };
    let tried = settle(
        &Purchase::default(),
        &[(NotificationKind::SubscriptionPurchased, "2026-01-10T00:00")],
        trial,
    );
    assert_eq!(gone(&tried, "2026-01-17T00:10").revoked_at(), None);
    assert_eq!(
        gone(&tried, "2026-01-12T00:00").revoked_at(),
        Some(time("2026-01-12T00:00"))
    );
}
