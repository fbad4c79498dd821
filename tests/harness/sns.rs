//! Amazon as our service sees it: signed SNS messages around Real-Time Notifications.

use api::clock;
use api::stores::amazon::envelope::Version;
use api::stores::amazon::signer::{Header, Sample, Signer};
use domain::Timestamp;
use std::path::Path;
use uuid::Uuid;

/// The region of the topic.
pub const REGION: &str = "us-east-1";
/// The topic that platforms of the tests are made with.
pub const TOPIC: &str = "arn:aws:sns:us-east-1:033616359524:settle-tests";
/// The app's package name.
pub const PACKAGE: &str = "com.example.settle";

const DAY_MICROS: i64 = 86_400_000_000;

/// A signer with its certificate, which services trust by a setting.
pub struct Sns {
    signer: Signer,
}

/// A notification to be sent.
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
    /// A notification of this kind about this receipt, as of now, of one user.
    #[must_use]
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

    /// This notification, `millis` milliseconds later in the store's time.
    #[must_use]
    pub fn later(mut self, millis: i64) -> Self {
        self.at = Timestamp::from_micros(self.at.micros() + millis * 1000);
        self
    }

    /// The inner message.
    #[must_use]
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

/// A signed message, ready to be posted as often as wanted.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its `MessageId`.
    pub id: String,
    /// The body of the request.
    pub body: String,
}

impl Sns {
    /// A new key and certificate, valid since yesterday and for some years: tests move the clock.
    ///
    /// # Panics
    /// When OpenSSL makes none.
    #[must_use]
    pub fn new() -> Self {
        let at = |days: i64| Timestamp::from_micros(clock::now().micros() + days * DAY_MICROS);
        Self { signer: Signer::generate(at(-1), at(1_500)).expect("a key and a certificate") }
    }

    /// The URL that messages name the certificate by.
    #[must_use]
    pub fn certificate_url(&self) -> String {
        self.signer.certificate_url(REGION)
    }

    /// Writes the certificate as PEM.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_certificate(&self, file: &Path) {
        std::fs::write(file, self.signer.certificate_pem().expect("a certificate")).expect("the certificate's file");
    }

    /// A notification in a message of its own, signed in version 1.
    #[must_use]
    pub fn notification(&self, rtn: &Rtn) -> Message {
        self.message(TOPIC, &rtn.message())
    }

    /// Any text in a signed notification of any topic.
    ///
    /// # Panics
    /// When OpenSSL does not sign.
    #[must_use]
    pub fn message(&self, topic_arn: &str, text: &str) -> Message {
        let message_id = clock::random_uuid();
        let signed = self.signer.sign_notification(&letter(message_id, topic_arn), None, text);
        Message { id: message_id.to_string(), body: signed.expect("a signed message") }
    }

    /// A topic's question whether it may send.
    ///
    /// # Panics
    /// When OpenSSL does not sign.
    #[must_use]
    pub fn subscription(&self, topic_arn: &str, token: &str) -> Message {
        let message_id = clock::random_uuid();
        let signed = self.signer.sign_subscription(&letter(message_id, topic_arn), token);
        Message { id: message_id.to_string(), body: signed.expect("a signed message") }
    }
}

impl Default for Sns {
    fn default() -> Self {
        Self::new()
    }
}

fn letter(message_id: Uuid, topic_arn: &str) -> Header<'_> {
    Header { message_id, topic_arn, at: clock::now(), version: Version::One }
}
