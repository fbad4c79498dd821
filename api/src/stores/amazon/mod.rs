//! The ingress of the Amazon Appstore: Real-Time Notifications, which arrive through SNS over HTTPS.
//!
//! envelope → topic → certificate → signature → notification → mapping → inbox. Only this file, `subscription`,
//! `keyring` and `fetch` do I/O, and `settings` reads files at startup; everything else is pure. Nothing is stored
//! before the signature is verified, and no certificate is fetched for a topic that may not send to the platform.

pub mod certificate;
pub mod command;
mod config;
pub mod envelope;
mod fetch;
mod form;
mod ingress;
mod keyring;
mod mapping;
pub mod notification;
mod refusal;
pub mod report;
pub mod sample;
mod settings;
pub mod signature;
pub mod signer;
mod simulated;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;

pub use fetch::{Fetch, FetchError};
pub use refusal::Refusal;
pub use settings::{Invalid, Settings};

use crate::stores::StoreEntry;
use crate::stores::inbox::{self, Alarm, Inbox, Message};
use crate::stores::ingress::Answer;
use crate::stores::intake::Intake;
use crate::stores::samples::SampleKey;
use certificate::SigningKey;
use domain::{Timestamp, TopicId};
use envelope::{Envelope, Kind};
use keyring::Keyring;
use notification::Rtn;
use sample::Samples;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use storage::{Handling, Platform, Recipient, Store};
use topic::{Arn, TopicAction, TopicStatus};

/// Name of Amazon as a platform's store.
pub const STORE: &str = "amazon";

/// Amazon's entry in the list of stores.
pub const ENTRY: StoreEntry = StoreEntry {
    name: STORE,
    title: "Amazon",
    purchase_id: "Receipt id",
    since: "0.1.0",
    form: form::form,
    own_fields: None,
    check_package: None,
    credential_flags: "--shared-secret @FILE",
    max_body_bytes: envelope::MAX_BODY_BYTES,
    sales_report: Some(report::read),
    variables: config::VARIABLES,
    config: config::read,
    samples: Some(sample::SAMPLES),
    demo: Some(sample::DEMO),
};

/// Alarm about a message for another app: its kind and detail. The detail contains nothing from the message.
const FOREIGN_PACKAGE: Alarm = Alarm {
    kind: "foreign_package",
    detail: "a notification belongs to another app than the platform's: `settle notification show MESSAGE_ID` shows its \
             package name",
};

/// Age in milliseconds above which a message is logged: SNS repeats a message for an hour at most.
const OLD_MS: i64 = 3_600_000;

/// State of the ingress, shared by all requests.
pub struct Amazon {
    settings: Settings,
    keyring: Keyring,
    inbox: Inbox,
    fetch: Arc<dyn Fetch>,
    samples: Option<Samples>,
}

/// A message whose signature is verified.
#[derive(Clone, Copy)]
struct Received<'a> {
    intake: Intake<'a>,
    recipient: &'a Recipient,
    envelope: &'a Envelope<'a>,
    arn: Arn<'a>,
    topic_status: TopicStatus,
    /// Whether the sample key signed the message.
    is_sample: bool,
    /// When the request arrived.
    now: Timestamp,
}

