//! Purchases that another one replaces.

use super::{finished, in_trial};
use crate::decide::tests::settle_with;
use crate::decide::tests::verification::{MINUTE, bought, day, kinds, monthly, read, report};
use crate::decide::{Decision, SettlingContext, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot, Verification};

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

/// Settles an unverified cancellation of day 2, together with other reports and a link.
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
                policy: crate::StorePolicy::default(),
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
    // The report came first, while the store still showed the purchase running.
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
fn an_end_after_a_report_of_the_new_purchase_is_a_replacement() {
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
            policy: crate::StorePolicy::default(),
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
