//! Signs messages in the way SNS does, for `settle sample` and for tests. The certificate is self-signed, so an ingress
//! accepts the messages only if its settings name that certificate.
//!
//! Shares no code with `signature` on purpose: the format and order of the signed fields are written a second time
//! here, so that a mistake in `signature` makes the verification fail.

use super::envelope::Version;
use super::topic::Arn;
use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use protocols::stores::Mint;
use ring::digest::{SHA256, digest};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::{Signature, SigningKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::OsRng;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer as Rsassa};
use serde_json::{Value, json};
use sha1::Sha1;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::builder::{Builder, CertificateBuilder, Profile};
use x509_cert::der::asn1::{GeneralizedTime, Ia5String, UtcTime};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, DecodePem, Encode, EncodePem};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

/// Name in the certificates of all classic regions.
const NAME: &str = "sns.amazonaws.com";

/// A key or certificate that cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error(
    "no key and certificate to sign with (expected an RSA private key and its certificate, both PEM)"
)]
pub struct Unusable(#[source] Box<dyn Error + Send + Sync>);

fn unusable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Unusable {
    Unusable(cause.into())
}

/// A private key and its self-signed certificate.
pub struct Signer {
    key: RsaPrivateKey,
    certificate: Certificate,
    file_name: String,
}

/// Fields that all three types of document have.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    pub message_id: Uuid,
    pub topic_arn: &'a str,
    /// When the message is published, to the millisecond.
    pub at: Timestamp,
    pub version: Version,
}

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
    /// Returns the notification as JSON, with the fields in the order of Amazon's own sample.
    pub fn message(&self) -> String {
        let related = self
            .cancelled_receipt_id
            .map_or_else(|| json!({}), |old| json!({ "cancelledReceiptId": old }));
        let fields = [
            ("appPackageName", json!(self.package_name)),
            ("notificationType", json!(self.store_type)),
            ("appUserId", json!(self.app_user_id)),
            ("receiptId", json!(self.receipt_id)),
            ("relatedReceipts", related),
            ("timestamp", json!(self.at.micros().div_euclid(1000))),
            ("betaProductTransaction", json!(self.is_test)),
        ];
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        format!("{{{}}}", pairs.join(","))
    }
}

impl Signer {
    /// Creates a 2048-bit key and a certificate that is valid between two instants.
    ///
    /// # Errors
    /// The key or certificate cannot be created.
    pub fn generate(not_before: Timestamp, not_after: Timestamp) -> Result<Self, Unusable> {
        Self::with_names(2048, &[NAME], not_before, not_after)
    }

    /// Creates a key of `bits` and a certificate with these names; the first is the common name.
    pub(super) fn with_names(
        bits: usize,
        names: &[&str],
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Self, Unusable> {
        let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(unusable)?;
        let validity = time(from).and_then(|from| {
            Ok(Validity {
                not_before: from,
                not_after: time(until)?,
            })
        });
        let certificate = certificate(&key, names, validity.map_err(unusable)?)?;
        Self::of(key, certificate)
    }

    /// Reads a key and its certificate from PEM.
    ///
    /// # Errors
    /// One of them is not PEM, or they do not belong together.
    pub fn load(key_pem: &[u8], certificate_pem: &[u8]) -> Result<Self, Unusable> {
        let key = RsaPrivateKey::from_pkcs8_pem(std::str::from_utf8(key_pem).map_err(unusable)?)
            .map_err(unusable)?;
        let certificate = Certificate::from_pem(certificate_pem).map_err(unusable)?;
        if certificate.tbs_certificate.subject_public_key_info != public_key(&key)? {
            return Err(unusable("the certificate belongs to another key"));
        }
        Self::of(key, certificate)
    }

    fn of(key: RsaPrivateKey, certificate: Certificate) -> Result<Self, Unusable> {
        let digest = digest(&SHA256, &certificate.to_der().map_err(unusable)?);
        let file_name = format!(
            "SimpleNotificationService-{}.pem",
            storage::hex(&digest.as_ref()[..16])
        );
        Ok(Self {
            key,
            certificate,
            file_name,
        })
    }

    /// Returns the private key as PEM, to store it between runs.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn key_pem(&self) -> Result<Vec<u8>, Unusable> {
        Ok(self
            .key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(unusable)?
            .as_bytes()
            .to_vec())
    }

