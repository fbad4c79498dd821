//! The access token of the App Store Server API, which settle signs itself with the In-App Purchase key.
//! <https://developer.apple.com/documentation/appstoreserverapi/generating-json-web-tokens-for-api-requests>

use crate::stores::AccessToken;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Platform setting: the issuer of the team's keys.
pub const ISSUER_ID: &str = "issuer_id";
/// Platform setting: the id of the In-App Purchase key.
pub const KEY_ID: &str = "key_id";
const AUDIENCE: &str = "appstoreconnect-v1";
/// How long a token is valid. Apple allows an hour; what is left allows for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(20 * 60);
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// The credentials of a platform, as storage encrypts them.
#[derive(Deserialize)]
struct Credentials {
    private_key: String,
}

/// Returns the token for an app, signed at `now`; `None` if the platform's settings or credentials have no key that can
/// sign.
pub fn signed(
    settings: Option<&Value>,
    credentials: Option<&SecretString>,
    bundle_id: &str,
    now: Timestamp,
) -> Option<AccessToken> {
    let member = |name: &str| settings?.get(name)?.as_str();
    let (issuer, key_id) = (member(ISSUER_ID)?, member(KEY_ID)?);
    let key = key(credentials?)?;
    let second = now.micros().div_euclid(1_000_000);
    let lifetime = i64::try_from(LIFETIME.as_secs()).ok()?;
    let header = json!({ "alg": "ES256", "kid": key_id, "typ": "JWT" });
    let claims = json!({
        "iss": issuer, "iat": second, "exp": second + lifetime, "aud": AUDIENCE, "bid": bundle_id,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
    let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
    Some(AccessToken {
        token: format!("{text}.{signature}").into(),
        lifetime: LIFETIME,
    })
}

/// Whether a platform has the settings and the credentials with which a token can be signed.
pub fn has_key(settings: Option<&Value>, credentials: Option<&SecretString>) -> bool {
    let has = |name: &str| settings.is_some_and(|settings| settings.get(name).is_some());
    has(ISSUER_ID) && has(KEY_ID) && credentials.is_some()
}

/// Parses the P-256 key of the credentials, a PEM text in PKCS #8.
fn key(credentials: &SecretString) -> Option<EcdsaKeyPair> {
    let credentials: Credentials = serde_json::from_str(credentials.expose_secret()).ok()?;
    let (_, rest) = credentials.private_key.split_once(PEM_BEGIN)?;
    let (encoded, _) = rest.split_once(PEM_END)?;
    let encoded: String = encoded.split_whitespace().collect();
    let der = STANDARD.decode(encoded).ok()?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()).ok()
}
