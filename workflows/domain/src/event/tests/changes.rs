//! The differences between two revisions.

use crate::event::{Change, changes};
use serde_json::{Value, json};

fn body(data: &Value, verified: bool) -> Value {
    json!({ "attributes": { "revision": 1, "verified": verified }, "data": data })
}

#[test]
fn equal_records_differ_in_nothing() {
    let one = body(
        &json!({ "is_active": true, "entitlements": [{ "id": "a" }] }),
        true,
    );
    let mut newer = one.clone();
    newer["attributes"]["revision"] = json!(2);
    assert_eq!(changes(&one, &newer), []);
}

#[test]
fn each_field_that_differs_is_named_with_both_values() {
    let before = body(
        &json!({ "is_active": true, "revoked_at": null, "entitlements": [], "gone": 1 }),
        false,
    );
    let after = body(
        &json!({ "is_active": false, "revoked_at": null, "entitlements": ["b"], "come": 2 }),
        true,
    );
    let of = |field: &str, before: Value, after: Value| Change {
        field: field.to_owned(),
        before,
        after,
    };
    assert_eq!(
        changes(&before, &after),
        [
            of("come", Value::Null, json!(2)),
            of("entitlements", json!([]), json!(["b"])),
            of("gone", json!(1), Value::Null),
            of("is_active", json!(true), json!(false)),
            of("verified", json!(false), json!(true)),
        ]
    );
}
