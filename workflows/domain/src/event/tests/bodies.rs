//! The bodies of `purchase.updated`.

use super::{
    body, bought, day, described, destination, entitlement, known, monthly, notification, price,
    sent,
};
use crate::catalogue::{Listing, ProductRef};
use crate::event::schema::ADDITIONS;
use crate::event::{PURCHASE_UPDATED, RecordSource, data, for_destination, state_digest};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::verification::{Snapshot, Verification};
use crate::{
    CollapseKey, DeliveryId, DestinationId, Environment, EventId, SettlingContext, decide,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The 26 fields of `data` in the vendor's documentation of `purchase.updated` 2.0, and the eight that settle adds.
const FIELDS: [&str; 34] = [
    "billing_cycles",
    "canceled_at",
    "current_term_length",
    "devices_with_access",
    "entitlements",
    "environment",
    "expiration_reason",
    "expires_at",
    "is_active",
    "is_auto_renewable",
    "is_free_trial_conversion",
    "is_in_intro_offer_period",
    "is_in_trial_period",
    "is_production",
    "last_seen_device_id",
    "last_seen_external_id",
    "not_before",
    "offer_type",
    "original_purchase_guid",
    "payment_issues_began_at",
    "pending_at",
    "pending_sku_ref_id",
    "platform_type",
    "previous_sku_ref_id",
    "price_in_usd",
    "price_source",
    "product_ref_id",
    "product_type",
    "purchase_country",
    "purchase_currency",
    "purchase_guid",
    "purchase_price",
    "revoked_at",
    "transaction_id",
];

#[test]
fn the_body_of_a_verified_subscription() {
    let listing = Listing {
        entitlements: vec![entitlement("premium"), entitlement("archive")],
        prices: vec![price(Some("US"), "USD", "4.99")],
    };
    let purchase = bought(monthly());
    let named = RecordSource {
        listing: &listing,
        external_id: Some("anna@shop"),
        ..described(&purchase)
    };
    insta::assert_json_snapshot!(sent(named));
}

#[test]
fn the_body_of_a_purchase_that_nobody_could_verify() {
    let kinds = [
        NotificationKind::SubscriptionPurchased,
        NotificationKind::TrialConverted,
        NotificationKind::Renewed,
        NotificationKind::AutoRenewalOff,
    ];
    insta::assert_json_snapshot!(sent(described(&known(&kinds, &Verification::Unverifiable))));
}

#[test]
fn a_body_is_written_the_same_every_time() {
    let purchase = bought(monthly());
    assert_eq!(
        body(described(&purchase)).to_string(),
        body(described(&purchase)).to_string()
    );
}

#[test]
fn what_differs_per_destination_is_null_until_it_is_sent() {
    let stored = body(described(&Purchase::default()));
    assert_eq!(stored["attributes"]["subscription_id"], Value::Null);
    assert_eq!(stored["attributes"]["previous_acked_revision"], Value::Null);
    let sent = for_destination(stored.clone(), destination(), None);
    assert_eq!(sent["attributes"]["subscription_id"], json!(destination()));
    assert_eq!(sent["attributes"]["previous_acked_revision"], Value::Null);
    assert_eq!(sent["data"], stored["data"]);
    assert_eq!(
        for_destination(json!("no body"), destination(), None),
        json!("no body")
    );
}

#[test]
fn what_renews_is_active_long_after_its_date() {
    let purchase = bought(Snapshot {
        at: day(400),
        ..monthly()
    });
    let late = data(described(&purchase));
    let expires_at: Timestamp = late["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(
        expires_at < day(400) && late["is_active"] == json!(true),
        "{late}"
    );
}

#[test]
fn what_we_add_is_always_there() {
    let body = sent(described(&Purchase::default()));
    for ours in ADDITIONS
        .iter()
        .filter(|ours| !["active_skus", "user_revision"].contains(*ours))
    {
        let is_there = |part: &str| body[part].get(ours).is_some();
        assert!(is_there("attributes") || is_there("data"), "{ours}");
    }
}

#[test]
fn a_body_shows_whether_the_store_confirmed_it() {
    let verified =
        |purchase: &Purchase| body(described(purchase))["attributes"]["verified"].clone();
    assert_eq!(verified(&bought(monthly())), json!(true));
    assert_eq!(
        verified(&known(
            &[NotificationKind::Renewed],
            &Verification::Unreachable { since: day(0) }
        )),
        json!(false)
    );
}

#[test]
fn all_fields_are_there_whatever_is_known() {
    let histories: [&[NotificationKind]; 4] = [
        &[],
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired,
        ],
        &[NotificationKind::Replaced],
        &[NotificationKind::ConsumableCancelled],
    ];
    for history in histories {
        let data = data(described(&known(history, &Verification::Unverifiable)));
        let fields: Vec<_> = data
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(fields, FIELDS);
    }
}

