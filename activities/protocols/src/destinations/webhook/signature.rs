//! Keys and signatures of Standard Webhooks 1.0.0: `v1` is HMAC-SHA256 with a shared secret, `v1a` is ed25519 with a
//! private key that is never shown.
//!
//! Signatures have the form that the strictest verifiers accept: one comma within a signature, one space between two,
//! standard base64 with padding.

use crate::destinations::invalid::Invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The prefix of a shared secret.
const SHARED: &str = "whsec_";
/// The prefix of a private key.
const PRIVATE: &str = "whsk_";
/// The prefix of a public key.
const PUBLIC: &str = "whpk_";
/// The length of a shared secret in bytes.
const BYTES: RangeInclusive<usize> = 24..=64;
/// The length of an ed25519 private key in bytes; some tools append the public key.
const SEED_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V1a,
}

impl Version {
    /// Returns the version's label, which precedes the comma of a signature.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// Returns a new key as text, derived from random bytes. Neither version's key reveals the other's.
    pub fn new_key(self, random: [u8; 32]) -> String {
        let bytes = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &random),
            self.label().as_bytes(),
        );
        let prefix = match self {
            Self::V1 => SHARED,
            Self::V1a => PRIVATE,
        };
        format!("{prefix}{}", STANDARD.encode(bytes))
    }

    /// Returns the error with the expected form of a key of this version. It repeats no part of the refused key.
    pub fn invalid(self) -> Invalid {
        match self {
            Self::V1 => Invalid::new("secret", "`whsec_` and 24 to 64 bytes in standard base64"),
            Self::V1a => Invalid::new(
                "private_key",
                "`whsk_` and the 32 bytes of an ed25519 key in standard base64",
            ),
        }
    }
}

/// A key that signs requests. Its debug output hides the secret.
#[derive(Debug, Clone)]
pub struct Key {
    pub version: Version,
    secret: Secret,
}

#[derive(Debug, Clone)]
enum Secret {
    Shared(hmac::Key),
    Private(Arc<Ed25519KeyPair>),
}

impl Key {
    /// Parses `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (version, encoded) = match (text.strip_prefix(SHARED), text.strip_prefix(PRIVATE)) {
            (_, Some(encoded)) => (Version::V1a, encoded),
            (encoded, None) => (Version::V1, encoded.unwrap_or_default()),
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| version.invalid())?;
        let secret = match version {
            Version::V1 if BYTES.contains(&bytes.len()) => {
                Secret::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
            }
            Version::V1 => return Err(version.invalid()),
            Version::V1a => {
                Secret::Private(Arc::new(private(&bytes).ok_or_else(|| version.invalid())?))
            }
        };
        Ok(Self { version, secret })
    }

    /// Returns `whpk_` and the 32 bytes of the public key in standard base64; `None` for a shared secret.
    pub fn public(&self) -> Option<String> {
        match &self.secret {
            Secret::Shared(_) => None,
            Secret::Private(key) => Some(format!("{PUBLIC}{}", STANDARD.encode(key.public_key()))),
        }
    }

    /// Returns the signature of a text, with its version.
    pub fn sign(&self, text: &str) -> String {
        let encoded = match &self.secret {
            Secret::Shared(key) => STANDARD.encode(hmac::sign(key, text.as_bytes())),
            Secret::Private(key) => STANDARD.encode(key.sign(text.as_bytes())),
        };
        format!("{},{encoded}", self.version.label())
    }
}

/// Parses the 32 bytes of an ed25519 private key. The 32 bytes of its public key may follow; those of another key are
/// refused.
fn private(bytes: &[u8]) -> Option<Ed25519KeyPair> {
    match bytes.split_at_checked(SEED_BYTES)? {
        (seed, []) => Ed25519KeyPair::from_seed_unchecked(seed).ok(),
        (seed, public) => Ed25519KeyPair::from_seed_and_public_key(seed, public).ok(),
    }
}
