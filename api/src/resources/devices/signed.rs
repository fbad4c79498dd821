//! Signed transactions in events: each is verified and replaced by the id of its purchase, before anything else of the
//! event is read. So no signed text is stored, and no id without a proof.

use crate::extract::FieldErrors;
use domain::device::Content;
use domain::{CollapseKey, Timestamp};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use storage::{ClaimAnswer, SignedReceipt};

/// Field with the id of a purchase, or with the signed transaction in its place.
const RECEIPT: &str = "receipt_id";
/// Maximum number of purchases in the list of a session's start, as in its schema.
const MAX_RECEIPTS: usize = 50;
/// Maximum number of refused texts in a request, since each may cost a millisecond of CPU time.
const MAX_REFUSED: usize = 8;
/// Stands in an event for a text that is refused. The part of the event with it is left out, or the event rejected.
const REFUSED: &str = "refused";
/// Expected value in an error about a text that is not read any more.
const TOO_MANY: &str =
    "a signed transaction in a request without other invalid ones: the first of them are listed";
/// Expected value in an error about a text that this version cannot verify.
pub const UNVERIFIED: &str = "a transaction that this version of settle can verify";

/// Verifies a signed transaction. The error is the expected value.
pub type ReadSigned<'a> = &'a dyn Fn(&str) -> Result<SignedReceipt, &'static str>;

/// Returns a function that verifies the signed transactions of one request, and reads no more after many refused ones.
pub fn limited(
    read: impl Fn(&str) -> Result<SignedReceipt, &'static str>,
) -> impl Fn(&str) -> Result<SignedReceipt, &'static str> {
    let refused = Cell::new(0_usize);
    move |text| {
        if refused.get() >= MAX_REFUSED {
            return Err(TOO_MANY);
        }
        read(text).inspect_err(|_| refused.set(refused.get().saturating_add(1)))
    }
}

/// Replaces each signed transaction in an event by the id of its purchase, and returns their contents. The errors of the
/// others are added to `wrong`.
pub fn take(
    event: &mut Map<String, Value>,
    read: ReadSigned<'_>,
    wrong: &mut FieldErrors,
) -> Vec<SignedReceipt> {
    let mut taken = Vec::new();
    let receipts = event.get_mut("receipts").and_then(Value::as_array_mut);
    let receipts = receipts.filter(|receipts| receipts.len() <= MAX_RECEIPTS);
    for (index, receipt) in receipts.into_iter().flatten().enumerate() {
        if let Some(text) = receipt.get_mut(RECEIPT) {
            let field = format!("receipts[{index}].{RECEIPT}");
            taken.extend(take_one(text, &field, read, wrong));
        }
    }
    if let Some(text) = event
        .get_mut("transaction")
        .and_then(|one| one.get_mut(RECEIPT))
    {
        let field = format!("transaction.{RECEIPT}");
        taken.extend(take_one(text, &field, read, wrong));
    }
    taken
}

fn take_one(
    value: &mut Value,
    field: &str,
    read: ReadSigned<'_>,
    wrong: &mut FieldErrors,
) -> Option<SignedReceipt> {
    let text = value.as_str()?;
    match read(text.trim()) {
        Ok(receipt) => {
            *value = Value::from(receipt.notification.receipt_id.as_str());
            Some(receipt)
        }
        Err(expected) => {
            wrong.add(field, expected);
            *value = Value::from(REFUSED);
            None
        }
    }
}

/// Returns the transactions whose purchases are in the content that is stored.
pub fn listed(mut receipts: Vec<SignedReceipt>, content: &Content) -> Vec<SignedReceipt> {
    let ids: Vec<&str> = match content {
        Content::SessionStart { receipts, .. } => {
            let all = receipts.iter().flatten();
            all.map(|receipt| receipt.receipt_id.as_str()).collect()
        }
        Content::Transaction(transaction) => vec![transaction.receipt_id.as_str()],
        Content::SessionEnd { .. } | Content::Impression(_) => Vec::new(),
    };
    receipts.retain(|one| ids.contains(&one.notification.receipt_id.as_str()));
    receipts
}

/// Returns what the transactions show of claims: for each purchase, its last period among them.
pub fn answers<'r>(
    receipts: impl Iterator<Item = &'r SignedReceipt>,
) -> BTreeMap<CollapseKey, ClaimAnswer> {
    let mut newest: BTreeMap<CollapseKey, &SignedReceipt> = BTreeMap::new();
    for receipt in receipts {
        let Some(key) = receipt.notification.collapse_key else {
            continue;
        };
        let known = newest.entry(key).or_insert(receipt);
        if named_at(receipt) > named_at(known) {
            *known = receipt;
        }
    }
    let answer = |receipt: &SignedReceipt| ClaimAnswer::Confirmed {
        snapshot: receipt.snapshot.clone(),
        customer: receipt.customer.clone(),
    };
    let newest = newest.into_iter();
    newest
        .map(|(key, receipt)| (key, answer(receipt)))
        .collect()
}

