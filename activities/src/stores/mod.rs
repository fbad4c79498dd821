//! Whom we ask for the truth. One folder per store, and the list of them in this file.
//!
//! All is pure: receipts, requests and replies are values. Sending is `crate::http`'s, patience is `crate::verify`'s.

pub mod amazon;

use crate::http::{Reply, Request};
use domain::{Environment, PlatformId, Reading, Timestamp};
use secrecy::SecretString;
use std::time::Duration;

/// How each store is asked.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Amazon's receipt verification service.
    pub amazon: amazon::Settings,
    /// The one platform that is verified with a simulated store, and how that is asked.
    pub simulated: Option<Simulated>,
}

/// A store that stands for Amazon's own, for one platform and no other.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Whose receipts it knows.
    pub platform: PlatformId,
    /// How it is asked.
    pub amazon: amazon::Settings,
}

/// What a store is asked about. Never shown: it names a customer and holds a secret.
pub struct Receipt {
    /// Which of the store's two worlds it is from, by the platform's setting and by nothing else.
    pub environment: Environment,
    /// The store's name of the customer.
    pub app_user_id: String,
    /// The store's name of the purchase.
    pub receipt_id: String,
    /// The platform's secret.
    pub secret: SecretString,
}

/// What came of asking once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The store said it.
    Verification(Reading),
    /// The store does not accept the platform's secret.
    Refused,
    /// Ask again.
    Retry(Retry),
}

/// Why there is no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// A stable word for the kind of failure.
    pub class: &'static str,
    /// A sentence for people. Never of the store's own text, which can hold the URL and so the secret.
    pub why: String,
    /// Whether the store asked us to slow down, for all receipts of the platform.
    pub is_throttled: bool,
    /// For how long, when it said so.
    pub retry_after: Option<Duration>,
    /// Whether a person should look at it, since asking again may never help.
    pub is_strange: bool,
}

impl Retry {
    /// A failure that passes by itself.
    pub fn new(class: &'static str, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), is_throttled: false, retry_after: None, is_strange: false }
    }
}

/// One store and how it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    /// Amazon.
    Amazon(&'a amazon::Settings),
}

impl Settings {
    /// The store of this name as a platform is verified with it, when it can be asked at all.
    #[must_use]
    pub fn of(&self, store: &str, platform: PlatformId) -> Option<Store<'_>> {
        let simulated = self.simulated.as_ref().filter(|simulated| simulated.platform == platform);
        match store {
            "amazon" => Some(Store::Amazon(simulated.map_or(&self.amazon, |simulated| &simulated.amazon))),
            _ => None,
        }
    }

    /// Whether any store is asked at an address that the operator chose.
    #[must_use]
    pub const fn has_chosen_address(&self) -> bool {
        self.amazon.base.is_some() || self.simulated.is_some()
    }

    /// How often each platform's store may be asked in a second.
    #[must_use]
    pub const fn per_second(&self) -> u32 {
        self.amazon.per_second
    }
}

impl Store<'_> {
    /// Whether it is asked at an address that the operator chose, which may be any.
    #[must_use]
    pub const fn is_at_chosen_address(self) -> bool {
        match self {
            Self::Amazon(settings) => settings.base.is_some(),
        }
    }

    /// For how long failures are no reason to go on without it, counted from the first one.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Amazon(settings) => settings.patience,
        }
    }

    /// The request that asks about a receipt.
    ///
    /// # Errors
    /// What the answer would be, when the receipt or the secret cannot be asked about.
    pub fn request(self, receipt: &Receipt) -> Result<Request, Answer> {
        match self {
            Self::Amazon(settings) => amazon::request::request(settings, receipt),
        }
    }

    /// What a reply about a receipt means. `at` is when it was asked.
    #[must_use]
    pub fn answer(self, reply: &Reply, receipt: &Receipt, at: Timestamp) -> Answer {
        let answer = match self {
            Self::Amazon(_) => amazon::response::answer(reply, &receipt.receipt_id, at),
        };
        // No answer names its world: which one was asked is known from the request alone.
        match answer {
            Answer::Verification(reading) => Answer::Verification(reading.of(receipt.environment)),
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
