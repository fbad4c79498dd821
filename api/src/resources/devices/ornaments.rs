//! Optional parts of an event: prices, places, and single purchases of a list. An unreadable part is left out, so that
//! the event and its claims are still stored.

use crate::error::Field;
use serde_json::{Map, Value};
use std::cmp::Reverse;

/// Paths of fields that are left out by themselves. `[]` stands for a place in a list.
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
/// The price of a transaction and its currency, which are left out together.
const PRICE: [&str; 2] = ["transaction.price", "transaction.currency"];
const RECEIPTS: &str = "receipts";
/// Paths of fields that an item of a list needs: without one the item is left out.
const OF_ITEMS: [&str; 3] = [
    "receipts[].receipt_id",
    "receipts[].app_user_id",
    "impression.products[].sku",
];

/// Returns an event without its parts that are wrong; `None` if one of them cannot be left out.
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
    // Fields of items first, then the last items of a list, so that the places of the others stay.
    paths.sort_by(|(path, place), (other_path, other)| {
        (place.is_some(), Reverse(place), path).cmp(&(other.is_some(), Reverse(other), other_path))
    });
    paths.dedup();
    let mut left = Value::Object(event.clone());
    paths
        .iter()
        .for_each(|(path, place)| remove(&mut left, path, *place));
    // A list whose purchases cannot be read does not say that there are none.
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

/// Returns a path with `[]` for each place in a list, and the place.
fn generalized(field: &str) -> (String, Option<usize>) {
    match field
        .split_once('[')
        .and_then(|(list, rest)| Some((list, rest.split_once(']')?)))
    {
        Some((list, (place, rest))) => (format!("{list}[]{rest}"), place.parse().ok()),
        None => (field.to_owned(), None),
    }
}

/// Returns a path with the place of the item that it ends with; of a field of an item with none.
fn split(path: &str, place: Option<usize>) -> (String, Option<usize>) {
    match path
        .strip_suffix(']')
        .and_then(|path| path.rsplit_once('['))
    {
        Some((list, _)) => (list.to_owned(), place),
        None => (path.to_owned(), None),
    }
}

/// Removes what is at a path, or of a list there the item at this place.
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

    /// Returns the purchases of a session's start, without the one at a place.
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
