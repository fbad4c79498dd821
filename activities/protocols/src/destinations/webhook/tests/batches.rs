//! Requests with several device events: their form, their id, and the setting.

use super::{URL, at, attempt, config, created, fields, header};
use crate::destinations::Allowed;
use crate::destinations::webhook::config::{change, create};
use crate::destinations::webhook::request::{batch_id, streamed};
use domain::{DeliveryId, DestinationId, EventId, Timestamp};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use storage::Attempt;
use uuid::Uuid;

fn numbered(number: u128) -> Attempt {
    let event_id = EventId::new(Uuid::from_u128(number));
    let delivery_id = DeliveryId::of(DestinationId::new(Uuid::nil()), event_id, 0);
    Attempt {
        delivery_id,
        event_id,
        ..attempt(&json!({ "number": number.to_string() }).to_string())
    }
}

#[test]
fn a_batch_is_an_array_whose_id_follows_from_its_events() {
    let config = config(&json!({ "device_batch": 3 }));
    let members = [1, 2, 3].map(numbered);
    let first = streamed(&config, at(), &members).unwrap();
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(
        body,
        json!([{ "number": "1" }, { "number": "2" }, { "number": "3" }])
    );
    let later = Timestamp::from_micros(at().micros() + 60_000_000);
    let again = streamed(&config, later, &members).unwrap();
    assert_eq!(
        (header(&again, "webhook-id"), &again.body),
        (header(&first, "webhook-id"), &first.body)
    );
    assert_eq!(
        batch_id(&config, &members).unwrap().to_string(),
        header(&first, "webhook-id")
    );
    let fewer = streamed(&config, at(), &members[..2]).unwrap();
    let alone = streamed(&config, at(), &members[..1]).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&alone.body).unwrap(),
        json!([{ "number": "1" }])
    );
    let ids = [&first, &fewer, &alone].map(|request| header(request, "webhook-id").to_owned());
    assert!(
        ids[0] != ids[1] && ids[1] != ids[2],
        "other events are another request: {ids:?}"
    );
    assert_ne!(
        ids[2],
        members[0].delivery_id.to_string(),
        "an array and an object never have the same id"
    );
}

#[test]
fn without_batches_an_event_comes_by_itself() {
    let config = config(&json!({}));
    let one = streamed(&config, at(), &[numbered(1)]).unwrap();
    assert_eq!(
        header(&one, "webhook-id"),
        numbered(1).delivery_id.to_string()
    );
    assert_eq!(one.body, br#"{"number":"1"}"#);
    // A batch that was first sent before the setting was changed is repeated unchanged.
    let before = streamed(&config, at(), &[1, 2].map(numbered)).unwrap();
    assert!(before.body.starts_with(b"["));
    assert!(streamed(&config, at(), &[]).is_err());
}

#[test]
fn a_batch_is_verified_as_any_webhook() {
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let config = config(&json!({ "device_batch": 100, "secret": secret }));
    let request = streamed(&config, at(), &[1, 2].map(numbered)).unwrap();
    let (id, time) = (
        header(&request, "webhook-id"),
        header(&request, "webhook-timestamp").parse().unwrap(),
    );
    let expected = Webhook::new(secret)
        .unwrap()
        .sign(id, time, &request.body)
        .unwrap();
    assert_eq!(header(&request, "webhook-signature"), expected);
}

#[test]
fn the_size_of_a_batch_has_bounds_and_a_default() {
    let settings = |input: &Value| created(&fields_with(input)).settings;
    assert_eq!(
        settings(&json!({ "device_batch": 100 }))["device_batch"],
        100
    );
    assert_eq!(
        settings(&json!({}))["device_batch"],
        1,
        "each comes by itself"
    );
    for wrong in [json!(0), json!(101), json!("10"), json!(1.5)] {
        let refused = create(
            &fields(&fields_with(&json!({ "device_batch": wrong }))),
            &Allowed::default(),
            [7; 32],
        );
        assert_eq!(refused.unwrap_err()[0].field, "device_batch");
    }
    let before = created(&fields_with(&json!({ "device_batch": 7 })));
    let reset = fields(&json!({ "device_batch": null }));
    let after = change(
        &before.settings,
        &before.secret,
        &reset,
        &Allowed::default(),
    )
    .unwrap();
    assert_eq!(after.settings["device_batch"], 1);
}

fn fields_with(more: &Value) -> Value {
    let mut input = json!({ "url": URL });
    input.as_object_mut().unwrap().extend(fields(more));
    input
}
