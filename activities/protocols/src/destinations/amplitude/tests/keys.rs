//! No key is shown, stored in plain text or logged.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

fn holds_a_key(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [API_KEY, SECRET_KEY, SANDBOX_KEY]
        .iter()
        .any(|key| text.contains(key))
}

#[test]
fn debug_output_and_settings_hold_no_key() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    for shown in [
        format!("{config:?} {config:#?}"),
        destination.settings.to_string(),
        format!("{secret:?}"),
    ] {
        assert!(!holds_a_key(&shown), "{shown}");
    }
}

#[test]
fn a_key_in_a_reply_is_redacted_in_every_encoding() {
    let config = ready(json!({}));
    let basic = format!("{API_KEY}:{SECRET_KEY}");
    let (standard, url) = (STANDARD.encode(&basic), URL_SAFE.encode(&basic));
    let encoded = standard
        .replace('+', "%2B")
        .replace('/', "%2f")
        .replace('=', "%3D");
    for written in [
        API_KEY,
        SECRET_KEY,
        SANDBOX_KEY,
        &API_KEY.to_uppercase(),
        &standard,
        &url,
        &encoded,
    ] {
        let text = format!(r#"{{"code":400,"error":"Invalid API key: {written}"}}"#);
        let shown = config::redact(&config, &text);
        assert!(
            shown.starts_with(r#"{"code":400,"error":"Invalid API key: [REDACTED]"#),
            "{shown}"
        );
        assert!(!shown.contains(written.trim_end_matches('=')), "{shown}");
    }
}

#[test]
fn a_key_cut_off_at_the_end_of_a_reply_is_redacted() {
    let config = ready(json!({}));
    for length in 6..API_KEY.len() {
        let shown = config::redact(&config, &format!("Invalid API key: {}", &API_KEY[..length]));
        assert_eq!(shown, "Invalid API key: [REDACTED]");
        assert_eq!(config::redact(&config, &API_KEY[..length]), "[REDACTED]");
    }
    assert_eq!(
        config::redact(&config, "nothing to hide: é"),
        "nothing to hide: é"
    );
}

proptest! {
    #[test]
    fn no_redacted_text_holds_a_key(
        api_key in "[a-zA-Z0-9._-]{1,40}",
        parts in proptest::collection::vec(prop_oneof![Just(None), "\\PC{0,12}".prop_map(Some)], 0..6),
    ) {
        let config = ready(json!({"api_key": api_key.clone()}));
        let text: String = parts.iter().map(|part| part.as_deref().unwrap_or(&api_key)).collect();
        let shown = config::redact(&config, &text).replace("[REDACTED]", "\n").to_ascii_lowercase();
        prop_assert!(!shown.contains(&api_key.to_ascii_lowercase()), "{shown:?}");
    }
}
