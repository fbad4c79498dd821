//! Purchases without terms.

use crate::decide::tests::settle_with;
use crate::decide::tests::verification::{MINUTE, day, monthly, read, report};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::verification::{EndReason, Product, Snapshot, Verification};

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

/// The store refunds at once a purchase that the app does not deliver, but may not show that yet when the notification
/// is settled.
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
