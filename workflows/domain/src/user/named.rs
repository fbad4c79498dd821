//! Adds a customer's name to a body that was recorded before the customer had one.

use super::{ExternalId, id_format};
use serde_json::{Value, json};

/// The field of a `user.*` body that contains the names of the customer.
const FIELD: &str = "external_ids";
/// The key of the app's own id in that field.
const KEY: &str = "external_id";

/// Adds the app's own id of the customer to the front of the `external_ids` of a `user.*` body, as if it had been known
/// when the event was recorded. A body that already contains such an id or has no list of names is unchanged, and so
/// are all other fields.
pub fn with_external_id(mut body: Value, external_id: &str) -> Value {
    if let Some(Value::Array(names)) = body.get_mut(FIELD)
        && names
            .iter()
            .all(|name| name.get("key").and_then(Value::as_str) != Some(KEY))
    {
        let kind = id_format(external_id).to_owned();
        names.insert(
            0,
            json!(ExternalId {
                key: KEY.to_owned(),
                kind,
                value: external_id.to_owned()
            }),
        );
    }
    body
}

#[cfg(test)]
mod tests {
    use super::with_external_id;
    use serde_json::json;

    #[test]
    fn a_name_that_came_later_is_in_front_of_the_others() {
        let receipt = json!({ "key": "receipt_id", "type": "receipt_id", "value": "r1" });
        let recorded = json!({ "user_id": "u", "external_ids": [receipt] });
        let named = with_external_id(recorded.clone(), "anna@shop");
        let anna = json!({ "key": "external_id", "type": "custom", "value": "anna@shop" });
        assert_eq!(
            named,
            json!({ "user_id": "u", "external_ids": [anna, receipt] })
        );
        assert_eq!(
            with_external_id(named.clone(), "otto"),
            named,
            "a name that was recorded stays"
        );
        let state = json!({ "attributes": {}, "data": {} });
        assert_eq!(with_external_id(state.clone(), "anna@shop"), state);
    }
}
