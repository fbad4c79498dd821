//! Extra headers of an endpoint's owner: their names are shown, their values are secrets.

use crate::destinations::Invalid;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Maximum number of headers.
const MOST: usize = 20;
/// Maximum length of a name.
const NAME_BYTES: usize = 100;
/// Maximum length of a value: longer than usual tokens, and shorter than the limits of common servers.
const VALUE_BYTES: usize = 2048;

/// Headers that we set, and those of the connection instead of the request (RFC 9110 7.6.1).
const OURS: [&str; 17] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// The prefix of the headers of Standard Webhooks.
const STANDARD: &str = "webhook-";

/// Values by name.
pub type Headers = BTreeMap<String, String>;

/// Changes headers by the fields of a request: a text sets one, null removes it; null for all removes all.
pub fn change(headers: &mut Headers, value: &Value) -> Result<(), Vec<Invalid>> {
    let fields = match value {
        Value::Null => {
            headers.clear();
            return Ok(());
        }
        Value::Object(fields) => fields,
        _ => return Err(vec![Invalid::new("headers", "an object of names and values, such as {\"x-tenant\": \"7\"}")]),
    };
    let mut wrong = twice(fields);
    for (name, value) in fields {
        let lower = name.to_ascii_lowercase();
        match value {
            Value::Null => drop(headers.remove(&lower)),
            Value::String(text) => match check(&lower, text) {
                Ok(()) => drop(headers.insert(lower, text.clone())),
                Err(expected) => wrong.push(Invalid::new(&field(name), expected)),
            },
            _ => wrong.push(Invalid::new(&field(name), "a text, or null to remove it")),
        }
    }
    if headers.len() > MOST {
        wrong.push(Invalid::new("headers", format!("at most {MOST}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Checks a header whose name is in lower case. The error is the expected form, and never repeats the value.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(is_letter) {
        return Err(format!("a name of 1 to {NAME_BYTES} letters, digits and hyphens"));
    }
    if name.starts_with(STANDARD) || OURS.contains(&name) {
        return Err("another name: this header is set by settle or by the connection".to_owned());
    }
    let is_visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    let is_trimmed = value.trim_matches([' ', '\t']).len() == value.len();
    if value.is_empty() || value.len() > VALUE_BYTES || !is_trimmed || !value.bytes().all(is_visible) {
        return Err(format!("a value of 1 to {VALUE_BYTES} visible ASCII characters, without spaces at its ends"));
    }
    Ok(())
}

/// The names that differ only in their case.
fn twice(fields: &Map<String, Value>) -> Vec<Invalid> {
    let mut seen = BTreeMap::<String, usize>::new();
    for name in fields.keys() {
        *seen.entry(name.to_ascii_lowercase()).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(name, _)| Invalid::new(&field(&name), "a name once, in whatever case")).collect()
}

fn field(name: &str) -> String {
    // A name is cut so that no error becomes longer than the name that it refuses.
    format!("headers.{}", name.chars().take(NAME_BYTES).collect::<String>())
}
