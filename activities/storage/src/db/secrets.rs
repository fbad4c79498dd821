//! Secrets at rest: AES-256-GCM with a random nonce, bound to the row they belong to.
//!
//! A stored secret is `v1:`, the id of its key, `:`, and the lower-case hex of nonce, ciphertext and tag. The
//! associated data is `table/id` of the row, so that a value that is copied to another row cannot be decrypted there.
//! A text that is looked up and must not be readable is stored as a keyed hash: the id of the key, `:`, and an
//! HMAC-SHA256.
//!
//! The newest key encrypts, the others only decrypt; `admin/rekey.rs` re-encrypts their values. A tombstone, which
//! replaces a removed name, is in too many places to be replaced: tombstones have a key of their own, which is stored
//! encrypted.

use crate::config::Key;
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::keys::{self, listed};
use crate::writer::Write;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

const PREFIX: &str = "v1:";
/// Number of bytes of a key's id.
const ID_LEN: usize = 4;
/// Number of bytes of a tombstone.
const TOMBSTONE_LEN: usize = 20;

/// The place of a secret: a name of the table and column, and the id of the row.
pub type SecretPlace<'a> = (&'a str, &'a str);

struct NamedKey {
    id: String,
    bytes: [u8; 32],
}

/// Encrypts and decrypts with the installation's keys. Clones share them.
#[derive(Clone)]
pub struct Secrets {
    keys: Arc<[NamedKey]>,
    names: Arc<str>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("keys", &self.key_ids())
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Returns secrets with this key and those before it, still without the key of tombstones.
    pub fn new(key: &Key) -> Self {
        let named = |bytes: &[u8; 32]| NamedKey {
            id: key_id(bytes),
            bytes: *bytes,
        };
        Self {
            keys: key.all().map(named).collect(),
            names: Arc::from(""),
        }
    }

    pub fn with_names(self, names: &SecretString) -> Self {
        Self {
            names: Arc::from(names.expose_secret()),
            ..self
        }
    }

    /// Returns the ids of the keys, newest first.
    pub fn key_ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    /// Returns the id of the key that encrypts.
    pub fn newest_id(&self) -> &str {
        self.keys.first().map_or("", |key| key.id.as_str())
    }

    /// Encrypts `secret` for a row in a transaction that stores it; returns the stored form. The first secret registers
    /// the key. No value can be stored under a retired key: the key's row is locked until the end of the transaction.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when this process encrypts with a retired key.
    pub fn seal(
        &self,
        write: &mut Write<'_>,
        place: SecretPlace<'_>,
        secret: &SecretString,
    ) -> Result<String, Error> {
        let now = write.now()?;
        keys::hold(write.connection, self.newest_id(), now)?;
        self.encrypt(place, secret)
    }

