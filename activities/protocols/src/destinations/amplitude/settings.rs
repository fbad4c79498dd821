//! The settings of an integration except its keys. An API request sets them, and they are stored as JSON.

use super::KIND;
use super::keys::StoredKeys;
use crate::destinations::allowed::Allowed;
use crate::destinations::settings;
use crate::destinations::unnamed::WithoutExternalId;
use domain::user::Attributes;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

const STANDARD: &str = "https://api2.amplitude.com/2/httpapi";
/// Amplitude's region in the European Union.
const EU: &str = "https://api.eu.amplitude.com/2/httpapi";
/// URL of the user search in the standard region.
const STANDARD_SEARCH: &str = "https://amplitude.com/api/2/usersearch";
const EU_SEARCH: &str = "https://analytics.eu.amplitude.com/api/2/usersearch";
/// Path for events, if the endpoint's URL has none.
const PATH: &str = "/2/httpapi";
const SEARCH_PATH: &str = "/api/2/usersearch";

/// Amplitude's default minimum length of an id.
pub const DEFAULT_MIN_ID_LENGTH: u64 = 5;
const MAX_PREFIX: usize = 32;
/// Maximum length of a partner's id.
const MAX_PARTNER_ID: usize = 64;

/// The settings of an integration. A new one is also an entry of the form, and a flag of `settle destination`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Amplitude data region: `standard`, `eu`, or a URL whose origin is listed in the setting
    /// `amplitude.allowed_urls`.
    // The region is never guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("examples" = ["standard"]))]
    pub endpoint: Option<Endpoint>,
    /// Which id identifies a customer: the app's own (`external_id`) or settle's (`user_id`).
    pub user_id: UserIdSource,
    /// What happens to events of customers without an external id: they are sent, wait up to 30 days for the id, or are
    /// skipped.
    // Events that are sent have only the device id: Amplitude merges the device into the user after the first event
    // with both ids.
    pub without_external_id: WithoutExternalId,
    /// Minimum id length that the Amplitude project accepts.
    // settle's own ids, which are sent as device ids, have 36 characters: a longer minimum would refuse all of them.
    #[schemars(range(min = 1, max = 36))]
    pub min_id_length: u64,
    /// Prefix for the names of user properties.
    #[serde(deserialize_with = "prefix")]
    #[schemars(length(min = 1, max = MAX_PREFIX))]
    #[schemars(extend("pattern" = "^[A-Za-z0-9_]+$", "x-expected" = "1 to 32 ASCII letters, digits and underscores"))]
    pub prefix: String,
    /// User properties to maintain: the eight documented ones, or six more.
    pub user_properties: Attributes,
    /// Id of the Amplitude partner that sends the events; included in every event.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "partner_id"
    )]
    #[schemars(with = "String", length(min = 1, max = MAX_PARTNER_ID), extend(
        "pattern" = "^[A-Za-z0-9._-]+$", "x-expected" = "1 to 64 ASCII letters, digits, `-`, `_` and `.`",
        "examples" = ["settle"]
    ))]
    pub partner_id: Option<String>,
    #[serde(flatten)]
    pub keys: StoredKeys,
}

/// Which id identifies a user in Amplitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserIdSource {
    /// The app's own id (`external_id`).
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

impl settings::Settings for Settings {}

impl Settings {
    /// Sets a field from a request; null resets it to its default. `None` if there is no such field.
    ///
    /// # Errors
    /// Returns the expected form of the field.
    pub fn set(
        &mut self,
        name: &str,
        value: &Value,
        allowed: &Allowed,
    ) -> Option<Result<(), String>> {
        if name != "endpoint" {
            return settings::set(self, name, value);
        }
        let endpoint =
            Endpoint::parse(value, allowed).map(|endpoint| self.endpoint = Some(endpoint));
        Some(endpoint.map_err(str::to_owned))
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
        let mut url: Url = value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or(EXPECTED)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !is_plain
            || url.query().is_some()
            || url.fragment().is_some()
            || !is_allowed(&url, allowed)
        {
            return Err(EXPECTED);
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        Ok(Self::Other(url))
    }

    /// Returns the URLs that the operator allows besides Amplitude's regions, in their stored form.
    pub fn of_operator(allowed: &Allowed) -> Vec<String> {
        let urls = allowed.origins_of(KIND).iter().filter_map(|origin| {
            let endpoint = Self::parse(&Value::from(origin.as_str()), allowed).ok()?;
            serde_json::to_value(endpoint)
                .ok()?
                .as_str()
                .map(str::to_owned)
        });
        urls.collect()
    }

    /// Returns the URLs for events and for the user search. `None` if the operator's setting no longer allows the
    /// origin.
    pub fn urls(&self, allowed: &Allowed) -> Option<(Url, Url)> {
        let (events, search) = match self {
            Self::Standard => (STANDARD.parse(), STANDARD_SEARCH.parse()),
            Self::Eu => (EU.parse(), EU_SEARCH.parse()),
            Self::Other(url) if is_allowed(url, allowed) => {
                (Ok(url.clone()), url.join(SEARCH_PATH))
            }
            Self::Other(_) => return None,
        };
        events.ok().zip(search.ok())
    }
}

fn is_allowed(url: &Url, allowed: &Allowed) -> bool {
    matches!(url.scheme(), "http" | "https")
        && allowed
            .origins_of(KIND)
            .iter()
            .any(|origin| origin.origin() == url.origin())
}

/// Returns whether a text has 1 to `most` characters, each an ASCII letter, a digit or one of these symbols.
fn is_name(text: &str, most: usize, symbols: &[u8]) -> bool {
    (1..=most).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || symbols.contains(&byte))
}

fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_name(&text, MAX_PREFIX, b"_") {
        Ok(text)
    } else {
        Err(D::Error::custom("no prefix"))
    }
}

fn partner_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = Option::<String>::deserialize(deserializer)?;
    if id
        .as_ref()
        .is_none_or(|id| is_name(id, MAX_PARTNER_ID, b"-_."))
    {
        Ok(id)
    } else {
        Err(D::Error::custom("no id"))
    }
}
