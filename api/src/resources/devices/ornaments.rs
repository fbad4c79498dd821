//! Optional parts of an event: prices, places, and single purchases in a list. An unreadable part is left out, so that
//! the event and its claims are still stored.

use crate::error::Field;
use serde_json::{Map, Value};
use std::cmp::Reverse;

/// Paths of fields that can be left out individually. `[]` stands for an index in a list.
const FIELDS: [&str; 13] = [
    "session_id",
    "receipts",
    "receipts[]",
    "impression.placement",
    "impression.campaign",
    "impression.variant",
    "impression.products",
    "impression.products[]",
    "impression.products[].price",
    "impression.products[].currency",
    "impression.products[].is_trial_eligible",
    "transaction.marketplace",
    "transaction.impression_id",
];
/// A transaction's price and its currency, which are left out together.
const PRICE: [&str; 2] = ["transaction.price", "transaction.currency"];
const RECEIPTS: &str = "receipts";
/// Paths of the required fields of a list's items: an item without them is left out.
const OF_ITEMS: [&str; 3] = [
    "receipts[].receipt_id",
    "receipts[].app_user_id",
    "impression.products[].sku",
];

/// Returns an event without its invalid parts; `None` if one of them is required.
pub fn without(event: &Map<String, Value>, wrong: &[Field]) -> Option<Map<String, Value>> {
    let mut paths = Vec::new();
    for Field { field, .. } in wrong {
        let (pattern, places) = generalized(field);
        if PRICE.contains(&pattern.as_str()) {
            paths.extend(PRICE.map(|path| (path.to_owned(), None)));
        } else if FIELDS.contains(&pattern.as_str()) {
            paths.push(split(field, places));
        } else if OF_ITEMS.contains(&pattern.as_str()) {
            let (item, _) = field.rsplit_once('.')?;
            paths.push(split(item, places));
        } else {
            return None;
        }
    }
    // Fields of items first, then items from the end of the list, so that the indexes of the others do not change.
    paths.sort_by(|(path, place), (other_path, other)| {
        (place.is_some(), Reverse(place), path).cmp(&(other.is_some(), Reverse(other), other_path))
    });
    paths.dedup();
    let mut left = Value::Object(event.clone());
    paths
        .iter()
        .for_each(|(path, place)| remove(&mut left, path, *place));
    // A list with only unreadable purchases does not mean that there are no purchases, so the list is left out.
    let is_empty = left
        .get(RECEIPTS)
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty);
    if is_empty && paths.iter().any(|(path, _)| path == RECEIPTS) {
        remove(&mut left, RECEIPTS, None);
    }
    match left {
        Value::Object(left) => Some(left),
        _ => None,
    }
}

/// Returns a path with its list index replaced by `[]`, and the index.
fn generalized(field: &str) -> (String, Option<usize>) {
    match field
        .split_once('[')
        .and_then(|(list, rest)| Some((list, rest.split_once(']')?)))
    {
        Some((list, (place, rest))) => (format!("{list}[]{rest}"), place.parse().ok()),
        None => (field.to_owned(), None),
    }
}

/// Returns the path of a list with the index, if the path ends with an item; else the path, without an index.
fn split(path: &str, place: Option<usize>) -> (String, Option<usize>) {
    match path
        .strip_suffix(']')
        .and_then(|path| path.rsplit_once('['))
    {
        Some((list, _)) => (list.to_owned(), place),
        None => (path.to_owned(), None),
    }
}

/// Removes the value at a path or, with an index, that item of the list there.
fn remove(value: &mut Value, path: &str, place: Option<usize>) {
    let (above, name) = path
        .rsplit_once('.')
        .map_or(("", path), |(above, name)| (above, name));
    let pointer = above.split(['.', '[', ']']).filter(|part| !part.is_empty());
    let pointer: String = pointer.map(|part| format!("/{part}")).collect();
    let Some(Value::Object(fields)) = value.pointer_mut(&pointer) else {
        return;
    };
    match (place, fields.get_mut(name)) {
        (Some(place), Some(Value::Array(items))) if place < items.len() => {
            drop(items.remove(place))
        }
        (None, Some(_)) => drop(fields.remove(name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, RECEIPTS, without};
    use serde_json::{Map, Value, json};

    /// Returns the purchases of a session's start that remain if the item at `place` is invalid.
    fn left(receipts: &Value, place: &str) -> Option<Value> {
        let event = Map::from_iter([(RECEIPTS.to_owned(), receipts.clone())]);
        let wrong = Field {
            field: format!("{RECEIPTS}{place}"),
            expected: "something else".to_owned(),
        };
        without(&event, &[wrong])
            .expect("an event")
            .remove(RECEIPTS)
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_empty_list() {
        assert_eq!(left(&json!([1]), "[0]"), None);
        assert_eq!(left(&json!("none"), ""), None);
        assert_eq!(
            left(&json!([1, { "receipt_id": "r" }]), "[0]"),
            Some(json!([{ "receipt_id": "r" }]))
        );
    }
}
