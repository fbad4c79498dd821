//! Checks whether a certificate may sign for a topic, and reads its public key. `keyring` fetches and caches them.
//!
//! SNS publishes only the leaf certificate, so no chain is checked. TLS to the SNS host of the topic's region is the
//! root of trust, as in AWS's own libraries.

use super::refusal::Refusal;
use super::topic::Arn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::x509::X509;

/// The largest certificate that is read.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;
/// The accepted lengths of an RSA key.
const KEY_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// Temporary: the URL is valid, so the host answers wrongly for now.
const NOT_A_CERTIFICATE: Refusal = Refusal::TryAgain("certificate is not exactly one PEM block");

/// Refuses a certificate URL unless it is exactly
/// `https://{host of the topic}/SimpleNotificationService-{32 hex digits}.pem`. The text is compared and not parsed, so
/// that no difference between URL parsers can be used to name another host.
///
/// # Errors
/// The URL has another form.
pub fn check_url(url: &str, arn: &Arn<'_>) -> Result<(), Refusal> {
    let rest = url.strip_prefix("https://").ok_or(Refusal::Invalid("SigningCertURL is not https"))?;
    let (host, path) = rest.split_once('/').ok_or(Refusal::Invalid("SigningCertURL has no path"))?;
    if host != arn.host() {
        return Err(Refusal::Invalid("SigningCertURL is not at the SNS host of the topic's region"));
    }
    let name = path.strip_prefix("SimpleNotificationService-").and_then(|name| name.strip_suffix(".pem"));
    let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if name.is_some_and(is_hex) {
        Ok(())
    } else {
        Err(Refusal::Invalid("SigningCertURL is not the path of a signing certificate"))
    }
}

/// The region in a certificate URL; `None` when the URL does not begin as one of SNS.
pub(super) fn region_of(url: &str) -> Option<&str> {
    url.strip_prefix("https://sns.")?.split_once('.').map(|(region, _)| region)
}

/// A public key of SNS, with the validity period of its certificate.
#[derive(Debug)]
pub struct SigningKey {
    /// The public key.
    pub key: PKey<Public>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl SigningKey {
    /// Reads a certificate that claims to sign for a region.
    ///
    /// # Errors
    /// The file is not exactly one PEM block, no name in it may sign for the region, or the key is weak or not RSA.
    pub fn read(pem: &[u8], region: &str) -> Result<Self, Refusal> {
        let certificate = only_block(pem).ok_or(NOT_A_CERTIFICATE)?;
        if !is_named(&certificate, region) {
            return Err(Refusal::Invalid("certificate is not named as a signer of the topic's region"));
        }
        let weak = Refusal::Invalid("certificate has no RSA key of 2048 bits or more");
        let key = certificate.public_key().map_err(|_| weak)?;
        if key.rsa().is_err() || !KEY_BITS.contains(&key.bits()) {
            return Err(weak);
        }
        let not_before = instant(certificate.not_before()).ok_or(NOT_A_CERTIFICATE)?;
        let not_after = instant(certificate.not_after()).ok_or(NOT_A_CERTIFICATE)?;
        Ok(Self { key, not_before, not_after })
    }

    /// Refuses a key outside the validity period of its certificate. The refusal is temporary: SNS does not sign with
    /// expired certificates, so probably the clock of this machine is wrong.
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

    /// Whether the certificate has expired.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// The end of the validity period.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// The certificate, if the body is one PEM block and nothing else. In 2022, AWS's libraries could be attacked because
/// they accepted an answer of the SNS API that merely contained a PEM block.
fn only_block(pem: &[u8]) -> Option<X509> {
    let text = std::str::from_utf8(pem).ok()?.trim_end_matches(['\r', '\n']);
    let inner = text.strip_prefix("-----BEGIN CERTIFICATE-----")?.strip_suffix("-----END CERTIFICATE-----")?;
    let base64: Vec<u8> = inner.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let der = STANDARD.decode(base64).ok()?;
    let certificate = X509::from_der(&der).ok()?;
    // OpenSSL stops reading at the certificate's end, so trailing bytes are found by encoding it again.
    (certificate.to_der().ok()? == der).then_some(certificate)
}

/// Whether a certificate has one of the names that AWS's Java library (2026) accepts for a region: one name for all
/// classic regions, one for each newer region, and those of China and GovCloud.
fn is_named(certificate: &X509, region: &str) -> bool {
    let wanted = if region.starts_with("cn-") {
        vec![format!("sns-{region}.amazonaws.com.cn")]
    } else if region.starts_with("us-gov-") {
        vec![format!("sns-{region}.amazonaws.com")]
    } else {
        vec!["sns.amazonaws.com".to_owned(), format!("sns-signing.{region}.amazonaws.com")]
    };
    let is_wanted = |name: &str| wanted.iter().any(|one| one == name);
    let alternatives = certificate.subject_alt_names();
    let by_alternative = alternatives.iter().flatten().filter_map(|name| name.dnsname()).any(is_wanted);
    let mut common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    by_alternative || common.any(|entry| entry.data().to_string().is_ok_and(|name| is_wanted(&name)))
}

fn instant(time: &Asn1TimeRef) -> Option<Timestamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}
