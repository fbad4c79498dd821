//! Forms that all bodies of the API share: money, absent members, and errors.

use serde_json::{Value, json};

const NANOS_PER_CENT: i64 = 10_000_000;

/// Returns an amount as Google writes it: units as text, and parts that are 0 left out.
pub fn money(cents: i64, currency: &str) -> Value {
    let (units, rest) = (cents / 100, cents % 100);
    let units = (units != 0).then(|| units.to_string());
    let nanos = (rest != 0).then_some(rest * NANOS_PER_CENT);
    without_nulls(json!({ "currencyCode": currency, "units": units, "nanos": nanos }))
}

/// Returns the value without members that are null, which Google leaves out.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, member)| !member.is_null());
            let members = members.map(|(name, member)| (name, without_nulls(member)));
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Returns an error in the form of the API, which repeats the status.
pub fn error(status: u16, reason: &str) -> Value {
    json!({ "error": {
        "code": status, "message": "an error of the fake",
        "errors": [{ "message": "an error of the fake", "domain": "androidpublisher", "reason": reason }],
    } })
}
