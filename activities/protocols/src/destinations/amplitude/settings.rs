//! The settings of an integration except its keys. An API request sets them, and they are stored as JSON.

use super::keys::StoredKeys;
use crate::destinations::Allowed;
use crate::destinations::unnamed::{self, WithoutExternalId};
use domain::user::Attributes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

const STANDARD: &str = "https://api2.amplitude.com/2/httpapi";
/// Amplitude's region in the European Union.
const EU: &str = "https://api.eu.amplitude.com/2/httpapi";
/// The search for users, in either region.
const STANDARD_SEARCH: &str = "https://amplitude.com/api/2/usersearch";
const EU_SEARCH: &str = "https://analytics.eu.amplitude.com/api/2/usersearch";
/// The path for events if the endpoint's URL has none.
const PATH: &str = "/2/httpapi";
const SEARCH_PATH: &str = "/api/2/usersearch";

/// Amplitude's default minimum length of an id.
pub const DEFAULT_MIN_ID_LENGTH: u64 = 5;
/// Maximum of `min_id_length`. settle's own ids, which are sent as device ids, have 36 characters: a longer minimum
/// would refuse all of them.
const MAX_MIN_ID_LENGTH: u64 = 36;
const MAX_PREFIX: usize = 32;
/// Maximum length of a partner's id.
const MAX_PARTNER_ID: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The endpoint for events. It has no default, since it depends on the project's region.
    pub endpoint: Option<Endpoint>,
    pub user_id: UserIdSource,
    /// What happens to events of users without an external id. Those that are sent have the device id alone: Amplitude
    /// merges the device into the user after the first event with both ids.
    pub without_external_id: WithoutExternalId,
    /// The project's minimum length of an id.
    pub min_id_length: u64,
    /// The prefix of the names of user properties.
    pub prefix: String,
    /// Which user properties are kept up to date.
    pub user_properties: Attributes,
    /// The Amplitude partner that sends the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<String>,
    #[serde(flatten)]
    pub keys: StoredKeys,
}

/// Which id identifies a user in Amplitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserIdSource {
    #[default]
    ExternalId,
    /// settle's `user_id`.
    UserId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Standard,
    /// Amplitude's region in the European Union.
    Eu,
    /// A URL that replaces Amplitude's. The operator's setting must allow its origin.
    #[serde(untagged)]
    Other(Url),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            user_id: UserIdSource::default(),
            without_external_id: WithoutExternalId::default(),
            min_id_length: DEFAULT_MIN_ID_LENGTH,
            prefix: "namiml_".to_owned(),
            user_properties: Attributes::default(),
            partner_id: None,
            keys: StoredKeys::default(),
        }
    }
}

impl Settings {
    /// Sets a field from a request; null restores the default. `None` when there is no such field.
    ///
    /// # Errors
    /// The expected form of the field.
    pub fn set(&mut self, name: &str, value: &Value, allowed: &Allowed) -> Option<Result<(), &'static str>> {
        Some(match name {
            "endpoint" => Endpoint::parse(value, allowed).map(|endpoint| self.endpoint = Some(endpoint)),
            "user_id" => {
                choice(value).map(|choice| self.user_id = choice).ok_or("`external_id` (the default) or `user_id`")
            }
            unnamed::FIELD => {
                WithoutExternalId::parse(value).map(|choice| self.without_external_id = choice).ok_or(unnamed::EXPECTED)
            }
            "min_id_length" => {
                min_id_length(value).map(|least| self.min_id_length = least).ok_or("a whole number from 1 to 36")
            }
            "prefix" => {
                prefix(value).map(|prefix| self.prefix = prefix).ok_or("1 to 32 ASCII letters, digits and underscores")
            }
            "user_properties" => choice(value)
                .map(|choice| self.user_properties = choice)
                .ok_or("`documented` (the default) or `extended`"),
            "partner_id" => partner_id(value).map(|id| self.partner_id = id),
            _ => return None,
        })
    }
}

impl Endpoint {
    /// Parses a region's name, Amplitude's own URL, or a URL whose origin the operator allows.
    fn parse(value: &Value, allowed: &Allowed) -> Result<Self, &'static str> {
        const EXPECTED: &str = "`standard`, `eu`, or an http(s) URL without user name, query and fragment whose origin \
                                the setting `amplitude.allowed_urls` (SETTLE_AMPLITUDE_ALLOWED_URLS) names";
        match value.as_str() {
            Some("standard" | STANDARD) => return Ok(Self::Standard),
            Some("eu" | EU) => return Ok(Self::Eu),
            Some(_) | None => {}
        }
        let mut url: Url = value.as_str().and_then(|text| text.parse().ok()).ok_or(EXPECTED)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !is_plain || url.query().is_some() || url.fragment().is_some() || !is_allowed(&url, allowed) {
            return Err(EXPECTED);
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        Ok(Self::Other(url))
    }

    /// The URLs for events and for the search for users. `None` when the operator's setting no longer allows the
    /// origin.
    pub fn urls(&self, allowed: &Allowed) -> Option<(Url, Url)> {
        let (events, search) = match self {
            Self::Standard => (STANDARD.parse(), STANDARD_SEARCH.parse()),
            Self::Eu => (EU.parse(), EU_SEARCH.parse()),
            Self::Other(url) if is_allowed(url, allowed) => (Ok(url.clone()), url.join(SEARCH_PATH)),
            Self::Other(_) => return None,
        };
        events.ok().zip(search.ok())
    }
}

fn is_allowed(url: &Url, allowed: &Allowed) -> bool {
    matches!(url.scheme(), "http" | "https") && allowed.origins.iter().any(|origin| origin.origin() == url.origin())
}

fn choice<T: Default + DeserializeOwned>(value: &Value) -> Option<T> {
    if value.is_null() { Some(T::default()) } else { serde_json::from_value(value.clone()).ok() }
}

fn min_id_length(value: &Value) -> Option<u64> {
    if value.is_null() {
        return Some(DEFAULT_MIN_ID_LENGTH);
    }
    value.as_u64().filter(|least| (1..=MAX_MIN_ID_LENGTH).contains(least))
}

fn partner_id(value: &Value) -> Result<Option<String>, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_id = |text: &&str| (1..=MAX_PARTNER_ID).contains(&text.len()) && text.bytes().all(is_plain);
    let id = value.as_str().filter(is_id).ok_or("1 to 64 ASCII letters, digits, `-`, `_` and `.`")?;
    Ok(Some(id.to_owned()))
}

fn prefix(value: &Value) -> Option<String> {
    if value.is_null() {
        return Some(Settings::default().prefix);
    }
    let is_name = |text: &&str| {
        (1..=MAX_PREFIX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    value.as_str().filter(is_name).map(str::to_owned)
}
