//! The text of a key: `sk_`, its id and its secret. The database row is looked up by id, never by secret.

use domain::KeyId;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// Prefix of every key, so that people and leak scanners recognize keys.
const PREFIX: &str = "sk_";
/// Number of hexadecimal digits of a secret: 256 bits.
const SECRET_DIGITS: usize = 64;

/// A key in parsed form.
#[derive(Debug)]
pub struct KeyText {
    pub id: KeyId,
    pub secret: SecretString,
}

impl KeyText {
    /// Parses the text of a key; `None` if the text has another format.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_secret =
            secret.len() == SECRET_DIGITS && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = Uuid::try_parse(id).ok().filter(|_| is_secret)?;
        Some(Self {
            id: KeyId::new(id),
            secret: SecretString::from(secret.to_owned()),
        })
    }

    pub fn write(&self) -> String {
        format!(
            "{PREFIX}{}_{}",
            self.id.uuid().simple(),
            self.secret.expose_secret()
        )
    }
}
