//! Amazon's notification inside a message. Parsing is lenient, so everything it accepts must be within the limits of
//! the tables, and must read the same however it is written.

use api::stores::amazon::notification::{Rtn, read};
use serde_json::{Map, Value, json};

pub fn check(data: &[u8]) {
    let Ok(message) = std::str::from_utf8(data) else {
        return;
    };
    let rtn = match read(message) {
        Ok(rtn) => rtn,
        Err(unreadable) => {
            assert!(!unreadable.reason.is_empty());
            plain(&unreadable.store_type, 0, 128);
            return;
        }
    };
    plain(&rtn.package_name, 1, 255);
    plain(&rtn.store_type, 1, 128);
    plain(&rtn.receipt_id, 1, 200);
    rtn.app_user_id.iter().for_each(|user| plain(user, 1, 128));
    rtn.cancelled_receipt_id
        .iter()
        .for_each(|receipt| plain(receipt, 1, 200));
    let written = Value::from(written(&rtn));
    for text in [
        written.to_string(),
        format!("{written:#}"),
        with_trailing_commas(&written),
    ] {
        assert_eq!(read(&text).as_ref(), Ok(&rtn), "{text}");
    }
}

/// Checks that storage and its indexes can hold a text.
fn plain(text: &str, least: usize, most: usize) {
    assert!((least..=most).contains(&text.chars().count()), "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn written(rtn: &Rtn) -> Map<String, Value> {
    let all = json!({
        "appPackageName": rtn.package_name,
        "notificationType": rtn.store_type,
        "receiptId": rtn.receipt_id,
        "appUserId": rtn.app_user_id,
        "relatedReceipts": rtn.cancelled_receipt_id.as_ref().map(|receipt| json!({ "cancelledReceiptId": receipt })),
        // The parser reads milliseconds, and years beyond 9999 count as the last one.
        "timestamp": rtn.at.map(|at| at.micros() / 1000),
        "betaProductTransaction": rtn.is_test,
    });
    all.as_object().expect("an object").clone()
}

/// Formats an object like Amazon's samples, with a trailing comma after the last field of each object.
fn with_trailing_commas(object: &Value) -> String {
    let Value::Object(fields) = object else {
        return object.to_string();
    };
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{}: {},", json!(name), with_trailing_commas(value)));
    format!("{{{}}}", fields.collect::<String>())
}