    /// Checks that this process has each key that something may be encrypted or hashed with.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when another process encrypts with a key that this one lacks.
    pub fn check(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        match keys::missing(connection, &self.key_ids())? {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Error::MissingKeys(missing)),
        }
    }

    /// Encrypts `secret` for a row, without reading the database; returns the stored form.
    pub fn encrypt(
        &self,
        (table, id): SecretPlace<'_>,
        secret: &SecretString,
    ) -> Result<String, Error> {
        let nonce: [u8; NONCE_LEN] = random_bytes()?;
        let mut bytes = secret.expose_secret().as_bytes().to_vec();
        let newest = self
            .keys
            .first()
            .ok_or_else(|| Error::corrupt("there is no key"))?;
        newest
            .cipher()
            .and_then(|key| {
                key.seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(nonce),
                    row(table, id),
                    &mut bytes,
                )
                .ok()
            })
            .ok_or_else(|| Error::corrupt("a secret cannot be encrypted"))?;
        Ok(format!(
            "{PREFIX}{}:{}{}",
            newest.id,
            hex(&nonce),
            hex(&bytes)
        ))
    }

    /// Decrypts `sealed`, the stored form of a secret in the row named by `table` and `id`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], which names the id of the key that is missing.
    pub fn open(&self, table: &str, id: &str, sealed: &str) -> Result<SecretString, Error> {
        let unreadable = || {
            Error::corrupt(format!(
                "a secret in `{table}` cannot be decrypted with its key"
            ))
        };
        let (key, sealed) = sealed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(unreadable)?;
        let Some(key) = self.keys.iter().find(|known| known.id == key) else {
            return Err(Error::corrupt(format!(
                "a secret in `{table}` is encrypted with the key `{key}`, and SETTLE_KEY has {}",
                listed(&self.key_ids())
            )));
        };
        key.decrypt((table, id), sealed)
            .map(SecretString::from)
            .ok_or_else(unreadable)
    }

    /// Returns the stored forms of a text that is looked up: its hash under each key, newest first. `purpose` keeps
    /// hashes of different columns apart.
    pub fn hashes(&self, purpose: &str, text: &str) -> Vec<String> {
        self.keys
            .iter()
            .map(|key| format!("{}:{}", key.id, hex(key.sign(purpose, text).as_ref())))
            .collect()
    }

    /// Returns the hash of a text under the newest key.
    pub fn newest_hash(&self, purpose: &str, text: &str) -> String {
        self.hashes(purpose, text)
            .into_iter()
            .next()
            .unwrap_or_default()
    }

    /// Returns two patterns of `LIKE`: for all values that the newest key encrypted, and for all that it hashed.
    pub fn newest_patterns(&self) -> (String, String) {
        let id = self.newest_id();
        (format!("{PREFIX}{id}:%"), format!("{id}:%"))
    }

    /// Returns the hash of a text that may be a phrase, in lower-case hex: it is the same under every key, and guessed
    /// phrases cannot be tested against it without a key.
    pub fn phrase_hash(&self, purpose: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.names.as_bytes());
        hex(hmac::sign(&key, format!("{purpose}/{text}").as_bytes()).as_ref())
    }

    /// Returns the replacement for a name in the row named by `table` and `id`, in lower-case hex. It is the same for
    /// the same name, under every key. The name cannot be derived from it without a key.
    pub fn tombstone(&self, table: &str, id: &str, name: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.names.as_bytes());
        let tag = hmac::sign(&key, format!("{table}/{id}/{name}").as_bytes());
        hex(tag.as_ref().get(..TOMBSTONE_LEN).unwrap_or_default())
    }
}

impl NamedKey {
    /// Returns the keyed hash of a text. Each purpose has a key of its own, so that values for different purposes are
    /// never equal.
    fn sign(&self, purpose: &str, text: &str) -> hmac::Tag {
        let own = derived(&self.bytes, purpose);
        hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()),
            text.as_bytes(),
        )
    }

    fn decrypt(&self, (table, id): SecretPlace<'_>, sealed: &str) -> Option<String> {
        let mut bytes = unhex(sealed)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .cipher()?
            .open_in_place(nonce, row(table, id), sealed)
            .ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.bytes)
            .ok()
            .map(LessSafeKey::new)
    }
}

/// Returns a key for one purpose, derived from an installation's key.
fn derived(key: &[u8; 32], purpose: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes())
}

/// Returns the id of a key: eight hex digits, computed from the key, so that a key cannot have a wrong id. The key
/// cannot be derived from it.
pub fn key_id(key: &[u8; 32]) -> String {
    hex(derived(key, "key id")
        .as_ref()
        .get(..ID_LEN)
        .unwrap_or_default())
}

pub fn random_names() -> Result<SecretString, Error> {
    Ok(SecretString::from(hex(&random_bytes::<32>()?)))
}

/// Returns the associated data of a secret in a row.
fn row(table: &str, id: &str) -> Aad<String> {
    Aad::from(format!("{table}/{id}"))
}

/// Returns the bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

pub fn random_uuid() -> Result<uuid::Uuid, Error> {
    Ok(uuid::Builder::from_random_bytes(random_bytes()?).into_uuid())
}

/// Returns random bytes of the operating system's generator.
fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(Error::unavailable)?;
    Ok(bytes)
}

