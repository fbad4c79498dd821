//! What an integration is set to, without its keys: given by a request, kept as JSON, read again for each event.

use super::keys::StoredKeys;
use crate::destinations::Allowed;
use domain::user::Attributes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// Where Amplitude takes events of projects whose data may be anywhere.
const STANDARD: &str = "https://api2.amplitude.com/2/httpapi";
/// Where it takes events of projects whose data stay in the European Union.
const EU: &str = "https://api.eu.amplitude.com/2/httpapi";
/// Where users are searched, of projects of either kind.
const STANDARD_SEARCH: &str = "https://amplitude.com/api/2/usersearch";
const EU_SEARCH: &str = "https://analytics.eu.amplitude.com/api/2/usersearch";
/// The path of events, where a URL names none.
const PATH: &str = "/2/httpapi";
const SEARCH_PATH: &str = "/api/2/usersearch";

/// How many characters an id has at least, unless a project was changed.
pub const USUAL_MIN_ID_LENGTH: u64 = 5;
/// Our own ids, which are sent as device ids, have 36 characters; a longer minimum would refuse all of them.
const LONGEST_MIN_ID_LENGTH: u64 = 36;
/// How long a prefix may be.
const LONGEST_PREFIX: usize = 32;
/// How long a partner's id may be.
const LONGEST_PARTNER_ID: usize = 64;

/// What an integration is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where events go; never guessed, since it is a region.
    pub endpoint: Option<Endpoint>,
    /// What names a customer.
    pub user_id: UserIdIs,
    /// What becomes of events of customers whom nobody named.
    pub without_external_id: Unnamed,
    /// How many characters the project asks of an id.
    pub min_id_length: u64,
    /// What the names of user properties begin with.
    pub prefix: String,
    /// Which user properties are kept.
    pub user_properties: Attributes,
    /// Who sends the events, as Amplitude knows its partners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<String>,
    /// Which keys are set, for whoever may not see the keys.
    #[serde(flatten)]
    pub keys: StoredKeys,
}

/// What names a customer in Amplitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserIdIs {
    /// The customer's own id.
    #[default]
    ExternalId,
    /// Our id.
    UserId,
}

/// What becomes of events of customers whom nobody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// They go out with the device id alone; Amplitude joins them to the user after the first event with both.
    #[default]
    Send,
    /// They wait for the name.
    Wait,
    /// They are not sent.
    Skip,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Amplitude.
    Standard,
    /// Amplitude in the European Union.
    Eu,
    /// What the operator lets stand for it.
    #[serde(untagged)]
    Other(Url),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            user_id: UserIdIs::default(),
            without_external_id: Unnamed::default(),
            min_id_length: USUAL_MIN_ID_LENGTH,
            prefix: "namiml_".to_owned(),
            user_properties: Attributes::default(),
            partner_id: None,
            keys: StoredKeys::default(),
        }
    }
}

impl Settings {
    /// Sets what a field of a request says; null means the usual value. `None` when there is no such field, and
    /// otherwise what was expected, where it is something else.
    pub fn set(&mut self, name: &str, value: &Value, allowed: &Allowed) -> Option<Result<(), &'static str>> {
        Some(match name {
            "endpoint" => Endpoint::parse(value, allowed).map(|endpoint| self.endpoint = Some(endpoint)),
            "user_id" => {
                choice(value).map(|choice| self.user_id = choice).ok_or("`external_id` (the default) or `user_id`")
            }
            "without_external_id" => choice(value)
                .map(|choice| self.without_external_id = choice)
                .ok_or("`send` (the default), `wait` or `skip`"),
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
    /// What a request says: a name, Amplitude's own URL, or one whose origin the operator allows.
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

    /// Where events go, and where users are searched. `None` when the operator allows it no more.
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
        return Some(USUAL_MIN_ID_LENGTH);
    }
    value.as_u64().filter(|least| (1..=LONGEST_MIN_ID_LENGTH).contains(least))
}

fn partner_id(value: &Value) -> Result<Option<String>, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_id = |text: &&str| (1..=LONGEST_PARTNER_ID).contains(&text.len()) && text.bytes().all(is_plain);
    let id = value.as_str().filter(is_id).ok_or("1 to 64 ASCII letters, digits, `-`, `_` and `.`")?;
    Ok(Some(id.to_owned()))
}

fn prefix(value: &Value) -> Option<String> {
    if value.is_null() {
        return Some(Settings::default().prefix);
    }
    let is_name = |text: &&str| {
        (1..=LONGEST_PREFIX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    value.as_str().filter(is_name).map(str::to_owned)
}
