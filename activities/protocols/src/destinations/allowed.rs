//! The addresses that the operator allows for destinations.

use crate::http::Rules;
use crate::smtp::Server;
use domain::DestinationId;
use std::collections::BTreeMap;
use url::Url;

/// The addresses that the operator allows for destinations.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// The rules for the URLs of destinations.
    pub rules: Rules,
    /// Origins (scheme, host and port) that may replace a vendor's, by the name of the kind. They may have any address
    /// and either scheme.
    pub origins: BTreeMap<&'static str, Vec<Url>>,
    /// The SMTP server that sends emails, if one is configured.
    pub mail: Option<Server>,
    /// The one destination that is exempt from the rules, if any.
    pub exception: Option<Exception>,
}

/// The operator's setting with the origins that may replace those of a kind's vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginsSetting {
    /// Name of the setting in the file, such as `amplitude.allowed_urls`: the kind's table, then `allowed_urls`.
    pub field: &'static str,
    /// The environment variable of the setting.
    pub variable: &'static str,
}

/// The one URL that a destination may have whatever the rules are: that of the demo's receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub destination: DestinationId,
    pub url: Url,
}

impl Allowed {
    /// Returns the origins that may replace those of a kind's vendor.
    pub fn origins_of(&self, kind: &str) -> &[Url] {
        self.origins.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Returns whether this URL is this destination's exception, to which the rules do not apply.
    pub(super) fn is_exception(&self, destination: DestinationId, url: &Url) -> bool {
        self.exception
            .as_ref()
            .is_some_and(|one| one.destination == destination && one.url == *url)
    }
}
