//! The token with which an app's own server signs a login: a JSON Web Token (RFC 7519) with HS256 and the customer's
//! external id as `sub`. Every copy of the app contains the publishable key, but only the app's server knows who is
//! logged in.
//!
//! The format is simple enough to parse here; JWT libraries would bring in a second cryptography implementation.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{DeviceId, Timestamp};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// Maximum length of a token, in bytes.
pub const MAX_BYTES: usize = 4096;
/// Maximum validity of a token, so that a stolen one soon becomes useless.
const MAX_VALIDITY_SECONDS: i64 = 24 * 3600;
/// Accepted difference between the clocks of two servers.
const LEEWAY_SECONDS: i64 = 60;
const MICROS: i64 = 1_000_000;
/// The year 5138. A value above it is probably in milliseconds: this one would be in 1973.
const MAX_SECONDS: i64 = 100_000_000_000;

/// Header of a token (RFC 7515, section 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that a verifier must support; none is supported.
    crit: Option<Vec<String>>,
}

/// Claims of a token whose signature is verified.
struct Claims {
    sub: String,
    /// When the token expires, in microseconds since 1970.
    exp_micros: i64,
    /// When the token becomes valid, in microseconds since 1970; at any time if absent.
    nbf_micros: Option<i64>,
    /// Device for which the token was issued; any device if absent.
    device_id: Option<DeviceId>,
}

/// The login that a token must prove.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub external_id: &'a str,
    pub device: DeviceId,
    pub now: Timestamp,
}

/// Checks that a token signed with this secret proves a login.
///
/// # Errors
/// What is wrong with the token, for the app's developers. Contains no part of the token.
pub fn check(
    token: &str,
    secret: &SecretString,
    expected: Expected<'_>,
) -> Result<(), &'static str> {
    if token.len() > MAX_BYTES {
        return Err("it is longer than 4096 bytes");
    }
    let Claims {
        sub,
        exp_micros,
        nbf_micros,
        device_id,
    } = claims(signed(token, secret)?)?;
    let left_micros = exp_micros.saturating_sub(expected.now.micros());
    if left_micros < -LEEWAY_SECONDS * MICROS {
        return Err("its `exp` has passed");
    }
    if exp_micros / MICROS > MAX_SECONDS {
        return Err("its `exp` is in milliseconds, but counts seconds since 1970");
    }
    if left_micros > (MAX_VALIDITY_SECONDS + LEEWAY_SECONDS) * MICROS {
        return Err("its `exp` is more than a day ahead");
    }
    if nbf_micros
        .is_some_and(|nbf| nbf.saturating_sub(expected.now.micros()) > LEEWAY_SECONDS * MICROS)
    {
        return Err("its `nbf` has not come yet");
    }
    if sub != expected.external_id {
        return Err("its `sub` is not the `external_id`");
    }
    if device_id.is_some_and(|id| id != expected.device) {
        return Err("its `device_id` names another device");
    }
    Ok(())
}

/// Verifies the signature of a token with this secret, and returns its claims.
fn signed(token: &str, secret: &SecretString) -> Result<Map<String, Value>, &'static str> {
    let parts = token
        .rsplit_once('.')
        .and_then(|(message, signature)| Some((message, message.split_once('.')?, signature)));
    let Some((message, (header, claims), signature)) =
        parts.filter(|(_, (_, claims), _)| !claims.contains('.'))
    else {
        return Err("it is not a JSON Web Token of three parts with a `.` between them");
    };
    let header: Header = part(header)
        .ok_or("its first part is not base64url (without `=`) of a JSON object with `alg`")?;
    if header.alg != "HS256" {
        return Err("its `alg` is not HS256, the only algorithm that is accepted");
    }
    if header.crit.is_some() {
        return Err("its `crit` names extensions, and none is known");
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| "its third part is not base64url (without `=`)")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hmac::verify(&key, message.as_bytes(), &signature).map_err(
        |_| "its signature is not by the platform's login secret, whose text is the key as it is",
    )?;
    part(claims).ok_or("its second part is not base64url (without `=`) of a JSON object")
}

/// Parses the claims of a token whose signature is verified.
fn claims(claims: Map<String, Value>) -> Result<Claims, &'static str> {
    let sub = match claims.get("sub") {
        Some(Value::String(sub)) => sub.clone(),
        Some(_) => return Err("its `sub` is not text"),
        None => return Err("it has no `sub`"),
    };
    let exp_micros = match claims.get("exp") {
        Some(Value::Number(exp)) => micros(exp).ok_or("its `exp` is out of range")?,
        Some(_) => return Err("its `exp` is not a number: seconds since 1970"),
        None => return Err("it has no `exp`"),
    };
    let nbf_micros = match claims.get("nbf") {
        None | Some(Value::Null) => None,
        Some(Value::Number(nbf)) => Some(micros(nbf).ok_or("its `nbf` is out of range")?),
        Some(_) => return Err("its `nbf` is not a number: seconds since 1970"),
    };
    let device_id = match claims.get("device_id") {
        None | Some(Value::Null) => None,
        Some(id) => {
            let id = serde_json::from_value(id.clone());
            Some(id.map_err(|_| "its `device_id` is not the UUID of a device")?)
        }
    };
    Ok(Claims {
        sub,
        exp_micros,
        nbf_micros,
        device_id,
    })
}