/// Returns the SHA-256 of a text, in lower-case hex.
pub fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{Key, Secrets, sha256};
    use secrecy::{ExposeSecret, SecretString};

    fn secrets(byte: u8) -> Secrets {
        Secrets::new(&Key::new([byte; 32]))
    }

    #[test]
    fn a_secret_is_read_back_in_its_own_row_only() {
        let secrets = secrets(7);
        let sealed = secrets
            .encrypt(("destinations", "a"), &SecretString::from("whsec_x"))
            .unwrap();
        assert!(!sealed.contains("whsec"));
        assert_eq!(
            secrets
                .open("destinations", "a", &sealed)
                .unwrap()
                .expose_secret(),
            "whsec_x"
        );
        assert!(secrets.open("destinations", "b", &sealed).is_err());
    }

    #[test]
    fn a_secret_that_was_sealed_by_openssl_is_opened() {
        let secrets = secrets(7);
        let id = secrets.newest_id();
        let sealed = format!(
            "v1:{id}:000102030405060708090a0b6fe99a157e56a1c38420ac14c50e8817a2d4940d4b647a"
        );
        assert_eq!(
            secrets
                .open("destinations", "a", &sealed)
                .unwrap()
                .expose_secret(),
            "whsec_x"
        );
    }

    #[test]
    fn the_newest_key_seals_and_the_older_ones_still_open() {
        let before = secrets(7)
            .encrypt(("platforms", "a"), &SecretString::from("s"))
            .unwrap();
        let both = Secrets::new(&Key::new([8; 32]).after([[7; 32]]));
        assert_eq!(
            both.open("platforms", "a", &before)
                .unwrap()
                .expose_secret(),
            "s"
        );
        let after = both
            .encrypt(("platforms", "a"), &SecretString::from("s"))
            .unwrap();
        assert!(
            after.starts_with(&format!("v1:{}:", secrets(8).newest_id())),
            "{after}"
        );
        assert_eq!(
            secrets(8)
                .open("platforms", "a", &after)
                .unwrap()
                .expose_secret(),
            "s"
        );
    }

    #[test]
    fn a_missing_key_is_named_by_its_id_and_no_key_is_shown() {
        let sealed = secrets(7)
            .encrypt(("platforms", "a"), &SecretString::from("s"))
            .unwrap();
        let error = secrets(8)
            .open("platforms", "a", &sealed)
            .unwrap_err()
            .to_string();
        for id in [secrets(7).newest_id(), secrets(8).newest_id()] {
            assert!(error.contains(&format!("`{id}`")), "{error}");
        }
        assert!(!error.contains("0808") && !format!("{:?}", secrets(8)).contains("0808"));
    }

    #[test]
    fn a_text_has_a_hash_under_each_key() {
        let both = Secrets::new(&Key::new([8; 32]).after([[7; 32]]));
        let hashes = both.hashes("purpose", "text");
        assert_eq!(
            hashes,
            [
                secrets(8).newest_hash("purpose", "text"),
                secrets(7).newest_hash("purpose", "text")
            ]
        );
        assert_ne!(both.hashes("other", "text"), hashes);
        assert!(hashes.iter().all(|hash| hash.len() == 8 + 1 + 64));
    }

    #[test]
    fn a_tombstone_is_the_same_under_every_key() {
        let names = SecretString::from("of its own");
        let [one, two] =
            [7, 8].map(|byte| secrets(byte).with_names(&names).tombstone("t", "i", "n"));
        assert_eq!(one, two);
        assert_ne!(
            one,
            secrets(7)
                .with_names(&SecretString::from("other"))
                .tombstone("t", "i", "n")
        );
    }

    #[test]
    fn a_secret_is_never_sealed_the_same_way_twice() {
        let seal = || {
            secrets(7)
                .encrypt(("platforms", "a"), &SecretString::from("s"))
                .unwrap()
        };
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        assert_eq!(
            sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_key_is_not_in_its_debug_output() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key([REDACTED])");
    }

    #[test]
    fn what_is_not_a_stored_secret_is_refused() {
        let secrets = secrets(7);
        let id = secrets.newest_id();
        let cut = format!("v1:{id}:00112233445566778899aabbccddeeff");
        for text in [
            "",
            "v1:",
            "v1:0",
            "v1:zz",
            "plain",
            &format!("v1:{id}:"),
            &format!("v1:{id}:zz"),
            &cut,
        ] {
            assert!(secrets.open("platforms", "a", text).is_err(), "{text}");
        }
    }
}
