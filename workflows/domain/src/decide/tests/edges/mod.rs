//! Rules that random lives seldom need. Each test names the rule that it guards.

mod auto_renewal;
mod one_time;
mod replacement;

use super::properties::record_of;
use super::settle_with;
use super::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot, Term, Unit, Verification};

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
fn each_answer_that_a_purchase_is_no_longer_valid_verifies_it() {
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
