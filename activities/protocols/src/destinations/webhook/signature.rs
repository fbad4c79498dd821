//! Keys and signatures of Standard Webhooks 1.0.0: `v1` is HMAC-SHA256 with a shared secret, `v1a` is ed25519 with a
//! private key that is never shown.
//!
//! The strictest verifiers define the form of signatures: one comma within a signature, one space between two, standard
//! base64 with padding.

use crate::destinations::Invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use std::ops::RangeInclusive;

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

/// A version of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HMAC-SHA256.
    V1,
    /// ed25519.
    V1a,
}

impl Version {
    /// Its name before the comma of a signature.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// A new key as text, derived from random bytes. Neither version's key reveals the other's.
    pub fn new_key(self, random: [u8; 32]) -> Result<String, Invalid> {
        let bytes = hmac(&random, self.label()).map_err(|_| self.invalid())?;
        let prefix = match self {
            Self::V1 => SHARED,
            Self::V1a => PRIVATE,
        };
        Ok(format!("{prefix}{}", STANDARD.encode(bytes)))
    }

    /// The expected form of a key of this version. Repeats no part of the refused one.
    pub fn invalid(self) -> Invalid {
        match self {
            Self::V1 => Invalid::new("secret", "`whsec_` and 24 to 64 bytes in standard base64"),
            Self::V1a => Invalid::new("private_key", "`whsk_` and the 32 bytes of an ed25519 key in standard base64"),
        }
    }
}

/// A key that signs requests. Its debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Key {
    /// The version of its signatures.
    pub version: Version,
    key: PKey<Private>,
}

impl Key {
    /// Parses `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (version, encoded) = match (text.strip_prefix(SHARED), text.strip_prefix(PRIVATE)) {
            (_, Some(encoded)) => (Version::V1a, encoded),
            (encoded, None) => (Version::V1, encoded.unwrap_or_default()),
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| version.invalid())?;
        let key = match version {
            Version::V1 if BYTES.contains(&bytes.len()) => PKey::hmac(&bytes),
            Version::V1 => return Err(version.invalid()),
            Version::V1a => return private(&bytes).map(|key| Self { version, key }).ok_or_else(|| version.invalid()),
        };
        key.map(|key| Self { version, key }).map_err(|_| version.invalid())
    }

    /// `whpk_` and the raw 32 bytes of the public key in standard base64; a shared secret has none.
    pub fn public(&self) -> Option<String> {
        let bytes = (self.version == Version::V1a).then(|| self.key.raw_public_key())?.ok()?;
        Some(format!("{PUBLIC}{}", STANDARD.encode(bytes)))
    }

    /// The signature of a text, with its version.
    pub fn sign(&self, text: &str) -> Result<String, ErrorStack> {
        let mut signer = match self.key.id() {
            Id::ED25519 => Signer::new_without_digest(&self.key)?,
            _ => Signer::new(MessageDigest::sha256(), &self.key)?,
        };
        let bytes = signer.sign_oneshot_to_vec(text.as_bytes())?;
        Ok(format!("{},{}", self.version.label(), STANDARD.encode(bytes)))
    }
}

/// Parses the 32 bytes of an ed25519 private key. The 32 bytes of its public key may follow; those of another key are
/// refused.
fn private(bytes: &[u8]) -> Option<PKey<Private>> {
    let (seed, public) = bytes.split_at_checked(SEED_BYTES)?;
    let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519).ok()?;
    let is_whole = public.is_empty() || key.raw_public_key().is_ok_and(|derived| derived == public);
    is_whole.then_some(key)
}

fn hmac(key: &[u8], text: &str) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(text.as_bytes())
}