/// Returns the order of a purchase's transactions: the customer of the last named period counts.
fn named_at(receipt: &SignedReceipt) -> (Option<Timestamp>, Option<Timestamp>) {
    let snapshot = &receipt.snapshot;
    let named_at = snapshot.state.as_ref().and_then(|state| state.named_at);
    (named_at, snapshot.purchased_at)
}

#[cfg(test)]
mod tests {
    use super::{MAX_REFUSED, answers, limited, take};
    use crate::extract::FieldErrors;
    use domain::{CollapseKey, PlatformId, Snapshot, StoreState, Timestamp};
    use serde_json::{Map, Value, json};
    use std::cell::Cell;
    use storage::{ClaimAnswer, Handling, NewNotification, SignedReceipt};
    use uuid::Uuid;

    const PLATFORM: PlatformId = PlatformId::new(Uuid::nil());

    /// Returns a transaction of a purchase that names a customer since this time.
    fn receipt(purchase: &str, customer: &str, named_at: Option<i64>) -> SignedReceipt {
        let state = StoreState {
            named_at: named_at.map(Timestamp::from_millis),
            ..StoreState::default()
        };
        SignedReceipt {
            notification: NewNotification {
                platform_id: PLATFORM,
                message_id: String::new(),
                receipt_id: purchase.to_owned(),
                collapse_key: Some(CollapseKey::of(PLATFORM, purchase)),
                store_type: String::new(),
                store_time: None,
                app_user_id: None,
                body: String::new(),
                handling: Handling::Open,
                traceparent: None,
                duty: None,
                closes: None,
                order_id: None,
                duplicate_key: None,
            },
            snapshot: Box::new(Snapshot {
                state: Some(Box::new(state)),
                ..Snapshot::default()
            }),
            customer: Some(customer.to_owned()),
        }
    }

    /// Takes the signed transactions of an event, where `genuine` alone is one.
    fn taken(event: &Value) -> (Value, Vec<String>, usize) {
        let mut fields: Map<String, Value> = event.as_object().cloned().expect("an object");
        let mut wrong = FieldErrors::within(Default::default());
        let read = |text: &str| match text {
            "genuine" => Ok(receipt("1", "anna", None)),
            _ => Err("another text"),
        };
        let receipts = take(&mut fields, &read, &mut wrong).len();
        let wrong = wrong.into_fields().into_iter().map(|one| one.field);
        (Value::Object(fields), wrong.collect(), receipts)
    }

    #[test]
    fn a_signed_transaction_is_replaced_by_the_id_of_its_purchase() {
        let event = json!({ "transaction": { "receipt_id": " genuine\n" }, "receipts": [
            { "receipt_id": "1" }, { "receipt_id": "genuine" }, { "receipt_id": 1 }, {}, 5,
        ] });
        let (fields, wrong, receipts) = taken(&event);
        let expected = json!({ "transaction": { "receipt_id": "1" }, "receipts": [
            { "receipt_id": "refused" }, { "receipt_id": "1" }, { "receipt_id": 1 }, {}, 5,
        ] });
        assert_eq!((fields, receipts), (expected, 2));
        assert_eq!(wrong, ["receipts[0].receipt_id"]);
    }

    #[test]
    fn an_event_of_any_shape_has_no_signed_transaction() {
        for event in [
            json!({}),
            json!({ "receipts": 5, "transaction": [] }),
            json!({ "receipts": null, "transaction": { "receipt_id": null } }),
            json!({ "receipts": vec![json!({ "receipt_id": "genuine" }); 51] }),
        ] {
            assert_eq!(taken(&event), (event.clone(), Vec::new(), 0));
        }
    }

    #[test]
    fn many_refused_texts_are_not_all_verified() {
        let number = Cell::new(0);
        let read = limited(|_| {
            number.set(number.get() + 1);
            Err("another text")
        });
        let refused = (0..20).filter(|_| read("forged").is_err()).count();
        assert_eq!((refused, number.get()), (20, MAX_REFUSED));
    }

    #[test]
    fn the_last_named_period_names_the_customer_of_a_claim() {
        let all = [
            receipt("1", "otto", Some(2)),
            receipt("1", "anna", Some(3)),
            receipt("1", "account", None),
            receipt("2", "clara", None),
        ];
        let answers = answers(all.iter());
        let customers = answers.into_values().map(|answer| match answer {
            ClaimAnswer::Confirmed { customer, .. } => customer.expect("a customer"),
            other => panic!("{other:?}"),
        });
        let mut customers: Vec<String> = customers.collect();
        customers.sort();
        assert_eq!(customers, ["anna", "clara"]);
    }
}
