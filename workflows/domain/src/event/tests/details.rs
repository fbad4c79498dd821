//! settle's additions to `data` and `user.*`.

use super::{bought, data, day, described, known, monthly, price, price_since};
use crate::catalogue::{Listing, ProductRef};
use crate::event::{Details, RecordSource};
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::verification::{EndReason, Offer, Product, Snapshot, Verification};
use crate::{Environment, SettlingContext, decide};
use serde_json::{Value, json};

const DETAILS: [&str; 8] = [
    "environment",
    "expiration_reason",
    "offer_type",
    "pending_at",
    "pending_sku_ref_id",
    "previous_sku_ref_id",
    "price_source",
    "product_type",
];

fn detail(purchase: &Purchase, name: &str) -> Value {
    data(described(purchase))[name].clone()
}

/// Returns the purchase after one further verification.
fn read(purchase: &Purchase, snapshot: &Snapshot) -> Purchase {
    let verification = Verification::Verified(Box::new(snapshot.clone()));
    decide(
        purchase,
        &[],
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification: &verification,
            is_replaced: false,
            now: snapshot.at,
        },
    )
    .purchase
}

/// Returns the snapshot of a subscription that will change from `gold_monthly` to `gold_yearly` at its renewal on day
/// 31.
fn scheduled() -> Snapshot {
    Snapshot {
        at: day(2),
        deferred_at: Some(day(31)),
        deferred_sku: Some("gold_yearly".to_owned()),
        ..monthly()
    }
}

/// Returns the snapshot after the scheduled change.
fn changed() -> Snapshot {
    let yearly = crate::verification::Term {
        count: 1,
        unit: crate::verification::Unit::Year,
    };
    let term_sku = Some("gold_yearly".to_owned());
    Snapshot {
        at: day(40),
        term_sku,
        term: Some(yearly),
        renews_at: Some(day(396)),
        ..monthly()
    }
}

#[test]
fn the_record_and_the_event_of_a_user_have_the_same_details() {
    let changed = read(&read(&bought(monthly()), &scheduled()), &changed());
    for purchase in [Purchase::default(), bought(monthly()), changed] {
        let details = serde_json::to_value(Details::of(described(&purchase))).unwrap();
        assert_eq!(
            details.as_object().unwrap().keys().collect::<Vec<_>>(),
            DETAILS
        );
        for name in DETAILS {
            assert_eq!(details[name], detail(&purchase, name), "{name}");
        }
    }
}

#[test]
fn every_unknown_detail_but_the_environment_is_null() {
    let nothing = Purchase::default();
    for name in DETAILS.into_iter().filter(|name| *name != "environment") {
        assert_eq!(detail(&nothing, name), Value::Null, "{name}");
    }
    assert_eq!(detail(&nothing, "environment"), json!("production"));
}

#[test]
fn the_environment_is_the_purchases_own() {
    let tested = bought(Snapshot {
        is_test: true,
        ..monthly()
    });
    assert_eq!(detail(&tested, "environment"), json!("sandbox"));
    assert_eq!(
        detail(&bought(monthly()), "environment"),
        json!("production")
    );
    let bought = bought(monthly());
    let on_sandbox = RecordSource {
        environment: Environment::Sandbox,
        ..described(&bought)
    };
    assert_eq!(data(on_sandbox)["environment"], json!("sandbox"));
}

#[test]
fn the_product_type_is_the_stores_else_the_notifications() {
    for (product, expected) in [
        (Product::Subscription, "subscription"),
        (Product::Consumable, "consumable"),
        (Product::Entitlement, "entitlement"),
    ] {
        assert_eq!(
            detail(
                &bought(Snapshot {
                    product,
                    ..monthly()
                }),
                "product_type"
            ),
            json!(expected)
        );
    }
    for (kind, expected) in [
        (NotificationKind::Renewed, json!("subscription")),
        (NotificationKind::ConsumableCancelled, json!("consumable")),
        (NotificationKind::EntitlementPurchased, json!("entitlement")),
        (NotificationKind::Adopted, Value::Null),
    ] {
        assert_eq!(
            detail(&known(&[kind], &Verification::Unverifiable), "product_type"),
            expected,
            "{kind:?}"
        );
    }
}

#[test]
fn the_expiration_reason_is_set_once_it_expired_or_will() {
    let ending = Snapshot {
        ends_at: Some(day(31)),
        renews_at: None,
        auto_renewing: Some(false),
        end_reason: Some(EndReason::Customer),
        ..monthly()
    };
    let reason = |end_reason, at| {
        let expired = Snapshot {
            at,
            end_reason,
            ..ending.clone()
        };
        detail(&read(&bought(monthly()), &expired), "expiration_reason")
    };
    assert_eq!(reason(Some(EndReason::Customer), day(3)), json!("customer"));
    for (end_reason, expected) in [
        (Some(EndReason::Pending), json!("pending")),
        (Some(EndReason::Customer), json!("customer")),
        (Some(EndReason::Store), json!("store")),
        (Some(EndReason::Internal), json!("internal")),
        (Some(EndReason::Replaced), json!("replaced")),
        (Some(EndReason::Other(9)), json!("other")),
        (None, Value::Null),
    ] {
        assert_eq!(reason(end_reason, day(32)), expected, "{end_reason:?}");
    }
    let running = Snapshot {
        end_reason: Some(EndReason::Customer),
        ..monthly()
    };
    assert_eq!(detail(&bought(running), "expiration_reason"), Value::Null);
    let replaced = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &Verification::Unverifiable,
        is_replaced: true,
        now: day(3),
    };
    let replaced = decide(&bought(monthly()), &[], replaced).purchase;
    assert_eq!(detail(&replaced, "expiration_reason"), json!("replaced"));
}

