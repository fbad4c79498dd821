//! The ingress of the App Store: App Store Server Notifications, version 2.
//!
//! signed payload → chain → notification → mapping → inbox. Nothing of a request counts before its signatures are
//! verified, which needs no network: `protocols::stores::apple` has the rules. Only this file, `sample` and `simulated`,
//! the demo's store, do I/O; everything else is pure.
//!
//! A message that Apple did not sign for the App Store gets 403, and a temporary failure 503. All other messages are
//! stored and answered with 200.

mod config;
mod device;
pub mod form;
mod ingress;
pub mod mapping;
pub mod own_fields;
mod refusal;
pub mod sample;
pub mod settings;
pub mod signer;
pub mod simulated;
#[cfg(test)]
mod tests;

pub use refusal::NotificationRefusal;
pub use settings::{ACCOUNT_IDS, APP_APPLE_ID, ISSUER_ID, KEY_ID, PRIVATE_KEY, Settings};

use crate::stores::StoreEntry;
use crate::stores::inbox;
use crate::stores::ingress::{Answer, StoreRequest};
use crate::stores::intake::Intake;
use crate::stores::push::PushInbox;
use domain::Timestamp;
use protocols::stores::Mint;
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::jws::{self, JwsRefusal};
use protocols::stores::apple::notification::{self, SignedPayload};
use serde::Deserialize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::Recipient;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Name of the App Store as a platform's store.
pub const STORE: &str = "apple";

/// The App Store's entry in the list of stores.
pub const ENTRY: StoreEntry = StoreEntry {
    name: STORE,
    title: "App Store",
    purchase_id: "Original transaction ID",
    since: "0.3.0",
    form: form::form,
    own_fields: Some(own_fields::read),
    check_package: Some(own_fields::check_package),
    credential_flags: own_fields::CREDENTIAL_FLAGS,
    max_body_bytes: MAX_BODY_BYTES,
    sales_report: None,
    variables: config::VARIABLES,
    config: config::read,
    samples: Some(sample::SAMPLES),
    demo: Some(sample::DEMO),
};

/// Maximum size of a body. Apple's notifications have about 25 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Response to a stored message.
const ACCEPTED: Answer = Answer {
    status: 200,
    reason: "accepted",
};
/// Reason of a body without a signed payload, as in version 1 of the notifications.
pub const WITHOUT_PAYLOAD: &str = "message without a signed payload";
/// Longest wait for the verification of a chain that is new, behind others.
const CHAIN_WAIT: Duration = Duration::from_secs(5);
const BUSY: NotificationRefusal =
    NotificationRefusal::TryAgain("too many chains of certificates are new");

/// State of the ingress, shared by all requests.
pub struct Apple {
    settings: Settings,
    chains: Arc<Chains>,
    /// Verifies one new chain at a time, so that a flood of forged ones takes no more than one processor.
    new_chains: Semaphore,
    /// Verifies one new chain from a device at a time. Notifications do not wait for it.
    device_chains: Mutex<()>,
    inbox: PushInbox,
    /// Recognizes samples, if this process accepts any.
    samples: Option<Mint>,
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    signed_payload: String,
}

impl Apple {
    pub fn new(settings: Settings) -> Self {
        Self {
            chains: Arc::new(settings.chains()),
            settings,
            new_chains: Semaphore::new(1),
            device_chains: Mutex::default(),
            inbox: PushInbox::new(STORE, ACCEPTED),
            samples: None,
        }
    }

    /// Verifies and reads the body of a request.
    ///
    /// # Errors
    /// The refusal, with its stable reason.
    async fn read(
        &self,
        body: &[u8],
        now: Timestamp,
    ) -> Result<SignedPayload, NotificationRefusal> {
        if body.len() > MAX_BODY_BYTES {
            return Err(NotificationRefusal::TooLarge);
        }
        let envelope: Result<Envelope, _> = serde_json::from_slice(body);
        let payload = envelope
            .map_err(|_| NotificationRefusal::NotGenuine(WITHOUT_PAYLOAD))?
            .signed_payload;
        match notification::read(&self.chains, jws::verify_known, &payload, now) {
            Err(JwsRefusal::NewChain) => self.read_new(payload, now).await,
            read => Ok(read?),
        }
    }

    /// Verifies and reads a payload with a chain that was not verified before.
    async fn read_new(
        &self,
        payload: String,
        now: Timestamp,
    ) -> Result<SignedPayload, NotificationRefusal> {
        let Ok(Ok(turn)) = timeout(CHAIN_WAIT, self.new_chains.acquire()).await else {
            return Err(BUSY);
        };
        let chains = Arc::clone(&self.chains);
        let read = tokio::task::spawn_blocking(move || {
            notification::read(&chains, jws::verify, &payload, now)
        });
        let read = read.await.map_err(|_| BUSY)?;
        drop(turn);
        Ok(read?)
    }

    /// Stores what a request contains. A success response means that it is durably stored.
    async fn accept(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        payload: SignedPayload,
        now: Timestamp,
    ) -> Answer {
        let push = mapping::push(&recipient.platform, payload, now);
        self.inbox.store(intake, recipient, push, now).await
    }

    /// Receives one request.
    async fn take(&self, intake: Intake<'_>, request: StoreRequest<'_>) -> Answer {
        let now = (self.settings.clock)();
        let found = self.inbox.find(intake.store, request.ingress_key, now);
        let recipient = match found.await {
            Ok(recipient) => recipient,
            Err(missing) => return inbox::refused(STORE, missing.into()),
        };
        match self.read(request.body, now).await {
            Ok(payload) => self.accept(intake, &recipient, payload, now).await,
            Err(refusal) => self.inbox.refuse(intake, &recipient, refusal.into()).await,
        }
    }
}
