//! Signs messages as SNS does, for `settle sample` and for tests. Its certificate is self-signed, so an ingress accepts
//! the messages only if its settings name that certificate.
//!
//! On purpose, nothing is shared with `signature`: the format and order of the signed fields are written here a second
//! time, so that a mistake in `signature` makes the verification fail.

use super::envelope::Version;
use super::topic::Arn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer as Rsassa;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

/// The name in the certificates of all classic regions.
const NAME: &str = "sns.amazonaws.com";

/// A key or certificate that cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("no key and certificate to sign with (expected an RSA private key and its certificate, both PEM)")]
pub struct Unusable(#[from] ErrorStack);

/// A private key and its self-signed certificate.
pub struct Signer {
    key: PKey<Private>,
    certificate: X509,
    file_name: String,
}

/// The fields that all three types of document have.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The id of the message.
    pub message_id: Uuid,
    /// The topic that sends it.
    pub topic_arn: &'a str,
    /// When it is published, to the millisecond.
    pub at: Timestamp,
    /// The signature algorithm.
    pub version: Version,
}

/// A sample of Amazon's notification.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// `appPackageName`
    pub package_name: &'a str,
    /// `notificationType`
    pub store_type: &'a str,
    /// `appUserId`
    pub app_user_id: &'a str,
    /// `receiptId`
    pub receipt_id: &'a str,
    /// `relatedReceipts.cancelledReceiptId`
    pub cancelled_receipt_id: Option<&'a str>,
    /// `timestamp`, to the millisecond.
    pub at: Timestamp,
    /// `betaProductTransaction`
    pub is_test: bool,
}

impl Sample<'_> {
    /// The JSON of the notification, with its fields in the order of Amazon's own sample.
    #[must_use]
    pub fn message(&self) -> String {
        let related = self.cancelled_receipt_id.map_or_else(|| json!({}), |old| json!({ "cancelledReceiptId": old }));
        let fields = [
            ("appPackageName", json!(self.package_name)),
            ("notificationType", json!(self.store_type)),
            ("appUserId", json!(self.app_user_id)),
            ("receiptId", json!(self.receipt_id)),
            ("relatedReceipts", related),
            ("timestamp", json!(self.at.micros().div_euclid(1000))),
            ("betaProductTransaction", json!(self.is_test)),
        ];
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        format!("{{{}}}", pairs.join(","))
    }
}

impl Signer {
    /// A new key of 2048 bits and a certificate that is valid between two instants.
    ///
    /// # Errors
    /// OpenSSL cannot create one.
    pub fn generate(not_before: Timestamp, not_after: Timestamp) -> Result<Self, Unusable> {
        Self::with_names(2048, &[NAME], not_before, not_after)
    }

    /// A key of `bits` and a certificate with these names; the first is the common name.
    pub(super) fn with_names(bits: u32, names: &[&str], from: Timestamp, until: Timestamp) -> Result<Self, Unusable> {
        let key = PKey::from_rsa(Rsa::generate(bits)?)?;
        let certificate = certificate(&key, names, from, until)?;
        Self::of(key, certificate)
    }

