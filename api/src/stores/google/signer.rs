//! Signs push tokens in the way Google does, for tests. It uses its own key, so an ingress accepts the tokens only if
//! the URL in its settings returns that key.
//!
//! Shares no code with `token` and `keyset` on purpose: the format of a token is written a second time here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use rsa::pkcs1v15::SigningKey;
use rsa::rand_core::OsRng;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Value, json};
use std::error::Error;

/// A key that cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("no RSA key to sign with")]
pub struct Unusable(#[source] Box<dyn Error + Send + Sync>);

/// A private key.
pub struct Signer(RsaPrivateKey);

impl Signer {
    /// Creates a 2048-bit key.
    ///
    /// # Errors
    /// The key cannot be created.
    pub fn generate() -> Result<Self, Unusable> {
        Self::with_bits(2048)
    }

    pub(super) fn with_bits(bits: usize) -> Result<Self, Unusable> {
        let key = RsaPrivateKey::new(&mut OsRng, bits);
        key.map(Self).map_err(|error| Unusable(error.into()))
    }

    /// Returns the public key as an entry of a key set, with this id.
    pub fn jwk(&self, id: &str) -> Value {
        let number = |number: &BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let (modulus, exponent) = (number(self.0.n()), number(self.0.e()));
        json!({ "kid": id, "kty": "RSA", "alg": "RS256", "use": "sig", "n": modulus, "e": exponent })
    }

    /// Returns a token with these texts as header and claims, signed with RS256 regardless of their content.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, header: &str, claims: &str) -> Result<String, Unusable> {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = format!("{header}.{claims}");
        let signer = SigningKey::<Sha256>::new(self.0.clone());
        let signature = signer.try_sign(text.as_bytes());
        let signature = signature.map_err(|error| Unusable(error.into()))?;
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        Ok(format!("{text}.{signature}"))
    }
}

/// Returns a token header in Google's format, with this key id.
pub fn header(key_id: &str) -> Value {
    json!({ "alg": "RS256", "kid": key_id, "typ": "JWT" })
}

/// Returns the claims of a push token that is valid for an hour from `at`.
pub fn claims(audience: &str, account: &str, at: Timestamp) -> Value {
    let second = at.micros().div_euclid(1_000_000);
    json!({
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": "113774264463038321964",
        "sub": "113774264463038321964",
        "email": account,
        "email_verified": true,
        "iat": second,
        "exp": second + 3600,
    })
}
