//! Google Play's Developer API, version 3: subscriptions, one-time purchases and their orders.
//!
//! See <https://developers.google.com/android-publisher>. A check takes two to four requests with a service account's
//! access token. Its result is a [`shown::ShownPurchase`], which `meaning` turns into the domain's form.

pub mod account;
pub mod acknowledge;
pub mod batch;
pub mod check;
pub mod customer;
mod meaning;
pub mod money;
pub mod order;
pub mod plans;
pub mod product;
mod repair;
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
    AccessToken, AcknowledgeAnswer, Answer, Bucket, CheckStep, RepairOutcome, RepairPage,
    RepairStep, RepairTask, Replied, Retry, Simulated, StoreProtocol, Subject,
};
use account::ServiceAccount;
use acknowledge::{Acknowledged, Acknowledger};
use check::{CheckOutcome, KnownPurchase, KnownTerm, NextStep};
use customer::AccountIds;
use domain::notification::is_sample_purchase;
use domain::verification::Product;
use domain::{Parked, Snapshot, Timestamp, Verification};
use plans::UnreadPlans;
use request::{PackageName, Query};
use response::{AccessProblem, ReadError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shown::{PurchaseKind, PurchaseToken};
use std::sync::Arc;
use std::time::Duration;
use storage::RepairKind;
use url::Url;

/// Name of the store in the column `platforms.store`.
pub const STORE: &str = "google";

/// The default of [`Settings::give_up_after`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
/// The default of [`Settings::per_second`]: four fifths of Google's quota of 3,000 requests per minute and bucket
/// (<https://developers.google.com/android-publisher/quotas>). The rest is left for the app's own server.
const PER_SECOND: u32 = 40;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port that replace Google's; `None` for Google's.
    pub base: Option<Url>,
    /// How long to retry after the first failure before the purchase is queried less often.
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

/// The verification with the Developer API.
#[derive(Debug, Clone)]
pub struct Google {
    settings: Settings,
    /// The simulated store, and the settings with its base URL.
    simulated: Option<(Simulated, Settings)>,
    /// The only state that checks share.
    unread_plans: Arc<UnreadPlans>,
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

/// Returns what is known about the purchase of a check.
fn known(subject: &Subject) -> KnownPurchase {
    let Some(purchase) = subject.known.as_deref().filter(|known| known.is_shown()) else {
        return KnownPurchase {
            reported_at: subject.reported_at,
            ..KnownPurchase::default()
        };
    };
    let kind = if purchase.is_one_time_purchase() {
        PurchaseKind::OneTime
    } else {
        PurchaseKind::Subscription
    };
    let periods = purchase.periods().iter();
    let term = purchase.shown_term().map(|(sku, term)| KnownTerm {
        sku: sku.to_owned(),
        term,
    });
    KnownPurchase {
        kind: Some(kind),
        reported_at: subject.reported_at,
        is_confirmed: true,
        orders: periods
            .map(|period| period.transaction_id.clone())
            .collect(),
        term,
        skips_term: false,
    }
}

impl Google {
    pub fn new(settings: Settings, simulated: Option<Simulated>) -> Self {
        let simulated = simulated.map(|simulated| {
            let base = Some(simulated.base.clone());
            (
                simulated,
                Settings {
                    base,
                    ..settings.clone()
                },
            )
        });
        Self {
            settings,
            simulated,
            unread_plans: Arc::default(),
        }
    }

    /// Returns the simulated store with its settings, if the purchase is on its platform.
    fn simulated(&self, subject: &Subject) -> Option<&(Simulated, Settings)> {
        let simulated = self.simulated.as_ref();
        simulated.filter(|(simulated, _)| simulated.has_platform_of(subject))
    }

    /// Returns the settings with which a purchase is queried; `None` if no store knows it. The simulated store knows
    /// the samples on its own platform alone, and Google none: a sample may be of another data directory, or of one
    /// that now runs `settle serve`.
    fn settings_of(&self, subject: &Subject) -> Option<&Settings> {
        match self.simulated(subject) {
            Some((simulated, settings)) => simulated.has_minted(subject).then_some(settings),
            None => (!is_sample_purchase(&subject.receipt_id)).then_some(&self.settings),
        }
    }

    fn answer(token: &PurchaseToken, outcome: CheckOutcome) -> Answer {
        match outcome {
            CheckOutcome::Shown(shown, customer) => {
                let Some(snapshot) = meaning::answer(token, &shown).snapshot() else {
                    return without_item();
                };
                let verification = Verification::Verified(Box::new(snapshot));
                match customer {
                    Some(customer) => Answer::Named(verification, customer.name),
                    None => Answer::Verification(verification),
                }
            }
            CheckOutcome::Unknown => unknown(),
            CheckOutcome::Gone => Answer::Verification(Verification::Gone),
            CheckOutcome::Refused(problem) => Answer::Refused(problem.refusal()),
            CheckOutcome::Retry(retry) => Answer::Retry(retry),
        }
    }

    /// Returns the next request of a check with its bucket.
    fn step(&self, subject: &Subject, replies: &[Replied]) -> Result<(Request, Bucket), Answer> {
        let settings = self.settings_of(subject).ok_or_else(unknown)?;
        let token = PurchaseToken::try_from(subject.receipt_id.clone());
        let token = token.map_err(|_| unknown())?;
        let package = PackageName::new(&subject.package_name)
            .ok_or(Answer::Refused(AccessProblem::App.refusal()))?;
        let mut known = known(subject);
        let mut step = check::next(&token, &known, replies);
        if self.is_plan_unread(subject, &step, replies) {
            known.skips_term = true;
            step = check::next(&token, &known, replies);
        }
        match step {
            NextStep::Done(outcome) => {
                self.note_unread_plan(subject, &token, replies);
                Err(Self::answer(&token, outcome))
            }
            NextStep::Send(query) => {
                request::request(settings, &package, &query).ok_or_else(|| {
                    let why = "the store's address is not a URL";
                    Answer::Retry(Retry::new("invalid_url", why))
                })
            }
        }
    }

    /// Returns whether a step requests plans that could not be read a short time ago.
    fn is_plan_unread(&self, subject: &Subject, step: &NextStep, replies: &[Replied]) -> bool {
        let (NextStep::Send(Query::Plans(plan)), Some(last)) = (step, replies.last()) else {
            return false;
        };
        let unread = &self.unread_plans;
        unread.has(subject.platform, &plan.product_id, last.at)
    }

    /// Notes that plans cannot be read, if the last reply of a check says so.
    fn note_unread_plan(&self, subject: &Subject, token: &PurchaseToken, replies: &[Replied]) {
        let Some((last, before)) = replies.split_last() else {
            return;
        };
        if matches!(last.reply, Reply::Answer { status: 200, .. }) {
            return;
        }
        let Err(error) = plans::plans(&last.reply) else {
            return;
        };
        if let NextStep::Send(Query::Plans(plan)) = check::next(token, &known(subject), before) {
            let unread = &self.unread_plans;
            unread.note(subject.platform, plan.product_id, &error, last.at);
        }
    }
}

/// Returns the answer about a text that is no purchase token.
const fn unknown() -> Answer {
    Answer::Verification(Verification::Parked(Parked::UnknownReceipt))
}

/// Returns the answer about a purchase without any item. An item is what was bought, so this is no answer about it.
fn without_item() -> Answer {
    let why = "HTTP 200, but it shows a purchase without an item";
    Answer::Retry(Retry {
        is_strange: true,
        ..Retry::new("no_item", why)
    })
}

/// Returns the answer to a check whose access token cannot be requested.
fn without_token(error: ReadError) -> Answer {
    match error {
        ReadError::Refused(problem) => Answer::Refused(problem.refusal()),
        ReadError::Retry(retry) => Answer::Retry(retry),
        // A token request has no resource, so these errors cannot occur.
        ReadError::Malformed | ReadError::Unknown | ReadError::Gone => {
            Answer::Refused(AccessProblem::Credential.refusal())
        }
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

    fn has_app_ids(&self, subject: &Subject, _: &str) -> bool {
        AccountIds::of(subject.own.settings.as_ref()) == AccountIds::External
    }

    fn issues_tokens(&self) -> bool {
        true
    }

    fn token_request(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(Box<Request>, Bucket), Answer> {
        if let Some((_, settings)) = self.simulated(subject) {
            let (request, bucket) = token::simulated(settings).map_err(without_token)?;
            return Ok((Box::new(request), bucket));
        }
        let credentials = subject.own.credentials.as_ref();
        let account = credentials.and_then(Credentials::account);
        let account = account.ok_or(Answer::Refused(AccessProblem::Credential.refusal()))?;
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
        let acknowledger = Acknowledger::of(subject.own.settings.as_ref());
        let token = PurchaseToken::try_from(subject.receipt_id.clone()).ok();
        let token = token.filter(|_| acknowledger == Acknowledger::Settle)?;
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
        let package = PackageName::new(&subject.package_name)?;
        let settings = self.settings_of(subject)?;
        let (request, bucket) = acknowledge::request(settings, &package, purchase)?;
        Some((Box::new(request), bucket))
    }

    fn acknowledged(&self, reply: &Reply) -> AcknowledgeAnswer {
        acknowledge::answer(reply)
    }

    fn repairs(&self) -> &'static [RepairKind] {
        &[RepairKind::Voids, RepairKind::Orders]
    }

    fn repair(&self, subject: &Subject, task: &RepairTask, replies: &[Replied]) -> RepairStep {
        // The simulated store has only samples, of which each change is a notification.
        if self.simulated(subject).is_some() {
            return RepairStep::Done(RepairOutcome::Found(RepairPage::default()));
        }
        repair::next(&self.settings, subject, task, replies)
    }
}
