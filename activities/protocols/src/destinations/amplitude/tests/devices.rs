//! Customers' devices: their ids and platforms as user properties, the app's own device id, and device events.

use super::*;
use crate::destinations::amplitude::device;
use domain::DeviceId;
use domain::user::PROFILE_UPDATED;
use storage::StreamedEvent;

/// Returns `count` devices, newest first, alternating between two platforms.
fn devices(count: usize) -> Value {
    let id = |kind: u8, number: usize| format!("{kind:08}-0000-4000-8000-{number:012}");
    let device = |number: usize| {
        json!({
            "id": id(1, number),
            "platform": {
                "id": id(2, number % 2), "name": "TV", "platform_type": "shop", "marketplace_app_id": "com.example",
            },
        })
    };
    (0..count).map(device).collect()
}

/// Returns an event whose customer has `count` devices.
fn with_devices(event_type: &str, count: usize) -> Unsent {
    let mut body = user_body(event_type);
    body["devices"] = devices(count);
    // The user's state over one environment, or over certain platforms, has no devices of its own.
    let mut user_state = body.clone();
    user_state.as_object_mut().unwrap().remove("devices");
    Unsent {
        body,
        user_state,
        ..unsent(event_type)
    }
}

#[test]
fn every_event_of_a_customer_carries_the_newest_twenty_devices() {
    let (destination, _) = integration(json!({}));
    for event_type in types().filter(|event_type| *event_type != PURCHASE_UPDATED) {
        let sent = event(&destination, &with_devices(event_type, 100));
        let properties = &sent["user_properties"];
        let expected: Vec<Value> = devices(20)
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].clone())
            .collect();
        assert_eq!(
            properties["namiml_device_ids"],
            json!(expected),
            "{event_type}"
        );
        let platforms = devices(2)
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["platform"]["id"].clone())
            .collect();
        assert_eq!(
            properties["namiml_device_platforms"],
            Value::Array(platforms),
            "each once, the newest in front"
        );
        assert_eq!(
            sent["event_properties"].get("settle_capped"),
            None,
            "twenty fit"
        );
    }
    let none = event(
        &destination,
        &with_devices(TransitionKind::Renewed.event_type(), 0),
    );
    assert_eq!(none["user_properties"]["namiml_device_ids"], json!([]));
}

#[test]
fn a_profile_without_a_list_of_devices_leaves_them() {
    let (destination, _) = integration(json!({}));
    let set = |unsent| event(&destination, &unsent)["user_properties"]["$set"].clone();
    for count in [0, 1] {
        let set = set(with_devices(PROFILE_UPDATED, count));
        let listed = |name: &str| set[name].as_array().map(Vec::len);
        assert_eq!(
            (
                listed("namiml_device_ids"),
                listed("namiml_device_platforms")
            ),
            (Some(count), Some(count))
        );
    }
    let mut before = with_devices(PROFILE_UPDATED, 1);
    before.body.as_object_mut().unwrap().remove("devices");
    let set = set(before);
    assert_eq!(
        (
            set.get("namiml_device_ids"),
            set.get("namiml_device_platforms")
        ),
        (None, None)
    );
    assert_eq!(set.as_object().unwrap().len(), 6);
}

#[test]
fn the_apps_own_device_id_stands_for_ours_if_amplitude_takes_it() {
    let (destination, _) = integration(json!({}));
    let sent = |own: Option<&str>| {
        let unsent = Unsent {
            analytics_device_id: own.map(str::to_owned),
            ..unsent(TransitionKind::Renewed.event_type())
        };
        event(&destination, &unsent)["device_id"].clone()
    };
    assert_eq!(sent(Some("tv-4711")), "tv-4711");
    for unusable in [None, Some("null"), Some("tv"), Some("")] {
        assert_eq!(sent(unusable), json!(USER), "{unusable:?}");
    }
}

/// Returns a stored device event with this `data`.
fn streamed(data: &Value) -> StreamedEvent {
    StreamedEvent {
        id: EventId::new(uuid!("0f8f2a52-1f0a-5c5e-8a44-5d9b51a7c003")),
        device_id: DeviceId::new(uuid!("2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11")),
        occurred_at: HAPPENED,
        next_due_at: HAPPENED,
        ..tests::of_device(&json!({ "attributes": {}, "data": data }))
    }
}

#[test]
fn an_event_of_a_device_carries_the_purchase_and_no_receipt() {
    let (destination, _) = integration(json!({}));
    let receipts = json!([{ "receipt_id": "RECEIPT", "app_user_id": "STORE_USER" }]);
    for data in [
        json!({ "collapse_key": USER, "purchase_guid": "RECEIPT", "app_user_id": "STORE_USER" }),
        json!({ "collapse_key": [USER], "receipts": receipts }),
    ] {
        let mut whole = data.clone();
        whole["device"] = json!({ "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11" });
        whole["external_id"] = json!("anna@example.com");
        let Rendered::Body(body) = device::render(&destination, &streamed(&whole)) else {
            panic!("{whole}")
        };
        assert!(
            !body.contains("RECEIPT") && !body.contains("STORE_USER"),
            "{body}"
        );
        let body: Value = serde_json::from_str(&body).unwrap();
        let properties =
            json!({ "environment": "production", "collapse_key": data["collapse_key"] });
        assert_eq!(body["event"]["event_properties"], properties);
    }
}

/// Before a login, the device's user and the store's customer are two users. Amplitude merges them by the device id,
/// because the device's events name no other user.
#[test]
fn paywall_and_purchase_without_a_login_are_one_user() {
    for more in [json!({}), json!({ "user_id": "user_id" })] {
        let (destination, _) = integration(more.clone());
        let of_device = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";
        let data = json!({ "device": { "id": of_device }, "external_id": null, "user_id": USER });
        let Rendered::Body(body) = device::render(&destination, &streamed(&data)) else {
            panic!("{more}")
        };
        let impression = serde_json::from_str::<Value>(&body).unwrap()["event"].clone();
        // A verified claim gives the purchase the device's id.
        let own = Some(of_device.to_owned());
        let bought = TransitionKind::Purchased.event_type();
        let purchase = event(
            &destination,
            &Unsent {
                external_id: None,
                analytics_device_id: own,
                ..unsent(bought)
            },
        );
        assert_eq!(impression["device_id"], purchase["device_id"], "{more}");
        assert_eq!(impression.get("user_id"), None, "{more}");
    }
}