impl Amazon {
    /// Returns an ingress that sends its requests over HTTPS. The process must have installed its TLS provider before.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn new(settings: Settings) -> Result<Self, Invalid> {
        let https = fetch::Https::new().map_err(|error| Invalid {
            field: "https".to_owned(),
            expected: format!("expected a working client: {error}"),
        })?;
        Self::with_fetch(settings, Arc::new(https))
    }

    /// Returns an ingress with a different `Fetch`, for tests.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn with_fetch(settings: Settings, fetch: Arc<dyn Fetch>) -> Result<Self, Invalid> {
        let keyring = Keyring::new(settings.keys()?, fetch.clone());
        Ok(Self {
            settings,
            keyring,
            inbox: Inbox::new(STORE),
            fetch,
            samples: None,
        })
    }

    /// Returns the ingress with samples accepted on every platform.
    ///
    /// # Errors
    /// The sample certificate is invalid.
    pub fn with_samples(self, samples: &SampleKey) -> Result<Self, Invalid> {
        Ok(Self {
            samples: Some(Samples::of(samples)?),
            ..self
        })
    }

    /// Handles one request from SNS. The response 200 means that all its notifications are durably stored.
    pub async fn receive(&self, intake: Intake<'_>, ingress_key: &str, body: &[u8]) -> Answer {
        let store = intake.store;
        let now = (self.settings.clock)();
        let recipient = match self.inbox.find(store, ingress_key, now).await {
            Ok(recipient) => recipient,
            Err(missing) => return refused(missing.into()),
        };
        match self
            .take(intake, recipient.clone(), ingress_key, body)
            .await
        {
            Ok(reason) => {
                self.inbox.count_accepted(store, &recipient, now);
                Answer {
                    status: 200,
                    reason,
                }
            }
            Err(refusal) => {
                let platform = &recipient.platform;
                self.inbox
                    .count_refused(store, platform, refusal.reason())
                    .await;
                refused(refusal)
            }
        }
    }

    /// Checks that a platform has an ingress key.
    ///
    /// # Errors
    /// The response to a message with this key.
    pub async fn check_key(&self, store: &Store, ingress_key: &str) -> Result<(), Answer> {
        let now = (self.settings.clock)();
        self.inbox.check_key(store, ingress_key, now).await
    }

    /// Confirms a subscription with a GET to its subscribe URL.
    ///
    /// # Errors
    /// `Forbidden` if the URL does not confirm a subscription at SNS; otherwise SNS failed, and may succeed later.
    pub async fn visit(&self, subscribe_url: &SecretString) -> Result<(), FetchError> {
        let url = subscribe_url.expose_secret();
        if !topic::is_subscribe_url(url) {
            return Err(FetchError::Forbidden);
        }
        self.fetch.get(url).await.map(|_| ())
    }

    async fn take(
        &self,
        intake: Intake<'_>,
        mut recipient: Arc<Recipient>,
        ingress_key: &str,
        body: &[u8],
    ) -> Result<&'static str, Refusal> {
        let now = (self.settings.clock)();
        let envelope = envelope::parse(body)?;
        let arn = Arn::parse(&envelope.topic_arn)?;
        envelope.check_time(now)?;
        certificate::check_url(&envelope.certificate_url, &arn)?;
        topic::check_link(&envelope, &arn)?;
        if let Some(samples) = self
            .samples
            .as_ref()
            .filter(|samples| samples.are_named_by(&envelope))
        {
            samples.check(&envelope, now)?;
            let (recipient, topic_status) = (&recipient, TopicStatus::Pinned);
            let received = Received {
                intake,
                recipient,
                envelope: &envelope,
                arn,
                topic_status,
                is_sample: true,
                now,
            };
            return self.accept(received, Handling::Open).await;
        }
        if arn.text == sample::TOPIC_ARN {
            return Err(sample::FOREIGN);
        }
        let mut topic_status = topic::status(&recipient.topics, arn.text);
        // The cached state is enough for notifications from pinned topics. Everything else needs the current state.
        if topic_status != TopicStatus::Pinned
            || matches!(envelope.kind, Kind::SubscriptionConfirmation(_))
        {
            recipient = self.inbox.read(intake.store, ingress_key, now).await?;
            topic_status = topic::status(&recipient.topics, arn.text);
        }
        let approval = topic::approval(
            &recipient.topics,
            &arn,
            &self.settings.auto_confirm_accounts,
        );
        let action = topic::action(&envelope, topic_status, approval)?;
        let signer = self
            .keyring
            .key(&envelope.certificate_url, arn.region, now)
            .await?;
        signature::verify(&envelope, &signer.key)?;
        let recipient = &recipient;
        let received = Received {
            intake,
            recipient,
            envelope: &envelope,
            arn,
            topic_status,
            is_sample: false,
            now,
        };
        match action {
            TopicAction::Accept => {
                log_age(&recipient.platform, &envelope, now);
                self.accept(received, Handling::Open).await
            }
            TopicAction::AcceptWaiting(topic) => self.accept_waiting(received, topic).await,
            TopicAction::Confirm => self.confirm(received).await,
            TopicAction::RequestApproval => self.request_approval(received, now).await,
            TopicAction::Unsubscribe => subscription::end(received).await,
        }
    }
}

