//! The bytes that receivers see, and the choices of destinations.

use super::{PURCHASE_UPDATED, PurchaseUpdated, check_choice, chooses, data, for_destination, state_digest};
use crate::decide::tests::{after, at, settle, told};
use crate::notification::{Kind, Notification};
use crate::purchase::Purchase;
use crate::{AppId, CollapseKey, DestinationId, Environment, EventId, OrgId, PlatformId};
use serde_json::{Value, json};

/// The fields of `data` in the vendor's documentation of `purchase.updated` 2.0.
const FIELDS: [&str; 26] = [
    "billing_cycles",
    "canceled_at",
    "current_term_length",
    "devices_with_access",
    "entitlements",
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
    "original_purchase_guid",
    "payment_issues_began_at",
    "platform_type",
    "price_in_usd",
    "product_ref_id",
    "purchase_country",
    "purchase_currency",
    "purchase_guid",
    "purchase_price",
    "revoked_at",
    "transaction_id",
];

fn body(purchase: &Purchase) -> Value {
    let platform_id = PlatformId::new(uuid::uuid!("aaf69dba-ef67-40f5-82ec-c7623a2848a6"));
    let collapse_key = CollapseKey::of(platform_id, "receipt");
    let event = PurchaseUpdated {
        org_id: OrgId::new(uuid::uuid!("a8d39aa3-e393-46ee-8cb4-e8b8c0bd50e7")),
        app_id: AppId::new(uuid::uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        platform_id,
        platform_type: "store",
        collapse_key,
        event_id: EventId::of(collapse_key, 1, 2, PURCHASE_UPDATED, 0),
        event_time: at(1_000),
        revision: 2,
        coalesced: 3,
        receipt_id: "receipt",
        environment: Environment::Production,
        purchase,
    };
    event.body()
}

fn destination() -> DestinationId {
    DestinationId::new(uuid::uuid!("7e0977f8-27c9-49c5-8356-e82cbf34b161"))
}

fn said(purchase: &Purchase, environment: Environment) -> Value {
    data(purchase, "store", "receipt", environment)
}

#[test]
fn the_body_of_a_subscription_that_will_not_renew() {
    let purchase = after(&[Kind::SubscriptionPurchased, Kind::TrialConverted, Kind::Renewed, Kind::AutoRenewalOff]);
    insta::assert_json_snapshot!(for_destination(body(&purchase), destination(), Some(1)));
}

#[test]
fn a_body_is_written_the_same_every_time() {
    let purchase = after(&[Kind::SubscriptionPurchased]);
    assert_eq!(body(&purchase).to_string(), body(&purchase).to_string());
}

#[test]
fn what_differs_per_destination_is_null_until_it_is_sent() {
    let kept = body(&Purchase::default());
    assert_eq!(kept["attributes"]["subscription_id"], Value::Null);
    assert_eq!(kept["attributes"]["previous_acked_revision"], Value::Null);
    let sent = for_destination(kept.clone(), destination(), None);
    assert_eq!(sent["attributes"]["subscription_id"], json!(destination()));
    assert_eq!(sent["attributes"]["previous_acked_revision"], Value::Null);
    assert_eq!(sent["data"], kept["data"]);
    assert_eq!(for_destination(json!("no body"), destination(), None), json!("no body"));
}

#[test]
fn all_documented_fields_are_there_whatever_is_known() {
    let histories: [&[Kind]; 4] =
        [&[], &[Kind::SubscriptionPurchased, Kind::Expired], &[Kind::Replaced], &[Kind::ConsumableCancelled]];
    for history in histories {
        let data = said(&after(history), Environment::Production);
        let fields: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, FIELDS);
    }
}

#[test]
fn renewals_are_numbered_in_the_transaction_id_once_they_can_be_counted() {
    let id = |words: &[Kind]| said(&after(words), Environment::Production)["transaction_id"].clone();
    assert_eq!(id(&[Kind::SubscriptionPurchased]), json!("receipt"));
    assert_eq!(id(&[Kind::SubscriptionPurchased, Kind::Renewed, Kind::Renewed]), json!("receipt..2"));
    assert_eq!(id(&[Kind::Renewed, Kind::Renewed]), json!("receipt"));
}

#[test]
fn only_money_in_the_production_environment_is_production() {
    let active = after(&[Kind::SubscriptionPurchased]);
    assert_eq!(said(&active, Environment::Production)["is_production"], json!(true));
    assert_eq!(said(&active, Environment::Sandbox)["is_production"], json!(false));
    let test = Notification { is_test: true, ..told(Kind::Renewed, 20) };
    let tested = settle(&active, &[test]).purchase;
    assert_eq!(said(&tested, Environment::Production)["is_production"], json!(false));
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
    assert_eq!(EventId::of(key, 1, 2, PURCHASE_UPDATED, 0).to_string(), "43a9c0c8-6675-5d36-8eb9-a638f5833482");
}

#[test]
fn wildcards_choose_by_prefix_and_names_choose_themselves() {
    let chosen = |choice: &str, event_type| chooses(&[choice.to_owned()], event_type);
    assert!(chosen("*", PURCHASE_UPDATED));
    assert!(chosen("user.*", "user.subscription.renewed"));
    assert!(chosen("user.subscription.*", "user.subscription.transferred.to"));
    assert!(chosen(PURCHASE_UPDATED, PURCHASE_UPDATED));
    assert!(!chosen("user.*", PURCHASE_UPDATED));
    assert!(!chosen("user.subscription.*", "user.journey.trial.started"));
    assert!(!chosen("user.subscription.renewed", "user.subscription.renewed.again"));
    assert!(!chooses(&[], PURCHASE_UPDATED));
}

#[test]
fn a_choice_of_names_that_exist_is_accepted_and_others_are_answered_with_the_list() {
    let check = |names: &[&str]| check_choice(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(check(&["*"]), Ok(()));
    assert_eq!(check(&["purchase.updated", "user.*", "device.session.start", "user.journey.trial.started"]), Ok(()));
    for wrong in ["purchase.update", "User.*", "user.subscription", "**", "", "user.pause.*"] {
        let refused = check(&["*", wrong]).unwrap_err();
        assert!(refused.starts_with(&format!("`{wrong}` is not an event type; choose from *, ")), "{refused}");
        assert!(refused.contains("user.subscription.transferred.to"), "{refused}");
    }
    assert!(check(&[]).unwrap_err().starts_with("no event is chosen"));
}
