//! The schemas accept documented payloads and settle's own, but no payload with a missing or mistyped field.

use super::{bought, described, known, monthly, sent};
use crate::device::DeviceEventKind;
use crate::environment::Environment;
use crate::event::choice::{ABOUT_ALARMS, ABOUT_DESTINATIONS};
use crate::event::schema::ADDITIONS;
use crate::event::{DESTINATION_FAILING, PURCHASE_UPDATED, REVENUE_ADJUSTED, RevenueAdjusted};
use crate::ids::{AppId, CollapseKey, EventId, PlatformId, UserId};
use crate::notification::NotificationKind;
use crate::payment::EntryKind;
use crate::purchase::Purchase;
use crate::schemas;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::user::{TRANSFERS, USER_ERASED};
use crate::verification::Verification;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

const PURCHASE: &str = include_str!("examples/purchase_updated.json");
const USER: &str = include_str!("examples/user_event.json");

/// Returns the validator of one type of event, which also checks formats.
pub fn schema(event_type: &str) -> Validator {
    let (.., schema) = schemas::all()
        .into_iter()
        .find(|(known, ..)| *known == event_type)
        .unwrap();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// Returns the errors of a body according to a schema, with their places.
pub fn complaints(schema: &Validator, body: &Value) -> Vec<String> {
    schema
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect()
}

/// Returns the documentation's example payload, which is not part of this repository.
fn documented(page: &str) -> Option<Value> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(3)?
        .join("shared/seeds");
    let file = std::fs::read_dir(&seeds).ok().and_then(|mut files| {
        files.find_map(|file| {
            file.ok()
                .filter(|file| file.file_name().to_string_lossy().starts_with(page))
        })
    });
    let Some(file) = file else {
        println!(
            "left out: the documented payload {page} is not beside this repository (shared/seeds)"
        );
        return None;
    };
    let text = std::fs::read_to_string(file.path()).unwrap();
    let begin = text.find("\n{\n").expect("a payload begins");
    let payload = serde_json::Deserializer::from_str(&text[begin..])
        .into_iter()
        .next();
    Some(payload.expect("a payload").expect("a payload is JSON"))
}

/// Collects the places of all values in a body as JSON pointers; the body itself is the first.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| places(value, &format!("{at}/{name}"), found)),
        Value::Array(items) => (0..)
            .zip(items)
            .for_each(|(n, item): (usize, _)| places(item, &format!("{at}/{n}"), found)),
        _ => {}
    }
}

fn all_places(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(body, "", &mut found);
    found
}

/// Returns the body without the field at this place; `None` if the place is not a field of an object.
fn without(body: &Value, place: &str) -> Option<Value> {
    let (parent, field) = place.rsplit_once('/')?;
    let mut body = body.clone();
    body.pointer_mut(parent)?.as_object_mut()?.remove(field)?;
    Some(body)
}

/// Returns copies of the body, each with a value of another JSON type at this place.
fn retyped(body: &Value, place: &str) -> Vec<Value> {
    let present = body.pointer(place).unwrap();
    let mut others = vec![
        json!("text"),
        json!(7),
        json!(0.5),
        json!(true),
        json!([]),
        json!({}),
    ];
    others.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(present));
    if present.is_u64() {
        others.push(json!(0.5));
    }
    let put = |other| {
        let mut body = body.clone();
        *body.pointer_mut(place).unwrap() = other;
        body
    };
    others.into_iter().map(put).collect()
}

/// Checks a complete payload, and every payload with a missing or mistyped value at one place.
fn check(event_type: &str, body: &Value) {
    let (removed, mistyped) = check_places(event_type, body);
    assert!(
        removed > 20 && mistyped > 100,
        "{event_type}: {removed} removed, {mistyped} mistyped"
    );
}

