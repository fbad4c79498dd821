//! What an event says of the purchase, and of the user: the tables in the README of this folder.

use super::caps::Caps;
use super::revenue::{self, money};
use super::settings::Settings;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::Attributes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use storage::Unsent;

/// How many values were cut, by the name of the property that says so.
pub const CAPPED: &str = "settle_capped";

/// What is told of the purchase under the name that it has in the `data` of `purchase.updated`.
const SAME: [&str; 21] = [
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
/// What a change of a payment tells of itself: what it is, and the event that told the payment.
const ADJUSTED: [(&str, &str); 2] = [("kind", "adjustment"), ("payment_event_id", "payment_insert_id")];
/// Where the body of an event says when it happened by the store: of `user.*`, and of `purchase.updated`.
const OCCURRED: [&str; 2] = ["/occurred_at", "/attributes/occurred_at"];
/// Prices: texts in `data`, numbers here, so that they can be added up.
const PRICES: [&str; 2] = ["price_in_usd", "purchase_price"];
/// What the user paid: a text in the profile, a number here.
const LIFETIME_VALUE: &str = "ltv_usd";
/// Where the user stands, by the name in the body of `user.*`.
const JOURNEY: [&str; 4] = ["former_subscriber", "in_grace_period", "in_intro_offer_period", "in_trial_period"];

/// What an event says of its purchase. What nobody told is left out.
pub fn of_event(unsent: &Unsent, caps: &mut Caps) -> Map<String, Value> {
    let data = &unsent.data;
    let mut properties = Map::new();
    properties.insert("collapse_key".to_owned(), json!(unsent.collapse_key));
    properties.insert("environment".to_owned(), json!(unsent.environment.as_str()));
    properties.insert("revision".to_owned(), json!(unsent.revision));
    if let Some(user_revision) = unsent.user_revision.filter(|_| unsent.event_type != PURCHASE_UPDATED) {
        properties.insert("user_revision".to_owned(), json!(user_revision));
    }
    if !unsent.store.is_empty() {
        properties.insert("store".to_owned(), json!(caps.text(&unsent.store)));
    }
    if data.is_object() {
        properties.insert("entitlements".to_owned(), caps.list(texts(data, "entitlements", "/entitlement_ref_id")));
    }
    if let Some(at) = OCCURRED.iter().find_map(|place| plain(unsent.body.pointer(place)?, caps)) {
        properties.insert("occurred_at".to_owned(), at);
    }
    if let Some(verified) = unsent.body.pointer("/attributes/verified").and_then(Value::as_bool) {
        properties.insert("verified".to_owned(), json!(verified));
    }
    let named = SAME.into_iter().map(|name| (name, name)).chain([("product_ref_id", "sku")]);
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

/// The attributes of the user that the integration keeps. What is not known is left out.
pub fn of_user(settings: &Settings, unsent: &Unsent, caps: &mut Caps) -> Map<String, Value> {
    let mut all = documented(settings, &unsent.user_state, caps);
    all.extend(extended(settings, unsent).into_iter().filter(|(_, value)| !value.is_null()));
    all
}

/// The operations that make a profile show these attributes: what is not known any more is removed. A profile's operations
/// are not mixed with plain values (<https://amplitude.com/docs/apis/analytics/identify>).
pub fn operations(settings: &Settings, unsent: &Unsent, caps: &mut Caps) -> Value {
    let unknown = extended(settings, unsent).into_iter().filter(|(_, value)| value.is_null());
    let unset: Map<String, Value> = unknown.map(|(name, _)| (name, json!("-"))).collect();
    let set = of_user(settings, unsent, caps);
    if unset.is_empty() { json!({ "$set": set }) } else { json!({ "$set": set, "$unset": unset }) }
}

/// The attributes beside the documented ones, null where unknown; none unless the integration keeps them.
fn extended(settings: &Settings, unsent: &Unsent) -> Map<String, Value> {
    let stored = unsent.user_profile.as_object().filter(|_| settings.user_properties == Attributes::Extended);
    let named = |(name, value): (&String, &Value)| {
        let value = if name == LIFETIME_VALUE { json!(money(value)) } else { value.clone() };
        (format!("{}{name}", settings.prefix), value)
    };
    stored.into_iter().flatten().map(named).collect()
}

/// The eight attributes of the documented integration, from the state in the words of the body of a `user.*` event.
fn documented(settings: &Settings, state: &Value, caps: &mut Caps) -> Map<String, Value> {
    let lists = [
        ("active_entitlements", "active_entitlements", "/entitlement_ref_id"),
        skus(state),
        ("device_ids", "devices", "/id"),
        ("device_platforms", "devices", "/platform/id"),
    ];
    let lists = lists.map(|(attribute, list, part)| (attribute, caps.list(texts(state, list, part))));
    let journey = JOURNEY.map(|name| (name, json!(flag(state, name))));
    let named = |(attribute, value): (&str, Value)| (format!("{}{attribute}", settings.prefix), value);
    lists.into_iter().chain(journey).map(named).collect()
}

/// The list of SKUs. Events of earlier versions have it only as a part of each entitlement.
fn skus(state: &Value) -> (&'static str, &'static str, &'static str) {
    let attribute = "active_skus";
    if state.get(attribute).is_some() {
        (attribute, attribute, "")
    } else {
        (attribute, "active_entitlements", "/sku_ref_id")
    }
}

fn flag(state: &Value, name: &str) -> bool {
    state.get("customer_journey_state").and_then(|state| state.get(name)).and_then(Value::as_bool).unwrap_or(false)
}

/// One part of each member of a list, each text once, in the list's order.
fn texts<'a>(body: &'a Value, list: &str, part: &str) -> Vec<&'a str> {
    let members = body.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut seen = BTreeSet::new();
    members.iter().filter_map(|member| member.pointer(part)?.as_str()).filter(|text| seen.insert(*text)).collect()
}

/// A text, a number or a truth value; nothing else has a meaning here.
fn plain(value: &Value, caps: &mut Caps) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::String(caps.text(text))),
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
