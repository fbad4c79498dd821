//! The ingress of Google Play: real-time developer notifications, which Pub/Sub pushes.
//!
//! token → keyset → envelope → notification → mapping → inbox. Only this file, `sample`, `keyring`, `fetch` and
//! `simulated`, the demo's store, do I/O; everything else is pure. A push's token is checked before its body is read.
//! URLs are never taken from a request.
//!
//! Pub/Sub repeats a message until it gets a success status. Requests that Google did not send for this platform get
//! 401 or 403, and temporary failures 503. All other messages are stored and answered with 204.

mod config;
mod duties;
pub mod envelope;
mod fetch;
pub mod form;
mod ingress;
mod keyring;
pub mod keyset;
pub mod mapping;
pub mod notification;
pub mod own_fields;
mod refusal;
pub mod sample;
mod settings;
pub mod signer;
mod simulated;
#[cfg(test)]
mod tests;
pub mod token;
mod verdicts;

pub use fetch::{Fetch, FetchError, Fetched, Https};
pub use protocols::stores::google::acknowledge::{ACKNOWLEDGE, Acknowledger};
pub use protocols::stores::google::customer::{ACCOUNT_IDS, AccountIds};
pub use refusal::PushRefusal;
pub use settings::{
    KEYS_URL, PUSH_ACCOUNT, PUSH_AUDIENCE, PushTarget, SERVICE_ACCOUNT, SUBSCRIPTION, Settings,
};

use crate::stores::StoreEntry;
use crate::stores::inbox;
use crate::stores::ingress::{Answer, StoreRequest};
use crate::stores::intake::Intake;
use crate::stores::push::PushInbox;
use axum::http::HeaderMap;
use domain::Timestamp;
use keyring::Keyring;
use protocols::stores::Mint;
use std::sync::Arc;
use storage::{Platform, Recipient};
use token::UnverifiedToken;
use verdicts::Verdicts;

/// Name of Google Play as a platform's store.
pub const STORE: &str = "google";

/// Google Play's entry in the list of stores.
pub const ENTRY: StoreEntry = StoreEntry {
    name: STORE,
    title: "Google Play",
    purchase_id: "Purchase token",
    since: "0.2.0",
    form: form::form,
    own_fields: Some(own_fields::read),
    check_package: Some(own_fields::check_package),
    credential_flags: own_fields::CREDENTIAL_FLAGS,
    max_body_bytes: envelope::MAX_PUSH_BYTES,
    sales_report: None,
    variables: config::VARIABLES,
    config: config::read,
    samples: Some(sample::SAMPLES),
    demo: Some(sample::DEMO),
};

/// Response to a stored message.
const ACCEPTED: Answer = Answer {
    status: 204,
    reason: "accepted",
};
const NO_TARGET: PushRefusal =
    PushRefusal::TryAgain("settings of the push subscription are missing");
const WITHOUT_WRAPPER: PushRefusal = PushRefusal::TryAgain("message without the wrapper");

/// State of the ingress, shared by all requests.
pub struct Google {
    settings: Settings,
    keyring: Keyring,
    verdicts: Verdicts,
    inbox: PushInbox,
    /// Recognizes samples, if this process accepts any.
    samples: Option<Mint>,
}

impl Google {
    /// Returns an ingress that fetches Google's keys from the URL in the settings. The process must have installed its
    /// TLS provider before.
    ///
    /// # Errors
    /// The machine's root certificates cannot be read.
    pub fn new(settings: Settings) -> Result<Self, FetchError> {
        let fetch = Https::new(settings.keys_url.clone())?;
        Ok(Self::with_fetch(settings, Arc::new(fetch)))
    }

    /// Returns an ingress with a different `Fetch`, for tests.
    pub fn with_fetch(settings: Settings, fetch: Arc<dyn Fetch>) -> Self {
        Self {
            settings,
            keyring: Keyring::new(fetch),
            verdicts: Verdicts::default(),
            inbox: PushInbox::new(STORE, ACCEPTED),
            samples: None,
        }
    }

    /// Returns the platform of a request with a valid token. Any other request is only counted, by the reason for its
    /// refusal.
    async fn admit(
        &self,
        intake: Intake<'_>,
        ingress_key: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, Answer> {
        let found = self.inbox.find(intake.store, ingress_key, now).await;
        let recipient = found.map_err(|missing| inbox::refused(STORE, missing.into()))?;
        let checked = self.authenticate(&recipient.platform, headers, now).await;
        match checked {
            Ok(()) => Ok(recipient),
            Err(refusal) => Err(self.refuse(intake, &recipient, refusal).await),
        }
    }

    /// Checks the bearer token of a request to a platform.
    ///
    /// # Errors
    /// The refusal, with its stable reason.
    async fn authenticate(
        &self,
        platform: &Platform,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), PushRefusal> {
        let token = token::bearer(headers)?;
        let target = PushTarget::of(platform).ok_or(NO_TARGET)?;
        if let Some(claims) = self.verdicts.find(token, now) {
            return claims.check_target(&target);
        }
        let unverified = UnverifiedToken::parse(token)?;
        let key = self.keyring.key(&unverified.key_id, now).await?;
        let claims = unverified.verify(&key, now)?;
        claims.check_target(&target)?;
        // A token for another audience or account is not cached, because it would displace valid ones.
        self.verdicts.remember(token, Arc::new(claims), now);
        Ok(())
    }

    /// Stores the message of an authenticated request. A success response means that the message is durably stored.
    async fn accept(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        match PushTarget::of(&recipient.platform) {
            Some(target) => self.accept_for(intake, recipient, &target, body, now).await,
            None => self.refuse(intake, recipient, NO_TARGET).await,
        }
    }

    /// Stores a message that was pushed for this target.
    async fn accept_for(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        target: &PushTarget<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        let platform = &recipient.platform;
        if let Some(push) = mapping::outcome(platform, target, body, now) {
            return self.inbox.store(intake, recipient, push, now).await;
        }
        self.inbox
            .raise(intake, platform, mapping::WITHOUT_WRAPPER, now)
            .await;
        self.refuse(intake, recipient, WITHOUT_WRAPPER).await
    }

    /// Counts and logs a refused request, and returns the response.
    async fn refuse(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        refusal: PushRefusal,
    ) -> Answer {
        self.inbox.refuse(intake, recipient, refusal.into()).await
    }

    /// Receives one request. Checks the headers again, because the platform's settings may have changed since they were
    /// checked before the body.
    async fn take(&self, intake: Intake<'_>, request: StoreRequest<'_>) -> Answer {
        let now = (self.settings.clock)();
        let StoreRequest {
            ingress_key,
            headers,
            body,
        } = request;
        match self.admit(intake, ingress_key, headers, now).await {
            Ok(recipient) => self.accept(intake, &recipient, body, now).await,
            Err(answer) => answer,
        }
    }

    /// Checks the ingress key and token of a request before its body is read.
    async fn check(
        &self,
        intake: Intake<'_>,
        ingress_key: &str,
        headers: &HeaderMap,
    ) -> Result<(), Answer> {
        let now = (self.settings.clock)();
        self.inbox.check_key(intake.store, ingress_key, now).await?;
        self.admit(intake, ingress_key, headers, now)
            .await
            .map(drop)
    }
}