/// Removes and mistypes the value at each place of a body. Returns the numbers of removed fields and mistyped values.
pub fn check_places(event_type: &str, body: &Value) -> (usize, usize) {
    let schema = schema(event_type);
    assert_eq!(complaints(&schema, body), [""; 0], "{event_type}");
    let (mut removed, mut mistyped) = (0, 0);
    for place in all_places(body) {
        let is_ours = place
            .rsplit('/')
            .next()
            .is_some_and(|field| ADDITIONS.contains(&field));
        if let Some(without) = without(body, &place) {
            assert_eq!(
                schema.is_valid(&without),
                is_ours,
                "{event_type} without {place}"
            );
            removed += 1;
        }
        if body.pointer(&place).unwrap().is_null() {
            continue;
        }
        for other in retyped(body, &place) {
            let value = other.pointer(&place).unwrap();
            assert!(
                !schema.is_valid(&other),
                "{event_type} with {value} at {place}"
            );
            mistyped += 1;
        }
    }
    (removed, mistyped)
}

#[test]
fn every_documented_event_has_a_schema_of_draft_2020_12() {
    let types: BTreeSet<_> = schemas::all()
        .iter()
        .map(|(event_type, ..)| *event_type)
        .collect();
    let of_users = TransitionKind::ALL
        .iter()
        .map(|what| what.event_type())
        .chain(TRANSFERS);
    let of_devices = DeviceEventKind::ALL.iter().map(|kind| kind.as_str());
    let others = [PURCHASE_UPDATED, REVENUE_ADJUSTED, USER_ERASED];
    let for_operators = ABOUT_DESTINATIONS.into_iter().chain(ABOUT_ALARMS);
    let documented: BTreeSet<_> = of_users
        .chain(of_devices)
        .chain(others)
        .chain(for_operators)
        .collect();
    assert_eq!(types, documented);
    for (event_type, version, schema) in schemas::all() {
        assert_eq!(
            version,
            if event_type == PURCHASE_UPDATED {
                "2.0"
            } else {
                "1.0"
            }
        );
        assert_eq!(
            schema["$schema"],
            json!("https://json-schema.org/draft/2020-12/schema")
        );
        assert_eq!(schema["title"], json!(event_type));
        assert!(jsonschema::meta::is_valid(&schema), "{event_type}");
    }
}

#[test]
fn the_schemas_are_public_and_change_only_on_purpose() {
    for (event_type, _, schema) in schemas::all() {
        if [
            PURCHASE_UPDATED,
            TransitionKind::Renewed.event_type(),
            DESTINATION_FAILING,
        ]
        .contains(&event_type)
        {
            insta::assert_json_snapshot!(format!("schema_{event_type}"), schema);
        }
    }
}

#[test]
fn the_documented_purchase_is_valid_and_needs_all_fields() {
    if let Some(body) = documented("002_") {
        check(PURCHASE_UPDATED, &body);
    }
}

#[test]
fn the_documented_user_event_is_valid_and_needs_all_fields() {
    if let Some(body) = documented("001_") {
        check(TransitionKind::Renewed.event_type(), &body);
    }
}

#[test]
fn our_full_purchase_is_valid_and_needs_all_documented_fields() {
    check(PURCHASE_UPDATED, &serde_json::from_str(PURCHASE).unwrap());
}

#[test]
fn our_full_user_event_is_valid_for_its_own_type_only() {
    let mut body: Value = serde_json::from_str(USER).unwrap();
    for what in TransitionKind::ALL {
        body["event_type"] = json!(what.event_type());
        check(what.event_type(), &body);
        body["event_type"] = json!(PURCHASE_UPDATED);
        assert!(!schema(what.event_type()).is_valid(&body));
    }
}

