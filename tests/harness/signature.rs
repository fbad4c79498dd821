//! Verifies signatures: `v1` with `standardwebhooks`, a reference verifier, and `v1a`, which that crate lacks, with
//! `ring`, which settle also uses for signing. `tests/verifiers` verifies both with libraries in other languages.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::Webhook;

/// Prefix of a public key; the raw 32 bytes in base64 follow.
pub const PUBLIC: &str = "whpk_";

#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub headers: &'a HeaderMap,
    pub raw: &'a [u8],
}

impl Signed<'_> {
    /// Verifies the request with a key. With `whsec_…` the request's time must be within five minutes of now; with
    /// `whpk_…` the time is not checked.
    ///
    /// # Errors
    /// The reason why the signature is refused.
    pub fn verify(&self, key: &str) -> Result<(), String> {
        self.verify_with(key, |webhook| {
            webhook
                .verify(self.raw, self.headers)
                .map_err(|error| error.to_string())
        })
    }

    /// Like [`Self::verify`], but never checks the time, for tests that move the program's clock.
    ///
    /// # Errors
    /// The reason why the signature is refused.
    pub fn verify_at_any_time(&self, key: &str) -> Result<(), String> {
        self.verify_with(key, |webhook| {
            let time = self
                .header("webhook-timestamp")
                .parse()
                .map_err(|_| "no webhook-timestamp".to_owned())?;
            let expected = webhook
                .sign(self.header("webhook-id"), time, self.raw)
                .map_err(|error| error.to_string())?;
            let is_signed = self
                .header("webhook-signature")
                .split(' ')
                .any(|signature| signature == expected);
            if is_signed {
                Ok(())
            } else {
                Err("the signature is wrong".to_owned())
            }
        })
    }

    fn verify_with(
        &self,
        key: &str,
        v1: impl Fn(&Webhook) -> Result<(), String>,
    ) -> Result<(), String> {
        match key.strip_prefix(PUBLIC) {
            Some(encoded) => self.verify_asymmetric(encoded),
            None => Webhook::new(key)
                .map_err(|error| error.to_string())
                .and_then(|webhook| v1(&webhook)),
        }
    }

    fn verify_asymmetric(&self, encoded: &str) -> Result<(), String> {
        let key = STANDARD
            .decode(encoded)
            .map_err(|error| error.to_string())?;
        let key = UnparsedPublicKey::new(&ED25519, key);
        let head = format!(
            "{}.{}.",
            self.header("webhook-id"),
            self.header("webhook-timestamp")
        );
        let text = [head.as_bytes(), self.raw].concat();
        let signatures = self
            .header("webhook-signature")
            .split(' ')
            .filter_map(|one| one.strip_prefix("v1a,"));
        let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
        let is_signed = signatures.any(|signature| key.verify(&text, &signature).is_ok());
        if is_signed {
            Ok(())
        } else {
            Err("the signature is wrong".to_owned())
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}
