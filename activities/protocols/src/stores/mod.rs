//! The stores that verify purchases: one folder per store, and the list of stores in this file.
//!
//! Pure: receipts, requests and replies are values. `activities` sends the requests and decides when to give up.

pub mod amazon;
mod mint;

pub use mint::Mint;

use crate::http::{Reply, Request};
use domain::notification::is_sample_receipt;
use domain::{Environment, Parked, PlatformId, Timestamp, Verification};
use secrecy::SecretString;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub amazon: amazon::Settings,
    /// The simulated store, if there is one.
    pub simulated: Option<Simulated>,
}

/// A simulated store. It replaces Amazon's for one platform, and for the receipts of samples on all others.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The platform that has no other store.
    pub platform: PlatformId,
    /// Recognizes the receipts of samples.
    pub mint: Mint,
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
        Self {
            class,
            why: why.into(),
            is_throttled: false,
            retry_after: None,
            is_strange: false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    Amazon(&'a amazon::Settings),
    /// The simulated store, about a receipt of this platform.
    Simulated(&'a amazon::Settings, PlatformId),
}

/// A store that this version does not know: a later one connected its platform, and settles its purchases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store `{0}` is not known to this version of settle")]
pub struct UnknownStore(String);

/// Checks that this version knows the store with this name.
///
/// # Errors
/// [`UnknownStore`] if it does not.
pub fn check_known(store: &str) -> Result<(), UnknownStore> {
    if store == "amazon" {
        Ok(())
    } else {
        Err(UnknownStore(store.to_owned()))
    }
}

impl Settings {
    /// The store with this name that verifies a receipt of a platform.
    ///
    /// # Errors
    /// As [`check_known`].
    pub fn of(
        &self,
        store: &str,
        platform: PlatformId,
        receipt_id: &str,
    ) -> Result<Store<'_>, UnknownStore> {
        check_known(store)?;
        let simulates =
            |one: &&Simulated| one.platform == platform || one.mint.is_minted(receipt_id);
        Ok(match self.simulated.as_ref().filter(simulates) {
            Some(simulated) => Store::Simulated(&simulated.amazon, platform),
            None => Store::Amazon(&self.amazon),
        })
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
            Self::Amazon(settings) | Self::Simulated(settings, _) => settings.give_up_after,
        }
    }

    /// The request of one query.
    ///
    /// # Errors
    /// The secret or an id cannot be sent: the answer that stands for the store's refusal of it.
    pub fn request(self, receipt: &Receipt) -> Result<Request, Answer> {
        match self {
            // The sample of another data directory, or of one that is under `serve` now: no store knows it.
            Self::Amazon(_) if is_sample_receipt(&receipt.receipt_id) => Err(Answer::Verification(
                Verification::Parked(Parked::UnknownReceipt),
            )),
            Self::Amazon(settings) => amazon::request::request(settings, receipt),
            Self::Simulated(settings, platform) => {
                let own = Receipt {
                    environment: Environment::Sandbox,
                    app_user_id: receipt.app_user_id.clone(),
                    receipt_id: receipt.receipt_id.clone(),
                    secret: platform.to_string().into(),
                };
                amazon::request::request(settings, &own)
            }
        }
    }

    /// Interprets the reply about a receipt. `at` is the time of the query.
    #[must_use]
    pub fn answer(self, reply: &Reply, receipt: &Receipt, at: Timestamp) -> Answer {
        // The store's answer does not contain the environment: it is that of the request.
        let environment = match self {
            Self::Amazon(_) => receipt.environment,
            Self::Simulated(..) => Environment::Sandbox,
        };
        match amazon::response::answer(reply, &receipt.receipt_id, at) {
            Answer::Verification(verification) => {
                Answer::Verification(verification.of(environment))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Mint, Receipt, Settings, Simulated, Store, amazon};
    use crate::http::Reply;
    use domain::{Environment, Parked, PlatformId, Timestamp, Verification};

    const DEMO: u128 = 1;
    const OWN: u128 = 2;

    fn platform(number: u128) -> PlatformId {
        PlatformId::new(uuid::Uuid::from_u128(number))
    }

    fn settings() -> Settings {
        let base = "http://127.0.0.1:1/".parse().expect("a URL");
        let amazon = amazon::Settings {
            base: Some(base),
            ..amazon::Settings::default()
        };
        let simulated = Some(Simulated {
            platform: platform(DEMO),
            mint: Mint::new(b"own"),
            amazon,
        });
        Settings {
            simulated,
            ..Settings::default()
        }
    }

    fn receipt(receipt_id: &str) -> Receipt {
        let (environment, app_user_id) = (Environment::Production, "anna".to_owned());
        Receipt {
            environment,
            app_user_id,
            receipt_id: receipt_id.to_owned(),
            secret: "the-secret".into(),
        }
    }

    #[test]
    fn a_simulated_store_serves_its_platform_and_minted_receipts() {
        let (with, without) = (settings(), Settings::default());
        let minted = Mint::new(b"own").receipt_id("r");
        let is_simulated = |number, id: &str| {
            let (with, without) = (
                with.of("amazon", platform(number), id),
                without.of("amazon", platform(number), id),
            );
            assert!(
                matches!(without, Ok(Store::Amazon(_))),
                "there is none without it"
            );
            matches!(with, Ok(Store::Simulated(..)))
        };
        assert!(is_simulated(DEMO, "r") && is_simulated(OWN, &minted) && !is_simulated(OWN, "r"));
        assert!(!is_simulated(OWN, &Mint::new(b"other").receipt_id("r")));
        assert!(with.of("other", platform(DEMO), &minted).is_err());
    }

    #[test]
    fn a_sample_is_a_test_and_never_sent_to_the_store() {
        let (settings, minted) = (settings(), receipt(&Mint::new(b"own").receipt_id("r")));
        let store = settings
            .of("amazon", platform(OWN), &minted.receipt_id)
            .expect("a store");
        let request = store
            .request(&minted)
            .unwrap_or_else(|answer| panic!("{answer:?}"));
        let prefix = format!(
            "http://127.0.0.1:1/sandbox/version/1.0/verifyReceiptId/developer/{}/",
            platform(OWN)
        );
        assert!(
            request.url.as_str().starts_with(&prefix),
            "without the secret: {}",
            request.url
        );
        let body = format!(
            "{{\"receiptId\":\"{}\",\"productId\":\"p\"}}",
            minted.receipt_id
        );
        let reply = Reply::Answer {
            status: 200,
            retry_after: None,
            headers: Vec::new(),
            body,
        };
        match store.answer(&reply, &minted, Timestamp::from_millis(1)) {
            Answer::Verification(Verification::Verified(shown)) => {
                assert_eq!(shown.environment, Environment::Sandbox)
            }
            other => panic!("{other:?}"),
        }
        let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
        for of in [minted, receipt(&Mint::new(b"other").receipt_id("r"))] {
            assert_eq!(
                Store::Amazon(&settings.amazon).request(&of).err(),
                Some(unknown.clone())
            );
        }
    }
}
