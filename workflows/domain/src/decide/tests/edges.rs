//! Rules that random lives seldom need: each test names the rule that it guards.

use super::properties::record_of;
use super::settle_with;
use super::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::decide::{Decision, SettlingContext, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit, Verification};

fn march(day: &str) -> Timestamp {
    format!("2026-03-{day}T00:00:00Z").parse().unwrap()
}

fn finished(ends_at: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        end_reason: Some(EndReason::Customer),
        ..off(at)
    }
}

fn in_trial() -> Purchase {
    let trial = Snapshot {
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        ..monthly(day(0))
    };
    read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        trial,
    )
    .purchase
}

#[test]
fn grace_that_was_over_at_the_check_precedes_the_end() {
    let unpaid = Snapshot {
        end_reason: Some(EndReason::Store),
        ..finished(day(36), day(37))
    };
    let reports = [
        report(NotificationKind::GraceBegan, day(31)),
        report(NotificationKind::Expired, day(36)),
    ];
    let over = read(&bought(), &reports, unpaid);
    assert_eq!(
        kinds(&over),
        [TransitionKind::GraceBegan, TransitionKind::Expired]
    );
    assert_eq!(over.purchase.revoked_at(), None);
}

#[test]
fn one_renewal_that_the_store_does_not_show_is_one_term() {
    let late = read(
        &bought(),
        &[report(NotificationKind::Renewed, day(62))],
        monthly(day(62)),
    );
    assert_eq!(
        (kinds(&late), late.purchase.billing_cycles()),
        (vec![TransitionKind::Renewed], Some(2))
    );
}

#[test]
fn what_is_over_does_not_begin_again_by_a_report_alone() {
    let over = read(&bought(), &[], finished(day(20), day(20))).purchase;
    let late = read(
        &over,
        &[report(NotificationKind::SubscriptionPurchased, day(21))],
        finished(day(20), day(22)),
    );
    assert_eq!(
        (kinds(&late), late.purchase.state()),
        (vec![], State::Expired)
    );
    let back = read(
        &over,
        &[report(NotificationKind::SubscriptionPurchased, day(21))],
        monthly(day(21)),
    );
    assert_eq!(
        (kinds(&back), back.purchase.state()),
        (vec![TransitionKind::Purchased], State::Active)
    );
}

#[test]
fn a_last_renewal_does_not_switch_auto_renewal_on() {
    let known = read(&bought(), &[], off(day(5))).purchase;
    let last = Snapshot {
        ends_at: Some(march("10")),
        ..off(day(31))
    };
    let renewed = read(&known, &[report(NotificationKind::Renewed, day(31))], last);
    assert_eq!(
        (kinds(&renewed), renewed.purchase.state()),
        (vec![TransitionKind::Renewed], State::Off)
    );
}

#[test]
fn a_conversion_that_the_store_does_not_show_yet_holds() {
    let behind = |at| Snapshot {
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        ..monthly(at)
    };
    let paid = read(
        &in_trial(),
        &[report(NotificationKind::Renewed, day(7))],
        behind(day(7)),
    );
    assert_eq!(
        (kinds(&paid), paid.purchase.state()),
        (
            vec![TransitionKind::TrialConverted, TransitionKind::Renewed],
            State::Active
        )
    );
    let again = read(&paid.purchase, &[], behind(day(7).plus_millis(MINUTE)));
    assert_eq!(
        (kinds(&again), again.purchase.state()),
        (vec![], State::Active)
    );
}

#[test]
fn only_an_end_at_a_boundary_shows_the_terms_before_it() {
    let natural = read(&bought(), &[], finished(march("10"), march("11")));
    assert_eq!(
        kinds(&natural),
        [TransitionKind::Renewed, TransitionKind::Expired]
    );
    assert_eq!(
        (
            natural.purchase.billing_cycles(),
            natural.purchase.revoked_at()
        ),
        (Some(2), None)
    );
    let early = read(&bought(), &[], finished(day(45), day(46)));
    assert_eq!(
        (kinds(&early), early.purchase.billing_cycles()),
        (vec![TransitionKind::Expired], Some(1))
    );
}

