//! Changes to a plan of another length that are scheduled in a grace period and paid before their date.

use super::lag::grace;
use super::verification::{MINUTE, bought, day, kinds, monthly, read, report};
use crate::decide::Decision;
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::stores::amazon::next_date;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Term, Unit};

const HOUR: i64 = 60 * MINUTE;

/// Returns a monthly subscription in a grace period, with a change to `sku` scheduled for the end of that period.
fn changing_in_grace(sku: &str) -> Purchase {
    let known = read(
        &bought(),
        &[report(NotificationKind::GraceBegan, day(31))],
        grace(day(31)),
    )
    .purchase;
    let at = day(32);
    let deferred = Snapshot {
        deferred_at: Some(day(37)),
        deferred_sku: Some(sku.to_owned()),
        ..grace(at)
    };
    read(
        &known,
        &[report(NotificationKind::PlanChangeScheduled, at)],
        deferred,
    )
    .purchase
}

fn changed(
    known: &Purchase,
    reports: &[Notification],
    sku: &str,
    term: Term,
    renews_at: Timestamp,
) -> [Decision; 2] {
    let shown = |at| Snapshot {
        term_sku: Some(sku.to_owned()),
        term: Some(term),
        renews_at: Some(renews_at),
        ..monthly(at)
    };
    let first = read(known, reports, shown(day(33).plus_millis(2 * MINUTE)));
    let later = read(
        &first.purchase,
        &[],
        shown(day(33).plus_millis(126 * MINUTE)),
    );
    [first, later]
}

#[test]
fn a_change_of_term_that_is_paid_in_grace_ends_the_grace_period() {
    let paid = [
        [NotificationKind::Renewed].as_slice(),
        &[NotificationKind::OutOfGrace],
        &[NotificationKind::Renewed, NotificationKind::OutOfGrace],
    ];
    let month = Term {
        count: 1,
        unit: Unit::Month,
    };
    for unit in [Unit::Year, Unit::Month, Unit::Week] {
        let term = Term { unit, ..month };
        // Counted from the recovery, or from the date on which the payment was due.
        for begins in [day(33), day(31)] {
            let renews_at = next_date(term, begins).unwrap();
            for kinds_of_payment in paid {
                let known = changing_in_grace("gold_other");
                let reports: Vec<_> = (0..)
                    .zip(kinds_of_payment)
                    .map(|(n, kind)| report(*kind, day(33).plus_millis(n)))
                    .collect();
                let [first, later] = changed(&known, &reports, "gold_other", term, renews_at);
                let case = format!("{unit:?} from {begins}, {kinds_of_payment:?}");
                assert_eq!(
                    kinds(&first),
                    [TransitionKind::Recovered, TransitionKind::PlanChanged],
                    "{case}"
                );
                assert_eq!(
                    (first.purchase.state(), kinds(&later)),
                    (State::Active, vec![]),
                    "{case}"
                );
                for one in [&first, &later] {
                    assert_eq!(one.purchase.payment_issues_began_at(), None, "{case}");
                    assert_eq!(one.purchase.billing_cycles(), Some(2), "{case}");
                    assert_eq!(one.purchase.expires_at(), Some(renews_at), "{case}");
                    assert_eq!(one.purchase.pending_sku(), None, "{case}");
                }
                let next = read(
                    &later.purchase,
                    &[report(NotificationKind::Renewed, renews_at)],
                    Snapshot {
                        term_sku: Some("gold_other".to_owned()),
                        term: Some(term),
                        renews_at: next_date(term, renews_at),
                        ..monthly(renews_at.plus_millis(HOUR))
                    },
                );
                assert_eq!(
                    (kinds(&next), next.purchase.billing_cycles()),
                    (vec![TransitionKind::Renewed], Some(3)),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn an_unreported_payment_of_a_change_in_grace_ends_it_too() {
    let known = changing_in_grace("gold_yearly");
    let year = Term {
        count: 1,
        unit: Unit::Year,
    };
    let [first, later] = changed(
        &known,
        &[],
        "gold_yearly",
        year,
        next_date(year, day(33)).unwrap(),
    );
    let found = [kinds(&first), kinds(&later)].concat();
    assert_eq!(
        found,
        [TransitionKind::Recovered, TransitionKind::PlanChanged]
    );
    assert_eq!(
        (later.purchase.state(), later.purchase.billing_cycles()),
        (State::Active, Some(2))
    );
}
