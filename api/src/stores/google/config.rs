//! `[google]`: the operator's settings for Google Play.

use super::{Google, KEYS_URL, Settings, sample};
use crate::clock;
use crate::setting::{Invalid, Section, Variable, bounded, invalid, origin};
use crate::stores::config::StoreConfig;
use crate::stores::ingress::Ingress;
use crate::stores::samples::SampleKey;
use crate::times::compact;
use anyhow::Context as _;
use protocols::stores::{Simulated, StoreProtocol, google};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Settings that have an environment variable.
pub const VARIABLES: &[Variable] = &[
    Variable::one("google.api_url", "SETTLE_GOOGLE_API_URL"),
    Variable::one("google.keys_url", "SETTLE_GOOGLE_KEYS_URL"),
    Variable::one("google.patience", "SETTLE_GOOGLE_PATIENCE"),
    Variable::one(
        "google.requests_per_second",
        "SETTLE_GOOGLE_REQUESTS_PER_SECOND",
    ),
];

/// Displayed value of an address that is not replaced.
const OWN: &str = "Google's own";

#[derive(Debug, Clone)]
struct GoogleConfig {
    /// `google.api_url`, `SETTLE_GOOGLE_API_URL`: scheme, host and port that are used instead of Google's for the
    /// Developer API and for access tokens, such as a proxy's; any address, also with plain `http`. Google's by default.
    api_url: Option<Url>,
    /// `google.keys_url`, `SETTLE_GOOGLE_KEYS_URL`: URL of the key set with which push tokens are verified; any
    /// address, also with plain `http`. Google's by default.
    keys_url: Option<Url>,
    /// `google.patience`, `SETTLE_GOOGLE_PATIENCE`: how long queries about a purchase are repeated soon after a failure,
    /// from 1 s to 24 h; default 15 minutes. Then they are repeated less often.
    patience: Duration,
    /// `google.requests_per_second`, `SETTLE_GOOGLE_REQUESTS_PER_SECOND`: maximum number of requests that each process
    /// sends in a second for a platform and bucket of Google's quota, from 1 to 1000; default 40.
    requests_per_second: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    api_url: Option<String>,
    keys_url: Option<String>,
    patience: Option<String>,
    requests_per_second: Option<u32>,
}

/// Reads and validates the settings.
///
/// # Errors
/// A setting is invalid.
pub fn read(section: Section<'_>) -> Result<Arc<dyn StoreConfig>, Invalid> {
    let raw: RawConfig = section.read()?;
    let api_url = raw
        .api_url
        .as_deref()
        .map(|text| origin("google.api_url", text));
    Ok(Arc::new(GoogleConfig {
        api_url: api_url.transpose()?,
        keys_url: raw.keys_url.as_deref().map(keys_url).transpose()?,
        patience: patience(raw.patience.as_deref())?,
        requests_per_second: requests_per_second(raw.requests_per_second)?,
    }))
}

/// Parses the URL of a key set. The error does not repeat the text, which may contain a secret.
fn keys_url(text: &str) -> Result<Url, Invalid> {
    let is_plain = |url: &Url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_bare = url.username().is_empty() && url.password().is_none();
        is_web && is_bare && url.fragment().is_none()
    };
    let expected = "an http or https URL without credentials, such as https://proxy.internal/certs";
    let url: Option<Url> = text.trim().parse().ok();
    url.filter(is_plain)
        .ok_or_else(|| invalid("google.keys_url", expected))
}

fn patience(text: Option<&str>) -> Result<Duration, Invalid> {
    let expected = || invalid("google.patience", "a duration from 1s to 24h, such as 15m");
    bounded(text.unwrap_or("15m"), Duration::from_secs(24 * 3600)).ok_or_else(expected)
}

fn requests_per_second(number: Option<u32>) -> Result<u32, Invalid> {
    let number = number.unwrap_or(40);
    if (1..=1000).contains(&number) {
        return Ok(number);
    }
    Err(invalid(
        "google.requests_per_second",
        "a number from 1 to 1000",
    ))
}

fn url_or_own(url: Option<&Url>) -> String {
    url.map_or_else(|| OWN.to_owned(), ToString::to_string)
}

impl StoreConfig for GoogleConfig {
    fn shown(&self, field: &str) -> Option<String> {
        Some(match field {
            "google.api_url" => url_or_own(self.api_url.as_ref()),
            "google.keys_url" => url_or_own(self.keys_url.as_ref()),
            "google.patience" => compact(self.patience),
            "google.requests_per_second" => self.requests_per_second.to_string(),
            _ => return None,
        })
    }

    fn ingress(&self, samples: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>> {
        let keys_url = match &self.keys_url {
            Some(url) => url.clone(),
            None => Url::parse(KEYS_URL).context("invalid URL of Google's keys")?,
        };
        let settings = Settings {
            keys_url,
            clock: clock::now,
        };
        let mut ingress =
            Google::new(settings).context("no HTTPS client for the keys of the store")?;
        if let Some(samples) = samples {
            let key =
                std::fs::read_to_string(&samples.key).context("cannot read the sample key")?;
            ingress = ingress.with_samples(sample::mint(&key).context("invalid sample key")?);
        }
        Ok(Arc::new(ingress))
    }

    fn protocol(&self, simulated: Option<Simulated>) -> Arc<dyn StoreProtocol> {
        let settings = google::Settings {
            base: self.api_url.clone(),
            give_up_after: self.patience,
            per_second: self.requests_per_second,
        };
        Arc::new(google::Google::new(settings, simulated))
    }
}
