//! The secrets of a webhook, as the JSON that storage encrypts:
//! `{"keys": [{"secret", "until"?}], "headers": {name: value}, "url"?}`.
//!
//! The newest key comes first. A key without `until` is current: it signs until a rotation replaces it. Each version
//! always has a current key, so that the setting `signature` can change at any time.

use super::headers::Headers;
use super::signature::{Key, Version};
use crate::destinations::changes::Rotation;
use crate::destinations::invalid::Invalid;
use domain::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Maximum number of replaced keys, over both versions.
const MAX_OLD_KEYS: usize = 10;
/// Minimum length of a text that is redacted. Shorter texts would be redacted in unrelated places.
const MIN_HIDDEN_BYTES: usize = 4;

/// The secrets in plain text. The type has no debug output.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    keys: Vec<StoredKey>,
    pub headers: Headers,
    /// The URL, if it is stored with the secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl Secrets {
    /// Returns secrets with these current keys and without headers.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let keys = keys
            .into_iter()
            .map(|secret| StoredKey {
                secret,
                until: None,
            })
            .collect();
        Self {
            keys,
            headers: Headers::new(),
            url: None,
        }
    }

    pub fn from_json(secret: &SecretString) -> Result<Self, Invalid> {
        let wrong = |_| Invalid::new("secret", "the stored secrets of a webhook");
        serde_json::from_str(secret.expose_secret()).map_err(wrong)
    }

    pub fn to_json(&self) -> SecretString {
        SecretString::from(json!(self).to_string())
    }

    /// Returns all keys of a version, newest first, each with the time until which it signs.
    pub fn keys(&self, version: Version) -> Result<Vec<(Key, Option<Timestamp>)>, Invalid> {
        let parsed = self
            .keys
            .iter()
            .map(|key| Ok((Key::parse(&key.secret)?, key.until)));
        let wanted = |one: &Result<(Key, _), Invalid>| {
            one.as_ref().map_or(true, |(key, _)| key.version == version)
        };
        parsed.filter(wanted).collect()
    }

    /// Returns the current key of a version, both parsed and as text.
    pub fn newest(&self, version: Version) -> Option<(Key, String)> {
        let current = self.keys.iter().filter(|key| key.until.is_none());
        let mut parsed =
            current.filter_map(|key| Some((Key::parse(&key.secret).ok()?, key.secret.clone())));
        parsed.find(|(key, _)| key.version == version)
    }

    /// Makes a new key the current one of its version. The replaced key signs until `rotation.until`. Expired keys are
    /// removed. A rotation without an overlap also removes the version's keys that earlier rotations replaced, because
    /// it means that a secret has leaked.
    ///
    /// # Errors
    /// Fails if the key is already current, or if too many replaced keys still sign.
    pub fn replace(
        &mut self,
        version: Version,
        text: String,
        rotation: &Rotation,
    ) -> Result<(), Invalid> {
        if self
            .newest(version)
            .is_some_and(|(_, current)| current == text)
        {
            return Err(Invalid::new("secret", "one other than the one in use"));
        }
        let is_of =
            |key: &StoredKey| Key::parse(&key.secret).is_ok_and(|parsed| parsed.version == version);
        let ends_all = rotation.until <= rotation.now;
        for key in self
            .keys
            .iter_mut()
            .filter(|key| key.until.is_none() && is_of(key))
        {
            key.until = Some(rotation.until);
        }
        self.keys.retain(|key| {
            let signs = match key.until {
                Some(until) => until > rotation.now && !(ends_all && is_of(key)),
                None => true,
            };
            signs && key.secret != text
        });
        self.keys.insert(
            0,
            StoredKey {
                secret: text,
                until: None,
            },
        );
        if self.keys.iter().filter(|key| key.until.is_some()).count() <= MAX_OLD_KEYS {
            return Ok(());
        }
        let expected = format!(
            "no more than {MAX_OLD_KEYS} replaced keys at a time: wait until some expire, or rotate without overlap"
        );
        Err(Invalid::new("secret", expected))
    }

    /// Returns every text to redact, longest first: keys with and without their prefix, header values with and without
    /// their scheme (such as `Bearer`), the texts of `more`, and the JSON-escaped form of each.
    pub fn hidden(&self, more: Vec<String>) -> Vec<SecretString> {
        let keys = self.keys.iter().map(|key| key.secret.as_str());
        let keys = keys.flat_map(|key| [key, key.split_once('_').map_or(key, |(_, bytes)| bytes)]);
        let values = self.headers.values().map(String::as_str);
        let values = values.flat_map(|value| {
            [
                value,
                value
                    .split_once(' ')
                    .map_or(value, |(_, token)| token.trim()),
            ]
        });
        let plain: Vec<String> = keys.chain(values).map(str::to_owned).chain(more).collect();
        let within_json = plain.iter().map(|text| json!(text).to_string());
        let within_json = within_json
            .filter_map(|text| Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned()));
        let mut all: Vec<String> = within_json.chain(plain.iter().cloned()).collect();
        all.retain(|text| text.len() >= MIN_HIDDEN_BYTES);
        all.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        all.dedup();
        all.into_iter().map(SecretString::from).collect()
    }
}
