//! The addresses that the operator allows for destinations.

use crate::http::Rules;
use crate::smtp::Server;
use domain::DestinationId;
use std::collections::BTreeMap;
use url::Url;

/// The addresses that the operator allows for destinations.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// The rules for the addresses of destinations' URLs.
    pub rules: Rules,
    /// Origins (scheme, host and port) that may replace a vendor's, by the name of the kind. Any address and scheme is
    /// allowed for them.
    pub origins: BTreeMap<&'static str, Vec<Url>>,
    /// The SMTP server of mails, if one is configured.
    pub mail: Option<Server>,
    /// Exception to the rules for one destination, if there is one.
    pub exception: Option<Exception>,
}

/// The operator's setting of a kind with the origins that may replace a vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginsSetting {
    /// Its name in the file: `allowed_urls` in the table of the kind's name.
    pub field: &'static str,
    /// The environment variable of the setting.
    pub variable: &'static str,
}

/// The one URL that a destination may have whatever the rules say: the receiver of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub destination: DestinationId,
    pub url: Url,
}

impl Allowed {
    /// The origins that may replace the vendor's of a kind.
    pub fn origins_of(&self, kind: &str) -> &[Url] {
        self.origins.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Whether the operator chose this URL for this destination, so that the rules do not apply.
    pub(super) fn is_exception(&self, destination: DestinationId, url: &Url) -> bool {
        self.exception
            .as_ref()
            .is_some_and(|one| one.destination == destination && one.url == *url)
    }
}
