//! Google's public keys, as a JSON Web Key Set (RFC 7517). `keyring` fetches and caches them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of keys that are read; Google's set has two or three.
const MAX_KEYS: usize = 32;
/// Accepted lengths of a modulus in bytes: 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const MAX_EXPONENT_BYTES: usize = 8;

/// Public keys by id.
pub type KeySet = HashMap<String, Arc<PublicKey>>;

/// An RSA key that signs with PKCS#1 v1.5 and SHA-256.
#[derive(Debug, PartialEq, Eq)]
pub struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// Returns whether the key signed exactly this message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents {
            n: self.modulus.as_slice(),
            e: self.exponent.as_slice(),
        };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// An entry of a key set, with the field names of RFC 7517 and RFC 7518.
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: String,
    e: String,
}

/// Reads a key set, without the keys for other algorithms and purposes.
///
/// # Errors
/// The text is not a key set, or has no usable key.
pub fn read(text: &[u8]) -> Result<KeySet, &'static str> {
    let document: Document =
        serde_json::from_slice(text).map_err(|_| "the answer is no key set")?;
    let entries = document.keys.into_iter().take(MAX_KEYS);
    let keys: KeySet = entries.filter_map(key).collect();
    if keys.is_empty() {
        return Err("no key of the set can be used");
    }
    Ok(keys)
}

/// Returns the id and key of an entry; `None` if the key is not usable here.
fn key(entry: Value) -> Option<(String, Arc<PublicKey>)> {
    let entry: Jwk = serde_json::from_value(entry).ok()?;
    let is_usable = entry.kty == "RSA"
        && entry.alg.is_none_or(|algorithm| algorithm == "RS256")
        && entry.purpose.is_none_or(|purpose| purpose == "sig");
    let key = PublicKey {
        modulus: number(&entry.n)?,
        exponent: number(&entry.e)?,
    };
    let has_fitting_length = MODULUS_BYTES.contains(&key.modulus.len())
        && (1..=MAX_EXPONENT_BYTES).contains(&key.exponent.len());
    (is_usable && has_fitting_length).then(|| (entry.kid, Arc::new(key)))
}

/// Returns an integer in base64url as bytes, without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).map(<[u8]>::to_vec)
}
