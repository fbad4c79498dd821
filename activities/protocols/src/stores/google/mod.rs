//! Google Play's Developer API, version 3: subscriptions, one-time purchases and their orders.
//!
//! See <https://developers.google.com/android-publisher>. A check takes two to four requests with a service account's
//! access token. Its result is a [`shown::ShownPurchase`]; the function with which the store is constructed turns it
//! into a verification.

pub mod account;
pub mod acknowledge;
pub mod batch;
pub mod check;
pub mod customer;
pub mod money;
pub mod order;
pub mod plans;
pub mod product;
pub mod request;
pub mod response;
pub mod shown;
pub mod subscription;
pub mod token;
pub mod voided;

#[cfg(test)]
mod tests;

use crate::http::{Reply, Request};
use crate::stores::{
    AccessToken, AcknowledgeAnswer, Answer, Bucket, CheckStep, Replied, Retry, StoreProtocol,
    Subject,
};
use account::ServiceAccount;
use acknowledge::Acknowledged;
use check::{CheckOutcome, KnownPurchase, NextStep};
use domain::notification::is_sample_purchase;
use domain::verification::Product;
use domain::{Parked, Snapshot, Timestamp, Verification};
use request::PackageName;
use response::ReadError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shown::{PurchaseKind, PurchaseToken, ShownPurchase};
use std::fmt;
use std::time::Duration;
use url::Url;

/// Name of the store in the column `platforms.store`.
pub const STORE: &str = "google";
/// The platform's setting that holds the app's package name.
pub const PACKAGE_NAME: &str = "package_name";

/// The default of [`Settings::give_up_after`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
/// The default of [`Settings::per_second`]: four fifths of Google's quota of 3,000 requests per minute and bucket
/// (<https://developers.google.com/android-publisher/quotas>). The rest is left for the app's own server.
const PER_SECOND: u32 = 40;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port that replace Google's; `None` for Google's.
    pub base: Option<Url>,
    /// How long to retry after the first failure before the purchase is settled without the store.
    pub give_up_after: Duration,
    /// Maximum number of requests per second per platform and bucket.
    pub per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: None,
            give_up_after: GIVE_UP_AFTER,
            per_second: PER_SECOND,
        }
    }
}

impl Settings {
    const fn bucket(&self, name: &'static str) -> Bucket {
        Bucket {
            name,
            per_second: self.per_second,
        }
    }
}

/// A function that turns a purchase as the store shows it into a verification.
pub type Meaning = fn(&ShownPurchase) -> Verification;

/// The verification with the Developer API.
#[derive(Clone)]
pub struct Google {
    settings: Settings,
    meaning: Meaning,
}

impl fmt::Debug for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Google")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The credentials of a platform, as storage encrypts them.
#[derive(Deserialize)]
pub struct Credentials {
    /// The text of the service account's key file.
    service_account: String,
}

impl Credentials {
    /// Returns the service account from a platform's credentials; `None` if there is none that can sign.
    pub fn account(credentials: &SecretString) -> Option<ServiceAccount> {
        let credentials: Self = serde_json::from_str(credentials.expose_secret()).ok()?;
        ServiceAccount::parse(&credentials.service_account.into()).ok()
    }
}

/// Returns the package name of the platform's app; `None` if it is not set or invalid.
fn package(subject: &Subject) -> Option<PackageName> {
    let name = subject.own.settings.as_ref()?.get(PACKAGE_NAME)?;
    PackageName::new(name.as_str()?)
}

impl Google {
    pub const fn new(settings: Settings, meaning: Meaning) -> Self {
        Self { settings, meaning }
    }

    fn answer(&self, outcome: CheckOutcome) -> Answer {
        match outcome {
            CheckOutcome::Shown(shown, customer) => {
                let verification = (self.meaning)(&shown);
                match customer {
                    Some(customer) => Answer::Named(verification, customer.name),
                    None => Answer::Verification(verification),
                }
            }
            CheckOutcome::Unknown => unknown(),
            CheckOutcome::Gone => Answer::Verification(Verification::Gone),
            CheckOutcome::Refused(_) => Answer::Refused,
            CheckOutcome::Retry(retry) => Answer::Retry(retry),
        }
    }

    /// Returns the next request of a check with its bucket.
    fn step(&self, subject: &Subject, replies: &[Replied]) -> Result<(Request, Bucket), Answer> {
        // A sample of another data directory, or of one that now runs `settle serve`: no store knows it.
        let is_sample = is_sample_purchase(&subject.receipt_id);
        let token = PurchaseToken::try_from(subject.receipt_id.clone());
        let token = token.ok().filter(|_| !is_sample).ok_or_else(unknown)?;
        let package = package(subject).ok_or(Answer::Refused)?;
        match check::next(&token, KnownPurchase::default(), replies) {
            NextStep::Done(outcome) => Err(self.answer(outcome)),
            NextStep::Send(query) => {
                request::request(&self.settings, &package, &query).ok_or_else(|| {
                    let why = "the store's address is not a URL";
                    Answer::Retry(Retry::new("invalid_url", why))
                })
            }
        }
    }
}

/// Returns the answer about a text that is no purchase token.
const fn unknown() -> Answer {
    Answer::Verification(Verification::Parked(Parked::UnknownReceipt))
}

/// Returns the answer to a check whose access token cannot be requested.
fn without_token(error: ReadError) -> Answer {
    match error {
        ReadError::Refused(_) => Answer::Refused,
        ReadError::Retry(retry) => Answer::Retry(retry),
        // A token request has no resource, so these errors cannot occur.
        ReadError::Malformed | ReadError::Unknown | ReadError::Gone => Answer::Refused,
    }
}

impl StoreProtocol for Google {
    fn name(&self) -> &'static str {
        STORE
    }

    fn per_second(&self) -> u32 {
        self.settings.per_second
    }

    fn give_up_after(&self) -> Duration {
        self.settings.give_up_after
    }

    fn issues_tokens(&self) -> bool {
        true
    }

    fn token_request(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(Box<Request>, Bucket), Answer> {
        let credentials = subject.own.credentials.as_ref().ok_or(Answer::Refused)?;
        let account = Credentials::account(credentials).ok_or(Answer::Refused)?;
        let (request, bucket) =
            token::request(&self.settings, &account, now).map_err(without_token)?;
        Ok((Box::new(request), bucket))
    }

    fn token(&self, _: &Subject, reply: &Reply) -> Result<AccessToken, Answer> {
        token::issued(reply).map_err(without_token)
    }

    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep {
        match self.step(subject, replies) {
            Ok((request, bucket)) => CheckStep::Send(Box::new(request), bucket),
            Err(answer) => CheckStep::Done(answer),
        }
    }

    fn acknowledgement(
        &self,
        subject: &Subject,
        shown: &Snapshot,
    ) -> Option<(Box<Request>, Bucket)> {
        let token = PurchaseToken::try_from(subject.receipt_id.clone()).ok();
        let token = token.filter(|_| acknowledge::is_by_settle(subject))?;
        let kind = if shown.product == Product::Subscription {
            PurchaseKind::Subscription
        } else {
            PurchaseKind::OneTime
        };
        let purchase = Acknowledged {
            kind,
            product_id: shown.product_id.as_deref()?,
            token: &token,
        };
        let package = package(subject)?;
        let (request, bucket) = acknowledge::request(&self.settings, &package, purchase)?;
        Some((Box::new(request), bucket))
    }

    fn acknowledged(&self, reply: &Reply) -> AcknowledgeAnswer {
        acknowledge::answer(reply)
    }
}
