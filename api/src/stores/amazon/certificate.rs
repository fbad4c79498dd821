//! Checks whether a certificate is valid for a topic, and reads its public key. `keyring` fetches and caches
//! certificates.
//!
//! SNS publishes only the leaf certificate, so no chain is checked. TLS to the SNS host of the topic's region is the
//! root of trust, as in AWS's own libraries.

use super::refusal::Refusal;
use super::topic::Arn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use rsa::pkcs1::{self, RsaPublicKey};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

/// Maximum size of a certificate file, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;
/// Accepted lengths of an RSA key, in bits.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Object identifier of a common name: `id-at-commonName` of RFC 5280.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Temporary: the URL is valid, so the host's response is wrong only for now.
const NOT_A_CERTIFICATE: Refusal = Refusal::TryAgain("certificate is not exactly one PEM block");

/// Refuses a certificate URL unless it is exactly
/// `https://{host of the topic}/SimpleNotificationService-{32 hex digits}.pem`. The text is compared and not parsed, so
/// that no difference between URL parsers can be used to name another host.
///
/// # Errors
/// The URL differs from that form.
pub fn check_url(url: &str, arn: &Arn<'_>) -> Result<(), Refusal> {
    let rest = url
        .strip_prefix("https://")
        .ok_or(Refusal::Invalid("SigningCertURL is not https"))?;
    let (host, path) = rest
        .split_once('/')
        .ok_or(Refusal::Invalid("SigningCertURL has no path"))?;
    if host != arn.host() {
        return Err(Refusal::Invalid(
            "SigningCertURL is not at the SNS host of the topic's region",
        ));
    }
    let name = path
        .strip_prefix("SimpleNotificationService-")
        .and_then(|name| name.strip_suffix(".pem"));
    let is_hex = |text: &str| {
        text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if name.is_some_and(is_hex) {
        Ok(())
    } else {
        Err(Refusal::Invalid(
            "SigningCertURL is not the path of a signing certificate",
        ))
    }
}

/// Returns the region in a certificate URL; `None` if the URL does not begin like an SNS URL.
pub(super) fn region_of(url: &str) -> Option<&str> {
    url.strip_prefix("https://sns.")?
        .split_once('.')
        .map(|(region, _)| region)
}

/// A public SNS key, with the validity period of its certificate.
#[derive(Debug)]
pub struct SigningKey {
    /// The public key, an `RSAPublicKey` of RFC 8017 in DER.
    pub key: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl SigningKey {
    /// Reads a certificate and checks that it may sign for a region.
    ///
    /// # Errors
    /// The file is not exactly one PEM block, the certificate has no name of a signer for the region, or the key is
    /// weak or not RSA.
    pub fn read(pem: &[u8], region: &str) -> Result<Self, Refusal> {
        let certificate = only_block(pem).ok_or(NOT_A_CERTIFICATE)?;
        if !is_named(&certificate, region) {
            return Err(Refusal::Invalid(
                "certificate is not named as a signer of the topic's region",
            ));
        }
        let weak = Refusal::Invalid("certificate has no RSA key of 2048 bits or more");
        let key = strong_key(&certificate).ok_or(weak)?;
        let validity = &certificate.tbs_certificate.validity;
        Ok(Self {
            key,
            not_before: instant(validity.not_before),
            not_after: instant(validity.not_after),
        })
    }

    /// Refuses a key outside the validity period of its certificate. The refusal is temporary: SNS does not sign with
    /// expired certificates, so this machine's clock is probably wrong.
    ///
    /// # Errors
    /// `now` is outside the validity period.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), Refusal> {
        if now < self.not_before {
            return Err(Refusal::TryAgain("certificate is not valid yet"));
        }
        if self.has_expired(now) {
            return Err(Refusal::TryAgain("certificate has expired"));
        }
        Ok(())
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// Returns the end of the certificate's validity period.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Returns the certificate if the body is one PEM block and nothing else. AWS's libraries were vulnerable in 2022
/// because they accepted any SNS API response that contained a PEM block.
fn only_block(pem: &[u8]) -> Option<Certificate> {
    let text = std::str::from_utf8(pem)
        .ok()?
        .trim_end_matches(['\r', '\n']);
    let inner = text
        .strip_prefix("-----BEGIN CERTIFICATE-----")?
        .strip_suffix("-----END CERTIFICATE-----")?;
    let base64: Vec<u8> = inner
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let der = STANDARD.decode(base64).ok()?;
    Certificate::from_der(&der).ok()
}

/// Returns the certificate's public key; `None` if it is not an RSA key of an accepted length.
fn strong_key(certificate: &Certificate) -> Option<Vec<u8>> {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let bytes = key
        .subject_public_key
        .as_bytes()
        .filter(|_| key.algorithm.oid == pkcs1::ALGORITHM_OID)?;
    let modulus = RsaPublicKey::from_der(bytes).ok()?.modulus;
    let unused = modulus
        .as_bytes()
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    let bits = modulus.as_bytes().len() * 8 - unused;
    KEY_BITS.contains(&bits).then(|| bytes.to_vec())
}

/// Returns whether a certificate has one of the names that AWS's Java library (as of 2026) accepts for a region: one
/// name shared by all classic regions, one for each newer region, and those of China and GovCloud.
fn is_named(certificate: &Certificate, region: &str) -> bool {
    let wanted = if region.starts_with("cn-") {
        vec![format!("sns-{region}.amazonaws.com.cn")]
    } else if region.starts_with("us-gov-") {
        vec![format!("sns-{region}.amazonaws.com")]
    } else {
        vec![
            "sns.amazonaws.com".to_owned(),
            format!("sns-signing.{region}.amazonaws.com"),
        ]
    };
    let is_wanted = |name: &[u8]| wanted.iter().any(|one| one.as_bytes() == name);
    let alternatives = certificate
        .tbs_certificate
        .get::<SubjectAltName>()
        .ok()
        .flatten();
    let is_alternative = |name: &GeneralName| matches!(name, GeneralName::DnsName(name) if is_wanted(name.as_str().as_bytes()));
    let by_alternative = alternatives.is_some_and(|(_, names)| names.0.iter().any(is_alternative));
    let mut subject = certificate
        .tbs_certificate
        .subject
        .0
        .iter()
        .flat_map(|part| part.0.iter());
    by_alternative
        || subject.any(|entry| entry.oid == COMMON_NAME && is_wanted(entry.value.value()))
}

fn instant(time: Time) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
}
