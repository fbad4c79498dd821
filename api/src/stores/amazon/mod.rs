//! The ingress of the Amazon Appstore: Real-Time Notifications, which arrive through SNS over HTTPS.
//!
//! envelope → topic → certificate → signature → notification → mapping → inbox. Only this file, `subscription`,
//! `recipient`, `keyring` and `fetch` do I/O; `settings` reads files at the start; all others are pure. Nothing is
//! stored before the signature is verified, and no certificate is fetched for a topic that may not send here.

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
mod recipient;
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
use crate::stores::ingress::{Answer, Intake};
use crate::stores::samples::SampleKey;
use certificate::SigningKey;
use domain::time::millis;
use domain::{PlatformId, Timestamp, TopicId};
use envelope::{Envelope, Kind};
use keyring::Keyring;
use metrics::counter;
use notification::Rtn;
use recipient::Recipients;
use sample::Samples;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::{
    Accepted, Counted, Fate, NewNotification, Open, Platform, Recipient, Series, Store, chain,
};
use tokio::time::Instant;
use topic::{Arn, Course, TopicStatus};
use traces::{Span, SpanKind};

/// This store's name on a platform.
pub const STORE: &str = "amazon";

/// This store in the list of stores.
pub const ENTRY: StoreEntry = StoreEntry {
    name: STORE,
    title: "Amazon",
    since: "0.1.0",
    form: form::form,
    own_fields: None,
    max_body_bytes: envelope::MAX_BODY_BYTES,
    sales_report: Some(report::read),
    variables: config::VARIABLES,
    config: config::read,
    demo: Some(sample::DEMO),
};

/// The alarm about a message of another app: its kind and detail. The detail has nothing that the sender wrote.
const FOREIGN_PACKAGE: (&str, &str) = (
    "foreign_package",
    "a notification belongs to another app than the platform's: `settle notification show MESSAGE_ID` shows its \
     package name",
);

/// The alarm about messages that the database refuses for good, and how long this process does not raise it again.
const NOT_STORED: (&str, &str) = (
    "accepting_fails",
    "the database refuses the notifications of this platform, and its store repeats each for an hour at most: the log of \
     `serve` says why, and what to do",
);
const NOT_STORED_FOR: Duration = Duration::from_secs(60);
/// Why such a message is not accepted.
const REFUSED_BY_DATABASE: &str = "the database refuses the message";

/// The reason in the counts of what a platform's store sent, of a message that was accepted.
const ACCEPTED: &str = "";

/// A message that is older than this is logged: SNS repeats a message for an hour at most.
const OLD_MS: i64 = 3_600_000;

/// The state of the ingress. Shared by all requests.
pub struct Amazon {
    settings: Settings,
    keyring: Keyring,
    recipients: Recipients,
    fetch: Arc<dyn Fetch>,
    samples: Option<Samples>,
    /// When [`NOT_STORED`] was raised last.
    not_stored_at: Mutex<Option<Instant>>,
}

/// One message whose signature is verified.
#[derive(Clone, Copy)]
struct Received<'a> {
    intake: Intake<'a>,
    recipient: &'a Recipient,
    envelope: &'a Envelope<'a>,
    arn: Arn<'a>,
    topic_status: TopicStatus,
    /// Whether the key of samples signed it.
    is_sample: bool,
    /// The time of the request.
    now: Timestamp,
}

impl Amazon {
    /// An ingress that sends over HTTPS. The process must have installed its TLS provider before.
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