#[test]
fn every_promotion_is_named() {
    for (offer, expected) in [
        (Offer::Introductory, "introductory"),
        (Offer::LapsedCustomer, "lapsed_customer"),
        (Offer::Retention, "retention"),
        (Offer::Other, "other"),
    ] {
        assert_eq!(
            detail(
                &bought(Snapshot {
                    offer: Some(offer),
                    ..monthly()
                }),
                "offer_type"
            ),
            json!(expected)
        );
    }
    let of_before = Snapshot {
        in_intro_offer: true,
        ..monthly()
    };
    assert_eq!(
        detail(&bought(of_before), "offer_type"),
        json!("introductory")
    );
}

#[test]
fn a_scheduled_change_is_shown_with_its_date_until_it_happens() {
    let at = |purchase: &Purchase| {
        (
            detail(purchase, "pending_sku_ref_id"),
            detail(purchase, "pending_at"),
        )
    };
    let waiting = read(&bought(monthly()), &scheduled());
    assert_eq!(at(&waiting), (json!("gold_yearly"), json!(day(31))));
    assert_eq!(detail(&waiting, "previous_sku_ref_id"), Value::Null);
    let changed = read(&waiting, &changed());
    assert_eq!(at(&changed), (Value::Null, Value::Null));
    assert_eq!(
        detail(&changed, "previous_sku_ref_id"),
        json!("gold_monthly")
    );
    let abandoned = read(
        &waiting,
        &Snapshot {
            at: day(3),
            ..monthly()
        },
    );
    assert_eq!(at(&abandoned), (Value::Null, Value::Null));
}

#[test]
fn the_previous_sku_is_of_this_purchase_or_the_replaced_one() {
    let changed = read(&read(&bought(monthly()), &scheduled()), &changed());
    let previous = |purchase: &Purchase, product_ref, replaced_sku| {
        data(RecordSource {
            product_ref,
            replaced_sku,
            ..described(purchase)
        })["previous_sku_ref_id"]
            .clone()
    };
    assert_eq!(
        previous(&changed, ProductRef::Term, Some("silver")),
        json!("gold_monthly"),
        "the newest change"
    );
    assert_eq!(
        previous(&changed, ProductRef::Parent, None),
        Value::Null,
        "the product did not change"
    );
    let new = bought(monthly());
    assert_eq!(
        previous(&new, ProductRef::Term, Some("silver")),
        json!("silver")
    );
    assert_eq!(
        previous(&new, ProductRef::Parent, Some("gold")),
        Value::Null
    );
    let stored: Purchase = serde_json::from_str(&serde_json::to_string(&changed).unwrap()).unwrap();
    assert_eq!(
        previous(&stored, ProductRef::Term, None),
        json!("gold_monthly")
    );
}

#[test]
fn the_price_source_is_set_only_with_a_price() {
    let source = |snapshot| {
        let listing = Listing {
            entitlements: Vec::new(),
            prices: vec![price(None, "USD", "4.99")],
        };
        let purchase = bought(snapshot);
        data(RecordSource {
            listing: &listing,
            ..described(&purchase)
        })["price_source"]
            .clone()
    };
    assert_eq!(source(monthly()), json!("catalogue"));
    assert_eq!(
        source(Snapshot {
            trial_ends_at: Some(day(31)),
            ..monthly()
        }),
        Value::Null
    );
}

#[test]
fn a_plan_keeps_the_price_that_held_when_it_began() {
    let prices = vec![
        price(None, "USD", "4.99"),
        price_since(None, "5.99", "2026-03-20"),
    ];
    let listing = Listing {
        entitlements: Vec::new(),
        prices,
    };
    let price = |purchase: &Purchase| {
        data(RecordSource {
            listing: &listing,
            ..described(purchase)
        })["purchase_price"]
            .clone()
    };
    let waiting = read(&bought(monthly()), &scheduled());
    assert_eq!(price(&waiting), json!("4.99"), "bought on 2026-03-01");
    let renewed = Snapshot {
        at: day(40),
        renews_at: Some(day(61)),
        ..monthly()
    };
    assert_eq!(
        price(&read(&bought(monthly()), &renewed)),
        json!("4.99"),
        "a subscriber keeps the price"
    );
    assert_eq!(
        price(&read(&waiting, &changed())),
        json!("5.99"),
        "changed on 2026-04-01"
    );
    let unannounced = read(&bought(monthly()), &changed());
    assert_eq!(
        price(&unannounced),
        json!("5.99"),
        "at the renewal that was shown"
    );
}

#[test]
fn a_record_that_was_written_before_can_still_be_read() {
    let known = bought(monthly());
    let mut written = serde_json::to_value(&known).unwrap();
    assert!(
        written
            .as_object_mut()
            .unwrap()
            .remove("left_plan")
            .is_some()
    );
    assert!(
        written["snapshot"]
            .as_object_mut()
            .unwrap()
            .remove("offer")
            .is_some()
    );
    assert_eq!(serde_json::from_value::<Purchase>(written).unwrap(), known);
}
