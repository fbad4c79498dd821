//! Secrets at rest: AES-256-GCM with a random nonce, bound to the row they belong to.
//!
//! A stored secret is `v1:` and the lower-case hex of nonce, ciphertext and tag. The associated data is
//! `table/id` of the row, so that a value that is copied to another row cannot be decrypted there.

use crate::db::config::Key;
use crate::db::error::Error;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use secrecy::{ExposeSecret, SecretString};

const PREFIX: &str = "v1:";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

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
        let mut nonce = [0; NONCE_BYTES];
        let mut tag = [0; TAG_BYTES];
        let row = format!("{table}/{id}");
        let plain = secret.expose_secret().as_bytes();
        let sealed = openssl::rand::rand_bytes(&mut nonce)
            .and_then(|()| {
                encrypt_aead(Cipher::aes_256_gcm(), self.0.bytes(), Some(&nonce), row.as_bytes(), plain, &mut tag)
            })
            .map_err(Error::unavailable)?;
        Ok(format!("{PREFIX}{}{}{}", hex(&nonce), hex(&sealed), hex(&tag)))
    }

    /// Decrypts `sealed`, the stored form of a secret in the row named by `table` and `id`.
    pub fn open(&self, table: &str, id: &str, sealed: &str) -> Result<SecretString, Error> {
        self.decrypt(table, id, sealed)
            .map(SecretString::from)
            .ok_or_else(|| Error::corrupt(format!("a secret in `{table}` cannot be decrypted with the configured key")))
    }

    fn decrypt(&self, table: &str, id: &str, sealed: &str) -> Option<String> {
        let bytes = unhex(sealed.strip_prefix(PREFIX)?)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_BYTES)?;
        let (cipher, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_BYTES)?)?;
        let row = format!("{table}/{id}");
        let plain =
            decrypt_aead(Cipher::aes_256_gcm(), self.0.bytes(), Some(nonce), row.as_bytes(), cipher, tag).ok()?;
        String::from_utf8(plain).ok()
    }
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
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).map_err(Error::unavailable)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::{Key, Secrets};
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
    fn a_secret_is_never_sealed_the_same_way_twice() {
        let secrets = Secrets::new(Key::new([7; 32]));
        let seal = || secrets.seal("platforms", "a", &SecretString::from("s")).unwrap();
        assert_ne!(seal(), seal());
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