    /// An ingress with another `Fetch`, for tests.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn with_fetch(settings: Settings, fetch: Arc<dyn Fetch>) -> Result<Self, Invalid> {
        let keyring = Keyring::new(settings.keys()?, fetch.clone());
        Ok(Self {
            settings,
            keyring,
            recipients: Recipients::default(),
            fetch,
            samples: None,
            not_stored_at: Mutex::default(),
        })
    }

    /// The ingress that also accepts samples, on every platform.
    ///
    /// # Errors
    /// The certificate of samples is invalid.
    pub fn with_samples(self, samples: &SampleKey) -> Result<Self, Invalid> {
        Ok(Self {
            samples: Some(Samples::of(samples)?),
            ..self
        })
    }

    /// Whether the alarm that messages are not stored is raised now.
    fn raises_not_stored(&self, now: Instant) -> bool {
        let mut raised_at = self
            .not_stored_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = raised_at.is_none_or(|at| now.duration_since(at) >= NOT_STORED_FOR);
        if is_due {
            *raised_at = Some(now);
        }
        is_due
    }

    /// Receives one request of SNS. The answer 200 means that all its notifications are durably stored.
    pub async fn receive(&self, intake: Intake<'_>, ingress_key: &str, body: &[u8]) -> Answer {
        let store = intake.store;
        let recipient = match self
            .recipients
            .find(store, ingress_key, (self.settings.clock)())
            .await
        {
            Ok(recipient) => recipient,
            Err(refusal) => return refused(refusal),
        };
        let platform = &recipient.platform;
        match self
            .take(intake, recipient.clone(), ingress_key, body)
            .await
        {
            Ok(reason) => {
                store.count_arrival(platform.id, ACCEPTED);
                if recipient.ends_at.is_some() {
                    self.recipients
                        .note_old_key_used(store, platform.id, (self.settings.clock)());
                }
                Answer {
                    status: 200,
                    reason,
                }
            }
            Err(refusal) => {
                store.count_arrival(platform.id, refusal.reason());
                if refusal.reason() == REFUSED_BY_DATABASE && self.raises_not_stored(Instant::now())
                {
                    raise(store, platform.id, NOT_STORED.0, NOT_STORED.1).await;
                }
                store.count(Series::Refused, platform.app_id);
                refused(refusal)
            }
        }
    }

    /// Checks that a platform has an ingress key.
    ///
    /// # Errors
    /// The answer to a message with this key.
    pub async fn check_key(&self, store: &Store, ingress_key: &str) -> Result<(), Answer> {
        let now = (self.settings.clock)();
        self.recipients
            .find(store, ingress_key, now)
            .await
            .map(drop)
            .map_err(|refusal| {
                store.count(Series::Refused, Counted::default());
                refused(refusal)
            })
    }

    /// Confirms a subscription: sends a GET to its subscribe URL.
    ///
    /// # Errors
    /// `Forbidden` when the URL does not confirm a subscription at SNS; otherwise SNS failed, and may succeed later.
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
            return accept(received, Fate::Open).await;
        }
        if arn.text == sample::TOPIC_ARN {
            return Err(sample::FOREIGN);
        }
        let mut topic_status = topic::status(&recipient.topics, arn.text);
        // The cached state is enough for notifications of pinned topics. Everything else needs the current state.
        if topic_status != TopicStatus::Pinned
            || matches!(envelope.kind, Kind::SubscriptionConfirmation(_))
        {
            recipient = self.recipients.read(intake.store, ingress_key, now).await?;
            topic_status = topic::status(&recipient.topics, arn.text);
        }
        let approval = topic::approval(
            &recipient.topics,
            &arn,
            &self.settings.auto_confirm_accounts,
        );
        let course = topic::course(&envelope, topic_status, approval)?;
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
        match course {
            Course::Accept => {
                log_age(&recipient.platform, &envelope, now);
                accept(received, Fate::Open).await
            }
            Course::AcceptWaiting(topic) => accept_waiting(received, topic).await,
            Course::Confirm => self.confirm(received).await,
            Course::RequestApproval => self.request_approval(received, now).await,
            Course::Unsubscribe => subscription::end(received).await,
        }
    }
}

/// Verifies a message from a file with a certificate from a file, for `settle amazon verify`. It makes all checks of
/// the ingress, except whether a platform follows the topic.
///
/// # Errors
/// The refusal with its stable reason.
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

/// Counts and logs a refusal, and returns its answer. Anybody can cause an unknown key, as often as they like.
fn refused(refusal: Refusal) -> Answer {
    let (status, reason) = (refusal.status(), refusal.reason());
    counter!("settle_notifications_refused_total", "reason" => reason).increment(1);
    match refusal {
        Refusal::UnknownIngress | Refusal::MissingKey => {
            tracing::debug!(
                status,
                reason,
                "a message to the Amazon ingress was refused"
            );
        }
        _ => tracing::info!(
            status,
            reason,
            "a message to the Amazon ingress was refused"
        ),
    }
    Answer { status, reason }
}

/// Logs a message that is older than SNS repeats.
fn log_age(platform: &Platform, envelope: &Envelope<'_>, now: Timestamp) {
    let age_ms = now.millis_since(envelope.at);
    if age_ms > OLD_MS {
        tracing::warn!(platform.id = %platform.id, message.id = %envelope.message_id, age_ms, "a message is older than SNS repeats");
    }
}

