//! The addresses that the operator allows for destinations.

use crate::http::Rules;
use crate::smtp::Server;
use domain::DestinationId;
use url::Url;

/// The addresses that the operator allows for destinations.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// The rules for the addresses of destinations' URLs.
    pub rules: Rules,
    /// Origins (scheme, host and port) that may replace a vendor's. Any address and scheme is allowed for them.
    pub origins: Vec<Url>,
    /// The SMTP server of mails, if one is configured.
    pub mail: Option<Server>,
    /// Exception to the rules for one destination, if there is one.
    pub exception: Option<Exception>,
}

/// The one URL that a destination may have whatever the rules say: the receiver of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub destination: DestinationId,
    pub url: Url,
}

impl Allowed {
    /// Whether the operator chose this URL for this destination, so that the rules do not apply.
    pub(super) fn is_exception(&self, destination: DestinationId, url: &Url) -> bool {
        self.exception
            .as_ref()
            .is_some_and(|one| one.destination == destination && one.url == *url)
    }
}
