//! The token by which a customer's own server signs a login: a JSON Web Token (RFC 7519) with HS256, whose `sub` is the
//! external id. Who has the app has its publishable key; who is logged in, only the server of the app knows.
//!
//! The format is small enough to read here: the libraries for it bring a second set of cryptography.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{DeviceId, Timestamp};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Maximum length of a token in bytes.
pub const MAX_BYTES: usize = 4096;
/// How long a token may be valid: a stolen one is soon of no use.
const MAX_VALIDITY_SECONDS: i64 = 24 * 3600;
/// How much the clocks of two servers may differ.
const LEEWAY_SECONDS: i64 = 60;

/// The header of a token (RFC 7515, section 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood: none is.
    crit: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// When it expires, in seconds since 1970.
    exp: i64,
    /// The device for which it was made; any when absent.
    device_id: Option<DeviceId>,
}

/// A login that a token is to prove.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub external_id: &'a str,
    pub device: DeviceId,
    pub now: Timestamp,
}

/// Checks that a token signed with this secret proves a login.
///
/// # Errors
/// What is wrong with it, for the app's engineers. No part of the token is in it.
pub fn check(token: &str, secret: &SecretString, expected: Expected<'_>) -> Result<(), &'static str> {
    if token.len() > MAX_BYTES {
        return Err("it is longer than 4096 bytes");
    }
    let Some(Claims { sub, exp, device_id }) = signed(token, secret) else {
        return Err(
            "it is not a JSON Web Token with `sub` and `exp`, signed with HS256 by the platform's login secret",
        );
    };
    let left_seconds = exp.saturating_sub(expected.now.micros() / 1_000_000);
    if left_seconds < -LEEWAY_SECONDS {
        return Err("its `exp` has passed");
    }
    if left_seconds > MAX_VALIDITY_SECONDS + LEEWAY_SECONDS {
        return Err("its `exp` is more than a day ahead");
    }
    if sub != expected.external_id {
        return Err("its `sub` is not the `external_id`");
    }
    if device_id.is_some_and(|id| id != expected.device) {
        return Err("its `device_id` names another device");
    }
    Ok(())
}

/// What a token says, if it is signed with this secret.
fn signed(token: &str, secret: &SecretString) -> Option<Claims> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let header: Header = part(header)?;
    if header.alg != "HS256" || header.crit.is_some() {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hmac::verify(&key, message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    part(claims)
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    const SECRET: &str = "ls_of-the-platform";
    const NOW: i64 = 1_800_000_000;

    fn device(number: u128) -> DeviceId {
        DeviceId::new(Uuid::from_u128(number))
    }

    fn signed(algorithm: &str, secret: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
    }

    fn checked(token: &str) -> Result<(), &'static str> {
        let expected =
            Expected { external_id: "anna", device: device(1), now: Timestamp::from_micros(NOW * 1_000_000) };
        check(token, &SecretString::from(SECRET), expected)
    }

    #[test]
    fn the_example_of_the_rfc_is_read_and_its_signature_verified() {
        // RFC 7515, appendix A.1, with its key.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .expect("a key");
        let token = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9",
            "leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        let (message, signature) = token.rsplit_once('.').expect("a signature");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("a signature");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        assert!(hmac::verify(&key, message.as_bytes(), &signature).is_ok());
        let header: Header = part(message.split_once('.').expect("a header").0).expect("a header");
        assert_eq!(header.alg, "HS256");
    }

    #[test]
    fn a_token_proves_the_login_that_it_names() {
        for claims in [
            json!({ "sub": "anna", "exp": NOW + 60 }),
            json!({ "sub": "anna", "exp": NOW - 59, "device_id": device(1), "aud": "anything" }),
            json!({ "sub": "anna", "exp": NOW + 24 * 3600 }),
        ] {
            assert_eq!(checked(&signed("HS256", SECRET, &claims)), Ok(()), "{claims}");
        }
    }

    #[test]
    fn another_token_is_refused_with_the_reason() {
        let token = |claims: Value| signed("HS256", SECRET, &claims);
        for (token, expected) in [
            (token(json!({ "sub": "otto", "exp": NOW + 60 })), "its `sub`"),
            (token(json!({ "sub": "anna", "exp": NOW - 61 })), "its `exp` has passed"),
            (token(json!({ "sub": "anna", "exp": NOW + 25 * 3600 })), "its `exp` is more"),
            (token(json!({ "sub": "anna", "exp": NOW + 60, "device_id": device(2) })), "its `device_id`"),
            (token(json!({ "sub": "anna" })), "it is not a JSON Web Token"),
            (token(json!({ "sub": "anna", "exp": (NOW + 60).to_string() })), "it is not a JSON Web Token"),
            (signed("HS256", "other", &json!({ "sub": "anna", "exp": NOW + 60 })), "it is not a JSON Web Token"),
            (signed("HS384", SECRET, &json!({ "sub": "anna", "exp": NOW + 60 })), "it is not a JSON Web Token"),
            (
                "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIiwiZXhwIjoxODAwMDAwMDYwfQ.".to_owned(),
                "it is not a JSON Web Token",
            ),
            ("a".repeat(MAX_BYTES + 1), "it is longer"),
        ] {
            let wrong = checked(&token).expect_err("a wrong token");
            assert!(wrong.starts_with(expected), "{wrong}");
        }
    }
}
