//! Secrets at rest: AES-256-GCM with a random nonce, bound to the row they belong to.
//!
//! A stored secret is `v1:` and the lower-case hex of nonce, ciphertext and tag. The associated data is
//! `table/id` of the row, so that a value that is copied to another row cannot be decrypted there.

use crate::db::config::Key;
use crate::db::error::Error;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

const PREFIX: &str = "v1:";
/// Number of bytes of a tombstone.
const TOMBSTONE_LEN: usize = 20;

/// Encrypts and decrypts with the installation's key.
#[derive(Debug, Clone)]
pub struct Secrets(Key);

impl Secrets {
    /// Uses this key.
    pub const fn new(key: Key) -> Self {
        Self(key)
    }

    /// Encrypts `secret` for the row named by `table` and `id`; returns the stored form.
    pub fn seal(&self, table: &str, id: &str, secret: &SecretString) -> Result<String, Error> {
        let nonce: [u8; NONCE_LEN] = random_bytes()?;
        let mut bytes = secret.expose_secret().as_bytes().to_vec();
        self.cipher()
            .and_then(|key| {
                key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), row(table, id), &mut bytes).ok()
            })
            .ok_or_else(|| Error::corrupt("a secret cannot be encrypted"))?;
        Ok(format!("{PREFIX}{}{}", hex(&nonce), hex(&bytes)))
    }

    /// Decrypts `sealed`, the stored form of a secret in the row named by `table` and `id`.
    pub fn open(&self, table: &str, id: &str, sealed: &str) -> Result<SecretString, Error> {
        self.decrypt(table, id, sealed)
            .map(SecretString::from)
            .ok_or_else(|| Error::corrupt(format!("a secret in `{table}` cannot be decrypted with the configured key")))
    }

    /// What stands for a name of a row named by `table` and `id`, in lower-case hex: the same for the same name, and
    /// nobody without the key finds the name from it.
    pub fn tombstone(&self, table: &str, id: &str, name: &str) -> String {
        // A key of its own, so that no value of another use of the installation's key is ever equal.
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.0.bytes()), b"tombstones");
        let key = hmac::Key::new(hmac::HMAC_SHA256, own.as_ref());
        let tag = hmac::sign(&key, format!("{table}/{id}/{name}").as_bytes());
        hex(tag.as_ref().get(..TOMBSTONE_LEN).unwrap_or_default())
    }

    fn decrypt(&self, table: &str, id: &str, sealed: &str) -> Option<String> {
        let mut bytes = unhex(sealed.strip_prefix(PREFIX)?)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.cipher()?.open_in_place(nonce, row(table, id), sealed).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.bytes()).ok().map(LessSafeKey::new)
    }
}

/// The associated data of a secret in a row.
fn row(table: &str, id: &str) -> Aad<String> {
    Aad::from(format!("{table}/{id}"))
}

/// The bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// A random id, version 4.
pub fn random_uuid() -> Result<uuid::Uuid, Error> {
    Ok(uuid::Builder::from_random_bytes(random_bytes()?).into_uuid())
}

/// Bytes of the operating system's generator.
fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(Error::unavailable)?;
    Ok(bytes)
}

/// The SHA-256 of a text, in lower-case hex.
pub fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{Key, Secrets, sha256};
    use secrecy::{ExposeSecret, SecretString};

    #[test]
    fn a_secret_is_read_back_in_its_own_row_only() {
        let secrets = Secrets::new(Key::new([7; 32]));
        let sealed = secrets.seal("destinations", "a", &SecretString::from("whsec_x")).unwrap();
        assert!(!sealed.contains("whsec"));
        assert_eq!(secrets.open("destinations", "a", &sealed).unwrap().expose_secret(), "whsec_x");
        assert!(secrets.open("destinations", "b", &sealed).is_err());
        assert!(Secrets::new(Key::new([8; 32])).open("destinations", "a", &sealed).is_err());
    }

    #[test]
    fn a_secret_that_was_sealed_by_openssl_is_opened() {
        let sealed = "v1:000102030405060708090a0b6fe99a157e56a1c38420ac14c50e8817a2d4940d4b647a";
        let secrets = Secrets::new(Key::new([7; 32]));
        assert_eq!(secrets.open("destinations", "a", sealed).unwrap().expose_secret(), "whsec_x");
    }

    #[test]
    fn a_secret_is_never_sealed_the_same_way_twice() {
        let secrets = Secrets::new(Key::new([7; 32]));
        let seal = || secrets.seal("platforms", "a", &SecretString::from("s")).unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_key_is_not_in_its_debug_output() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key([REDACTED])");
    }

    #[test]
    fn what_is_not_a_stored_secret_is_refused() {
        let secrets = Secrets::new(Key::new([7; 32]));
        for text in ["", "v1:", "v1:0", "v1:zz", "plain", "v1:00112233445566778899aabbccddeeff"] {
            assert!(secrets.open("platforms", "a", text).is_err(), "{text}");
        }
    }
}
