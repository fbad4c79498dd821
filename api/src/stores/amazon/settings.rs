//! The operator's settings for Amazon, validated at startup.

use super::certificate::{self, SigningKey};
use super::sample::Samples;
use super::signer::{Signer, Unusable};
use super::topic::{self, Arn};
use crate::stores::samples::SampleKey;
use domain::Timestamp;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Signing certificates that are read from files instead of being fetched, by URL. They are subject to the same
    /// rules as fetched ones.
    pub certificates: Vec<(Url, PathBuf)>,
    /// AWS accounts whose first topic needs no approval.
    pub auto_confirm_accounts: Vec<String>,
    /// Clock for checking certificates and messages.
    pub clock: fn() -> Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[amazon] {field}: {expected}")]
pub struct Invalid {
    pub field: String,
    /// Expected value, followed by the one that was found.
    pub expected: String,
}

impl Settings {
    /// Reads and validates the certificates. Returns their keys by URL.
    pub(super) fn keys(&self) -> Result<HashMap<String, Arc<SigningKey>>, Invalid> {
        let mut keys = HashMap::new();
        for (url, file) in &self.certificates {
            if keys
                .insert(url.as_str().to_owned(), key(url, file)?)
                .is_some()
            {
                return Err(invalid(url, "the same URL is named twice".to_owned()));
            }
        }
        Ok(keys)
    }
}

impl Samples {
    /// Reads the sample key and its certificate.
    pub(super) fn of(samples: &SampleKey) -> Result<Self, Invalid> {
        let SampleKey {
            url,
            certificate: file,
            key: signing,
        } = samples;
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| invalid(url, format!("{}: {error}", path.display())))
        };
        let unusable = |error: Unusable| invalid(url, error.to_string());
        let signer = Signer::load(&read(signing)?, &read(file)?).map_err(unusable)?;
        let mint = signer.mint().map_err(unusable)?;
        Ok(Self {
            url: url.clone(),
            key: key(url, file)?,
            signer,
            mint,
        })
    }
}

fn invalid(url: &Url, expected: String) -> Invalid {
    Invalid {
        field: format!("certificates `{url}`"),
        expected,
    }
}

/// Reads the certificate for a URL from its file.
fn key(url: &Url, file: &Path) -> Result<Arc<SigningKey>, Invalid> {
    let wrong = |why: &dyn fmt::Display| invalid(url, format!("{}: {why}", file.display()));
    let region = region(url).map_err(|expected| invalid(url, expected))?;
    let pem = std::fs::read(file).map_err(|error| wrong(&format!("cannot read it: {error}")))?;
    SigningKey::read(&pem, &region)
        .map(Arc::new)
        .map_err(|why| wrong(&why))
}

/// Returns the region in a certificate URL. The URL must be one that a fetched certificate could have.
fn region(url: &Url) -> Result<String, String> {
    let shape =
        "expected https://sns.REGION.amazonaws.com/SimpleNotificationService-(32 hex digits).pem";
    let region = certificate::region_of(url.as_str()).ok_or(shape)?;
    let partition = topic::partition_of(region).ok_or(shape)?;
    let text = format!("arn:{partition}:sns:{region}:000000000000:any");
    let arn = Arn::parse(&text).map_err(|why| format!("{shape}: {why}"))?;
    certificate::check_url(url.as_str(), &arn).map_err(|why| format!("{shape}: {why}"))?;
    Ok(region.to_owned())
}
