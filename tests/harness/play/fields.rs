//! Compares bodies with Google's machine-readable description of the API, so that the fake shows only what Google can
//! show.

use domain::Timestamp;
use serde_json::Value;
use std::sync::LazyLock;

/// The members of each resource, with their types.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text =
        include_str!("../../../activities/protocols/src/stores/google/tests/androidpublisher.json");
    serde_json::from_str(text).expect("a description in JSON")
});

/// Returns the members of a resource's body that are not as described.
pub fn deviations(resource: &str, body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let kind = Value::from(format!("${resource}"));
    compare(&kind, body, resource, &mut found);
    found
}

fn compare(kind: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Value::Array(kinds) = kind {
        match value {
            Value::Array(items) => items
                .iter()
                .for_each(|item| compare(&kinds[0], item, path, found)),
            _ => found.push(format!("{path} is no list")),
        }
        return;
    }
    let kind = kind.as_str().unwrap_or_default();
    if let Some(name) = kind.strip_prefix('$') {
        compare_members(name, value, path, found);
    } else if !is_of(kind, value) {
        found.push(format!("{path} is {value} and not {kind}"));
    }
}

fn compare_members(name: &str, value: &Value, path: &str, found: &mut Vec<String>) {
    let Value::Object(members) = value else {
        found.push(format!("{path} is no object"));
        return;
    };
    for (member, value) in members {
        let path = format!("{path}.{member}");
        match DESCRIPTION[name].get(member) {
            Some(kind) => compare(kind, value, &path, found),
            None => found.push(format!("{path} is not described")),
        }
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    let text = value.as_str();
    match kind {
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "int32" => value.is_i64(),
        "int64" => text.is_some_and(|text| text.parse::<i64>().is_ok()),
        "google-datetime" => text.is_some_and(|text| text.parse::<Timestamp>().is_ok()),
        "string" => text.is_some(),
        names => text.is_some_and(|text| names.split('|').any(|name| name == text)),
    }
}
