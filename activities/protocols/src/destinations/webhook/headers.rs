//! Additional headers that an admin sets for an endpoint. The API shows their names; their values are secret.

use crate::destinations::invalid::Invalid;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const MAX_HEADERS: usize = 20;
/// Maximum length of a name in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Maximum length of a value in bytes. Access tokens are shorter; common servers allow more.
const MAX_VALUE_BYTES: usize = 2048;

/// The reserved headers: those that settle sets, and hop-by-hop headers, which concern only the connection (RFC 9110
/// 7.6.1).
const RESERVED: [&str; 17] = [
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
/// The prefix of the headers of Standard Webhooks, which are reserved too.
const RESERVED_PREFIX: &str = "webhook-";

/// Headers (or prefixes) that cloud metadata services require (AWS, Google, Azure, Alibaba, Linode). They are refused,
/// so that a request that reaches such a service does not have them. Oracle's requires `Authorization`, which customers
/// may set.
const METADATA_PREFIXES: [&str; 5] = [
    "metadata",
    "x-aws-ec2-metadata-",
    "x-google-metadata-",
    "x-aliyun-ecs-metadata-",
    "x-metadata-",
];

/// Header values by their names in lower case.
pub type Headers = BTreeMap<String, String>;

/// Applies the field `headers` of an API request. In an object, a string sets a header and null removes it. Null
/// instead of an object removes all headers.
///
/// # Errors
/// Returns every invalid header, including names that occur more than once.
pub fn change(headers: &mut Headers, value: &Value) -> Result<(), Vec<Invalid>> {
    let fields = match value {
        Value::Null => {
            headers.clear();
            return Ok(());
        }
        Value::Object(fields) => fields,
        _ => {
            return Err(vec![Invalid::new(
                "headers",
                "an object of names and values, such as {\"x-tenant\": \"7\"}",
            )]);
        }
    };
    let mut wrong = duplicates(fields);
    for (at, (name, value)) in fields.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        match value {
            Value::Null => drop(headers.remove(&lower)),
            Value::String(text) => match check(&lower, text) {
                Ok(()) => drop(headers.insert(lower, text.clone())),
                Err(expected) => wrong.push(Invalid::new(&field(at, name), expected)),
            },
            _ => wrong.push(Invalid::new(&field(at, name), "text, or null to remove it")),
        }
    }
    if headers.len() > MAX_HEADERS {
        wrong.push(Invalid::new("headers", format!("at most {MAX_HEADERS}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Checks a header whose name is in lower case. Any token of RFC 9110 5.6.2 is accepted as a name. The error describes
/// the recommended form and never repeats the value.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err(format!(
            "a name of 1 to {MAX_NAME_BYTES} letters, digits and hyphens"
        ));
    }
    if name.starts_with(RESERVED_PREFIX) || RESERVED.contains(&name) {
        return Err("another name: this header is set by settle or by the connection".to_owned());
    }
    if METADATA_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Err(
            "another name: this header grants access to cloud metadata services".to_owned(),
        );
    }
    let is_visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    let is_trimmed = value.trim_matches([' ', '\t']).len() == value.len();
    if value.is_empty()
        || value.len() > MAX_VALUE_BYTES
        || !is_trimmed
        || !value.bytes().all(is_visible)
    {
        return Err(format!(
            "a value of 1 to {MAX_VALUE_BYTES} visible ASCII characters, without spaces at its ends"
        ));
    }
    Ok(())
}

/// Returns whether a name is a token (RFC 9110 5.6.2) of at most [`MAX_NAME_BYTES`].
fn is_token(name: &str) -> bool {
    let is_token_char =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_token_char)
}

/// Returns one error for each name that occurs more than once, ignoring case.
fn duplicates(fields: &Map<String, Value>) -> Vec<Invalid> {
    let mut seen = BTreeMap::<String, (usize, usize)>::new();
    for (at, name) in fields.keys().enumerate() {
        seen.entry(name.to_ascii_lowercase()).or_insert((at, 0)).1 += 1;
    }
    let duplicates = seen.into_iter().filter(|(_, (_, times))| *times > 1);
    duplicates
        .map(|(name, (at, _))| Invalid::new(&field(at, &name), "each name once, ignoring case"))
        .collect()
}

/// Returns the field that names a header in an error. An invalid name may be a misplaced secret, so it is never
/// repeated.
fn field(at: usize, name: &str) -> String {
    if is_token(name) {
        format!("headers.{name}")
    } else {
        format!("headers[{at}]")
    }
}