#[test]
fn what_a_report_replaced_stays_replaced_in_any_snapshot() {
    let reported = settle_with(
        &bought(),
        &[report(NotificationKind::Replaced, day(2))],
        &Verification::Unverifiable,
        day(2),
    )
    .purchase;
    assert_eq!(
        read(&reported, &[], monthly(day(3))).purchase.state(),
        State::Replaced
    );
}

#[test]
fn a_replaced_purchase_keeps_its_end_reason() {
    let shown = |known: &Purchase, reports: &[Notification], reason, at| {
        read(
            known,
            reports,
            Snapshot {
                end_reason: Some(reason),
                ..finished(day(10), day(at))
            },
        )
    };
    let first = shown(&Purchase::default(), &[], EndReason::Customer, 20).purchase;
    let known = shown(&first, &[], EndReason::Replaced, 21).purchase;
    assert_eq!(
        (first.state(), known.state()),
        (State::Expired, State::Replaced)
    );
    let reports = [report(NotificationKind::Expired, day(10))];
    let last = shown(&known, &reports, EndReason::Customer, 22);
    assert_eq!(
        (kinds(&last), last.purchase.state()),
        (vec![], State::Replaced)
    );
}

/// Settles an unverified cancellation of day 2, with another report and a link.
fn cut(known: &Purchase, other: &[Notification], is_replaced: bool) -> Decision {
    let since = Verification::Unreachable { since: day(1) };
    let reports: Vec<_> = (1..)
        .zip(
            [
                &[report(NotificationKind::SubscriptionCancelled, day(2))],
                other,
            ]
            .concat(),
        )
        .collect();
    let backwards: Vec<_> = reports.iter().cloned().rev().collect();
    let decide = |reports, verification| {
        decide(
            known,
            reports,
            SettlingContext {
                verification,
                is_replaced,
                now: day(3),
            },
        )
    };
    let cut = decide(&reports, &Verification::Unverifiable);
    for other in [
        decide(&backwards, &Verification::Unverifiable),
        decide(&reports, &since),
        decide(&backwards, &since),
    ] {
        assert_eq!(
            (&other.purchase, &other.transitions),
            (&cut.purchase, &cut.transitions)
        );
    }
    cut
}

#[test]
fn an_unverified_end_with_a_link_or_report_is_a_replacement() {
    let silent = (vec![], State::Replaced);
    let found = |cut: Decision| (kinds(&cut), cut.purchase.state());
    for known in [bought(), in_trial()] {
        assert_eq!(found(cut(&known, &[], true)), silent);
        for at in [day(1), day(2), day(2).plus_millis(MINUTE)] {
            assert_eq!(
                found(cut(
                    &known,
                    &[report(NotificationKind::Replaced, at)],
                    false
                )),
                silent
            );
            assert_eq!(
                found(cut(&known, &[report(NotificationKind::Replaced, at)], true)),
                silent
            );
            let reported = settle_with(
                &known,
                &[report(NotificationKind::Replaced, at)],
                &Verification::Unverifiable,
                day(2),
            )
            .purchase;
            assert_eq!(found(cut(&reported, &[], false)), silent);
        }
    }
    // The report came first, and the store showed that it still ran.
    let reported = read(
        &bought(),
        &[report(NotificationKind::Replaced, day(1))],
        monthly(day(1)),
    )
    .purchase;
    assert_eq!(
        (reported.state(), found(cut(&reported, &[], false))),
        (State::Active, silent.clone())
    );
    assert_eq!(
        found(cut(&bought(), &[], false)),
        (vec![TransitionKind::Expired], State::Expired)
    );
    let trial = found(cut(&in_trial(), &[], false));
    assert_eq!(
        trial,
        (
            vec![TransitionKind::TrialDidNotConvert, TransitionKind::Expired],
            State::Expired
        )
    );
    let linked = cut(
        &cut(&bought(), &[], false).purchase,
        &[report(NotificationKind::Replaced, day(2))],
        false,
    );
    assert_eq!(found(linked), silent);
}

#[test]
fn an_end_after_a_report_of_the_new_receipt_is_a_replacement() {
    let reported = read(
        &bought(),
        &[report(NotificationKind::Replaced, day(2))],
        monthly(day(2)),
    )
    .purchase;
    assert_eq!(reported.state(), State::Active);
    let over = read(
        &reported,
        &[],
        Snapshot {
            end_reason: None,
            ..finished(day(3), day(3))
        },
    );
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![], State::Replaced)
    );
}