    /// Returns a mint of receipt ids for samples.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn mint(&self) -> Result<Mint, Unusable> {
        Ok(Mint::new(
            self.key.to_pkcs8_der().map_err(unusable)?.as_bytes(),
        ))
    }

    /// Returns the certificate as PEM, as the settings expect it.
    ///
    /// # Errors
    /// The certificate cannot be encoded.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, Unusable> {
        Ok(self
            .certificate
            .to_pem(LineEnding::LF)
            .map_err(unusable)?
            .into_bytes())
    }

    /// Returns the certificate's URL in a region. The file name contains the first half of the certificate's SHA-256.
    pub fn certificate_url(&self, region: &str) -> String {
        format!("https://sns.{region}.amazonaws.com/{}", self.file_name)
    }

    /// Returns a signed notification.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_notification(
        &self,
        header: &Header<'_>,
        subject: Option<&str>,
        message: &str,
    ) -> Result<String, Unusable> {
        let (id, time, arn) = (
            header.message_id.to_string(),
            header.timestamp(),
            header.topic_arn,
        );
        let mut fields = vec![
            ("Type", "Notification"),
            ("MessageId", &*id),
            ("TopicArn", arn),
        ];
        fields.extend(subject.map(|subject| ("Subject", subject)));
        fields.extend([("Message", message), ("Timestamp", &*time)]);
        let host = header.host();
        let unsubscribe = format!("https://{host}/?Action=Unsubscribe&SubscriptionArn={arn}:{id}");
        self.document(header, &fields, Some(("UnsubscribeURL", &unsubscribe)))
    }

    /// Returns a signed SubscriptionConfirmation.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_subscription(&self, header: &Header<'_>, token: &str) -> Result<String, Unusable> {
        let message = format!(
            "You have chosen to subscribe to the topic {}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
            header.topic_arn
        );
        self.sign_link(
            header,
            &LinkDocument {
                kind: "SubscriptionConfirmation",
                token,
                message: &message,
            },
        )
    }

    /// Returns a signed UnsubscribeConfirmation.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_unsubscription(
        &self,
        header: &Header<'_>,
        token: &str,
    ) -> Result<String, Unusable> {
        let message = format!(
            "You have chosen to deactivate subscription {}:{}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
            header.topic_arn, header.message_id
        );
        self.sign_link(
            header,
            &LinkDocument {
                kind: "UnsubscribeConfirmation",
                token,
                message: &message,
            },
        )
    }

    fn sign_link(
        &self,
        header: &Header<'_>,
        document: &LinkDocument<'_>,
    ) -> Result<String, Unusable> {
        let LinkDocument {
            kind,
            token,
            message,
        } = *document;
        let (id, time, arn) = (
            header.message_id.to_string(),
            header.timestamp(),
            header.topic_arn,
        );
        let url = format!(
            "https://{}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}",
            header.host()
        );
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

    /// Returns a document with these fields and their signature, which covers the fields in alphabetical order of their
    /// names. The field `last` is not signed and comes at the end.
    fn document(
        &self,
        header: &Header<'_>,
        fields: &[Field<'_>],
        last: Option<Field<'_>>,
    ) -> Result<String, Unusable> {
        let mut signed = fields.to_vec();
        signed.sort_unstable();
        let text: String = signed
            .iter()
            .map(|(name, value)| format!("{name}\n{value}\n"))
            .collect();
        let signature = self.sign(&text, header.version)?;
        let url = self.certificate_url(header.region());
        let version = match header.version {
            Version::One => "1",
            Version::Two => "2",
        };
        let proof = [
            ("SignatureVersion", version),
            ("Signature", &*signature),
            ("SigningCertURL", &*url),
        ];
        let all = fields.iter().copied().chain(proof).chain(last);
        let lines: Vec<String> = all
            .map(|(name, value)| format!("  \"{name}\" : {}", Value::from(value)))
            .collect();
        Ok(format!("{{\n{}\n}}", lines.join(",\n")))
    }

    /// Returns the signature of a text, as base64.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, text: &str, version: Version) -> Result<String, Unusable> {
        let signature = match version {
            Version::One => SigningKey::<Sha1>::new(self.key.clone()).try_sign(text.as_bytes()),
            Version::Two => SigningKey::<Sha256>::new(self.key.clone()).try_sign(text.as_bytes()),
        };
        Ok(STANDARD.encode(signature.map_err(unusable)?.to_bytes()))
    }
}

/// Fields of a document with a subscribe URL.
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

    /// Returns the time in the format of SNS, with milliseconds.
    fn timestamp(&self) -> String {
        let mut timestamp = self.at.to_string();
        timestamp.truncate("2026-01-31T12:00:00.000".len());
        timestamp + "Z"
    }
}

fn public_key(key: &RsaPrivateKey) -> Result<SubjectPublicKeyInfoOwned, Unusable> {
    let der = key.to_public_key().to_public_key_der().map_err(unusable)?;
    SubjectPublicKeyInfoOwned::try_from(der.as_bytes()).map_err(unusable)
}

/// Returns an instant in the format of certificates: with a two-digit year until 2049.
fn time(at: Timestamp) -> Result<Time, der::Error> {
    let since =
        Duration::from_secs(u64::try_from(at.micros().div_euclid(1_000_000)).unwrap_or_default());
    let short = UtcTime::from_unix_duration(since).map(Time::UtcTime);
    short.or_else(|_| GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime))
}

/// Returns a certificate signed with its own key.
fn certificate(
    key: &RsaPrivateKey,
    names: &[&str],
    validity: Validity,
) -> Result<Certificate, Unusable> {
    let subject = format!("CN={}", names.first().copied().unwrap_or(NAME));
    let subject = Name::from_str(&subject).map_err(unusable)?;
    let mut serial = clock::random_bytes::<16>();
    // Positive, as RFC 5280 requires, and always of full length.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let serial = SerialNumber::new(&serial).map_err(unusable)?;
    let signer = SigningKey::<Sha256>::new(key.clone());
    let profile = Profile::Leaf {
        issuer: subject.clone(),
        enable_key_agreement: false,
        enable_key_encipherment: false,
    };
    let mut builder = CertificateBuilder::new(
        profile,
        serial,
        validity,
        subject,
        public_key(key)?,
        &signer,
    )
    .map_err(|error| unusable(error.to_string()))?;
    let names = names
        .iter()
        .map(|name| Ia5String::new(name).map(GeneralName::DnsName));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    builder
        .add_extension(&SubjectAltName(names))
        .map_err(|error| unusable(error.to_string()))?;
    builder
        .build::<Signature>()
        .map_err(|error| unusable(error.to_string()))
}
