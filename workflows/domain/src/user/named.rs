//! The name of a customer in a body that was recorded before the customer had one.

use super::{ExternalId, id_format};
use serde_json::{Value, json};

/// The field of a `user.*` body with the names of the customer.
const FIELD: &str = "external_ids";
/// The key of the customer's own id in it.
const KEY: &str = "external_id";

/// The body of a `user.*` event with the customer's own id among its `external_ids`, in front, as if it had been known
/// when the event was recorded. A body that names the customer already, or has no names at all, stays as it is; and so
/// does everything else of the body.
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