#[test]
fn a_scheduled_change_is_not_announced_again_by_a_snapshot() {
    let report = report(NotificationKind::PlanChangeScheduled, day(2));
    let reported = settle_with(&bought(), &[report], &Verification::Unverifiable, day(2));
    assert_eq!(kinds(&reported), [TransitionKind::PlanChangeScheduled]);
    let deferred = Snapshot {
        deferred_sku: Some("silver".to_owned()),
        ..monthly(day(3))
    };
    assert_eq!(kinds(&read(&reported.purchase, &[], deferred)), []);
}

#[test]
fn a_recovery_that_only_a_snapshot_shows_has_no_time() {
    let grace = Snapshot {
        grace_ends_at: Some(day(36)),
        ..monthly(day(32))
    };
    let known = read(&bought(), &[], grace).purchase;
    let repaired = read(
        &known,
        &[],
        Snapshot {
            renews_at: Some(march("10")),
            ..monthly(day(34))
        },
    );
    assert_eq!(
        (repaired.transitions[0].kind, repaired.transitions[0].at),
        (TransitionKind::Recovered, None)
    );
}

#[test]
fn off_at_first_sight_and_on_again_is_not_announced() {
    let bought = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let known = read(&Purchase::default(), &bought, off(day(0))).purchase;
    assert_eq!(kinds(&read(&known, &[], monthly(day(1)))), []);
    let reported = read(
        &known,
        &[report(
            NotificationKind::AutoRenewalOff,
            day(0).plus_millis(MINUTE),
        )],
        off(day(1)),
    );
    assert_eq!(kinds(&reported), [TransitionKind::Cancelled]);
}

#[test]
fn a_shortened_term_reported_before_the_store_moved_is_one() {
    let short = |n: i64, at: i64| Snapshot {
        renews_at: Some(day(0).plus_millis(n * 5 * MINUTE)),
        ..monthly(day(0).plus_millis(at * MINUTE))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        short(1, 2),
    )
    .purchase;
    let reported = read(
        &known,
        &[report(
            NotificationKind::Renewed,
            day(0).plus_millis(5 * MINUTE),
        )],
        short(1, 7),
    );
    assert_eq!(kinds(&reported), [TransitionKind::Renewed]);
    assert_eq!(kinds(&read(&reported.purchase, &[], short(2, 8))), []);
}

#[test]
fn dates_of_the_next_attempt_are_no_payment() {
    let grace = |at| Snapshot {
        renews_at: Some(day(10)),
        grace_ends_at: Some(day(13)),
        ..monthly(at)
    };
    let failed = read(&in_trial(), &[], grace(day(8)));
    assert_eq!(kinds(&failed), [TransitionKind::GraceBegan]);
    assert_eq!(failed.purchase.is_free_trial_conversion(), Some(false));
    let grace = Snapshot {
        renews_at: Some(march("08")),
        grace_ends_at: Some(march("12")),
        ..monthly(day(32))
    };
    assert_eq!(
        kinds(&read(&bought(), &[], grace)),
        [TransitionKind::GraceBegan]
    );
}

#[test]
fn a_beginning_that_comes_again_holds_nobody_up() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, day(0)),
        report(NotificationKind::Renewed, day(31)),
    ];
    let reported = settle_with(
        &bought(),
        &reports,
        &Verification::Unreachable { since: day(31) },
        day(31),
    );
    assert_eq!(
        (kinds(&reported), reported.outcomes.len()),
        (vec![TransitionKind::Renewed], 1)
    );
}

#[test]
fn a_repetition_does_not_make_a_verified_purchase_unverified() {
    let again = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let known = settle_with(&bought(), &again, &Verification::Unverifiable, day(1)).purchase;
    assert_eq!(known, bought());
}

#[test]
fn the_reason_of_a_replaced_purchase_is_not_waited_for() {
    let pending = Snapshot {
        end_reason: Some(EndReason::Pending),
        ..finished(day(3), day(3))
    };
    let verification = Verification::Verified(Box::new(pending));
    let linked = decide(
        &bought(),
        &[],
        SettlingContext {
            verification: &verification,
            is_replaced: true,
            now: day(3),
        },
    );
    assert_eq!(
        (linked.purchase.state(), linked.wake),
        (State::Replaced, None)
    );
}

