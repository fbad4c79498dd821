//! Proof of a device: the header `Settle-Device-Secret`. Only the secret's hash leaves this module.

use super::client::Client;
use crate::devices::SECRET_HEADER;
use crate::edge::Shared;
use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::{SecretHash, Unproved};

/// Name of the header, as spelled in documents.
const SHOWN: &str = "Settle-Device-Secret";
/// Number of bytes of a secret.
const BYTES: usize = 32;
/// Expected value of the header.
const EXPECTED: &str =
    "32 random bytes in base64url without padding: 43 letters, digits, `-` and `_`";

/// The secret in a request, if there is one.
pub struct Secret(pub Option<SecretHash>);

/// A client that proves its device with the secret.
pub struct Proof {
    pub client: Client,
    pub secret: SecretHash,
}

impl<S: Send + Sync> FromRequestParts<S> for Secret {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        shown(&parts.headers)
            .map(Self)
            .map_err(|()| Error::invalid(SHOWN, EXPECTED))
    }
}

impl FromRequestParts<Shared> for Proof {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let client = Client::from_request_parts(parts, edge).await?;
        let Secret(secret) = Secret::from_request_parts(parts, edge).await?;
        Ok(Self {
            client,
            secret: secret.ok_or(Error::DeviceSecret(Unproved::Missing))?,
        })
    }
}

/// Returns the hash of the secret in the headers, if they have one; an error if the header is invalid or repeated.
fn shown(headers: &HeaderMap) -> Result<Option<SecretHash>, ()> {
    let mut values = headers.get_all(SECRET_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(drop)?;
    let is_secret = URL_SAFE_NO_PAD
        .decode(text)
        .is_ok_and(|bytes| bytes.len() == BYTES);
    if !is_secret || values.next().is_some() {
        return Err(());
    }
    Ok(Some(SecretHash::of(&SecretString::from(text))))
}

/// Returns the OpenAPI parameter for the header.
fn parameter(is_required: bool, description: &str) -> Value {
    json!({
        "name": SHOWN, "in": "header", "required": is_required,
        "description": format!("{description} The secret is {EXPECTED}."),
        "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$", "writeOnly": true },
    })
}

impl Input for Secret {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(parameter(
            false,
            "Secret that the device generated together with its id. The request that creates the device sets it; after \
             that, a missing or wrong secret returns 403 `device_secret_required`. A device created without a secret \
             may only ever call this route.",
        ));
    }
}

impl Input for Proof {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(parameter(
            true,
            "Secret with which the device was created. A missing or wrong secret returns 403 `device_secret_required`. A \
             device created without a secret must generate a new id with a secret.",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn is_taken(texts: &[&str]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(
                SECRET_HEADER,
                HeaderValue::from_str(text).expect("a header"),
            );
        }
        shown(&headers).ok().map(|secret| secret.is_some())
    }

    #[test]
    fn a_secret_has_32_bytes_in_base64url_without_padding() {
        let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(
            (is_taken(&[]), is_taken(&[secret])),
            (Some(false), Some(true))
        );
        for wrong in [
            "",
            &secret[1..],
            &format!("{secret}="),
            &format!("{secret}A"),
            &secret.replace('A', "+"),
            // The same bytes in a different encoding: the last letter has unused bits.
            &format!("{}9", &secret[..42]),
            "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11",
        ] {
            assert_eq!(is_taken(&[wrong]), None, "{wrong}");
        }
        assert_eq!(is_taken(&[secret, secret]), None, "one header");
    }
}
