//! `[amazon]`: the operator's settings for Amazon.

use super::{Amazon, Settings};
use crate::clock;
use crate::setting::{Invalid, Section, Variable, bounded, invalid, list, origin, parsed};
use crate::stores::config::StoreConfig;
use crate::stores::ingress::Ingress;
use crate::stores::samples::SampleKey;
use crate::times::compact;
use anyhow::Context as _;
use protocols::stores::{Simulated, StoreProtocol, amazon};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Settings that have an environment variable.
pub const VARIABLES: &[Variable] = &[
    Variable::list(
        "amazon.auto_confirm_accounts",
        "SETTLE_AMAZON_AUTO_CONFIRM_ACCOUNTS",
    ),
    Variable::one("amazon.rvs_url", "SETTLE_AMAZON_RVS_URL"),
    Variable::one("amazon.patience", "SETTLE_AMAZON_PATIENCE"),
    Variable::one("amazon.rvs_per_second", "SETTLE_AMAZON_RVS_PER_SECOND"),
];

/// A signing certificate that is read from a file instead of being fetched.
#[derive(Debug, Clone)]
struct Certificate {
    /// URL of the certificate: `SigningCertURL` in messages.
    url: Url,
    file: PathBuf,
}

#[derive(Debug, Clone)]
struct AmazonConfig {
    /// `[[amazon.certificates]]` with `url` and `file` (file only): signing certificates to load at start; none by
    /// default.
    certificates: Vec<Certificate>,
    /// `amazon.auto_confirm_accounts`, `SETTLE_AMAZON_AUTO_CONFIRM_ACCOUNTS` (by comma): AWS accounts, twelve
    /// digits, whose first topic of a platform needs no approval; none by default.
    auto_confirm_accounts: Vec<String>,
    /// `amazon.rvs_url`, `SETTLE_AMAZON_RVS_URL`: scheme, host and port that are used instead of
    /// `https://appstore-sdk.amazon.com`, such as a proxy's; any address, also with plain `http`. Amazon's by default.
    rvs_url: Option<Url>,
    /// `amazon.patience`, `SETTLE_AMAZON_PATIENCE`: how long a purchase waits for a failing RVS, from 1 s to 24 h;
    /// default 15 minutes. After that, changes that RVS could not contradict are announced unverified.
    patience: Duration,
    /// `amazon.rvs_per_second`, `SETTLE_AMAZON_RVS_PER_SECOND`: maximum number of receipts of a platform that each
    /// process verifies in a second, from 1 to 1000; default 10.
    rvs_per_second: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    certificates: Vec<RawCertificate>,
    auto_confirm_accounts: Vec<String>,
    rvs_url: Option<String>,
    patience: Option<String>,
    rvs_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    url: String,
    file: PathBuf,
}

/// Reads and validates the settings.
///
/// # Errors
/// A setting is invalid.
pub fn read(section: Section<'_>) -> Result<Arc<dyn StoreConfig>, Invalid> {
    let raw: Raw = section.read()?;
    let is_account =
        |text: &String| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(wrong) = raw
        .auto_confirm_accounts
        .iter()
        .find(|text| !is_account(text))
    {
        let expected = format!("AWS account numbers of twelve digits, not `{wrong}`");
        return Err(invalid("amazon.auto_confirm_accounts", expected));
    }
    let certificates = raw.certificates.into_iter().map(|certificate| {
        let url = parsed("amazon.certificates.url", &certificate.url, "a URL")?;
        Ok(Certificate {
            url,
            file: certificate.file,
        })
    });
    let certificates = certificates.collect::<Result<_, Invalid>>()?;
    Ok(Arc::new(AmazonConfig {
        certificates,
        auto_confirm_accounts: raw.auto_confirm_accounts,
        rvs_url: raw
            .rvs_url
            .as_deref()
            .map(|text| origin("amazon.rvs_url", text))
            .transpose()?,
        patience: patience(raw.patience.as_deref())?,
        rvs_per_second: rvs_per_second(raw.rvs_per_second)?,
    }))
}

fn patience(text: Option<&str>) -> Result<Duration, Invalid> {
    let expected = || invalid("amazon.patience", "a duration from 1s to 24h, such as 15m");
    bounded(text.unwrap_or("15m"), Duration::from_secs(24 * 3600)).ok_or_else(expected)
}

fn rvs_per_second(number: Option<u32>) -> Result<u32, Invalid> {
    let number = number.unwrap_or(10);
    if (1..=1000).contains(&number) {
        return Ok(number);
    }
    Err(invalid("amazon.rvs_per_second", "a number from 1 to 1000"))
}

impl StoreConfig for AmazonConfig {
    fn shown(&self, field: &str) -> Option<String> {
        Some(match field {
            "amazon.auto_confirm_accounts" => list(&self.auto_confirm_accounts),
            "amazon.rvs_url" => self
                .rvs_url
                .as_ref()
                .map_or_else(|| "Amazon's own".to_owned(), ToString::to_string),
            "amazon.patience" => compact(self.patience),
            "amazon.rvs_per_second" => self.rvs_per_second.to_string(),
            _ => return None,
        })
    }

    fn ingress(&self, samples: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>> {
        let certificates = self.certificates.iter();
        let settings = Settings {
            certificates: certificates
                .map(|known| (known.url.clone(), known.file.clone()))
                .collect(),
            auto_confirm_accounts: self.auto_confirm_accounts.clone(),
            clock: clock::now,
        };
        let mut ingress = Amazon::new(settings).context("invalid settings of the store")?;
        if let Some(samples) = samples {
            ingress = ingress
                .with_samples(samples)
                .context("invalid certificate of samples")?;
        }
        Ok(Arc::new(ingress))
    }

    fn protocol(&self, simulated: Option<Simulated>) -> Arc<dyn StoreProtocol> {
        let settings = amazon::Settings {
            base: self.rvs_url.clone(),
            give_up_after: self.patience,
            per_second: self.rvs_per_second,
        };
        Arc::new(amazon::Amazon::new(settings, simulated))
    }
}