#[test]
fn a_cancellation_undone_by_a_snapshot_does_not_date_the_next() {
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    let known = read(&known, &[], monthly(day(8))).purchase;
    let known = read(&known, &[], off(day(12))).purchase;
    assert_eq!(known.canceled_at(), Some(day(12)));
    assert_eq!(known.expires_at(), Some(day(31)));
}

fn book(at: Timestamp) -> Snapshot {
    Snapshot {
        product: Product::Entitlement,
        term: None,
        renews_at: None,
        auto_renewing: None,
        ..monthly(at)
    }
}

#[test]
fn a_one_time_purchase_awaits_the_reason_of_its_end_daily() {
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::EntitlementPurchased, day(0))],
        book(day(0)),
    )
    .purchase;
    let over = |at, reason| Snapshot {
        ends_at: Some(day(3)),
        end_reason: Some(reason),
        ..book(at)
    };
    let pending = read(
        &known,
        &[report(NotificationKind::EntitlementCancelled, day(3))],
        over(day(3), EndReason::Pending),
    );
    let dates = |purchase: &Purchase| (purchase.revoked_at(), purchase.canceled_at());
    assert_eq!(
        (pending.purchase.state(), dates(&pending.purchase)),
        (State::Revoked, (None, None))
    );
    assert_eq!(pending.wake, Some(day(4)));
    let last = read(&pending.purchase, &[], over(day(11), EndReason::Pending));
    assert_eq!((dates(&last.purchase), last.wake), ((None, None), None));
    let found = read(&pending.purchase, &[], over(day(4), EndReason::Customer));
    assert_eq!(
        (dates(&found.purchase), found.wake),
        ((Some(day(3)), Some(day(3))), None)
    );
    let gone = settle_with(&pending.purchase, &[], &Verification::Gone, day(4));
    assert_eq!(
        (dates(&gone.purchase), gone.wake),
        ((Some(day(3)), Some(day(3))), None)
    );
}

#[test]
fn an_entitlement_is_checked_weekly_and_a_consumable_never() {
    let bought = [report(NotificationKind::EntitlementPurchased, day(0))];
    let known = read(&Purchase::default(), &bought, book(day(0)));
    assert_eq!(known.wake, Some(day(7)));
    let taken = read(
        &known.purchase,
        &[],
        Snapshot {
            ends_at: Some(day(5)),
            ..book(day(7))
        },
    );
    assert_eq!((taken.purchase.state(), taken.wake), (State::Revoked, None));
    assert_eq!(
        settle_with(
            &Purchase::default(),
            &bought,
            &Verification::Unverifiable,
            day(0)
        )
        .wake,
        None
    );
    let coins = Snapshot {
        product: Product::Consumable,
        ..book(day(0))
    };
    assert_eq!(
        read(
            &Purchase::default(),
            &[report(NotificationKind::ConsumablePurchased, day(0))],
            coins
        )
        .wake,
        None
    );
}

/// The store refunds at once what the app does not deliver, and its answer to the notification may not show that yet.
#[test]
fn an_undelivered_purchase_is_checked_for_a_day() {
    let coins = |at: Timestamp| Snapshot {
        product: Product::Consumable,
        undelivered_at: Some(day(0)),
        ..book(at)
    };
    let first = read(
        &Purchase::default(),
        &[report(NotificationKind::ConsumablePurchased, day(0))],
        coins(day(0)),
    );
    let (mut checks, mut last) = (Vec::new(), first.clone());
    while let Some(wake) = last.wake {
        checks.push(wake.millis_since(day(0)) / MINUTE);
        last = read(&last.purchase, &[], coins(wake));
    }
    assert_eq!(checks, [10, 60, 125, 485, 845, 1205]);
    let wake = first.wake.unwrap();
    let refunded = Snapshot {
        ends_at: Some(day(0)),
        end_reason: Some(EndReason::Store),
        ..coins(wake)
    };
    let over = read(&first.purchase, &[], refunded);
    assert_eq!((over.purchase.state(), over.wake), (State::Revoked, None));
    let delivered = Snapshot {
        undelivered_at: None,
        ..coins(day(0))
    };
    assert_eq!(read(&first.purchase, &[], delivered).wake, None);
}