/// Verifies a message file with a certificate file, for `settle amazon verify`. Makes all checks of the ingress, except
/// whether a platform follows the topic.
///
/// # Errors
/// The refusal, with its stable reason.
pub fn verify_file(message: &[u8], certificate_pem: &[u8], at: Timestamp) -> Result<(), Refusal> {
    let envelope = envelope::parse(message)?;
    let arn = Arn::parse(&envelope.topic_arn)?;
    certificate::check_url(&envelope.certificate_url, &arn)?;
    topic::check_link(&envelope, &arn)?;
    let signer = SigningKey::read(certificate_pem, arn.region)?;
    signer.check_dates(at)?;
    signature::verify(&envelope, &signer.key)?;
    envelope.check_time(at)
}

/// Counts and logs a refused message, and returns the response.
fn refused(refusal: Refusal) -> Answer {
    let answer = Answer {
        status: refusal.status(),
        reason: refusal.reason(),
    };
    inbox::refused(STORE, answer)
}

/// Logs a message that is older than any that SNS repeats.
fn log_age(platform: &Platform, envelope: &Envelope<'_>, now: Timestamp) {
    let age_ms = now.millis_since(envelope.at);
    if age_ms > OLD_MS {
        tracing::warn!(platform.id = %platform.id, message.id = %envelope.message_id, age_ms, "a message is older than SNS repeats");
    }
}

impl Amazon {
    /// Stores the notifications of a message, then passes them to the dispatcher. A message from a topic that may send
    /// is always stored and answered with 200, even if its content is unreadable. From a topic that awaits approval,
    /// only messages about the platform's own app are stored.
    async fn accept(
        &self,
        received: Received<'_>,
        handling: Handling,
    ) -> Result<&'static str, Refusal> {
        let Received {
            intake,
            recipient,
            envelope,
            is_sample,
            now,
            ..
        } = received;
        let (platform, settings) = (&recipient.platform, &recipient.platform.settings);
        let rtn = notification::read(&envelope.message).map(|rtn| Rtn {
            is_test: rtn.is_test || is_sample,
            ..rtn
        });
        let is_ours = rtn
            .as_ref()
            .is_ok_and(|rtn| rtn.package_name == settings.package_name);
        if !is_ours && matches!(handling, Handling::WaitTopic(_)) {
            return Err(Refusal::TopicNotAllowed(
                "topic is not approved, and the message is not of this platform's app",
            ));
        }
        let (notifications, alarm) = match rtn {
            Ok(rtn) => (
                mapping::rows(platform, envelope, &rtn, &handling, now),
                (!is_ours).then_some(FOREIGN_PACKAGE),
            ),
            Err(why) => {
                let alarm = Alarm {
                    kind: "unreadable_notification",
                    detail: why.reason,
                };
                (
                    vec![mapping::unreadable(platform, envelope, why)],
                    Some(alarm),
                )
            }
        };
        let message = Message {
            id: envelope.message_id.to_string(),
            notifications,
            alarm,
        };
        let stored = self.inbox.accept(intake, platform, message).await;
        let stored = stored.map_err(Refusal::TryAgain)?;
        for topic in stored.waiting {
            // The request that stored this message may have failed before it applied the decision about the topic.
            subscription::catch_up(received, topic).await?;
        }
        Ok(if stored.is_new {
            "accepted"
        } else {
            "accepted before"
        })
    }

    /// Stores the notifications of a topic that awaits approval. If an operator decides between the check of the topic
    /// and the insert, the decision misses these rows, so the topic is checked again after the insert.
    async fn accept_waiting(
        &self,
        received: Received<'_>,
        topic: TopicId,
    ) -> Result<&'static str, Refusal> {
        if received
            .intake
            .store
            .is_full(topic)
            .await
            .map_err(|error| storage_failed(&error))?
        {
            return Err(Refusal::TryAgain(
                "too many notifications wait for the topic's approval",
            ));
        }
        let reason = self.accept(received, Handling::WaitTopic(topic)).await?;
        subscription::catch_up(received, topic).await?;
        Ok(reason)
    }
}

/// Returns the refusal for a database error: temporary, so that SNS repeats the message.
fn storage_failed(error: &storage::Error) -> Refusal {
    Refusal::TryAgain(crate::stores::ingress::storage_failed(STORE, error))
}
