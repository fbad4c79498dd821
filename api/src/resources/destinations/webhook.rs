//! What a webhook needs to know: a URL of the right shape, and a secret of ours.
//!
//! Whether its address may be sent to is not decided here but before each attempt, when the name is resolved.

use crate::resources::Fields;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

/// The settings of a new webhook.
pub fn settings(fields: &mut Fields, allow_http: bool) -> Value {
    let text = fields.required_text("url");
    if !text.is_empty() {
        check(fields, &text, allow_http);
    }
    json!({ "url": text })
}

/// The settings after a change; `None` when nothing changes.
pub fn change(before: &Value, fields: &mut Fields, allow_http: bool) -> Option<Value> {
    let text = fields.text("url")?;
    check(fields, &text, allow_http);
    let mut settings = before.clone();
    settings["url"] = json!(text);
    Some(settings)
}

/// A new signing secret in the form of Standard Webhooks: `whsec_` and base64 of 32 random bytes.
pub fn secret(random: [u8; 32]) -> SecretString {
    SecretString::from(format!("whsec_{}", STANDARD.encode(random)))
}

fn check(fields: &mut Fields, text: &str, allow_http: bool) {
    if let Err(expected) = shape(text, allow_http) {
        fields.wrong("url", expected);
    }
}

fn shape(text: &str, allow_http: bool) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("a URL such as https://example.com/hooks ({error})"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err("an https:// URL (http:// needs `destinations.allow_http`, for development)".to_owned()),
        other => return Err(format!("an https:// URL, and it is {other}://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without user name and password: requests are signed instead".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL without fragment".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn only_a_plain_https_url_is_taken() {
        for good in ["https://example.com/hooks", "https://example.com:8443/?a=b"] {
            assert_eq!(shape(good, false), Ok(()));
        }
        let wrong = ["http://example.com", "ftp://example.com", "https://u:p@example.com", "https://u@example.com"];
        for bad in wrong.into_iter().chain(["https://example.com/#f", "example.com", "https://", "file:///etc/passwd"])
        {
            assert!(shape(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn http_is_taken_where_development_allows_it() {
        assert_eq!(shape("http://127.0.0.1:9000/hook", true), Ok(()));
        assert!(shape("ftp://127.0.0.1", true).is_err());
    }
}