#[test]
fn a_410_does_not_date_an_end_again() {
    let over = read(
        &bought(),
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31)),
    )
    .purchase;
    let dates = |purchase: &Purchase| {
        (
            purchase.revoked_at(),
            purchase.expires_at(),
            purchase.canceled_at(),
        )
    };
    let gone = settle_with(&over, &[], &Verification::Gone, day(40)).purchase;
    assert_eq!((gone.state(), dates(&gone)), (State::Expired, dates(&over)));
    assert_eq!(dates(&over), (None, Some(day(31)), Some(day(31))));
    let refunded = read(&bought(), &[], finished(day(20), day(20))).purchase;
    let gone = settle_with(&refunded, &[], &Verification::Gone, day(40)).purchase;
    assert_eq!(
        (gone.revoked_at(), gone.expires_at()),
        (Some(day(20)), Some(day(20)))
    );
    let reported = settle_with(
        &Purchase::default(),
        &[report(NotificationKind::Expired, day(31))],
        &Verification::Unverifiable,
        day(31),
    );
    let gone = settle_with(&reported.purchase, &[], &Verification::Gone, day(40)).purchase;
    assert_eq!((gone.revoked_at(), gone.expires_at()), (None, None));
}

#[test]
fn each_answer_that_a_receipt_is_no_longer_valid_verifies_it() {
    let gone = settle_with(&bought(), &[], &Verification::Gone, day(2)).purchase;
    let again = settle_with(&gone, &[], &Verification::Gone, day(9)).purchase;
    assert_eq!(
        (gone.last_verified(), again.last_verified()),
        (Some(day(2)), Some(day(9)))
    );
    assert_eq!(
        (again.revoked_at(), again.expires_at()),
        (Some(day(2)), Some(day(2)))
    );
    assert_eq!(record_of(&again), record_of(&gone));
    let back = read(&again, &[], monthly(day(10))).purchase;
    assert_eq!(
        (back.state(), back.revoked_at(), back.last_verified()),
        (State::Active, None, Some(day(10)))
    );
}

#[test]
fn a_cancellation_shown_before_its_report_has_the_report_s_time() {
    let at = |minutes| day(3).plus_millis(minutes * MINUTE);
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(2))],
        off(day(2)),
    )
    .purchase;
    let held = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, at(0))],
        off(at(2)),
    )
    .purchase;
    let over = read(
        &held,
        &[report(NotificationKind::AutoRenewalOff, at(1))],
        off(at(20)),
    );
    assert_eq!(
        (held.canceled_at(), kinds(&over)),
        (None, vec![TransitionKind::Cancelled])
    );
    assert_eq!(over.purchase.canceled_at(), Some(at(1)));
}

#[test]
fn a_switch_that_snapshots_showed_and_undid_holds_nothing() {
    let at = |minutes| day(3).plus_millis(minutes * MINUTE);
    let known = read(
        &read(&bought(), &[], off(at(2))).purchase,
        &[],
        monthly(at(4)),
    )
    .purchase;
    let late = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, at(1))],
        monthly(at(6)),
    );
    assert_eq!(
        (kinds(&late), late.purchase.state()),
        (vec![], State::Active)
    );
}

#[test]
fn an_unverified_renewal_at_a_term_change_is_counted_once() {
    let deferred = Snapshot {
        deferred_at: Some(day(31)),
        deferred_sku: Some("gold_yearly".to_owned()),
        ..monthly(day(2))
    };
    let known = read(
        &bought(),
        &[report(NotificationKind::PlanChangeScheduled, day(2))],
        deferred,
    )
    .purchase;
    let reported = settle_with(
        &known,
        &[report(NotificationKind::Renewed, day(31))],
        &Verification::Unreachable { since: day(31) },
        day(31),
    );
    assert_eq!(kinds(&reported), [TransitionKind::Renewed]);
    let yearly = Snapshot {
        term_sku: Some("gold_yearly".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Year,
        }),
        renews_at: Some("2027-02-10T00:00:00Z".parse().unwrap()),
        ..monthly(day(32))
    };
    let shown = read(&reported.purchase, &[], yearly);
    assert_eq!(
        (kinds(&shown), shown.purchase.billing_cycles()),
        (vec![TransitionKind::PlanChanged], Some(2))
    );
}
