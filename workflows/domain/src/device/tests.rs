//! The bodies of device events, and the fields that belong to each type.

use super::*;
use crate::ids::{
    AppId, CollapseKey, DeviceId, DevicePlace, EventId, OrgId, PlatformId, SessionId, UserId,
};
use crate::schemas;
use crate::time::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1111_1111_2222_4333_8444_0000_0000_0000 + number)
}

fn place() -> DevicePlace {
    DevicePlace {
        platform: PlatformId::new(id(1)),
        device: DeviceId::new(id(2)),
    }
}

fn report(kind: &str, parts: &Value) -> ReportedEvent {
    let mut report =
        json!({ "id": "e1", "type": kind, "time": "2026-11-20T12:00:00Z", "session_id": id(3) });
    for (name, part) in parts.as_object().expect("an object") {
        report[name] = part.clone();
    }
    serde_json::from_value(report).expect("a report")
}

fn reports() -> [ReportedEvent; 4] {
    [
        report(
            "device.session.start",
            &json!({ "receipts": [{ "receipt_id": "r1", "app_user_id": "u1" }] }),
        ),
        report(
            "device.impression",
            &json!({ "impression": {
                "paywall": "summer", "placement": "onboarding", "campaign": "launch", "variant": "b",
                "products": [
                    { "sku": "month", "price": "4.99", "currency": "EUR", "is_trial_eligible": true }, { "sku": "year" },
                ],
            } }),
        ),
        report(
            "device.transaction",
            &json!({ "transaction": {
                "kind": "purchased", "receipt_id": "r1", "app_user_id": "u1", "sku": "month", "price": "4.99",
                "currency": "EUR", "marketplace": "DE", "impression_id": "e0",
            } }),
        ),
        report("device.session.end", &json!({})),
    ]
}

fn body(happened: Happened<'_>) -> Value {
    let device: Device = serde_json::from_value(json!({
        "id": id(2), "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "settle-web/1",
        "os": { "name": "fireos", "version": "8" },
    }))
    .expect("a device");
    DeviceEvent {
        org_id: OrgId::new(id(4)),
        app_id: AppId::new(id(5)),
        place: place(),
        platform_type: "amazon",
        event_id: EventId::of_device(place(), 1, "e1"),
        event_time: Timestamp::from_micros(1_795_000_000_000_000),
        device: &device,
        owner: &DeviceOwner {
            user_id: UserId::of_device(place(), 0),
            external_id: Some("anna@example.com".to_owned()),
        },
        session: Some(SessionMark {
            id: SessionId::new(id(3)),
            started_at: Some(Timestamp::from_micros(1_794_999_000_000_000)),
        }),
        happened,
    }
    .body(1)
}

#[test]
fn each_body_is_valid() {
    for report in reports() {
        let content = report.content().expect("fitting parts");
        let body = body(Happened::Reported(&content));
        assert_eq!(body["attributes"]["event_type"], report.kind.as_str());
        check(&body);
        insta::assert_json_snapshot!(report.kind.as_str(), body);
    }
    let timed_out = body(Happened::TimedOut);
    check(&timed_out);
    assert_eq!(timed_out["data"]["closed_by"], "timeout");
}

fn check(body: &Value) {
    let name = body["attributes"]["event_type"].as_str().expect("a type");
    let (_, _, schema) = schemas::all()
        .into_iter()
        .find(|(known, ..)| *known == name)
        .expect("a schema");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .expect("a schema")
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}");
}

#[test]
fn a_body_without_receipts_names_the_purchases_alone() {
    let key = json!(CollapseKey::of(place().platform, "r1").uuid());
    let [start, impression, transaction, end] = reports().map(|report| {
        let content = report.content().expect("fitting parts");
        let body = without_receipts(body(Happened::Reported(&content)));
        check(&body);
        for proof in ["app_user_id", "purchase_guid", "receipts", "r1", "u1"] {
            assert!(
                !body.to_string().contains(&format!("\"{proof}\"")),
                "{proof}: {body}"
            );
        }
        body["data"]["collapse_key"].clone()
    });
    assert_eq!((start, transaction), (json!([key]), key));
    assert_eq!((impression, end), (Value::Null, Value::Null));
    assert_eq!(without_receipts(json!("no body")), "no body");
}

