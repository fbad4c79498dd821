//! The bodies of device events: they include the store's ids only if the setting is on.

use super::{created, destination, fields};
use crate::destinations::tests::of_device;
use crate::destinations::webhook::body::render_streamed;
use crate::destinations::webhook::config::{change, create};
use crate::destinations::{Allowed, Invalid};
use serde_json::{Value, json};
use storage::Rendered;
use uuid::Uuid;

fn transaction() -> Value {
    json!({
        "attributes": { "event_type": "device.transaction", "subscription_id": null },
        "data": { "app_user_id": "u1", "collapse_key": Uuid::nil(), "purchase_guid": "r1", "sku_ref_id": "month" },
    })
}

fn start() -> Value {
    let receipts = json!([{ "receipt_id": "r1", "app_user_id": "u1" }]);
    json!({
        "attributes": { "event_type": "device.session.start", "subscription_id": null },
        "data": { "collapse_key": [Uuid::nil()], "receipts": receipts },
    })
}

/// Returns the `data` of a device event for a webhook with these settings.
fn data(settings: &Value, body: &Value) -> Value {
    match render_streamed(&destination(settings.clone(), None), &of_device(body)) {
        Rendered::Body(body) => serde_json::from_str::<Value>(&body).unwrap()["data"].clone(),
        _ => panic!("{body} is not sent"),
    }
}

fn with_receipts(value: &Value) -> Result<Value, Vec<Invalid>> {
    let input = json!({ "url": super::URL, "device_receipts": value });
    create(&fields(&input), &Allowed::default(), [7; 32]).map(|created| created.settings)
}

#[test]
fn events_of_devices_carry_receipts_by_a_setting_alone() {
    let usual = created(&json!({ "url": super::URL }));
    assert_eq!(
        data(&usual.settings, &transaction()),
        json!({ "collapse_key": Uuid::nil(), "sku_ref_id": "month" })
    );
    assert_eq!(
        data(&usual.settings, &start()),
        json!({ "collapse_key": [Uuid::nil()] })
    );
    let whole = with_receipts(&json!(true)).unwrap();
    for body in [transaction(), start()] {
        assert_eq!(data(&whole, &body), body["data"]);
    }
}

#[test]
fn receipts_in_events_of_devices_are_on_or_off() {
    assert_eq!(
        with_receipts(&json!(true)).unwrap()["device_receipts"],
        true
    );
    for off in [json!(false), Value::Null] {
        assert_eq!(
            with_receipts(&off).unwrap()["device_receipts"],
            false,
            "{off}"
        );
    }
    for wrong in [json!("yes"), json!(1)] {
        assert_eq!(
            with_receipts(&wrong).unwrap_err()[0].field,
            "device_receipts",
            "{wrong}"
        );
    }
    let before = created(&json!({ "url": super::URL, "device_receipts": true }));
    let unchanged = change(
        &before.settings,
        &before.secret,
        &fields(&json!({})),
        &Allowed::default(),
    )
    .unwrap();
    assert_eq!(unchanged.settings["device_receipts"], true);
    let off = fields(&json!({ "device_receipts": null }));
    let changed = change(&before.settings, &before.secret, &off, &Allowed::default()).unwrap();
    assert_eq!(changed.settings["device_receipts"], false);
}
