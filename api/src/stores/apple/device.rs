//! Transactions that devices hand in. Their key is public, so a text is nothing until Apple's signature is verified.

use super::Apple;
use super::settings::expected_app;
use domain::Timestamp;
use protocols::stores::apple::handed::{self, HandedRefusal, HandedTransaction};
use protocols::stores::apple::jws::{self, JwsRefusal};
use std::sync::PoisonError;
use storage::{NewNotification, Platform, SignedReceipt};

/// Expected instead of a number, or of another text without a signature.
const NOT_SIGNED: &str = "the signed transaction that StoreKit gives the app (`jwsRepresentation`): the transaction's number proves \
     nothing";
const NOT_GENUINE: &str =
    "a transaction that Apple signed, but its signature or its certificates are not valid";
const NO_TRANSACTION: &str = "a transaction of the App Store, but Apple signed something else";
const DEVELOPMENT: &str =
    "a transaction of the App Store, but it is of a development tool, in which nothing is bought";
const FOREIGN_BUNDLE: &str =
    "a transaction of the platform's app, but it is of an app with another bundle id";
const FOREIGN_ENVIRONMENT: &str =
    "a transaction in the sandbox, as the platform is for the sandbox, but it is of production";
const OVER: &str = "a transaction whose period is not over: without a key, the platform cannot query Apple whether it was \
     renewed";

impl Apple {
    /// Verifies a transaction that a device hands in.
    ///
    /// # Errors
    /// What is expected instead, as a sentence.
    pub(super) fn receipt(
        &self,
        platform: &Platform,
        text: &str,
        now: Timestamp,
    ) -> Result<SignedReceipt, &'static str> {
        let expected = expected_app(platform);
        let read = |verify| handed::read(&self.chains, verify, text, &expected, now);
        let read = match read(jws::verify_known) {
            Err(HandedRefusal::Jws(JwsRefusal::NewChain)) => {
                let turn = self.device_chains.lock();
                let _turn = turn.unwrap_or_else(PoisonError::into_inner);
                read(jws::verify)
            }
            read => read,
        };
        let handed = read.map_err(expectation)?;
        // An old transaction shows a purchase as it was then. What Apple shows today has to correct it.
        let ends_at = handed.transaction.fact.expires_at;
        if ends_at.is_some_and(|end| end <= now) && !platform.can_verify() {
            return Err(OVER);
        }
        accepted(platform, &handed).ok_or(NO_TRANSACTION)
    }
}

fn accepted(platform: &Platform, handed: &HandedTransaction) -> Option<SignedReceipt> {
    let notification = handed.notification(platform.id);
    let order_id = Some(notification.message_id.clone());
    let row = NewNotification::of(platform.id, notification).with_signed(handed.decoded());
    Some(SignedReceipt {
        // Transactions with different contents are different facts, also if they were signed in the same millisecond.
        notification: NewNotification { order_id, ..row },
        snapshot: Box::new(handed.snapshot()?),
        customer: handed.customer(),
    })
}

/// Returns what is expected instead of a refused text.
const fn expectation(refusal: HandedRefusal) -> &'static str {
    match refusal {
        HandedRefusal::Jws(JwsRefusal::Form) => NOT_SIGNED,
        HandedRefusal::Jws(JwsRefusal::Environment) => DEVELOPMENT,
        HandedRefusal::Jws(_) => NOT_GENUINE,
        HandedRefusal::NoTransaction => NO_TRANSACTION,
        HandedRefusal::ForeignBundle => FOREIGN_BUNDLE,
        HandedRefusal::ForeignEnvironment => FOREIGN_ENVIRONMENT,
    }
}
