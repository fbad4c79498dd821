//! The properties of an event and of its user. This folder's README describes each of them.

use super::caps::Caps;
use super::revenue::{self, money};
use super::settings::Settings;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::Attributes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use storage::Unsent;

/// The property that counts the values that were too long.
pub const CAPPED: &str = "settle_capped";

/// Properties of the purchase that are copied from the `data` of `purchase.updated` under the same name.
const COPIED: [&str; 21] = [
    "billing_cycles",
    "canceled_at",
    "current_term_length",
    "expiration_reason",
    "expires_at",
    "is_active",
    "is_auto_renewable",
    "is_free_trial_conversion",
    "is_in_intro_offer_period",
    "is_in_trial_period",
    "not_before",
    "offer_type",
    "payment_issues_began_at",
    "pending_at",
    "pending_sku_ref_id",
    "previous_sku_ref_id",
    "price_source",
    "product_type",
    "purchase_country",
    "purchase_currency",
    "revoked_at",
];
/// Properties of a `revenue.adjusted`: each field of its body, and the property's name.
const ADJUSTED: [(&str, &str); 2] = [
    ("kind", "adjustment"),
    ("payment_event_id", "payment_insert_id"),
];
/// JSON pointers to the store's time in the body of a `user.*` event and of a `purchase.updated`.
const OCCURRED_AT: [&str; 2] = ["/occurred_at", "/attributes/occurred_at"];
/// Prices. They are texts in `data` and numbers here, so that Amplitude can sum them.
const PRICES: [&str; 2] = ["price_in_usd", "purchase_price"];
/// The user's total payments: a text in the stored profile, a number here.
const LIFETIME_VALUE: &str = "ltv_usd";
/// Maximum number of devices, and of their platforms, that a list names: this many ids fit into the 1024 characters of
/// a value.
const MAX_DEVICES: usize = 20;
/// The attributes about the customer's devices: each attribute's name, and a JSON pointer to its value in a member of
/// `devices`.
const OF_DEVICES: [(&str, &str); 2] = [("device_ids", "/id"), ("device_platforms", "/platform/id")];
/// The names of flags in `customer_journey_state` of a `user.*` body.
const JOURNEY: [&str; 4] = [
    "former_subscriber",
    "in_grace_period",
    "in_intro_offer_period",
    "in_trial_period",
];

/// Returns the properties of an event. Those with unknown values are left out.
pub fn of_event(unsent: &Unsent, caps: &mut Caps) -> Map<String, Value> {
    let data = &unsent.data;
    let mut properties = Map::new();
    properties.insert("collapse_key".to_owned(), json!(unsent.collapse_key));
    properties.insert("environment".to_owned(), json!(unsent.environment.as_str()));
    properties.insert("revision".to_owned(), json!(unsent.revision));
    if let Some(user_revision) = unsent
        .user_revision
        .filter(|_| unsent.event_type != PURCHASE_UPDATED)
    {
        properties.insert("user_revision".to_owned(), json!(user_revision));
    }
    if !unsent.store.is_empty() {
        properties.insert("store".to_owned(), json!(caps.text(&unsent.store)));
    }
    if data.is_object() {
        properties.insert(
            "entitlements".to_owned(),
            caps.list(texts(data, "entitlements", "/entitlement_ref_id")),
        );
    }
    if let Some(at) = OCCURRED_AT
        .iter()
        .find_map(|place| plain(unsent.body.pointer(place)?, caps))
    {
        properties.insert("occurred_at".to_owned(), at);
    }
    if let Some(verified) = unsent
        .body
        .pointer("/attributes/verified")
        .and_then(Value::as_bool)
    {
        properties.insert("verified".to_owned(), json!(verified));
    }
    let named = COPIED
        .into_iter()
        .map(|name| (name, name))
        .chain([("product_ref_id", "sku")]);
    for (name, property) in named {
        if let Some(value) = data.get(name).and_then(|value| plain(value, caps)) {
            properties.insert(property.to_owned(), value);
        }
    }
    if let Some(why) = revenue::unknown_because(unsent) {
        properties.insert("revenue_unknown_because".to_owned(), json!(why));
    }
    if unsent.event_type == REVENUE_ADJUSTED {
        for (name, property) in ADJUSTED {
            if let Some(value) = unsent.body.get(name).and_then(|value| plain(value, caps)) {
                properties.insert(property.to_owned(), value);
            }
        }
    }
    for name in PRICES {
        if let Some(price) = data.get(name).and_then(money) {
            properties.insert(name.to_owned(), json!(price));
        }
    }
    properties
}

