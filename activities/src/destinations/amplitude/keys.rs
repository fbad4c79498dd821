//! The keys of an integration: how they are given and kept, and how a text is rid of them.

use crate::destinations::redaction::without_beginning;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What stands in place of a key.
const REDACTED: &str = "[REDACTED]";
/// How long a key may be.
const LONGEST: usize = 128;
/// What a key should have been.
const EXPECTED: &str = "a key as Amplitude shows it: 1 to 128 ASCII letters, digits, `-`, `_` and `.`";

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of the project that is told what was bought for money.
    Production,
    /// Of the same project, for testing the connection.
    Secret,
    /// Of the project that is told what was bought in a test.
    Sandbox,
}

/// Which keys are set, for whoever may not see them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredKeys {
    has_api_key: bool,
    has_secret_key: bool,
    has_sandbox_api_key: bool,
}

/// The keys of an integration.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<Key, SecretString>);

impl Key {
    const ALL: [Self; 3] = [Self::Production, Self::Secret, Self::Sandbox];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "api_key",
            Self::Secret => "secret_key",
            Self::Sandbox => "sandbox_api_key",
        }
    }

    /// The key for events from the store's test world, or for all others.
    pub const fn of_world(is_sandbox: bool) -> Self {
        if is_sandbox { Self::Sandbox } else { Self::Production }
    }
}

impl StoredKeys {
    /// Whether this one is set.
    pub const fn has(self, key: Key) -> bool {
        match key {
            Key::Production => self.has_api_key,
            Key::Secret => self.has_secret_key,
            Key::Sandbox => self.has_sandbox_api_key,
        }
    }
}

impl Keys {
    /// As they are kept sealed. What cannot be read is not set.
    pub fn open(secret: &SecretString) -> Self {
        let sealed: Map<String, Value> = serde_json::from_str(secret.expose_secret()).unwrap_or_default();
        let key = |key: Key| sealed.get(key.name()).and_then(Value::as_str).map(|text| (key, SecretString::from(text)));
        Self(Key::ALL.into_iter().filter_map(key).collect())
    }

    /// The form in which they are kept sealed.
    pub fn seal(&self) -> SecretString {
        let sealed: Map<String, Value> =
            self.0.iter().map(|(key, text)| (key.name().to_owned(), text.expose_secret().into())).collect();
        SecretString::from(Value::Object(sealed).to_string())
    }

    /// Sets what a field of a request says; null removes. `None` when the field is no key, and otherwise what was
    /// expected, where it is something else.
    pub fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), &'static str>> {
        let key = Key::ALL.into_iter().find(|key| key.name() == name)?;
        if value.is_null() {
            self.0.remove(&key);
            return Some(Ok(()));
        }
        let is_key = |text: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain)
        };
        Some(match value.as_str().filter(is_key) {
            Some(text) => {
                self.0.insert(key, SecretString::from(text));
                Ok(())
            }
            None => Err(EXPECTED),
        })
    }

    /// Which ones are set.
    pub fn stored(&self) -> StoredKeys {
        let has = |key: Key| self.0.contains_key(&key);
        StoredKeys {
            has_api_key: has(Key::Production),
            has_secret_key: has(Key::Secret),
            has_sandbox_api_key: has(Key::Sandbox),
        }
    }

    /// A key, as it is.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.0.get(&key).map(|text| text.expose_secret())
    }

    /// Which key a test of the connection tries: that of the secret key's project, which is the production one where
    /// that is set.
    pub fn tested(&self) -> Key {
        Key::of_world(!self.0.contains_key(&Key::Production))
    }

    /// What HTTP's Basic authentication makes of a project's keys.
    pub fn basic(&self) -> Option<String> {
        let api_key = self.get(self.tested())?;
        let secret_key = self.get(Key::Secret)?;
        Some(format!("{api_key}:{secret_key}"))
    }

    /// A text without any of them, in capitals or not, plain or as Basic authentication writes them. No character of a
    /// key is written otherwise in a URL or in JSON.
    pub fn redact(&self, text: &str) -> String {
        let mut hidden: Vec<String> = self.0.values().map(|key| key.expose_secret().to_owned()).collect();
        for pair in self.pairs() {
            let encoded = STANDARD_NO_PAD.encode(&pair);
            hidden.push(utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string());
            hidden.push(URL_SAFE_NO_PAD.encode(&pair));
            hidden.push(encoded);
        }
        hidden.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        let whole = hidden.iter().fold(text.to_owned(), |text, pattern| without(&text, pattern));
        without_beginning(whole, hidden.iter().map(String::as_str), REDACTED)
    }

    fn pairs(&self) -> Vec<String> {
        let secret = self.get(Key::Secret);
        let api_keys = [Key::Production, Key::Sandbox].into_iter().filter_map(|key| self.get(key));
        secret.map(|secret| api_keys.map(|api_key| format!("{api_key}:{secret}")).collect()).unwrap_or_default()
    }
}

fn without(text: &str, pattern: &str) -> String {
    let (plain, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let mut sealed = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in plain.match_indices(&pattern) {
        sealed.push_str(text.get(from..at).unwrap_or_default());
        sealed.push_str(REDACTED);
        from = at + found.len();
    }
    sealed.push_str(text.get(from..).unwrap_or_default());
    sealed
}
