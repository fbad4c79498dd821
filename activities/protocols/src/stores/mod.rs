//! The stores that verify purchases. One folder per store, and the list of them in this file.
//!
//! All is pure: receipts, requests and replies are values. Sending and patience belong to `activities`.

pub mod amazon;

use crate::http::{Reply, Request};
use domain::{Environment, PlatformId, Timestamp, Verification};
use secrecy::SecretString;
use std::time::Duration;

/// The settings of each store.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Amazon's receipt verification service.
    pub amazon: amazon::Settings,
    /// The one platform that is verified with a simulated store.
    pub simulated: Option<Simulated>,
}

/// A simulated store in place of Amazon's, for one platform and no other.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The platform whose receipts it knows.
    pub platform: PlatformId,
    /// Its settings.
    pub amazon: amazon::Settings,
}

/// The receipt that a query is about. Never shown: it names a customer and holds a secret.
pub struct Receipt {
    /// The store's environment, by the platform's setting and by nothing else.
    pub environment: Environment,
    /// The store's id of the customer.
    pub app_user_id: String,
    /// The store's id of the purchase.
    pub receipt_id: String,
    /// The platform's secret.
    pub secret: SecretString,
}

/// The result of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The store answered.
    Verification(Verification),
    /// The store does not accept the platform's secret.
    Refused,
    /// The query has to be repeated.
    Retry(Retry),
}

/// Why a query has to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// A stable name of the kind of failure.
    pub class: &'static str,
    /// A sentence for people. Never the store's own text, which can hold the URL and so the secret.
    pub why: String,
    /// Whether the store throttles all receipts of the platform.
    pub is_throttled: bool,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether a person should check it, since a repetition may never help.
    pub is_strange: bool,
}

impl Retry {
    /// A failure that passes by itself.
    pub fn new(class: &'static str, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), is_throttled: false, retry_after: None, is_strange: false }
    }
}

/// One store with its settings.
#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    /// Amazon.
    Amazon(&'a amazon::Settings),
}

impl Settings {
    /// The store of this name that verifies a platform; `None` when none can.
    #[must_use]
    pub fn of(&self, store: &str, platform: PlatformId) -> Option<Store<'_>> {
        let simulated = self.simulated.as_ref().filter(|simulated| simulated.platform == platform);
        match store {
            "amazon" => Some(Store::Amazon(simulated.map_or(&self.amazon, |simulated| &simulated.amazon))),
            _ => None,
        }
    }

    /// Whether the operator chose any store's address.
    #[must_use]
    pub const fn has_chosen_address(&self) -> bool {
        self.amazon.base.is_some() || self.simulated.is_some()
    }

    /// Maximum number of queries a second per platform.
    #[must_use]
    pub const fn per_second(&self) -> u32 {
        self.amazon.per_second
    }
}

impl Store<'_> {
    /// Whether the operator chose its address, which may be any.
    #[must_use]
    pub const fn is_at_chosen_address(self) -> bool {
        match self {
            Self::Amazon(settings) => settings.base.is_some(),
        }
    }

    /// How long to retry, from the first failure, before settling without the store.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Amazon(settings) => settings.patience,
        }
    }

    /// The request of one query.
    ///
    /// # Errors
    /// The answer that the store would give, when the receipt or the secret cannot be sent.
    pub fn request(self, receipt: &Receipt) -> Result<Request, Answer> {
        match self {
            Self::Amazon(settings) => amazon::request::request(settings, receipt),
        }
    }

    /// What a reply about a receipt means. `at` is the time of the query.
    #[must_use]
    pub fn answer(self, reply: &Reply, receipt: &Receipt, at: Timestamp) -> Answer {
        let answer = match self {
            Self::Amazon(_) => amazon::response::answer(reply, &receipt.receipt_id, at),
        };
        // No answer names its environment: only the request does.
        match answer {
            Answer::Verification(verification) => Answer::Verification(verification.of(receipt.environment)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, Simulated, Store, amazon};
    use domain::PlatformId;

    #[test]
    fn a_simulated_store_serves_its_platform_alone() {
        let platform = |number: u128| PlatformId::new(uuid::Uuid::from_u128(number));
        let base = "http://127.0.0.1:1/".parse().expect("a URL");
        let amazon = amazon::Settings { base: Some(base), ..amazon::Settings::default() };
        let simulated = Some(Simulated { platform: platform(1), amazon });
        let settings = Settings { simulated, ..Settings::default() };
        let is_simulated = |number| settings.of("amazon", platform(number)).map(Store::is_at_chosen_address);
        assert_eq!((is_simulated(1), is_simulated(2)), (Some(true), Some(false)));
        assert!(settings.of("other", platform(1)).is_none());
    }
}
