//! `[apple]`: the operator's settings for the App Store.

use super::{Apple, Settings, sample, signer};
use crate::clock;
use crate::setting::{Invalid, Section, Variable, bounded, invalid, origin};
use crate::stores::config::StoreConfig;
use crate::stores::ingress::Ingress;
use crate::stores::samples::SampleKey;
use crate::times::compact;
use anyhow::Context as _;
use protocols::stores::{Simulated, StoreProtocol, apple};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, pem};

/// Settings that have an environment variable.
pub const VARIABLES: &[Variable] = &[
    Variable::one("apple.api_url", "SETTLE_APPLE_API_URL"),
    Variable::one("apple.root_certificate", "SETTLE_APPLE_ROOT_CERTIFICATE"),
    Variable::one("apple.patience", "SETTLE_APPLE_PATIENCE"),
    Variable::one(
        "apple.requests_per_second",
        "SETTLE_APPLE_REQUESTS_PER_SECOND",
    ),
];

/// Displayed value of an address or certificate that is not replaced.
const OWN: &str = "Apple's own";
/// Label of a certificate in a PEM file.
const CERTIFICATE: &str = "CERTIFICATE";

#[derive(Debug, Clone)]
struct AppleConfig {
    /// `apple.api_url`, `SETTLE_APPLE_API_URL`: scheme, host and port that are used instead of both of Apple's servers
    /// for the App Store Server API, such as a proxy's; any address, also with plain `http`. The sandbox is at its path
    /// `/sandbox`. Apple's by default.
    api_url: Option<Url>,
    /// `apple.root_certificate`, `SETTLE_APPLE_ROOT_CERTIFICATE`: path of a PEM file with the root certificate that is
    /// trusted instead of Apple's, for tests. Apple's by default.
    root: Option<RootCertificate>,
    /// `apple.patience`, `SETTLE_APPLE_PATIENCE`: how long queries about a purchase are repeated soon after a failure,
    /// from 1 s to 24 h; default 15 minutes. Then they are repeated less often.
    patience: Duration,
    /// `apple.requests_per_second`, `SETTLE_APPLE_REQUESTS_PER_SECOND`: maximum number of requests that each process
    /// sends in a second for a platform and endpoint, from 1 to 1000, a tenth of it to the sandbox; default 40.
    requests_per_second: u32,
}

/// A root certificate with the path of its file.
#[derive(Debug, Clone)]
struct RootCertificate {
    path: PathBuf,
    /// The certificate in DER.
    der: Vec<u8>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    api_url: Option<String>,
    root_certificate: Option<PathBuf>,
    patience: Option<String>,
    requests_per_second: Option<u32>,
}

/// Reads and validates the settings.
///
/// # Errors
/// A setting is invalid, or the file of the root certificate cannot be read.
pub fn read(section: Section<'_>) -> Result<Arc<dyn StoreConfig>, Invalid> {
    let raw: RawConfig = section.read()?;
    let api_url = raw
        .api_url
        .as_deref()
        .map(|text| origin("apple.api_url", text));
    Ok(Arc::new(AppleConfig {
        api_url: api_url.transpose()?,
        root: raw.root_certificate.map(root).transpose()?,
        patience: patience(raw.patience.as_deref())?,
        requests_per_second: requests_per_second(raw.requests_per_second)?,
    }))
}

/// Reads a root certificate from its file.
fn root(path: PathBuf) -> Result<RootCertificate, Invalid> {
    let expected = || {
        invalid(
            "apple.root_certificate",
            format!("a PEM file with one certificate, not `{}`", path.display()),
        )
    };
    let der = certificate(&path).ok_or_else(expected)?;
    Ok(RootCertificate { path, der })
}

/// Returns the certificate in a PEM file, in DER; `None` if the file cannot be read or has no certificate.
fn certificate(path: &Path) -> Option<Vec<u8>> {
    let text = std::fs::read(path).ok()?;
    let (label, der) = pem::decode_vec(&text).ok()?;
    let is_certificate = label == CERTIFICATE && Certificate::from_der(&der).is_ok();
    is_certificate.then_some(der)
}

fn patience(text: Option<&str>) -> Result<Duration, Invalid> {
    let expected = || invalid("apple.patience", "a duration from 1s to 24h, such as 15m");
    bounded(text.unwrap_or("15m"), Duration::from_secs(24 * 3600)).ok_or_else(expected)
}

fn requests_per_second(number: Option<u32>) -> Result<u32, Invalid> {
    let number = number.unwrap_or(40);
    if (1..=1000).contains(&number) {
        return Ok(number);
    }
    Err(invalid(
        "apple.requests_per_second",
        "a number from 1 to 1000",
    ))
}

impl AppleConfig {
    /// Returns the trusted root certificate in DER; `None` for Apple's.
    fn root(&self) -> Option<Vec<u8>> {
        self.root.as_ref().map(|root| root.der.clone())
    }
}

impl StoreConfig for AppleConfig {
    fn shown(&self, field: &str) -> Option<String> {
        let own = || OWN.to_owned();
        Some(match field {
            "apple.api_url" => self.api_url.as_ref().map_or_else(own, ToString::to_string),
            "apple.root_certificate" => {
                let path = self.root.as_ref().map(|root| root.path.display());
                path.map_or_else(own, |path| path.to_string())
            }
            "apple.patience" => compact(self.patience),
            "apple.requests_per_second" => self.requests_per_second.to_string(),
            _ => return None,
        })
    }

    fn ingress(&self, samples: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>> {
        let mut ingress = Apple::new(Settings {
            root: self.root(),
            clock: clock::now,
        });
        if let Some(samples) = samples {
            let key =
                std::fs::read_to_string(&samples.key).context("cannot read the sample key")?;
            ingress = ingress.with_samples(sample::mint(&key).context("invalid sample key")?);
        }
        Ok(Arc::new(ingress))
    }

    fn protocol(&self, simulated: Option<Simulated>) -> Arc<dyn StoreProtocol> {
        let settings = apple::Settings {
            base: self.api_url.clone(),
            give_up_after: self.patience,
            per_second: self.requests_per_second,
            root: self.root(),
        };
        // The simulated store signs its answers with the chain of samples.
        let simulated =
            simulated.and_then(|store| Some((store, signer::of_samples()?.root().to_vec())));
        Arc::new(apple::Apple::new(settings, simulated))
    }
}
