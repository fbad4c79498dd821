//! The addresses that the operator allows for destinations.

use super::{Invalid, amplitude, email, webhook};
use crate::http::Rules;
use domain::DestinationId;
use storage::Destination;
use url::Url;

/// The addresses that the operator allows for destinations.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// The rules for the addresses of destinations' URLs.
    pub rules: Rules,
    /// Origins (scheme, host and port) that may replace a vendor's. Any address and scheme is allowed for them.
    pub origins: Vec<Url>,
    /// The SMTP server of mails, if one is configured.
    pub mail: Option<email::Server>,
    /// What one destination may have beside the rules, if one may.
    pub exception: Option<Exception>,
}

/// The one URL that a destination may have whatever the rules say: the receiver of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub destination: DestinationId,
    pub url: Url,
}

impl Allowed {
    /// Why no request to a stored destination is allowed; `None` when requests are.
    pub fn refusal(&self, destination: &Destination) -> Option<Invalid> {
        match destination.kind.as_str() {
            webhook::KIND => webhook::config::refusal(destination, self),
            amplitude::KIND => amplitude::config::refusal(destination, self),
            email::KIND => email::config::refusal(destination, self),
            _ => None,
        }
    }

    /// What the operator's settings add to the choices of a field in the form of a kind: names of fields, and values.
    pub fn choices(&self, kind: &str) -> Vec<(&'static str, String)> {
        match kind {
            amplitude::KIND => amplitude::config::endpoints(self)
                .into_iter()
                .map(|url| ("endpoint", url))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the operator chose this URL for this destination, so that the rules do not apply.
    pub(super) fn is_exception(&self, destination: DestinationId, url: &Url) -> bool {
        self.exception
            .as_ref()
            .is_some_and(|one| one.destination == destination && one.url == *url)
    }
}