#[test]
fn an_id_longer_than_the_published_schema_allows_is_left_out() {
    let receipt = |id: &str, customer: &str| json!({ "receipt_id": id, "app_user_id": customer });
    let (long, longest) = ("\u{fc}".repeat(501), "\u{fc}".repeat(500));
    let receipts = [
        receipt(&long, "u1"),
        receipt(&longest, "u1"),
        receipt("r3", &long),
    ];
    let report = report("device.session.start", &json!({ "receipts": receipts }));
    let body = body(Happened::Reported(
        &report.content().expect("fitting parts"),
    ));
    check(&body);
    assert_eq!(body["data"]["receipts"], json!([receipts[1]]));
    let key = |id: &str| json!(CollapseKey::of(place().platform, id).uuid());
    assert_eq!(
        body["data"]["collapse_key"],
        json!([key(&long), key(&longest), key("r3")])
    );
}

#[test]
fn a_receipt_without_a_customer_is_a_purchase_alone() {
    let receipts = json!([{ "receipt_id": "r1" }, { "receipt_id": "r2", "app_user_id": "u1" }]);
    let bought = json!({ "kind": "purchased", "receipt_id": "r1", "sku": "month" });
    let key = |id: &str| json!(CollapseKey::of(place().platform, id).uuid());
    let of = |report: ReportedEvent| {
        let body = body(Happened::Reported(
            &report.content().expect("fitting parts"),
        ));
        check(&body);
        body["data"].clone()
    };
    let start = of(report(
        "device.session.start",
        &json!({ "receipts": receipts }),
    ));
    assert_eq!(start["receipts"], json!([receipts[1]]));
    assert_eq!(start["collapse_key"], json!([key("r1"), key("r2")]));
    let transaction = of(report(
        "device.transaction",
        &json!({ "transaction": bought }),
    ));
    assert_eq!(
        (&transaction["collapse_key"], transaction.get("app_user_id")),
        (&key("r1"), None)
    );
}

#[test]
fn the_schema_of_a_type_refuses_another_type() {
    let [start, ..] = reports();
    let mut body = body(Happened::Reported(&start.content().expect("fitting parts")));
    body["attributes"]["event_type"] = json!("device.session.end");
    let (_, _, schema) = schemas::all()
        .into_iter()
        .find(|(known, ..)| *known == "device.session.start")
        .expect("a schema");
    assert!(!jsonschema::is_valid(&schema, &body));
}

#[test]
fn a_part_belongs_to_its_type_alone() {
    let [start, impression, transaction, end] = reports();
    for (part, of) in [
        ("receipts", &start),
        ("impression", &impression),
        ("transaction", &transaction),
    ] {
        for other in [&start, &impression, &transaction, &end]
            .into_iter()
            .filter(|other| other.kind != of.kind)
        {
            let mut wrong = other.clone();
            match part {
                "receipts" => wrong.receipts = of.receipts.clone(),
                "impression" => wrong.impression = of.impression.clone(),
                _ => wrong.transaction = of.transaction.clone(),
            }
            assert_eq!(
                wrong.content().expect_err("a wrong part").field,
                part,
                "{:?}",
                other.kind
            );
        }
    }
}

#[test]
fn what_a_type_needs_is_named() {
    let [start, impression, transaction, end] = reports();
    for of in [start, end] {
        let wrong = ReportedEvent {
            session_id: None,
            ..of
        };
        assert_eq!(wrong.content().expect_err("no session").field, "session_id");
    }
    assert_eq!(
        ReportedEvent {
            impression: None,
            ..impression.clone()
        }
        .content()
        .expect_err("nothing")
        .field,
        "impression"
    );
    assert_eq!(
        ReportedEvent {
            transaction: None,
            ..transaction
        }
        .content()
        .expect_err("nothing")
        .field,
        "transaction"
    );
    assert!(
        ReportedEvent {
            session_id: None,
            ..impression
        }
        .content()
        .is_ok(),
        "a paywall can be shown outside of a session"
    );
}

#[test]
fn ids_of_events_differ_by_device_platform_epoch_and_name() {
    let other_device = DevicePlace {
        device: DeviceId::new(id(9)),
        ..place()
    };
    let other_platform = DevicePlace {
        platform: PlatformId::new(id(9)),
        ..place()
    };
    let ids = [
        EventId::of_device(place(), 1, "e1"),
        EventId::of_device(place(), 2, "e1"),
        EventId::of_device(place(), 1, "e2"),
        EventId::of_device(other_device, 1, "e1"),
        EventId::of_device(other_platform, 1, "e1"),
    ];
    let each: std::collections::BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(each.len(), ids.len());
    assert_eq!(ids[0], EventId::of_device(place(), 1, "e1"));
}

#[test]
fn a_type_is_written_as_it_is_named() {
    for kind in DeviceEventKind::ALL {
        assert_eq!(json!(kind), json!(kind.as_str()));
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
}
