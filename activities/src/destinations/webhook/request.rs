//! The request of one attempt: the body as it is kept, and the headers that prove who sent it.

use super::config::{self, Config};
use crate::destinations::Invalid;
use crate::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use secrecy::SecretString;

const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));

/// The signed request. `webhook_id` is the same at every attempt, `at` is the time of this one.
///
/// # Errors
/// The secret is not a `whsec_` secret, or the id has a dot, which the signed text could not tell from its own.
#[expect(clippy::too_many_arguments, reason = "four parts of one request, and whom it is for")]
pub fn request(
    config: &Config,
    secret: &SecretString,
    webhook_id: &str,
    at: Timestamp,
    body: &str,
) -> Result<Request, Invalid> {
    if webhook_id.is_empty() || webhook_id.contains('.') {
        return Err(Invalid::new("webhook-id", "an id without a dot"));
    }
    let timestamp = at.micros().div_euclid(1_000_000).to_string();
    let key = config::key(secret)?;
    let signature = sign(&key, &format!("{webhook_id}.{timestamp}.{body}"))
        .map_err(|_| Invalid::new("secret", "a key that OpenSSL accepts for HMAC-SHA256"))?;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("webhook-id", webhook_id.to_owned()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signature))),
        ("webhook-timestamp", timestamp),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(Request { method: Method::Post, url: config.url.clone(), headers, body: body.as_bytes().to_vec() })
}

fn sign(key: &[u8], text: &str) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(text.as_bytes())
}
