//! Bodies of events, and events of customers without an external id.

use super::{URL, created, destination, tests};
use domain::DestinationId;
use domain::event::PURCHASE_UPDATED;
use domain::user::TRANSFERRED_FROM;
use serde_json::{Value, json};
use storage::{Rendered, Unsent};
use uuid::Uuid;

const PURCHASED: &str = "user.subscription.purchased";

/// Returns an event that was recorded before its customer had an external id.
fn unsent(event_type: &str, body: Value, external_id: Option<&str>) -> Unsent {
    let external_id = external_id.map(str::to_owned);
    Unsent {
        external_id,
        acked_revision: Some(7),
        ..tests::unsent(event_type, body)
    }
}

fn user_body(names: &Value) -> Value {
    json!({ "event_type": PURCHASED, "user_id": "u", "active_skus": ["gold"], "external_ids": names })
}

fn render(setting: &str, unsent: &Unsent) -> Rendered {
    let settings = created(&json!({ "url": URL, "without_external_id": setting })).settings;
    super::super::body::render(&destination(settings, None), unsent)
}

fn body(setting: &str, unsent: &Unsent) -> Value {
    match render(setting, unsent) {
        Rendered::Body(body) => serde_json::from_str(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_of_unnamed_customers_are_sent_wait_or_are_skipped() {
    let recorded = user_body(&json!([{ "key": "receipt_id", "type": "receipt_id", "value": "r" }]));
    let event = unsent(PURCHASED, recorded.clone(), None);
    let state = unsent(
        PURCHASE_UPDATED,
        json!({ "attributes": {}, "data": {} }),
        None,
    );
    assert_eq!(body("send", &event), recorded);
    for one in [&event, &state] {
        assert!(matches!(render("send", one), Rendered::Body(_)));
        assert!(
            matches!(render("wait", one), Rendered::Wait { why } if why.contains("external id"))
        );
        assert!(
            matches!(render("skip", one), Rendered::Skip { why } if why.contains("external id"))
        );
    }
    let of_a_destination = unsent("destination.failing", json!({}), None);
    assert_eq!(
        body("wait", &of_a_destination),
        json!({}),
        "it is about no customer"
    );
}

#[test]
fn a_transfer_from_an_anonymous_user_is_skipped_without_an_id() {
    let recorded = user_body(&json!([{ "key": "receipt_id", "type": "receipt_id", "value": "r" }]));
    let event = unsent(TRANSFERRED_FROM, recorded.clone(), None);
    for setting in ["wait", "skip"] {
        assert!(
            matches!(render(setting, &event), Rendered::Skip { why } if why.contains("former owner"))
        );
    }
    assert_eq!(body("send", &event), recorded);
    let named = unsent(TRANSFERRED_FROM, recorded, Some("anna@shop"));
    assert!(matches!(render("wait", &named), Rendered::Body(_)));
}

#[test]
fn an_event_that_waited_has_the_name_and_is_unchanged_besides() {
    let receipt = json!({ "key": "receipt_id", "type": "receipt_id", "value": "r" });
    let recorded = user_body(&json!([receipt]));
    let event = unsent(PURCHASED, recorded.clone(), Some("anna@shop"));
    let anna = json!({ "key": "external_id", "type": "custom", "value": "anna@shop" });
    for setting in ["wait", "skip"] {
        assert_eq!(body(setting, &event), user_body(&json!([anna, receipt])));
    }
    assert_eq!(
        body("send", &event),
        recorded,
        "nothing waits there, so everything is sent as it was recorded"
    );
}

#[test]
fn the_record_of_a_purchase_is_sent_as_its_digest_proves_it() {
    let data = json!({ "last_seen_external_id": null });
    let state = unsent(
        PURCHASE_UPDATED,
        json!({ "attributes": { "state_digest": "d" }, "data": data }),
        Some("anna"),
    );
    let sent = body("wait", &state);
    assert_eq!(
        (&sent["data"], &sent["attributes"]["state_digest"]),
        (&data, &json!("d"))
    );
    assert_eq!(sent["attributes"]["previous_acked_revision"], 7);
    assert_eq!(
        sent["attributes"]["subscription_id"],
        json!(DestinationId::new(Uuid::nil()))
    );
}
