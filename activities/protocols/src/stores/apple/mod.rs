//! The App Store: what Apple signs, and the App Store Server API.
//!
//! A check rests on what notifications showed, since Apple signs it; what that leaves open is requested with a token
//! that settle signs itself. `signed` reads the contents, and `domain` decides what they mean.

pub mod chain;
mod check;
pub mod duty;
pub mod handed;
pub mod jws;
pub mod notification;
mod repair;
mod request;
pub mod response;
mod root;
pub mod signed;
pub mod token;

#[cfg(test)]
mod tests;

use crate::http::Request;
use crate::stores::{
    AccessRefusal, AccessToken, Answer, Bucket, CheckStep, RepairOutcome, RepairPage, RepairStep,
    RepairTask, Replied, Retry, Simulated, StoreProtocol, Subject,
};
use chain::Chains;
use check::{CheckOutcome, Checked, NextStep};
use domain::notification::is_sample_purchase;
use domain::{Parked, Timestamp, Verification};
use notification::ExpectedApp;
use serde_json::Value;
use std::time::Duration;
use storage::RepairKind;
use url::Url;

/// Name of the store in the column `platforms.store`.
pub const STORE: &str = "apple";

/// Platform setting: the number of the app in App Store Connect, which calls it the app's Apple ID.
pub const APP_APPLE_ID: &str = "app_apple_id";
/// Platform setting: what the app sets as its customers' account tokens, `external` or `opaque`.
pub const ACCOUNT_IDS: &str = "account_ids";

/// The default of [`Settings::give_up_after`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
/// The default of [`Settings::per_second`]: four fifths of Apple's rate of 50 requests per second
/// (<https://developer.apple.com/documentation/appstoreserverapi/identifying-rate-limits>). The rest is left for the
/// app's own server.
const PER_SECOND: u32 = 40;
/// Why the simulated store sends no test notification.
const NO_TEST: &str =
    "the simulated store of the demo sends no test notification: `settle sample` sends a sample";
/// Number of characters of an app account token, a UUID.
const TOKEN_CHARS: usize = 36;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port that replace those of both of Apple's servers; `None` for Apple's.
    pub base: Option<Url>,
    /// How long to retry after the first failure before the purchase is queried less often.
    pub give_up_after: Duration,
    /// Maximum number of requests per second per platform and bucket. The sandbox gets a tenth of it.
    pub per_second: u32,
    /// The root certificate in DER that is trusted instead of Apple's.
    pub root: Option<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: None,
            give_up_after: GIVE_UP_AFTER,
            per_second: PER_SECOND,
            root: None,
        }
    }
}

impl Settings {
    /// Returns the chains under the trusted root, none of which is remembered yet.
    pub fn chains(&self) -> Chains {
        match &self.root {
            Some(root) => Chains::under(std::slice::from_ref(root)),
            None => Chains::apple(),
        }
    }
}

/// The verification by what Apple signed.
pub struct Apple {
    settings: Settings,
    chains: Chains,
    simulated: Option<SimulatedApple>,
}

/// The simulated store, with its settings and the chains under its root.
struct SimulatedApple {
    store: Simulated,
    settings: Settings,
    chains: Chains,
}

impl std::fmt::Debug for Apple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apple")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The server, the chains and the credentials with which a purchase is checked.
struct Party<'a> {
    settings: &'a Settings,
    chains: &'a Chains,
    has_key: bool,
}

impl Apple {
    /// Returns the verification. `simulated` is the simulated store, with the root of the chain that signs its answers and
    /// the samples.
    pub fn new(settings: Settings, simulated: Option<(Simulated, Vec<u8>)>) -> Self {
        let simulated = simulated.map(|(store, root)| {
            let settings = Settings {
                base: Some(store.base.clone()),
                root: Some(root),
                ..settings.clone()
            };
            SimulatedApple {
                chains: settings.chains(),
                store,
                settings,
            }
        });
        Self {
            chains: settings.chains(),
            settings,
            simulated,
        }
    }

    fn simulated(&self, subject: &Subject) -> Option<&SimulatedApple> {
        let simulated = self.simulated.as_ref();
        simulated.filter(|simulated| simulated.store.has_platform_of(subject))
    }

