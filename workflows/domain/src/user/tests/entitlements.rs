//! Active entitlements and SKUs.

use super::{body, owned, until, unverified};
use crate::catalogue::{Listing, ProductRef};
use crate::event::tests::{bought, day, entitlement, known, monthly};
use crate::notification::NotificationKind;
use crate::transition::TransitionKind;
use crate::user::{OwnedPurchase, active_entitlements, active_skus};
use crate::verification::{Product, Snapshot, Verification};
use serde_json::json;

#[test]
fn each_entitlement_is_listed_once_by_its_longest_purchase() {
    let short = owned("short", until(day(31)));
    let long = OwnedPurchase {
        platform_type: "another".to_owned(),
        ..owned("long", until(day(90)))
    };
    let listed = active_entitlements(&[short.clone(), long.clone()]);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].expiration, listed[0].purchase_platform.as_str()),
        (Some(day(90)), "another")
    );
    assert_eq!(
        (listed[0].last_verified, listed[0].sku_ref_id.as_deref()),
        (Some(day(1)), Some("gold_monthly"))
    );

    let never_verified = owned(
        "unverified",
        unverified(&[NotificationKind::SubscriptionPurchased]),
    );
    let listed = active_entitlements(&[never_verified.clone(), short.clone()]);
    assert_eq!(
        listed[0].expiration,
        Some(day(31)),
        "an unknown end counts as the nearest"
    );
    let listed = active_entitlements(&[never_verified]);
    assert_eq!(
        (
            listed[0].expiration,
            listed[0].last_verified,
            &listed[0].sku_ref_id
        ),
        (None, None, &None)
    );

    let once = OwnedPurchase {
        platform_type: "shop".to_owned(),
        ..owned(
            "once",
            unverified(&[NotificationKind::EntitlementPurchased]),
        )
    };
    let listed = active_entitlements(&[long, once, short]);
    assert_eq!(
        (listed[0].expiration, listed[0].purchase_platform.as_str()),
        (None, "shop"),
        "for ever lasts longest"
    );
}

#[test]
fn between_equal_ends_the_newest_proof_is_listed() {
    let verified = |at| bought(Snapshot { at, ..monthly() });
    for (old, new) in [("a", "b"), ("b", "a")] {
        let both = [owned(old, verified(day(1))), owned(new, verified(day(3)))];
        assert_eq!(active_entitlements(&both)[0].last_verified, Some(day(3)));
    }
}

#[test]
fn entitlements_are_listed_in_the_order_of_their_references() {
    let listing = |names: &[&str]| Listing {
        entitlements: names.iter().map(|name| entitlement(name)).collect(),
        prices: Vec::new(),
    };
    let one = OwnedPurchase {
        listing: listing(&["zoo", "arena"]),
        ..owned("one", until(day(31)))
    };
    let two = OwnedPurchase {
        listing: listing(&["museum", "zoo"]),
        ..owned("two", until(day(60)))
    };
    let listed = active_entitlements(&[one, two]);
    let names: Vec<_> = listed
        .iter()
        .map(|one| (one.entitlement_ref_id.as_str(), one.expiration))
        .collect();
    assert_eq!(
        names,
        [
            ("arena", Some(day(31))),
            ("museum", Some(day(60))),
            ("zoo", Some(day(60)))
        ]
    );
    assert_eq!(
        (listed[0].name.as_str(), listed[0].description.as_deref()),
        ("ARENA", Some("All of arena"))
    );
}

#[test]
fn what_is_bought_once_has_no_end_whatever_a_store_shows() {
    let snapshot = Snapshot {
        product: Product::Entitlement,
        ..monthly()
    };
    let once = known(
        &[NotificationKind::EntitlementPurchased],
        &Verification::Verified(Box::new(snapshot)),
    );
    let listed = active_entitlements(&[owned("once", once)]);
    assert_eq!(
        (listed[0].expiration, listed[0].last_verified),
        (None, Some(day(1)))
    );
}

#[test]
fn what_gives_no_access_entitles_to_nothing() {
    for kinds in [
        &[][..],
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired,
        ],
        &[
            NotificationKind::ConsumablePurchased,
            NotificationKind::ConsumableCancelled,
        ],
    ] {
        assert_eq!(
            active_entitlements(&[owned("receipt", unverified(kinds))]),
            [],
            "{kinds:?}"
        );
    }
    let unlisted = OwnedPurchase {
        listing: Listing::default(),
        ..owned("receipt", bought(monthly()))
    };
    assert_eq!(active_entitlements(&[unlisted]), []);
}

#[test]
fn the_setting_chooses_the_sku_of_an_entitlement_too() {
    let parent = OwnedPurchase {
        product_ref: ProductRef::Parent,
        ..owned("receipt", bought(monthly()))
    };
    assert_eq!(
        active_entitlements(&[parent])[0].sku_ref_id.as_deref(),
        Some("gold")
    );
}

#[test]
fn every_sku_behind_an_active_entitlement_is_listed_once() {
    let with = |receipt: &str, sku: &str, end| {
        owned(
            receipt,
            bought(Snapshot {
                term_sku: Some(sku.to_owned()),
                renews_at: Some(end),
                ..monthly()
            }),
        )
    };
    let unlisted = OwnedPurchase {
        listing: Listing::default(),
        ..with("c", "nothing", day(31))
    };
    let replaced = OwnedPurchase {
        is_replaced: true,
        ..with("d", "old", day(31))
    };
    let all = [
        with("a", "silver", day(60)),
        with("b", "gold", day(31)),
        with("e", "silver", day(90)),
        unlisted,
        replaced,
    ];
    assert_eq!(
        active_entitlements(&all).len(),
        1,
        "one entitlement, given by three"
    );
    assert_eq!(active_skus(&all), ["gold", "silver"]);
    assert_eq!(
        active_skus(&[owned(
            "unverified",
            unverified(&[NotificationKind::SubscriptionPurchased])
        )]),
        [""; 0]
    );
    let parent = OwnedPurchase {
        product_ref: ProductRef::Parent,
        ..with("a", "silver", day(60))
    };
    assert_eq!(active_skus(&[parent]), ["gold"]);
    let body = body(TransitionKind::Renewed, &all);
    assert_eq!(body["active_skus"], json!(["gold", "silver"]));
}
