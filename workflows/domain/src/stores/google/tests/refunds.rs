//! Refunds of payments whose periods the purchase no longer has, and of purchases that the store no longer shows.

use super::{events, monthly, order_id, report, settle, show, snapshot, verified};
use crate::decide::Decision;
use crate::event::tests::day;
use crate::notification::Notification;
use crate::notification::NotificationKind::{Renewed, SubscriptionPurchased, Unknown};
use crate::period::{MAX_PERIODS, PeriodRefund, RefundExtent, RefundedPayment};
use crate::purchase::{Purchase, State};
use crate::store_state::VoidedPayment;
use crate::stores::google::{OrderState, PurchaseAnswer};
use crate::verification::Verification;

/// Number of the last order: two more than a purchase has periods.
const LAST: u32 = 18;
/// The day of the refunds.
const REFUNDED: i64 = 515;

fn answer() -> PurchaseAnswer {
    let mut answer = monthly(LAST, day(REFUNDED + 1));
    // The store shows those that a check reads.
    answer.orders.drain(..2);
    answer
}

/// A monthly plan that was paid so often that its first periods are no longer stored.
fn old() -> Purchase {
    let mut known = Purchase::default();
    for (number, kind) in [(1, SubscriptionPurchased), (10, Renewed), (LAST, Renewed)] {
        let paid = monthly(number, day(30 * i64::from(number) - 29));
        known = show(&known, &[kind], &paid).purchase;
    }
    assert_eq!(known.periods().iter().count(), MAX_PERIODS);
    assert!(known.periods().of(&order_id("GPA.1", 2)).is_none());
    known
}

fn returned(number: u32, extent: RefundExtent) -> RefundedPayment {
    RefundedPayment {
        transaction_id: order_id("GPA.1", number),
        refund: PeriodRefund {
            at: day(REFUNDED),
            extent,
        },
        tax: None,
    }
}

/// The void of an order, as a notification and the list report it.
fn voided(number: u32) -> Notification {
    Notification {
        voided: Some(VoidedPayment {
            transaction_id: order_id("GPA.1", number),
            at: day(REFUNDED),
            units: None,
        }),
        ..report(Unknown, day(REFUNDED))
    }
}

/// The refund of an order, as the sweep of orders reports it.
fn swept(number: u32, extent: RefundExtent) -> Notification {
    Notification {
        refunded: Some(returned(number, extent)),
        ..report(Unknown, day(REFUNDED))
    }
}

/// The decisions about a report if the store shows the purchase, and if it no longer does.
fn decided(known: &Purchase, reported: &Notification) -> [Decision; 2] {
    let reported = std::slice::from_ref(reported);
    [verified(snapshot(&answer())), Verification::Gone]
        .map(|answered| settle(known, reported, &answered))
}

#[test]
fn a_refund_of_a_period_that_is_not_stored_is_for_the_ledger() {
    let known = old();
    let part = RefundExtent::Amount("2.00".parse().unwrap());
    for (reported, extent) in [
        (voided(1), RefundExtent::Full),
        (swept(1, RefundExtent::Full), RefundExtent::Full),
        (swept(1, part), part),
    ] {
        for decision in decided(&known, &reported) {
            assert_eq!(decision.refunds, [returned(1, extent)], "{reported:?}");
            assert_eq!(events(&decision), "");
            let mut stored = decision.purchase.periods().iter();
            assert!(stored.all(|period| period.refund.is_none()));
            assert_eq!(decision.purchase.state(), State::Active);
        }
    }
}

#[test]
fn a_refund_of_a_stored_period_is_in_the_record_alone() {
    let known = old();
    for number in [3, LAST] {
        let swept = swept(number, RefundExtent::Full);
        for decision in decided(&known, &swept) {
            assert_eq!(decision.refunds, [], "{number}");
            let period = decision.purchase.periods().of(&order_id("GPA.1", number));
            let period = period.expect("a stored period");
            assert_eq!(period.refunded(), period.price, "{number}");
            assert_eq!(events(&decision), "", "a refund without a revocation");
            assert_eq!(decision.purchase.state(), State::Active);
        }
    }
}

/// The answer that pushes a period out of the record is the first one that shows its refund.
#[test]
fn a_refund_that_is_shown_with_a_newer_payment_is_not_lost() {
    let known = old();
    let mut shown = monthly(LAST + 1, day(541));
    shown.orders.drain(..2);
    let first = &mut shown.orders[0];
    assert_eq!(first.id, order_id("GPA.1", 3));
    first.state = OrderState::Refunded;
    first.refunded_at = Some(day(REFUNDED));
    first.refunded_tax = "0.80".parse().ok();
    let decision = show(&known, &[Renewed], &shown);
    let expected = RefundedPayment {
        tax: "0.80".parse().ok(),
        ..returned(3, RefundExtent::Full)
    };
    assert_eq!(decision.refunds, [expected]);
    assert_eq!(events(&decision), "renewed");
    let again = show(&decision.purchase, &[], &shown);
    assert_eq!(again.refunds.len(), 1, "the ledger has it by then");
}

#[test]
fn what_is_gone_is_refunded_by_what_is_known_of_the_amount() {
    let mut known = old();
    for (reported, refunded) in [
        // A part of the quantity, of which only a query would show the amount.
        (report(Unknown, day(REFUNDED)), Some("0")),
        (swept(LAST, RefundExtent::Unknown), None),
        (voided(LAST), Some("4.99")),
        (swept(LAST, RefundExtent::Full), Some("4.99")),
    ] {
        let decision = settle(&known, &[reported], &Verification::Gone);
        known = decision.purchase;
        let period = known.periods().newest().expect("the current period");
        let expected = refunded.and_then(|amount| amount.parse().ok());
        assert_eq!(period.refunded(), expected);
    }
}
