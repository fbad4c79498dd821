//! The mappings, value by value, and amounts. No value maps to anything outside the enums of the published schemas.

use crate::environment::Environment;
use crate::period::{OfferPhase, RefundExtent};
use crate::stores::google::{
    Cancellation, OrderState, amount, billing_cycles, country, currency, end_reason, environment,
    offer, phase, product, refund_extent, sku, transaction_id,
};
use crate::verification::{EndReason, Offer, Product};
use rust_decimal::Decimal;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn every_cancellation_has_a_reason() {
    for (member, reason) in [
        ("userInitiatedCancellation", EndReason::Customer),
        ("systemInitiatedCancellation", EndReason::Store),
        ("developerInitiatedCancellation", EndReason::Internal),
        ("replacementCancellation", EndReason::Replaced),
        ("somethingNew", EndReason::Other(0)),
    ] {
        assert_eq!(end_reason(Cancellation::of(member)), reason, "{member}");
    }
    assert_eq!(end_reason(Cancellation::Revoked), EndReason::Internal);
    let fell_through = end_reason(Cancellation::PendingPurchase);
    assert_eq!(fell_through, EndReason::Pending);
}

#[test]
fn every_phase_has_an_offer_type() {
    for (member, original, expected) in [
        (Some("basePrice"), None, Some(OfferPhase::Base)),
        (Some("freeTrial"), None, Some(OfferPhase::Trial)),
        (
            Some("introductoryPrice"),
            None,
            Some(OfferPhase::Introductory),
        ),
        (Some("prorationPeriod"), None, Some(OfferPhase::Base)),
        (
            Some("prorationPeriod"),
            Some("BASE"),
            Some(OfferPhase::Base),
        ),
        (
            Some("prorationPeriod"),
            Some("FREE_TRIAL"),
            Some(OfferPhase::Trial),
        ),
        (
            Some("prorationPeriod"),
            Some("INTRODUCTORY"),
            Some(OfferPhase::Introductory),
        ),
        (
            Some("prorationPeriod"),
            Some("NEW"),
            Some(OfferPhase::Other),
        ),
        (Some("somethingNew"), None, Some(OfferPhase::Other)),
        (None, None, None),
    ] {
        assert_eq!(phase(member, original), expected, "{member:?} {original:?}");
    }
    for (phase, plain, by_code) in [
        (Some(OfferPhase::Base), None, Some(Offer::Other)),
        (
            Some(OfferPhase::Trial),
            Some(Offer::Introductory),
            Some(Offer::Introductory),
        ),
        (
            Some(OfferPhase::Introductory),
            Some(Offer::Introductory),
            Some(Offer::Introductory),
        ),
        (
            Some(OfferPhase::Other),
            Some(Offer::Other),
            Some(Offer::Other),
        ),
        (None, None, Some(Offer::Other)),
    ] {
        assert_eq!(offer(phase, false), plain, "{phase:?}");
        assert_eq!(offer(phase, true), by_code, "{phase:?} with a code");
    }
}

#[test]
fn the_catalogue_names_a_product_that_is_bought_once() {
    for (listed, owned, consumed) in [
        (
            Product::Consumable,
            Product::Consumable,
            Product::Consumable,
        ),
        (
            Product::Entitlement,
            Product::Entitlement,
            Product::Entitlement,
        ),
        (Product::Unknown, Product::Entitlement, Product::Consumable),
        (
            Product::Subscription,
            Product::Entitlement,
            Product::Consumable,
        ),
    ] {
        assert_eq!(product(false, listed, false), owned, "{listed:?}");
        assert_eq!(product(false, listed, true), consumed, "{listed:?}");
        assert_eq!(product(true, listed, false), Product::Subscription);
    }
}

#[test]
fn an_order_counts_its_series_from_one() {
    for (order, expected) in [
        (Some("GPA.1234-5678-9012-12345"), Some(1)),
        (Some("GPA.1234-5678-9012-12345..0"), Some(2)),
        (Some("GPA.1234-5678-9012-12345..3"), Some(5)),
        (Some("GPA.1234-5678-9012-12345.."), None),
        (Some("GPA.1234-5678-9012-12345..+3"), None),
        (Some("GPA.1234-5678-9012-12345..18446744073709551615"), None),
        (Some(""), None),
        (None, None),
    ] {
        assert_eq!(billing_cycles(order), expected, "{order:?}");
    }
}

#[test]
fn a_payment_without_an_order_has_the_token_as_its_id() {
    assert_eq!(transaction_id(Some("GPA.1..0"), "token"), "GPA.1..0");
    assert_eq!(transaction_id(Some(""), "token"), "token");
    assert_eq!(transaction_id(None, "token"), "token");
    assert_eq!(sku("gold", Some("monthly")), "gold:monthly");
    assert_eq!(sku("coins", None), "coins");
}

#[test]
fn countries_and_currencies_have_capitals_alone() {
    assert_eq!(country("US"), Some("US"));
    assert_eq!(currency("JPY"), Some("JPY"));
    for wrong in ["", "us", "U", "USA", "U1", "Ü"] {
        assert_eq!(country(wrong), None, "{wrong}");
    }
    for wrong in ["", "usd", "US", "USDT", "U$D", "ÜS"] {
        assert_eq!(currency(wrong), None, "{wrong}");
    }
    assert_eq!(environment(true), Environment::Sandbox);
    assert_eq!(environment(false), Environment::Production);
}

#[test]
fn an_amount_is_exact_and_its_units_may_be_absent() {
    for (units, nanos, expected) in [
        (Some("4"), Some(990_000_000), Some("4.99")),
        (Some("300"), None, Some("300")),
        (None, Some(500_000_000), Some("0.5")),
        (None, Some(1), Some("0.000000001")),
        (None, None, Some("0")),
        (Some("-1"), Some(-750_000_000), Some("-1.75")),
        (
            Some("9223372036854775807"),
            Some(999_999_999),
            Some("9223372036854775807.999999999"),
        ),
        (Some("1"), Some(-1), None),
        (Some("1"), Some(1_000_000_000), None),
        (Some("9223372036854775808"), None, None),
        (Some("1.5"), None, None),
        (Some(""), None, None),
    ] {
        let expected = expected.map(decimal);
        assert_eq!(amount(units, nanos), expected, "{units:?} {nanos:?}");
    }
}

#[test]
fn an_order_is_returned_as_far_as_its_state_shows() {
    let part = Some(decimal("1.50"));
    for (state, is_paid, with_part, without) in [
        ("PENDING", false, None, None),
        ("PROCESSED", true, None, None),
        ("CANCELED", false, None, None),
        ("PENDING_REFUND", true, None, None),
        (
            "PARTIALLY_REFUNDED",
            true,
            Some(RefundExtent::Amount(decimal("1.50"))),
            Some(RefundExtent::Unknown),
        ),
        (
            "REFUNDED",
            true,
            Some(RefundExtent::Full),
            Some(RefundExtent::Full),
        ),
        ("SOMETHING_NEW", false, None, None),
    ] {
        let order = OrderState::of(state);
        assert_eq!(order.is_paid(), is_paid, "{state}");
        assert_eq!(refund_extent(order, part), with_part, "{state}");
        assert_eq!(refund_extent(order, None), without, "{state}");
    }
}