/// Converts a date in seconds, possibly with a fraction (RFC 7519, section 2, "NumericDate"), to microseconds.
fn micros(seconds: &Number) -> Option<i64> {
    if let Some(whole) = seconds.as_i64() {
        return Some(whole.saturating_mul(MICROS));
    }
    let micros = (seconds.as_f64()? * 1e6).floor();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a decimal that is too great becomes the greatest number"
    )]
    let whole = micros as i64;
    micros.is_finite().then_some(whole)
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const SECRET: &str = "ls_of-the-platform";
    const NOW: i64 = 1_800_000_000;

    fn device(number: u128) -> DeviceId {
        DeviceId::new(Uuid::from_u128(number))
    }

    fn signed(algorithm: &str, secret: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!(
            "{}.{}",
            part(&json!({ "alg": algorithm, "typ": "JWT" })),
            part(claims)
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()))
        )
    }

    fn checked(token: &str) -> Result<(), &'static str> {
        let expected = Expected {
            external_id: "anna",
            device: device(1),
            now: Timestamp::from_micros(NOW * 1_000_000),
        };
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
            json!({ "sub": "anna", "exp": 1_800_000_060.25, "device_id": null }),
            json!({ "sub": "anna", "exp": 1_800_000_060.0 }),
            json!({ "sub": "anna", "exp": 1_799_999_940.5 }),
            json!({ "sub": "anna", "exp": NOW + 60, "nbf": NOW + 60 }),
            json!({ "sub": "anna", "exp": NOW + 60, "nbf": null }),
        ] {
            assert_eq!(
                checked(&signed("HS256", SECRET, &claims)),
                Ok(()),
                "{claims}"
            );
        }
    }

    #[test]
    fn another_token_is_refused_with_the_reason() {
        let token = |claims: Value| signed("HS256", SECRET, &claims);
        for (token, expected) in [
            (
                token(json!({ "sub": "otto", "exp": NOW + 60 })),
                "its `sub`",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW - 61 })),
                "its `exp` has passed",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 25 * 3600 })),
                "its `exp` is more",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 60, "device_id": device(2) })),
                "its `device_id`",
            ),
            (token(json!({ "exp": NOW + 60 })), "it has no `sub`"),
            (
                token(json!({ "sub": 7, "exp": NOW + 60 })),
                "its `sub` is not text",
            ),
            (token(json!({ "sub": "anna" })), "it has no `exp`"),
            (
                token(json!({ "sub": "anna", "exp": (NOW + 60).to_string() })),
                "its `exp` is not a number",
            ),
            (
                token(json!({ "sub": "anna", "exp": (NOW + 60) * 1000 })),
                "its `exp` is in milliseconds",
            ),
            (
                token(json!({ "sub": "anna", "exp": 1e300 })),
                "its `exp` is in milliseconds",
            ),
            (
                token(json!({ "sub": "anna", "exp": 1_799_999_939.5 })),
                "its `exp` has passed",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 60, "device_id": "tv" })),
                "its `device_id` is not the UUID",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 3600, "nbf": NOW + 61 })),
                "its `nbf` has not come yet",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 60, "nbf": "now" })),
                "its `nbf` is not a number",
            ),
            (token(json!([])), "its second part"),
            (
                signed("HS256", "other", &json!({ "sub": "anna", "exp": NOW + 60 })),
                "its signature is not by",
            ),
            (
                signed("HS384", SECRET, &json!({ "sub": "anna", "exp": NOW + 60 })),
                "its `alg` is not HS256",
            ),
            (
                "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIiwiZXhwIjoxODAwMDAwMDYwfQ.".to_owned(),
                "its `alg` is not HS256",
            ),
            (
                token(json!({ "sub": "anna", "exp": NOW + 60 })) + "=",
                "its third part",
            ),
            ("eyJhbGciOiJIUzI1NiJ9=.e30.e30".to_owned(), "its first part"),
            ("anna".to_owned(), "it is not a JSON Web Token"),
            ("a.b.c.d".to_owned(), "it is not a JSON Web Token"),
            ("a".repeat(MAX_BYTES + 1), "it is longer"),
        ] {
            let wrong = checked(&token).expect_err("a wrong token");
            assert!(wrong.starts_with(expected), "{wrong}");
        }
    }
}
