//! The keys of an integration: setting, storing and redacting them.

use crate::destinations::redaction::without_beginning;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use domain::Environment;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The replacement of a key in a text.
const REDACTED: &str = "[REDACTED]";
/// Maximum length of a key in bytes.
const MAX_KEY_LENGTH: usize = 128;
/// The expected form of a key.
const EXPECTED: &str =
    "a key as Amplitude shows it: 1 to 128 ASCII letters, digits, `-`, `_` and `.`";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The API key of the project for production events.
    Production,
    /// The secret key of the same project, for connection tests.
    Secret,
    /// The API key of the project for sandbox events.
    Sandbox,
}

/// Which keys are set, as the API shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StoredKeys {
    /// Whether `api_key` is stored.
    #[schemars(extend("readOnly" = true))]
    has_api_key: bool,
    /// Whether `secret_key` is stored.
    #[schemars(extend("readOnly" = true))]
    has_secret_key: bool,
    /// Whether `sandbox_api_key` is stored.
    #[schemars(extend("readOnly" = true))]
    has_sandbox_api_key: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<Key, SecretString>);

impl Key {
    const ALL: [Self; 3] = [Self::Production, Self::Secret, Self::Sandbox];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "api_key",
            Self::Secret => "secret_key",
            Self::Sandbox => "sandbox_api_key",
        }
    }

    /// Returns the key's label in the form.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Production => "API Key",
            Self::Secret => "Secret Key",
            Self::Sandbox => "Sandbox API Key",
        }
    }

    /// Returns the API key for events of an environment.
    pub const fn of(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Sandbox => Self::Sandbox,
        }
    }
}

impl StoredKeys {
    pub const fn has(self, key: Key) -> bool {
        match key {
            Key::Production => self.has_api_key,
            Key::Secret => self.has_secret_key,
            Key::Sandbox => self.has_sandbox_api_key,
        }
    }
}

impl Keys {
    /// Parses the JSON that storage encrypts. A key that cannot be parsed counts as not set.
    pub fn from_json(secret: &SecretString) -> Self {
        let json: Map<String, Value> =
            serde_json::from_str(secret.expose_secret()).unwrap_or_default();
        let key = |key: Key| {
            json.get(key.name())
                .and_then(Value::as_str)
                .map(|text| (key, SecretString::from(text)))
        };
        Self(Key::ALL.into_iter().filter_map(key).collect())
    }

    pub fn to_json(&self) -> SecretString {
        let json: Map<String, Value> = self
            .0
            .iter()
            .map(|(key, text)| (key.name().to_owned(), text.expose_secret().into()))
            .collect();
        SecretString::from(Value::Object(json).to_string())
    }

    /// Sets a key from a field of a request; null removes it. `None` if the field is not a key.
    ///
    /// # Errors
    /// Returns the expected form of a key.
    pub fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), &'static str>> {
        let key = Key::ALL.into_iter().find(|key| key.name() == name)?;
        if value.is_null() {
            self.0.remove(&key);
            return Some(Ok(()));
        }
        let is_key = |text: &&str| {
            let is_plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=MAX_KEY_LENGTH).contains(&text.len()) && text.bytes().all(is_plain)
        };
        Some(match value.as_str().filter(is_key) {
            Some(text) => {
                self.0.insert(key, SecretString::from(text));
                Ok(())
            }
            None => Err(EXPECTED),
        })
    }

    pub fn stored(&self) -> StoredKeys {
        let has = |key: Key| self.0.contains_key(&key);
        StoredKeys {
            has_api_key: has(Key::Production),
            has_secret_key: has(Key::Secret),
            has_sandbox_api_key: has(Key::Sandbox),
        }
    }

    pub fn get(&self, key: Key) -> Option<&str> {
        self.0.get(&key).map(|text| text.expose_secret())
    }

    /// Returns which API key a connection test uses: the production key if it is set, else the sandbox key. The secret
    /// key must belong to the same project.
    pub fn test_key(&self) -> Key {
        if self.0.contains_key(&Key::Production) {
            Key::Production
        } else {
            Key::Sandbox
        }
    }

    /// Returns the credentials for HTTP Basic authentication; `None` without a secret key.
    pub fn basic(&self) -> Option<String> {
        let api_key = self.get(self.test_key())?;
        let secret_key = self.get(Key::Secret)?;
        Some(format!("{api_key}:{secret_key}"))
    }

    /// Redacts all keys in a text, ignoring case, whether in plain text or encoded for Basic authentication. Escaped
    /// forms need no handling: no character of a key is escaped in a URL or in JSON.
    pub fn redact(&self, text: &str) -> String {
        let mut hidden: Vec<String> = self
            .0
            .values()
            .map(|key| key.expose_secret().to_owned())
            .collect();
        for pair in self.pairs() {
            let encoded = STANDARD_NO_PAD.encode(&pair);
            hidden.push(utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string());
            hidden.push(URL_SAFE_NO_PAD.encode(&pair));
            hidden.push(encoded);
        }
        hidden.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        let whole = hidden
            .iter()
            .fold(text.to_owned(), |text, pattern| without(&text, pattern));
        without_beginning(whole, hidden.iter().map(String::as_str), REDACTED)
    }

    fn pairs(&self) -> Vec<String> {
        let secret = self.get(Key::Secret);
        let api_keys = [Key::Production, Key::Sandbox]
            .into_iter()
            .filter_map(|key| self.get(key));
        secret
            .map(|secret| {
                api_keys
                    .map(|api_key| format!("{api_key}:{secret}"))
                    .collect()
            })
            .unwrap_or_default()
    }
}

fn without(text: &str, pattern: &str) -> String {
    let (plain, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let mut redacted = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in plain.match_indices(&pattern) {
        redacted.push_str(text.get(from..at).unwrap_or_default());
        redacted.push_str(REDACTED);
        from = at + found.len();
    }
    redacted.push_str(text.get(from..).unwrap_or_default());
    redacted
}