#[test]
fn external_id_and_entitlements_keep_their_order() {
    let listing = Listing {
        entitlements: vec![entitlement("zoo"), entitlement("arena")],
        prices: Vec::new(),
    };
    let purchase = bought(monthly());
    let data = data(RecordSource {
        listing: &listing,
        external_id: Some("anna@shop"),
        ..described(&purchase)
    });
    assert_eq!(data["last_seen_external_id"], json!("anna@shop"));
    assert_eq!(
        data["entitlements"],
        json!([entitlement("zoo"), entitlement("arena")])
    );
}

#[test]
fn the_setting_chooses_between_the_terms_and_the_parents_sku() {
    let purchase = bought(monthly());
    let sku = |product_ref| {
        data(RecordSource {
            product_ref,
            ..described(&purchase)
        })["product_ref_id"]
            .clone()
    };
    assert_eq!(sku(ProductRef::Term), json!("gold_monthly"));
    assert_eq!(sku(ProductRef::Parent), json!("gold"));
    assert_eq!(
        data(described(&Purchase::default()))["product_ref_id"],
        Value::Null
    );
}

#[test]
fn a_country_is_sent_in_two_capitals_or_not_at_all() {
    let country = |country: &str| {
        let purchase = bought(Snapshot {
            country: Some(country.to_owned()),
            ..monthly()
        });
        data(described(&purchase))["purchase_country"].clone()
    };
    assert_eq!(country("DE"), json!("DE"));
    assert_eq!(country("de"), json!("DE"));
    for wrong in ["DEU", "D", "", "D3", "Ö"] {
        assert_eq!(country(wrong), Value::Null, "{wrong}");
    }
}

#[test]
fn the_transaction_id_numbers_renewals_that_can_be_counted() {
    let id = |kinds: &[NotificationKind]| {
        data(described(&known(kinds, &Verification::Unverifiable)))["transaction_id"].clone()
    };
    assert_eq!(
        id(&[NotificationKind::SubscriptionPurchased]),
        json!("receipt")
    );
    assert_eq!(
        id(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Renewed,
            NotificationKind::Renewed
        ]),
        json!("receipt..2")
    );
    assert_eq!(
        id(&[NotificationKind::Renewed, NotificationKind::Renewed]),
        json!("receipt")
    );
}

#[test]
fn only_money_in_the_production_environment_is_production() {
    let active = bought(monthly());
    let is_production = |purchase, environment| {
        data(RecordSource {
            environment,
            ..described(purchase)
        })["is_production"]
            .clone()
    };
    assert_eq!(is_production(&active, Environment::Production), json!(true));
    assert_eq!(is_production(&active, Environment::Sandbox), json!(false));
    let test = Notification {
        is_test: true,
        ..notification(NotificationKind::Renewed, day(1))
    };
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &Verification::Unverifiable,
        is_replaced: false,
        now: day(1),
    };
    let tested = decide(&active, &[(9, test)], context).purchase;
    assert_eq!(
        is_production(&tested, Environment::Production),
        json!(false)
    );
    let tried = bought(Snapshot {
        environment: Environment::Sandbox,
        ..monthly()
    });
    assert_eq!(
        is_production(&tried, Environment::Production),
        json!(false),
        "its platform was switched since"
    );
}

#[test]
fn the_digest_is_the_hash_of_the_canonical_form() {
    // printf '{"a":"é","b":1}' | sha256sum
    let expected = "aa58fba8483623bed37c1b02edfccbdd9a53123837c20bfa4cb4049993a2872e";
    assert_eq!(state_digest(&json!({"b": 1, "a": "é"})), expected);
    assert_eq!(state_digest(&json!({"a": "é", "b": 1.0})), expected);
}

#[test]
fn event_ids_never_change() {
    let key = CollapseKey::new(uuid::uuid!("6b275a67-0bbb-4f3a-99b9-6600bf711993"));
    // python3 -c 'import uuid; print(uuid.uuid5(uuid.UUID("6b275a67-…"), "1/2/purchase.updated/0"))'
    assert_eq!(
        EventId::of(key, 1, 2, PURCHASE_UPDATED, 0).to_string(),
        "43a9c0c8-6675-5d36-8eb9-a638f5833482"
    );
}

#[test]
fn a_delivery_of_a_later_epoch_has_an_id_of_its_own() {
    let key = CollapseKey::new(uuid::uuid!("6b275a67-0bbb-4f3a-99b9-6600bf711993"));
    let (to, event) = (
        DestinationId::new(key.uuid()),
        EventId::of(key, 1, 2, PURCHASE_UPDATED, 0),
    );
    assert_eq!(
        DeliveryId::in_epoch(to, event, 1, 3),
        DeliveryId::of(to, event, 3)
    );
    let ids = [(1, 3), (2, 3), (3, 3), (3, 2)]
        .map(|(epoch, n)| DeliveryId::in_epoch(to, event, epoch, n));
    assert_eq!(BTreeSet::from(ids).len(), ids.len(), "{ids:?}");
}
