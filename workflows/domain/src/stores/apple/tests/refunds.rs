//! Refunds, and periods that an upgrade left, in the orders in which they can be shown.

use super::states::{bought, reach, refunded, shown};
use super::{message, monthly, period, renewal, renewing, settle, together};
use crate::event::tests::day;
use crate::period::RefundExtent;
use crate::purchase::{Purchase, State};
use crate::stores::apple::{PurchaseFacts, TransactionFact};
use rust_decimal::Decimal;

/// The extent of the refund of the first period.
fn first_refund(purchase: &Purchase) -> Option<RefundExtent> {
    let first = purchase.periods().of("200001");
    first?.refund.map(|refund| refund.extent)
}

/// Another product, bought on this day.
fn silver(at: i64) -> PurchaseFacts {
    shown("upgraded", day(at))
}

/// Another product, bought again on this day after what came before was over.
fn silver_again(at: i64) -> PurchaseFacts {
    let mut facts = silver(at);
    let began_at = facts.transactions[0].bought_at;
    renewal(&mut facts).began_at = Some(began_at);
    facts
}

/// A renewal of the other product, a month after it was bought on this day.
fn silver_renewed(at: i64) -> PurchaseFacts {
    let first = bought("upgraded", day(at));
    let renewed = TransactionFact {
        product: "silver".to_owned(),
        bought_at: first.expires_at.expect("an end"),
        expires_at: Some(day(at + 60)),
        ..period(2, day(at + 31))
    };
    let mut facts = message(renewed, renewing(day(at + 31)));
    let state = renewal(&mut facts);
    state.product = "silver".to_owned();
    state.next_product = Some("silver".to_owned());
    facts
}

#[test]
fn a_refund_before_another_purchase_is_whole() {
    let refund = shown("refunded", day(12));
    let both = together(&[refund.clone(), silver_again(15)]);
    let one_window = settle(&reach("active"), &[], &both).purchase;
    let first = settle(&reach("active"), &[], &refund).purchase;
    let two_windows = settle(&first, &[], &silver_again(15)).purchase;
    for purchase in [one_window, two_windows] {
        assert_eq!(purchase.state(), State::Active);
        assert_eq!(first_refund(&purchase), Some(RefundExtent::Full));
    }
}

#[test]
fn a_refund_of_unknown_extent_can_be_reversed() {
    let mut refund = message(refunded(period(1, day(12)), day(12)), renewing(day(12)));
    let revocation = refund.transactions[0].revocation.as_mut();
    revocation.expect("a refund").extent = RefundExtent::Unknown;
    let revoked = settle(&reach("active"), &[], &refund).purchase;
    assert_eq!(revoked.state(), State::Revoked);
    assert_eq!(revoked.paid_period().unwrap().refunded(), None);
    let reversed = settle(&revoked, &[], &monthly(1, day(17))).purchase;
    assert_eq!(reversed.state(), State::Active);
    let period = reversed.paid_period().unwrap();
    assert_eq!(period.refunded(), Some(Decimal::ZERO));
}

#[test]
fn a_period_that_an_upgrade_left_is_found_in_any_order() {
    let gold = || monthly(1, day(1));
    let settled = |order: &[PurchaseFacts]| {
        let steps = order.iter();
        steps.fold(Purchase::default(), |known, facts| {
            settle(&known, &[], facts).purchase
        })
    };
    for order in [
        [gold(), silver(12), silver_renewed(12)],
        [gold(), silver_renewed(12), silver(12)],
        [silver(12), silver_renewed(12), gold()],
        [silver_renewed(12), gold(), silver(12)],
        [silver_renewed(12), silver(12), gold()],
    ] {
        let purchase = settled(&order);
        assert_eq!(first_refund(&purchase), Some(RefundExtent::Unknown));
        assert_eq!(purchase.periods().iter().count(), 3);
        assert_eq!(purchase.state(), State::Active);
    }
}