/// Stores the notifications of a message, then passes them to the dispatcher. Every message of a topic that may send is
/// stored and answered 200, even if its content cannot be read. Of a topic that waits for approval, only messages about
/// the platform's own app are stored.
async fn accept(received: Received<'_>, fate: Fate) -> Result<&'static str, Refusal> {
    let Received {
        intake: Intake { store, dispatch },
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
    if !is_ours && matches!(fate, Fate::WaitTopic(_)) {
        return Err(Refusal::TopicNotAllowed(
            "topic is not approved, and the message is not of this platform's app",
        ));
    }
    let (mut rows, alarm) = match rtn {
        Ok(rtn) => (
            mapping::rows(platform, envelope, &rtn, &fate, now),
            (!is_ours).then_some(FOREIGN_PACKAGE),
        ),
        Err(why) => {
            let alarm = ("unreadable_notification", why.reason);
            (
                vec![mapping::unreadable(platform, envelope, why)],
                Some(alarm),
            )
        }
    };
    let fates: Vec<_> = rows
        .iter()
        .map(|row| (row.collapse_key, row.fate.clone()))
        .collect();
    let trace = traces::current();
    traces::annotate("messaging.message.id", || envelope.message_id.to_string());
    for row in &mut rows {
        row.traceparent = trace.map(|trace| trace.to_string());
    }
    fail::fail_point!("accept.acknowledge_early", |_| {
        let (store, rows) = (store.clone(), rows.clone());
        tokio::spawn(async move { store.accept(rows).await });
        Ok("accepted")
    });
    let accepted_rows = insert(received, rows).await?;
    let mut is_new = false;
    for (accepted, row) in accepted_rows.into_iter().zip(fates) {
        match accepted {
            Accepted::New { seq } => {
                is_new = true;
                count_accepted(store, platform);
                match row {
                    (Some(key), Fate::Open) => {
                        dispatch.notify(key, seq, settings.window_ms, settings.max_wait_ms)
                    }
                    (Some(key), Fate::AtOnce) => dispatch.flush(key, seq),
                    _ => {}
                }
            }
            Accepted::Repeated { open } => {
                counter!("settle_notifications_duplicate_total").increment(1);
                if let Some(Open {
                    seq,
                    collapse_key,
                    quiet,
                    cap,
                    ..
                }) = open
                {
                    dispatch.notify_again(collapse_key, seq, millis(quiet), cap.map(millis));
                }
            }
            Accepted::Waiting { topic } => {
                counter!("settle_notifications_duplicate_total").increment(1);
                // The request that stored it may have died before it saw the decision about its topic.
                subscription::catch_up(received, topic).await?;
            }
            Accepted::Duplicate { .. } => {
                counter!("settle_notifications_duplicate_total").increment(1);
            }
        }
    }
    if let (Some((kind, detail)), true) = (alarm, is_new) {
        tracing::info!(message.id = %envelope.message_id, alarm.kind = kind, "a message gave cause for an alarm");
        raise(store, platform.id, kind, detail).await;
    }
    Ok(if is_new {
        "accepted"
    } else {
        "accepted before"
    })
}

fn count_accepted(store: &Store, platform: &Platform) {
    counter!("settle_notifications_accepted_total").increment(1);
    store.count(Series::Accepted, platform.app_id);
}

/// Inserts the rows, in a span of its own.
async fn insert(
    received: Received<'_>,
    rows: Vec<NewNotification>,
) -> Result<Vec<Accepted>, Refusal> {
    let store = received.intake.store;
    let span = Span::child("INSERT notifications", SpanKind::Client);
    span.set("db.system.name", store.system());
    span.set("db.operation.name", "INSERT");
    span.set("db.collection.name", "notifications");
    span.describe(|span| {
        span.set(
            "db.operation.batch.size",
            i64::try_from(rows.len()).unwrap_or(i64::MAX),
        );
    });
    let accepted = span.within(store.accept(rows)).await;
    accepted.map_err(|error| {
        span.fail("storage");
        storage_failed(&error)
    })
}

/// Stores the notifications of a topic that waits for approval. An admin may decide between the check of the topic and
/// the insert, and that decision would miss these rows. So the topic is checked again after the insert.
async fn accept_waiting(received: Received<'_>, topic: TopicId) -> Result<&'static str, Refusal> {
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
    let reason = accept(received, Fate::WaitTopic(topic)).await?;
    subscription::catch_up(received, topic).await?;
    Ok(reason)
}

/// Raises an alarm. A failure to store it is only logged, because the message itself is already stored.
async fn raise(store: &Store, platform: PlatformId, kind: &'static str, detail: &str) {
    tracing::warn!(alarm.kind = kind, platform.id = %platform, detail, "an alarm was raised");
    if let Err(error) = store.alarm(Some(platform), kind, detail).await {
        tracing::error!(error = chain(&error), alarm.kind = kind, platform.id = %platform, "an alarm could not be stored");
    }
}

/// The refusal for an error of the database: temporary, so SNS repeats the message.
fn storage_failed(error: &storage::Error) -> Refusal {
    tracing::error!(error = chain(error), "storage failed at the Amazon ingress");
    Refusal::TryAgain(match () {
        () if error.is_of_full_disk() => "the disk of the database is full",
        () if error.is_permanent() => REFUSED_BY_DATABASE,
        () => "storage is not available",
    })
}
