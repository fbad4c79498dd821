//! The bodies of the year's events. Ids and revisions have placeholders, and times have their day of the year.

use super::super::{ACCOUNT, GOLD, token};
use super::CARD_ACCOUNT;
use serde_json::{Value, json};

pub fn trial_started() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 0]",
        "customer_journey_state": {
            "former_subscriber": false, "in_account_hold": false, "in_grace_period": false,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": true, "is_cancelled": false,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.journey.trial.started", "expiration_reason": null,
        "external_ids": ids(ACCOUNT, "gold"), "id": "[id]", "occurred_at": "[day 0]",
        "offer_type": "introductory", "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": null,
        "price_source": null, "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

pub fn in_grace_period() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 67]",
        "customer_journey_state": {
            "former_subscriber": false, "in_account_hold": false, "in_grace_period": true,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": false, "is_cancelled": false,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.subscription.in_grace_period", "expiration_reason": null,
        "external_ids": ids(ACCOUNT, "gold"), "id": "[id]", "occurred_at": "[day 67]",
        "offer_type": null, "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": null,
        "price_source": "store", "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

/// The customer counts as a former subscriber while there is no access.
pub fn paused() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 137]",
        "customer_journey_state": {
            "former_subscriber": true, "in_account_hold": false, "in_grace_period": false,
            "in_intro_offer_period": false, "in_pause": true, "in_trial_period": false, "is_cancelled": false,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.subscription.paused", "expiration_reason": null,
        "external_ids": ids(ACCOUNT, "gold"), "id": "[id]", "occurred_at": "[day 137]",
        "offer_type": null, "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": null,
        "price_source": "store", "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

pub fn sku_change() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 208]",
        "customer_journey_state": {
            "former_subscriber": false, "in_account_hold": false, "in_grace_period": false,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": false, "is_cancelled": false,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.subscription.sku_change", "expiration_reason": null,
        "external_ids": ids(ACCOUNT, "platinum"), "id": "[id]", "occurred_at": "[day 208]",
        "offer_type": null, "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": GOLD,
        "price_source": "store", "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

/// A prepaid plan never renews by itself, which counts as a cancelled subscription.
pub fn topped_up() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 291]",
        "customer_journey_state": {
            "former_subscriber": false, "in_account_hold": false, "in_grace_period": false,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": false, "is_cancelled": true,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.subscription.renewed", "expiration_reason": null,
        "external_ids": ids(CARD_ACCOUNT, "top-up"), "id": "[id]", "occurred_at": "[day 291]",
        "offer_type": null, "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": null,
        "price_source": "store", "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

pub fn revoked_abroad() -> Value {
    json!({
        "active_entitlements": [], "active_skus": [], "created_date": "[day 366]",
        "customer_journey_state": {
            "former_subscriber": true, "in_account_hold": false, "in_grace_period": false,
            "in_intro_offer_period": false, "in_pause": false, "in_trial_period": false, "is_cancelled": false,
        },
        "devices": [], "environment": "production", "event_platform": "google",
        "event_type": "user.subscription.expired", "expiration_reason": "internal",
        "external_ids": ids(ACCOUNT, "abroad"), "id": "[id]", "occurred_at": "[day 366]",
        "offer_type": null, "pending_at": null, "pending_sku_ref_id": null, "previous_sku_ref_id": null,
        "price_source": "store", "product_type": "subscription", "user_id": "[id]", "user_revision": "[revision]",
    })
}

/// Returns the ids of a customer, whose account id is the app's own, and of a purchase.
fn ids(account: &str, name: &str) -> Value {
    json!([
        { "key": "external_id", "type": "custom", "value": account },
        { "key": "app_user_id", "type": "app_user_id", "value": account },
        { "key": "receipt_id", "type": "receipt_id", "value": token(name) },
    ])
}