    /// Returns by what a purchase is checked; `None` if no store knows it. The simulated store knows the samples on its
    /// own platform alone. On other platforms, what a sample showed is all that exists of it.
    fn party(&self, subject: &Subject) -> Option<Party<'_>> {
        if let Some(simulated) = self.simulated(subject) {
            return simulated.store.has_minted(subject).then_some(Party {
                settings: &simulated.settings,
                chains: &simulated.chains,
                has_key: true,
            });
        }
        let own = &subject.own;
        let has_key = token::has_key(own.settings.as_ref(), own.credentials.as_ref());
        Some(Party {
            settings: &self.settings,
            chains: &self.chains,
            has_key: has_key && !is_sample_purchase(&subject.receipt_id),
        })
    }

    /// Returns the next request of a check with its bucket.
    fn step(&self, subject: &Subject, replies: &[Replied]) -> Result<(Request, Bucket), Answer> {
        let party = self.party(subject).ok_or_else(unknown)?;
        let checked = Checked {
            subject,
            chains: party.chains,
            has_key: party.has_key,
        };
        match check::next(&checked, replies) {
            NextStep::Done(outcome) => Err(answer(subject, outcome)),
            NextStep::Send(query, environment) => {
                request::request(party.settings, environment, &query).ok_or_else(|| {
                    let why = "the store's address is not a URL";
                    Answer::Retry(Retry::new("invalid_url", why))
                })
            }
        }
    }
}

fn answer(subject: &Subject, outcome: CheckOutcome) -> Answer {
    match outcome {
        CheckOutcome::Shown(snapshot, customer) => {
            let verification = Verification::Verified(snapshot);
            match customer {
                Some(customer) => Answer::Named(verification, customer),
                None => Answer::Verification(verification),
            }
        }
        CheckOutcome::Unknown if subject.known.as_ref().is_some_and(|known| known.is_shown()) => {
            Answer::Verification(Verification::Gone)
        }
        CheckOutcome::Unknown => unknown(),
        CheckOutcome::Unverifiable => Answer::Verification(Verification::Unverifiable),
        CheckOutcome::Refused(refusal) => Answer::Refused(refusal),
        CheckOutcome::Retry(retry) => Answer::Retry(retry),
    }
}

/// Returns the answer about a purchase that Apple does not know.
const fn unknown() -> Answer {
    Answer::Verification(Verification::Parked(Parked::UnknownReceipt))
}

/// Returns the app of a platform's notifications.
fn expected(subject: &Subject) -> ExpectedApp<'_> {
    ExpectedApp {
        bundle_id: &subject.package_name,
        apple_id: subject.own.settings.as_ref().and_then(apple_id),
        environment: subject.environment,
    }
}

/// Returns the app's number in a platform's settings.
pub fn apple_id(settings: &Value) -> Option<i64> {
    settings.get(APP_APPLE_ID)?.as_str()?.parse().ok()
}

impl StoreProtocol for Apple {
    fn name(&self) -> &'static str {
        STORE
    }

    fn per_second(&self) -> u32 {
        self.settings.per_second
    }

    fn give_up_after(&self) -> Duration {
        self.settings.give_up_after
    }

    fn has_app_ids(&self, subject: &Subject, name: &str) -> bool {
        let setting = subject.own.settings.as_ref();
        let setting = setting.and_then(|settings| settings.get(ACCOUNT_IDS)?.as_str());
        // The number of an Apple account, which stands for a customer without a token, is not the app's.
        let is_token = name.len() == TOKEN_CHARS && name.contains('-');
        setting == Some("external") && is_token
    }

    fn issues_tokens(&self) -> bool {
        true
    }

    fn own_token(&self, subject: &Subject, now: Timestamp) -> Option<Result<AccessToken, Answer>> {
        if self.simulated(subject).is_some() {
            // The simulated store compares no token.
            return Some(Ok(AccessToken {
                token: "simulated".into(),
                lifetime: Duration::from_secs(3600),
            }));
        }
        let own = &subject.own;
        let credentials = own.credentials.as_ref();
        let signed = token::signed(
            own.settings.as_ref(),
            credentials,
            &subject.package_name,
            now,
        );
        let refusal = AccessRefusal::of_credential(response::WRONG_KEY);
        Some(signed.ok_or(Answer::Refused(refusal)))
    }

    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep {
        match self.step(subject, replies) {
            Ok((request, bucket)) => CheckStep::Send(Box::new(request), bucket),
            Err(answer) => CheckStep::Done(answer),
        }
    }

    fn repairs(&self) -> &'static [RepairKind] {
        &[RepairKind::Notifications, RepairKind::Test]
    }

    fn repair(&self, subject: &Subject, task: &RepairTask, replies: &[Replied]) -> RepairStep {
        // The simulated store sends nothing that could be lost, nor a test.
        if self.simulated(subject).is_some() {
            return RepairStep::Done(match task {
                RepairTask::Test => RepairOutcome::Declined(NO_TEST),
                _ => RepairOutcome::Found(RepairPage::default()),
            });
        }
        repair::next(&self.settings, &self.chains, subject, task, replies)
    }
}