/// Returns the user attributes that the integration sends. Those with unknown values are left out.
pub fn of_user(settings: &Settings, unsent: &Unsent, caps: &mut Caps) -> Map<String, Value> {
    let mut all = documented(settings, unsent, caps);
    all.extend(
        extended(settings, unsent)
            .into_iter()
            .filter(|(_, value)| !value.is_null()),
    );
    all
}

/// Returns the operations of a `$identify`: `$set` for known attributes, `$unset` for unknown ones. Amplitude does not
/// allow operations and plain values side by side (<https://amplitude.com/docs/apis/analytics/identify>).
pub fn operations(settings: &Settings, unsent: &Unsent, caps: &mut Caps) -> Value {
    let unknown = extended(settings, unsent)
        .into_iter()
        .filter(|(_, value)| value.is_null());
    let unset: Map<String, Value> = unknown.map(|(name, _)| (name, json!("-"))).collect();
    let mut set = of_user(settings, unsent, caps);
    // A profile recorded by an earlier version has no `devices`: the attributes about them stay unchanged.
    if unsent.body.get("devices").is_none() {
        let of_devices = OF_DEVICES.map(|(attribute, _)| format!("{}{attribute}", settings.prefix));
        set.retain(|name, _| !of_devices.contains(name));
    }
    if unset.is_empty() {
        json!({ "$set": set })
    } else {
        json!({ "$set": set, "$unset": unset })
    }
}

/// Returns the additional attributes of the setting `extended`, null where unknown. Empty with the setting
/// `documented`.
fn extended(settings: &Settings, unsent: &Unsent) -> Map<String, Value> {
    let stored = unsent
        .user_profile
        .as_object()
        .filter(|_| settings.user_properties == Attributes::Extended);
    let named = |(name, value): (&String, &Value)| {
        let value = if name == LIFETIME_VALUE {
            json!(money(value))
        } else {
            value.clone()
        };
        (format!("{}{name}", settings.prefix), value)
    };
    stored.into_iter().flatten().map(named).collect()
}

/// Returns the eight attributes of the documented integration, from the user's state. The devices are those in the
/// body, from every environment and platform.
fn documented(settings: &Settings, unsent: &Unsent, caps: &mut Caps) -> Map<String, Value> {
    let state = &unsent.user_state;
    let lists = [
        (
            "active_entitlements",
            "active_entitlements",
            "/entitlement_ref_id",
        ),
        skus(state),
    ];
    let lists =
        lists.map(|(attribute, list, part)| (attribute, caps.list(texts(state, list, part))));
    // `devices` has the newest ones first.
    let devices = OF_DEVICES.map(|(attribute, part)| {
        (
            attribute,
            caps.list(
                texts(&unsent.body, "devices", part)
                    .into_iter()
                    .take(MAX_DEVICES),
            ),
        )
    });
    let journey = JOURNEY.map(|name| (name, json!(flag(state, name))));
    let named =
        |(attribute, value): (&str, Value)| (format!("{}{attribute}", settings.prefix), value);
    lists
        .into_iter()
        .chain(devices)
        .chain(journey)
        .map(named)
        .collect()
}

/// Returns where the body contains the SKUs: the attribute, the list, and the pointer into each member. Events of
/// earlier versions have SKUs only within the entitlements.
fn skus(state: &Value) -> (&'static str, &'static str, &'static str) {
    let attribute = "active_skus";
    if state.get(attribute).is_some() {
        (attribute, attribute, "")
    } else {
        (attribute, "active_entitlements", "/sku_ref_id")
    }
}

fn flag(state: &Value, name: &str) -> bool {
    state
        .get("customer_journey_state")
        .and_then(|state| state.get(name))
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// Returns one text of each member of a list, in the list's order and without duplicates. `part` is a JSON pointer.
fn texts<'a>(body: &'a Value, list: &str, part: &str) -> Vec<&'a str> {
    let members = body
        .get(list)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut seen = BTreeSet::new();
    members
        .iter()
        .filter_map(|member| member.pointer(part)?.as_str())
        .filter(|text| seen.insert(*text))
        .collect()
}

/// Returns a text (truncated), a number or a boolean; `None` for any other value.
fn plain(value: &Value, caps: &mut Caps) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::String(caps.text(text))),
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
