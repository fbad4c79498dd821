//! A fake of Amazon SNS: signed messages with Real-Time Notifications.

use api::clock;
use api::stores::amazon::envelope::Version;
use api::stores::amazon::signer::{Header, Sample, Signer};
use domain::Timestamp;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

pub const REGION: &str = "us-east-1";
/// The topic of the tests' platforms.
pub const TOPIC: &str = "arn:aws:sns:us-east-1:033616359524:settle-tests";
pub const PACKAGE: &str = "com.example.settle";

const DAY_MICROS: i64 = 86_400_000_000;

/// A signer with its certificate, which a setting makes the processes trust.
#[derive(Clone)]
pub struct Sns {
    signer: Arc<Signer>,
}

#[derive(Debug, Clone)]
pub struct Rtn {
    /// `notificationType`
    pub kind: String,
    /// `receiptId`
    pub receipt_id: String,
    /// `appUserId`
    pub app_user_id: String,
    /// `appPackageName`
    pub package_name: String,
    /// `timestamp`
    pub at: Timestamp,
    /// `relatedReceipts.cancelledReceiptId`
    pub cancelled_receipt_id: Option<String>,
    /// `betaProductTransaction`
    pub is_test: bool,
}

impl Rtn {
    /// Returns a notification of this type about this receipt, with the current time and a fixed user.
    pub fn new(kind: &str, receipt_id: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            receipt_id: receipt_id.to_owned(),
            app_user_id: "amzn1.account.TESTS".to_owned(),
            package_name: PACKAGE.to_owned(),
            at: clock::now(),
            cancelled_receipt_id: None,
            is_test: false,
        }
    }

    /// Returns this notification with a store time that is `millis` milliseconds later.
    #[must_use]
    pub fn later(mut self, millis: i64) -> Self {
        self.at = Timestamp::from_micros(self.at.micros() + millis * 1000);
        self
    }

    /// Returns the notification's JSON, as it appears inside an SNS message.
    pub fn message(&self) -> String {
        let sample = Sample {
            package_name: &self.package_name,
            store_type: &self.kind,
            app_user_id: &self.app_user_id,
            receipt_id: &self.receipt_id,
            cancelled_receipt_id: self.cancelled_receipt_id.as_deref(),
            at: self.at,
            is_test: self.is_test,
        };
        sample.message()
    }
}

/// A signed message, which can be posted repeatedly.
#[derive(Debug, Clone)]
pub struct Message {
    /// `MessageId` of the message.
    pub id: String,
    pub body: String,
}

fn generate() -> Arc<Signer> {
    let at = |days: i64| Timestamp::from_micros(clock::now().micros() + days * DAY_MICROS);
    Arc::new(Signer::generate(at(-1), at(1_500)).expect("a key and a certificate"))
}

impl Sns {
    /// Returns the key and certificate of this process, valid from yesterday for 1,500 days, because tests move the
    /// clock.
    ///
    /// # Panics
    /// When they cannot be created.
    pub fn new() -> Self {
        static SIGNER: LazyLock<Arc<Signer>> = LazyLock::new(generate);
        Self {
            signer: Arc::clone(&SIGNER),
        }
    }

    /// Returns another key and certificate of this process, which no setting makes trusted.
    ///
    /// # Panics
    /// When they cannot be created.
    pub fn of_samples() -> Self {
        static SIGNER: LazyLock<Arc<Signer>> = LazyLock::new(generate);
        Self {
            signer: Arc::clone(&SIGNER),
        }
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Returns the URL of the certificate in the messages.
    pub fn certificate_url(&self) -> String {
        self.signer.certificate_url(REGION)
    }

    /// Writes the certificate as PEM.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_certificate(&self, file: &Path) {
        std::fs::write(file, self.signer.certificate_pem().expect("a certificate"))
            .expect("the certificate's file");
    }

    /// Writes the key as PEM, readable by its owner only.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_key(&self, file: &Path) {
        std::fs::write(file, self.signer.key_pem().expect("a key")).expect("the key's file");
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600))
            .expect("the mode of the key's file");
    }

    /// Returns a notification in a new message of [`TOPIC`], with signature version 1.
    pub fn notification(&self, rtn: &Rtn) -> Message {
        self.message(TOPIC, &rtn.message())
    }

    /// Returns a new signed message with this text, of this topic.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn message(&self, topic_arn: &str, text: &str) -> Message {
        let message_id = clock::random_uuid();
        let signed = self
            .signer
            .sign_notification(&header(message_id, topic_arn), None, text);
        Message {
            id: message_id.to_string(),
            body: signed.expect("a signed message"),
        }
    }

    /// Returns a signed subscription confirmation request of a topic.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn subscription(&self, topic_arn: &str, token: &str) -> Message {
        let message_id = clock::random_uuid();
        let signed = self
            .signer
            .sign_subscription(&header(message_id, topic_arn), token);
        Message {
            id: message_id.to_string(),
            body: signed.expect("a signed message"),
        }
    }
}

impl Default for Sns {
    fn default() -> Self {
        Self::new()
    }
}

fn header(message_id: Uuid, topic_arn: &str) -> Header<'_> {
    Header {
        message_id,
        topic_arn,
        at: clock::now(),
        version: Version::One,
    }
}
