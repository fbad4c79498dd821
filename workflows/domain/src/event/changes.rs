//! The differences between the bodies of two revisions of a purchase.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Name of the field in `data`, or `verified` in `attributes`.
    pub field: String,
    /// The value before; null also when the field was missing.
    pub before: Value,
    pub after: Value,
}

/// Returns the fields of `data` that differ between two bodies of `purchase.updated`, in order of their names, then
/// `verified` if it differs.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let [of_before, of_after] = [before, after].map(|body| body.get("data"));
    let fields = [of_before, of_after]
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|data| data.keys());
    let fields: BTreeSet<&String> = fields.collect();
    let of_data = fields
        .into_iter()
        .map(|field| change(field, of_before, of_after));
    let [before, after] = [before, after].map(|body| body.get("attributes"));
    of_data
        .chain([change("verified", before, after)])
        .flatten()
        .collect()
}

fn change(field: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Change> {
    let value = |of: Option<&Value>| of.and_then(|of| of.get(field)).cloned().unwrap_or_default();
    let (before, after) = (value(before), value(after));
    (before != after).then(|| Change {
        field: field.to_owned(),
        before,
        after,
    })
}
