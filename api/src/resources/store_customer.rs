//! The store's id of a customer in a request, `app_user_id`: required if the store confirms pairs of customer and
//! receipt, and not allowed if the store identifies a purchase by its receipt alone.

use crate::error::Error;
use crate::extract::schema;
use domain::StorePolicy;
use domain::stores::Proof;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use storage::Platform;

/// Field with the store's id of a customer.
const CUSTOMER: &str = "app_user_id";

/// Expected value in an error about a customer's id that the store does not use.
pub const NO_CUSTOMER: &str =
    "nothing: the platform's store identifies a purchase by its receipt alone";

/// Returns how a purchase is proved at the platform's store.
///
/// # Errors
/// 503 if this version does not know the store.
pub fn proof(platform: &Platform) -> Result<Proof, Error> {
    let policy = StorePolicy::of(&platform.store);
    policy
        .map(|policy| policy.proof)
        .map_err(|unknown| Error::Unavailable(unknown.to_string()))
}

/// Returns a type's schema in which `app_user_id` is required in every object that can have it.
pub fn requiring_customers<T: JsonSchema + 'static>() -> Value {
    let mut schema = schema::<T>().clone();
    require(&mut schema);
    schema
}

fn require(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(require),
        Value::Object(parts) => {
            let has_customer = parts
                .get("properties")
                .is_some_and(|properties| properties.get(CUSTOMER).is_some());
            if has_customer && let Some(Value::Array(required)) = parts.get_mut("required") {
                required.push(json!(CUSTOMER));
            }
            parts.values_mut().for_each(require);
        }
        _ => {}
    }
}

/// Removes the customer's id from an object. Returns whether there was one.
pub fn take(object: &mut Map<String, Value>) -> bool {
    object
        .remove(CUSTOMER)
        .is_some_and(|customer| !customer.is_null())
}

#[cfg(test)]
mod tests {
    use super::requiring_customers;
    use crate::extract::schema;
    use domain::device::ReportedEvent;
    use serde_json::Value;

    fn required(schema: &Value, pointer: &str) -> Vec<String> {
        let all = schema.pointer(pointer).and_then(Value::as_array);
        let all = all.into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    }

    #[test]
    fn a_customer_is_required_wherever_one_fits() {
        let pointer = "/properties/receipts/items/required";
        let (usual, strict) = (
            schema::<ReportedEvent>(),
            requiring_customers::<ReportedEvent>(),
        );
        assert_eq!(required(usual, pointer), ["receipt_id"]);
        assert_eq!(required(&strict, pointer), ["receipt_id", "app_user_id"]);
        let count = |schema: &Value| schema.to_string().matches("\"app_user_id\"").count();
        assert_eq!(
            count(&strict),
            count(usual) + 2,
            "of a receipt and a transaction"
        );
        assert!(required(usual, "/required").contains(&"id".to_owned()));
        assert_eq!(required(&strict, "/required"), required(usual, "/required"));
    }
}