    /// Reads a key and its certificate from PEM.
    ///
    /// # Errors
    /// They are not PEM, or do not belong together.
    pub fn load(key_pem: &[u8], certificate_pem: &[u8]) -> Result<Self, Unusable> {
        let key = PKey::private_key_from_pem(key_pem)?;
        let certificate = X509::from_pem(certificate_pem)?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(Unusable(ErrorStack::get()));
        }
        Self::of(key, certificate)
    }

    fn of(key: PKey<Private>, certificate: X509) -> Result<Self, Unusable> {
        let digest = certificate.digest(MessageDigest::sha256())?;
        let file_name = format!("SimpleNotificationService-{}.pem", storage::hex(&digest[..16]));
        Ok(Self { key, certificate, file_name })
    }

    /// The private key as PEM, to store it between runs.
    ///
    /// # Errors
    /// OpenSSL does not write it.
    pub fn key_pem(&self) -> Result<Vec<u8>, Unusable> {
        Ok(self.key.private_key_to_pem_pkcs8()?)
    }

    /// The certificate as PEM, for the settings.
    ///
    /// # Errors
    /// OpenSSL does not write it.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, Unusable> {
        Ok(self.certificate.to_pem()?)
    }

    /// The certificate's URL in a region. Its file name contains the first half of the certificate's SHA-256.
    #[must_use]
    pub fn certificate_url(&self, region: &str) -> String {
        format!("https://sns.{region}.amazonaws.com/{}", self.file_name)
    }

    /// A signed notification.
    ///
    /// # Errors
    /// OpenSSL does not sign.
    pub fn sign_notification(
        &self,
        header: &Header<'_>,
        subject: Option<&str>,
        message: &str,
    ) -> Result<String, Unusable> {
        let (id, time, arn) = (header.message_id.to_string(), header.timestamp(), header.topic_arn);
        let mut fields = vec![("Type", "Notification"), ("MessageId", &*id), ("TopicArn", arn)];
        fields.extend(subject.map(|subject| ("Subject", subject)));
        fields.extend([("Message", message), ("Timestamp", &*time)]);
        let host = header.host();
        let unsubscribe = format!("https://{host}/?Action=Unsubscribe&SubscriptionArn={arn}:{id}");
        self.document(header, &fields, Some(("UnsubscribeURL", &unsubscribe)))
    }

    /// A signed SubscriptionConfirmation.
    ///
    /// # Errors
    /// OpenSSL does not sign.
    pub fn sign_subscription(&self, header: &Header<'_>, token: &str) -> Result<String, Unusable> {
        let message = format!(
            "You have chosen to subscribe to the topic {}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
            header.topic_arn
        );
        self.sign_link(header, &LinkDocument { kind: "SubscriptionConfirmation", token, message: &message })
    }

    /// A signed UnsubscribeConfirmation.
    ///
    /// # Errors
    /// OpenSSL does not sign.
    pub fn sign_unsubscription(&self, header: &Header<'_>, token: &str) -> Result<String, Unusable> {
        let message = format!(
            "You have chosen to deactivate subscription {}:{}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
            header.topic_arn, header.message_id
        );
        self.sign_link(header, &LinkDocument { kind: "UnsubscribeConfirmation", token, message: &message })
    }

    fn sign_link(&self, header: &Header<'_>, document: &LinkDocument<'_>) -> Result<String, Unusable> {
        let LinkDocument { kind, token, message } = *document;
        let (id, time, arn) = (header.message_id.to_string(), header.timestamp(), header.topic_arn);
        let url = format!("https://{}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}", header.host());
        let fields = [
            ("Type", kind),
            ("MessageId", &*id),
            ("Token", token),
            ("TopicArn", arn),
            ("Message", message),
            ("SubscribeURL", &*url),
            ("Timestamp", &*time),
        ];
        self.document(header, &fields, None)
    }

    /// A document with these fields and their signature. The fields are signed in the alphabetical order of their
    /// names. The field `last` is not signed and stands at the end.
    fn document(&self, header: &Header<'_>, fields: &[Field<'_>], last: Option<Field<'_>>) -> Result<String, Unusable> {
        let mut signed = fields.to_vec();
        signed.sort_unstable();
        let text: String = signed.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect();
        let signature = self.sign(&text, header.version)?;
        let url = self.certificate_url(header.region());
        let version = match header.version {
            Version::One => "1",
            Version::Two => "2",
        };
        let proof = [("SignatureVersion", version), ("Signature", &*signature), ("SigningCertURL", &*url)];
        let all = fields.iter().copied().chain(proof).chain(last);
        let lines: Vec<String> = all.map(|(name, value)| format!("  \"{name}\" : {}", Value::from(value))).collect();
        Ok(format!("{{\n{}\n}}", lines.join(",\n")))
    }

    /// The signature of a text, as base64.
    ///
    /// # Errors
    /// OpenSSL does not sign.
    pub fn sign(&self, text: &str, version: Version) -> Result<String, Unusable> {
        let digest = match version {
            Version::One => MessageDigest::sha1(),
            Version::Two => MessageDigest::sha256(),
        };
        let mut signer = Rsassa::new(digest, &self.key)?;
        Ok(STANDARD.encode(signer.sign_oneshot_to_vec(text.as_bytes())?))
    }
}

/// The fields of a document with a subscribe URL.
struct LinkDocument<'a> {
    kind: &'a str,
    token: &'a str,
    message: &'a str,
}

/// Name and value of a field.
type Field<'a> = (&'a str, &'a str);

impl Header<'_> {
    fn region(&self) -> &str {
        Arn::read(self.topic_arn).map_or("us-east-1", |arn| arn.region)
    }

    fn host(&self) -> String {
        format!("sns.{}.amazonaws.com", self.region())
    }

    /// The time as SNS writes it, with milliseconds.
    fn timestamp(&self) -> String {
        let mut timestamp = self.at.to_string();
        timestamp.truncate("2026-01-31T12:00:00.000".len());
        timestamp + "Z"
    }
}

fn certificate(key: &PKey<Private>, names: &[&str], from: Timestamp, until: Timestamp) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", names.first().copied().unwrap_or(NAME))?;
    let name = name.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(&*Asn1Time::from_unix(from.micros().div_euclid(1_000_000))?)?;
    builder.set_not_after(&*Asn1Time::from_unix(until.micros().div_euclid(1_000_000))?)?;
    builder.set_pubkey(key)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        alternatives.dns(name);
    }
    let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(alternatives)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