#[test]
fn a_change_of_a_payment_is_valid_and_needs_all_fields() {
    let id = uuid::Uuid::from_u128;
    let refund = RevenueAdjusted {
        id: EventId::new(id(1)),
        created_at: Timestamp::from_micros(2_000_000),
        app: AppId::new(id(2)),
        platform: PlatformId::new(id(3)),
        collapse_key: CollapseKey::new(id(4)),
        user: Some(UserId::new(id(5))),
        environment: Environment::Production,
        payment_event: EventId::new(id(6)),
        number: 0,
        sku: Some("gold"),
        kind: EntryKind::Refund,
        usd: "-9.99".parse().unwrap(),
        occurred_at: Timestamp::from_micros(1_000_000),
        transaction_id: Some("T1"),
    };
    let body = refund.body();
    assert_eq!(
        (&body["usd"], &body["is_estimate"]),
        (&json!("-9.99"), &json!(false))
    );
    let (removed, mistyped) = check_places(REVENUE_ADJUSTED, &body);
    assert!(
        removed == 16 && mistyped > 60,
        "{removed} removed, {mistyped} mistyped"
    );
    let estimate = RevenueAdjusted {
        transaction_id: None,
        user: None,
        ..refund
    }
    .body();
    assert_eq!(complaints(&schema(REVENUE_ADJUSTED), &estimate), [""; 0]);
    assert_eq!(estimate["is_estimate"], json!(true));
}

#[test]
fn times_and_ids_must_be_times_and_ids() {
    for (event_type, example) in [
        (PURCHASE_UPDATED, PURCHASE),
        (TransitionKind::Cancelled.event_type(), USER),
    ] {
        let (schema, body) = (
            schema(event_type),
            serde_json::from_str::<Value>(example).unwrap(),
        );
        let mut seen = 0;
        for place in all_places(&body)
            .into_iter()
            .filter(|place| !place.ends_with("/collapse_key"))
        {
            let text = body.pointer(&place).unwrap().as_str().unwrap_or_default();
            if text.parse::<Timestamp>().is_ok() || uuid::Uuid::try_parse(text).is_ok() {
                let mut wrong = body.clone();
                *wrong.pointer_mut(&place).unwrap() = json!("neither");
                assert!(!schema.is_valid(&wrong), "{event_type}: {place}");
                seen += 1;
            }
        }
        assert!(seen >= 7, "{event_type}: {seen}");
    }
}

#[test]
fn codes_decimals_and_terms_must_be_written_as_such() {
    let (schema, body) = (
        schema(PURCHASE_UPDATED),
        serde_json::from_str::<Value>(PURCHASE).unwrap(),
    );
    for (place, wrong) in [
        ("/data/purchase_country", json!("Germany")),
        ("/data/purchase_currency", json!("€")),
        ("/data/purchase_price", json!("9,99")),
        ("/data/price_in_usd", json!("ten")),
        ("/data/current_term_length", json!("1 Month")),
        ("/data/billing_cycles", json!(0)),
        ("/data/entitlements/0/type", json!("metered")),
        ("/attributes/version", json!("2.1")),
        ("/attributes/event_type", json!("purchase.created")),
        ("/attributes/revision", json!(0)),
        ("/attributes/state_digest", json!("abc")),
    ] {
        let mut changed = body.clone();
        *changed.pointer_mut(place).unwrap() = wrong;
        assert!(!schema.is_valid(&changed), "{place}");
    }
}

#[test]
fn a_field_that_nobody_named_is_allowed() {
    let mut body: Value = serde_json::from_str(PURCHASE).unwrap();
    body["data"]["colour"] = json!("red");
    body["attributes"]["colour"] = json!(7);
    assert!(schema(PURCHASE_UPDATED).is_valid(&body));
}

#[test]
fn what_we_send_is_valid_whatever_is_known() {
    let schema = schema(PURCHASE_UPDATED);
    let histories: [&[NotificationKind]; 5] = [
        &[],
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired,
        ],
        &[NotificationKind::Replaced],
        &[NotificationKind::ConsumableCancelled],
        &[NotificationKind::AutoRenewalOff],
    ];
    let mut purchases: Vec<Purchase> = histories
        .map(|kinds| known(kinds, &Verification::Unverifiable))
        .into();
    purchases.push(bought(monthly()));
    for purchase in purchases {
        assert_eq!(complaints(&schema, &sent(described(&purchase))), [""; 0]);
    }
}
