//! Apple's values in settle's closed lists, and exact amounts.

use crate::environment::Environment;
use crate::period::{OfferPhase, RefundExtent};
use crate::stores::apple::{
    Intent, OfferKind, Ownership, PriceTier, ProductKind, RevocationKind, SubscriptionStatus,
    amount, country, currency, end_reason, environment, offer, phase, product, refund_extent,
    revoked_reason, total,
};
use crate::verification::{EndReason, Offer, Product};
use rust_decimal::Decimal;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn each_reason_of_an_end_is_in_the_list() {
    for (intent, expected) in [
        (1, EndReason::Customer),
        (2, EndReason::Store),
        (3, EndReason::Customer),
        (4, EndReason::Store),
        (5, EndReason::Other(5)),
        (77, EndReason::Other(77)),
    ] {
        assert_eq!(end_reason(Intent::of(intent)), expected, "{intent}");
    }
    for (name, expected) in [
        ("PURCHASED", EndReason::Store),
        ("FAMILY_SHARED", EndReason::Other(0)),
        ("ASSIGNED", EndReason::Other(0)),
        ("NEW", EndReason::Store),
    ] {
        assert_eq!(revoked_reason(Ownership::of(name)), expected, "{name}");
    }
}

#[test]
fn each_offer_and_product_is_in_the_list() {
    for (number, expected) in [
        (1, Offer::Introductory),
        (2, Offer::Retention),
        (3, Offer::Other),
        (4, Offer::LapsedCustomer),
        (9, Offer::Other),
    ] {
        assert_eq!(offer(OfferKind::of(number)), expected, "{number}");
    }
    for (name, expected) in [
        ("Auto-Renewable Subscription", Product::Subscription),
        ("Consumable", Product::Consumable),
        ("Non-Consumable", Product::Entitlement),
        ("Non-Renewing Subscription", Product::Entitlement),
        ("New", Product::Unknown),
    ] {
        assert_eq!(product(ProductKind::of(name)), expected, "{name}");
    }
}

#[test]
fn a_free_offer_of_any_type_is_a_trial() {
    for kind in [None, Some(OfferKind::Code), Some(OfferKind::WinBack)] {
        assert_eq!(phase(kind, true), OfferPhase::Trial, "{kind:?}");
    }
    let introductory = Some(OfferKind::Introductory);
    assert_eq!(phase(introductory, false), OfferPhase::Introductory);
    assert_eq!(phase(Some(OfferKind::Code), false), OfferPhase::Other);
    assert_eq!(phase(None, false), OfferPhase::Base);
}

#[test]
fn only_what_apple_signs_has_an_environment() {
    for (name, expected) in [
        ("Production", Some(Environment::Production)),
        ("Sandbox", Some(Environment::Sandbox)),
        ("Xcode", None),
        ("LocalTesting", None),
        ("production", None),
    ] {
        assert_eq!(environment(name), expected, "{name}");
    }
    assert_eq!(
        (SubscriptionStatus::of(0), SubscriptionStatus::of(6)),
        (None, None)
    );
    assert_eq!(SubscriptionStatus::of(5), Some(SubscriptionStatus::Revoked));
}

#[test]
fn a_storefront_has_the_country_of_its_code() {
    for (storefront, expected) in [
        ("USA", Some("US")),
        ("DEU", Some("DE")),
        ("AUS", Some("AU")),
        ("XKS", Some("XK")),
        ("ZWE", Some("ZW")),
        ("ABW", Some("AW")),
        ("AAA", None),
        ("usa", None),
        ("US", None),
        ("USAUS", None),
        ("", None),
    ] {
        assert_eq!(country(storefront), expected, "{storefront}");
    }
    assert_eq!((currency("EUR"), currency("eur")), (Some("EUR"), None));
}

#[test]
fn milliunits_are_exact_in_every_currency() {
    for (milliunits, expected) in [
        (1_990, "1.99"),
        (300_000, "300"),
        (1_250, "1.25"),
        (4_999_005, "4999.005"),
        (0, "0"),
    ] {
        assert_eq!(amount(milliunits).to_string(), expected);
    }
}

#[test]
fn a30_the_price_of_seats_is_the_sum_of_their_tiers() {
    let tier = |price, seats| PriceTier {
        price: decimal(price),
        seats,
    };
    let tiers = [tier("6.00", 1), tier("3.50", 4)];
    assert_eq!(total(Some(decimal("4.00")), &tiers), Some(decimal("20")));
    assert_eq!(total(Some(decimal("4.00")), &[]), Some(decimal("4.00")));
    assert_eq!(total(None, &[]), None);
}

#[test]
fn a_refund_is_whole_or_its_share() {
    let extent = |name, percentage| refund_extent(RevocationKind::of(name), percentage);
    assert_eq!(extent(None, None), RefundExtent::Full);
    assert_eq!(
        extent(Some("REFUND_FULL"), Some(100_000)),
        RefundExtent::Full
    );
    let prorated = Some("REFUND_PRORATED");
    assert_eq!(extent(prorated, Some(50_000)), RefundExtent::Mille(500));
    assert_eq!(extent(prorated, Some(100_000)), RefundExtent::Full);
    assert_eq!(extent(prorated, None), RefundExtent::Unknown);
    assert_eq!(extent(Some("FAMILY_REVOKE"), None), RefundExtent::Full);
    assert_eq!(extent(Some("NEW"), None), RefundExtent::Unknown);
}
