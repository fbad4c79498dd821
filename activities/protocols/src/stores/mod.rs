//! The stores that verify purchases: one folder per store, and the list of stores in this file.
//!
//! Pure: receipts, requests and replies are values. `activities` sends the requests and decides when to give up.

pub mod amazon;

use crate::http::{Reply, Request};
use domain::{Environment, PlatformId, Timestamp, Verification};
use secrecy::SecretString;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub amazon: amazon::Settings,
    /// The platform that a simulated store verifies, if there is one.
    pub simulated: Option<Simulated>,
}

/// A simulated store, which replaces Amazon's for one platform.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The platform whose receipts it knows.
    pub platform: PlatformId,
    /// The settings of the simulated store.
    pub amazon: amazon::Settings,
}

/// The receipt that a query is about. It has no debug output, since it contains a user id and a secret.
pub struct Receipt {
    /// The store's environment, as the platform's setting says.
    pub environment: Environment,
    /// The store's id of the user.
    pub app_user_id: String,
    /// The store's id of the receipt.
    pub receipt_id: String,
    pub secret: SecretString,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Verification(Verification),
    /// The store refuses the platform's shared secret.
    Refused,
    /// The query has to be repeated.
    Retry(Retry),
}

/// Why a query has to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The kind of failure, used as a metric's label.
    pub class: &'static str,
    /// A sentence for people. It never repeats the store's own text, which can contain the URL and so the secret.
    pub why: String,
    /// Whether the store throttles all receipts of the platform.
    pub is_throttled: bool,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether to raise an alarm: the answer is undocumented, and repeating the query may never help.
    pub is_strange: bool,
}

impl Retry {
    /// A failure that is likely to pass by itself.
    pub fn new(class: &'static str, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), is_throttled: false, retry_after: None, is_strange: false }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    Amazon(&'a amazon::Settings),
}

impl Settings {
    /// The store with this name, with the settings for a platform; `None` for a store that cannot verify.
    pub fn of(&self, store: &str, platform: PlatformId) -> Option<Store<'_>> {
        let simulated = self.simulated.as_ref().filter(|simulated| simulated.platform == platform);
        match store {
            "amazon" => Some(Store::Amazon(simulated.map_or(&self.amazon, |simulated| &simulated.amazon))),
            _ => None,
        }
    }

    /// Maximum number of queries a second per platform.
    pub const fn per_second(&self) -> u32 {
        self.amazon.per_second
    }
}

impl Store<'_> {
    /// How long to retry after the first failure before the purchase is settled without the store.
    pub const fn give_up_after(self) -> Duration {
        match self {
            Self::Amazon(settings) => settings.give_up_after,
        }
    }

    /// The request of one query.
    ///
    /// # Errors
    /// The secret or an id cannot be sent: the answer that stands for the store's refusal of it.
    pub fn request(self, receipt: &Receipt) -> Result<Request, Answer> {
        match self {
            Self::Amazon(settings) => amazon::request::request(settings, receipt),
        }
    }

    /// Interprets the reply about a receipt. `at` is the time of the query.
    #[must_use]
    pub fn answer(self, reply: &Reply, receipt: &Receipt, at: Timestamp) -> Answer {
        let answer = match self {
            Self::Amazon(_) => amazon::response::answer(reply, &receipt.receipt_id, at),
        };
        // The store's answer does not contain the environment: it is that of the request.
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
        let is_simulated =
            |number| matches!(settings.of("amazon", platform(number)), Some(Store::Amazon(of)) if of.base.is_some());
        assert_eq!((is_simulated(1), is_simulated(2)), (true, false));
        assert!(settings.of("other", platform(1)).is_none());
    }
}
