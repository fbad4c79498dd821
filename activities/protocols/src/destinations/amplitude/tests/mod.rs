//! Settings, events, requests and responses as values, without a network.

mod bodies;
mod counts;
mod devices;
mod keys;
mod profiles;
mod properties;
mod requests;
mod response;
mod settings;

use super::config::{self, Config};
use crate::destinations::{Allowed, Exchange, tests};
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED, Wildcards};
use domain::payment::EntryKind;
use domain::{
    CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp, TransitionKind, UserId,
};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use storage::{Attempt, Destination, DestinationSettings, Earned, Rendered, Sibling, Unsent};
use uuid::uuid;

const API_KEY: &str = "0123456789abcdef0123456789abcdef";
const SECRET_KEY: &str = "fedcba9876543210fedcba9876543210";
const SANDBOX_KEY: &str = "00112233445566778899aabbccddeeff";
const USER: UserId = UserId::new(uuid!("b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e11"));
/// 2026-03-01T12:00:00Z, the store's time of the events.
const HAPPENED: Timestamp = Timestamp::from_micros(1_772_366_400_000_000);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn allowed() -> Allowed {
    let origins = vec![
        "http://127.0.0.1:9000".parse().unwrap(),
        "https://proxy.example.com/any".parse().unwrap(),
    ];
    Allowed {
        origins: [(super::KIND, origins)].into(),
        ..Allowed::default()
    }
}

/// Returns the fields of an integration with all keys and the additional fields `more`.
fn fields(more: Value) -> Map<String, Value> {
    let mut fields = object(json!({
        "endpoint": "standard", "api_key": API_KEY, "secret_key": SECRET_KEY, "sandbox_api_key": SANDBOX_KEY,
    }));
    fields.extend(object(more));
    fields
}

