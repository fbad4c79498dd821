//! Amazon's Real-Time Notification inside a message, parsed leniently: the signature proves that Amazon wrote it, and
//! the samples in Amazon's documentation are partly not valid JSON or contradict its description.
//! <https://developer.amazon.com/docs/in-app-purchasing/rtn-example.html>

use domain::Timestamp;
use domain::text::{is_plain, readable_json};
use serde_json::{Map, Value};

const MAX_RECEIPT_CHARS: usize = 200;
const MAX_USER_CHARS: usize = 128;
/// Amazon's longest type has 41 characters. The type is part of an index, so its length must be limited.
const MAX_TYPE_CHARS: usize = 128;
const MAX_PACKAGE_CHARS: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtn {
    /// `appPackageName`
    pub package_name: String,
    /// `notificationType`
    pub store_type: String,
    /// `receiptId`
    pub receipt_id: String,
    /// `appUserId`
    pub app_user_id: Option<String>,
    /// `relatedReceipts.cancelledReceiptId`
    pub cancelled_receipt_id: Option<String>,
    /// `timestamp`; `None` if absent, in which case the envelope's time is used.
    pub at: Option<Timestamp>,
    /// `betaProductTransaction`, or its older name `betaProduct`
    pub is_test: bool,
}

/// A signed message that is unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Invalid field, and what is wrong with it.
    pub reason: &'static str,
    /// Type of the notification; empty if that is unreadable too.
    pub store_type: String,
}

/// Parses a message.
///
/// # Errors
/// The message is not a JSON object; the receipt, type or package name is missing, too long or has control characters;
/// or `appUserId` is present but invalid.
pub fn read(message: &str) -> Result<Rtn, Unreadable> {
    let fields = object(message).ok_or(Unreadable {
        reason: "message is not a JSON object",
        store_type: String::new(),
    })?;
    let store_type = text(&fields, "notificationType", MAX_TYPE_CHARS);
    let unreadable = |reason| Unreadable {
        reason,
        store_type: store_type.clone().unwrap_or_default(),
    };
    let app_user_id = match fields.get("appUserId") {
        None | Some(Value::Null) => None,
        Some(_) => Some(
            text(&fields, "appUserId", MAX_USER_CHARS)
                .ok_or_else(|| unreadable("appUserId is not a string of 1 to 128 characters"))?,
        ),
    };
    Ok(Rtn {
        receipt_id: text(&fields, "receiptId", MAX_RECEIPT_CHARS)
            .ok_or_else(|| unreadable("receiptId is not a string of 1 to 200 characters"))?,
        package_name: text(&fields, "appPackageName", MAX_PACKAGE_CHARS)
            .ok_or_else(|| unreadable("appPackageName is not a string of 1 to 255 characters"))?,
        cancelled_receipt_id: fields
            .get("relatedReceipts")
            .and_then(Value::as_object)
            .and_then(|related| text(related, "cancelledReceiptId", MAX_RECEIPT_CHARS)),
        at: fields
            .get("timestamp")
            .and_then(integer)
            .map(Timestamp::from_millis),
        is_test: is_true(&fields, "betaProductTransaction") || is_true(&fields, "betaProduct"),
        app_user_id,
        store_type: store_type
            .clone()
            .ok_or_else(|| unreadable("notificationType is not a string of 1 to 128 characters"))?,
    })
}

/// Parses a JSON object. If that fails, parses it again without trailing commas, which Amazon's own samples have, and
/// without values that no parser accepts.
fn object(message: &str) -> Option<Map<String, Value>> {
    let lenient = || readable_json(&without_trailing_commas(message));
    serde_json::from_str(message)
        .or_else(|_| serde_json::from_str(&lenient()))
        .ok()
}

fn without_trailing_commas(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character == '"' {
            in_string = true;
        } else if character == ',' && closes_next(text.get(at + 1..).unwrap_or_default()) {
            continue;
        }
        clean.push(character);
    }
    clean
}

/// Returns whether the next non-whitespace character closes an object or array.
fn closes_next(rest: &str) -> bool {
    rest.trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with(['}', ']'])
}

/// Returns a string of 1 to `max_chars` characters without control characters. Ids have no control characters, and
/// PostgreSQL cannot store NUL.
fn text(fields: &Map<String, Value>, name: &str, max_chars: usize) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    is_plain(text, max_chars).then(|| text.to_owned())
}

/// Returns a 64-bit integer, which may be written as a string or as a number such as `1.0`.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    // Up to 2^53, a float represents every integer exactly.
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    is_exact.then_some(number as i64)
}

fn is_true(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}