/// Returns an integration with all keys and the additional fields `more`, and its stored keys.
fn integration(more: Value) -> (Destination, SecretString) {
    let integration = config::create(&fields(more), &allowed()).unwrap();
    let destination = Destination {
        id: DestinationId::new(uuid!("7e0977f8-27c9-49c5-8356-e82cbf34b161")),
        app_id: domain::AppId::new(uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        common: DestinationSettings {
            rate: Some(config::RATE),
            ..DestinationSettings::new("Growth")
        },
        wildcards: Wildcards::Listed,
        per_user: integration.traits.per_user,
        per_request: integration.traits.per_request,
        profile: integration.traits.profile,
        ..tests::destination(super::KIND, integration.settings)
    };
    (destination, integration.secret)
}

fn ready(more: Value) -> Config {
    let (destination, secret) = integration(more);
    config::ready(&destination, &secret, &allowed()).unwrap()
}

fn key() -> CollapseKey {
    CollapseKey::new(uuid!("2097e0f2-cb85-513a-8054-69bb61f7cf43"))
}

fn event_id(event_type: &str, n: u32) -> EventId {
    EventId::of(key(), 1, 2, event_type, n)
}

fn sibling(event_type: &str, n: u32) -> Sibling {
    Sibling {
        event_id: event_id(event_type, n),
        event_type: event_type.to_owned(),
        queued_seq: Some(i64::from(n)),
    }
}

/// Returns one event of each of these kinds, all queued in one revision.
fn siblings(whats: &[TransitionKind]) -> Vec<Sibling> {
    (0..)
        .zip(whats)
        .map(|(n, what)| sibling(what.event_type(), n))
        .collect()
}

/// Returns a `user.*` body in its documented form.
fn user_body(event_type: &str) -> Value {
    let platform = |id: &str| json!({"id": id, "name": "TV", "platform_type": "shop", "marketplace_app_id": "a"});
    json!({
        "active_entitlements": [
            {"description": null, "entitlement_ref_id": "archive", "expiration": null, "last_verified": null,
             "name": "ARCHIVE", "purchase_platform": "shop", "sku_ref_id": null},
            {"description": "All of premium", "entitlement_ref_id": "premium",
             "expiration": "2026-04-01T12:00:00.000000Z", "last_verified": null, "name": "PREMIUM",
             "purchase_platform": "shop", "sku_ref_id": "gold_monthly"},
            {"description": "All of sport", "entitlement_ref_id": "sport",
             "expiration": "2026-04-01T12:00:00.000000Z", "last_verified": null, "name": "SPORT",
             "purchase_platform": "shop", "sku_ref_id": "gold_monthly"}
        ],
        "active_skus": ["gold_monthly", "sport_yearly"],
        "customer_journey_state": {
            "former_subscriber": false, "in_account_hold": false, "in_grace_period": true,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": false, "is_cancelled": false
        },
        "devices": [
            {"id": "11111111-1111-4111-8111-111111111111", "platform": platform("aaaaaaaa-0000-4000-8000-000000000001")},
            {"id": "22222222-2222-4222-8222-222222222222", "platform": platform("aaaaaaaa-0000-4000-8000-000000000001")}
        ],
        "event_type": event_type,
        "event_platform": "shop",
        "external_ids": [{"key": "external_id", "type": "custom", "value": "anna@shop"}],
        "id": "1170fc27-03e3-558d-9f7f-6b0e146ce040",
        "user_id": USER,
        "created_date": "2026-03-03T12:00:00.000000+00:00",
        "user_revision": 4,
        "occurred_at": HAPPENED
    })
}

fn data() -> Value {
    json!({
        "billing_cycles": 2, "canceled_at": null, "current_term_length": "P1M", "devices_with_access": [],
        "entitlements": [
            {"description": null, "entitlement_ref_id": "premium", "id": "d66d44e5-6e91-5c5b-8fa7-bd6583bd325b",
             "name": "PREMIUM", "type": "binary_auth"}
        ],
        "expires_at": "2026-04-01T12:00:00.000000Z", "is_active": true, "is_auto_renewable": true,
        "is_free_trial_conversion": false, "is_in_intro_offer_period": false, "is_in_trial_period": false,
        "is_production": true, "last_seen_device_id": null, "last_seen_external_id": "anna@shop",
        "not_before": "2026-02-01T12:00:00.000000Z", "original_purchase_guid": null, "payment_issues_began_at": null,
        "platform_type": "shop", "price_in_usd": "5.43", "product_ref_id": "gold_monthly", "purchase_country": "DE",
        "purchase_currency": "EUR", "purchase_guid": "receipt", "purchase_price": "4.99", "revoked_at": null,
        "transaction_id": "receipt..1", "environment": "production", "expiration_reason": "customer",
        "offer_type": "retention", "pending_at": "2026-04-01T12:00:00.000000Z", "pending_sku_ref_id": "gold_yearly",
        "previous_sku_ref_id": "gold_weekly", "price_source": "catalogue", "product_type": "subscription"
    })
}

/// Returns an event of a customer with an external id.
fn unsent(event_type: &str) -> Unsent {
    let is_user = event_type != PURCHASE_UPDATED;
    let attributes = json!({"attributes": {"verified": true, "revision": 2, "occurred_at": HAPPENED}, "data": data()});
    Unsent {
        event_id: event_id(event_type, 0),
        event_type: event_type.to_owned(),
        collapse_key: key(),
        revision: 2,
        created_at: time("2026-03-03T12:00:00Z"),
        occurred_at: Some(HAPPENED),
        body: if is_user {
            user_body(event_type)
        } else {
            attributes
        },
        user_id: Some(USER),
        first_user_id: Some(USER),
        user_revision: is_user.then_some(4),
        user_state: if is_user {
            user_body(event_type)
        } else {
            Value::Null
        },
        external_id: Some("anna@shop".to_owned()),
        analytics_device_id: None,
        data: data(),
        store: "shop".to_owned(),
        environment: Environment::Production,
        user_profile: Value::Null,
        siblings: if is_user {
            vec![sibling(event_type, 0)]
        } else {
            Vec::new()
        },
        acked_revision: Some(1),
        earned: None,
    }
}

/// Returns an entry of the ledger. Without an amount, its price is not listed.
fn earned(kind: EntryKind, usd: Option<&str>) -> Earned {
    Earned {
        kind,
        usd: usd.map(str::to_owned),
        unknown_because: usd.is_none().then(|| "not_listed".to_owned()),
        sku: Some("gold_monthly".to_owned()),
        is_elsewhere: false,
        not_counted_because: None,
    }
}

fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    super::body::render(destination, unsent)
}

/// Returns the frozen body of an event that must be sendable.
fn body(destination: &Destination, unsent: &Unsent) -> String {
    match render(destination, unsent) {
        Rendered::Body(body) | Rendered::Revenue { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

/// Returns the event of a frozen body.
fn event(destination: &Destination, unsent: &Unsent) -> Value {
    let frozen: Value = serde_json::from_str(&body(destination, unsent)).unwrap();
    frozen["event"].clone()
}

fn attempt(unsent: &Unsent, body: String) -> Attempt {
    Attempt {
        delivery_id: DeliveryId::new(unsent.event_id.uuid()),
        event_id: unsent.event_id,
        event_type: unsent.event_type.clone(),
        revision: unsent.revision,
        body,
        ..tests::attempt("")
    }
}

/// Returns every event type about a customer.
fn types() -> impl Iterator<Item = &'static str> {
    TransitionKind::ALL
        .iter()
        .map(|what| what.event_type())
        .chain([PURCHASE_UPDATED])
}

fn without_version(text: &str) -> String {
    text.replace(env!("CARGO_PKG_VERSION"), "[version]")
}
