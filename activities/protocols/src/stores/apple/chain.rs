//! The certificates of a JWS: a chain of exactly three, whose last one is ignored in favour of a root of our own.
//!
//! The rules are those of Apple's libraries (<https://github.com/apple/app-store-server-library-python>): without both
//! marker extensions, the certificate of any developer under Apple's root would pass. Nothing is fetched, so a
//! certificate that was revoked is not recognized.

use super::jws::JwsRefusal;
use super::root::APPLE_ROOT_G3;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use ring::digest::{Digest, SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey,
    VerificationAlgorithm,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Header, Reader, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::time::Time;

/// Maximum size of a certificate in base64. Apple's have about 1.5 KiB.
const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
/// Maximum number of remembered chains. Apple signs with one or two at a time.
const MAX_REMEMBERED: usize = 32;

/// Marks a certificate that signs receipts and notifications.
const LEAF_MARKER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.11.1");
/// Marks an intermediate certificate of Apple's Worldwide Developer Relations.
const INTERMEDIATE_MARKER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.2.1");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// The trusted roots, and the chains that were verified last.
pub struct Chains {
    roots: Vec<SigningCertificate>,
    /// The digest of each remembered chain with its key, the one that was used last at the end.
    remembered: Mutex<VecDeque<(Digest, Arc<ChainKey>)>>,
}

/// The key of a verified chain, and the time in which all its certificates are valid.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainKey {
    /// The point of a P-256 key.
    pub point: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A certificate with the bytes that its issuer signed, as they were sent.
struct SigningCertificate {
    certificate: Certificate,
    signed: Vec<u8>,
}

impl Chains {
    /// Returns the chains under Apple's root.
    pub fn apple() -> Self {
        let root = STANDARD.decode(APPLE_ROOT_G3).unwrap_or_default();
        Self::under(&[root])
    }

    /// Returns the chains under other roots, in DER: those of samples and tests. What is no certificate is left out.
    pub fn under(roots: &[Vec<u8>]) -> Self {
        let roots = roots.iter();
        Self {
            roots: roots
                .filter_map(|root| SigningCertificate::of(root))
                .collect(),
            remembered: Mutex::default(),
        }
    }

    /// Returns the key of a chain, in base64, that signed at this time.
    ///
    /// # Errors
    /// The chain leads to no trusted root, lacks a marker, or was not valid at this time.
    pub fn key(&self, chain: &[String], signed_at: Timestamp) -> Result<Arc<ChainKey>, JwsRefusal> {
        let (id, leaf, intermediate) = identified(chain)?;
        let key = match self.find(&id) {
            Some(key) => key,
            None => {
                let key = Arc::new(self.verified(leaf, intermediate)?);
                self.remember(id, &key);
                key
            }
        };
        key.at(signed_at)
    }

    /// Returns the key of a remembered chain, in base64, that signed at this time.
    ///
    /// # Errors
    /// The chain is not remembered, or was not valid at this time.
    pub fn remembered_key(
        &self,
        chain: &[String],
        signed_at: Timestamp,
    ) -> Result<Arc<ChainKey>, JwsRefusal> {
        let (id, _, _) = identified(chain)?;
        let key = self.find(&id).ok_or(JwsRefusal::NewChain)?;
        key.at(signed_at)
    }

    /// Returns the number of remembered chains.
    pub fn remembered(&self) -> usize {
        let remembered = self.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner).len()
    }

    fn find(&self, id: &Digest) -> Option<Arc<ChainKey>> {
        let remembered = self.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        let place = remembered
            .iter()
            .position(|(known, _)| known.as_ref() == id.as_ref())?;
        let found = remembered.remove(place)?;
        let key = Arc::clone(&found.1);
        remembered.push_back(found);
        Some(key)
    }

    fn remember(&self, id: Digest, key: &Arc<ChainKey>) {
        let remembered = self.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        // Another thread may have verified it meanwhile.
        remembered.retain(|(known, _)| known.as_ref() != id.as_ref());
        if remembered.len() >= MAX_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((id, Arc::clone(key)));
    }

    fn verified(&self, leaf: &str, intermediate: &str) -> Result<ChainKey, JwsRefusal> {
        let [leaf, intermediate] = [leaf, intermediate].map(SigningCertificate::read);
        let leaf = leaf.ok_or(JwsRefusal::Chain)?;
        let intermediate = intermediate.ok_or(JwsRefusal::Chain)?;
        let mut roots = self.roots.iter();
        let root = roots.find(|root| intermediate.is_issued_by(root));
        let root = root.ok_or(JwsRefusal::Chain)?;
        if !leaf.is_issued_by(&intermediate) {
            return Err(JwsRefusal::Chain);
        }
        if !leaf.has(LEAF_MARKER) || !intermediate.has(INTERMEDIATE_MARKER) {
            return Err(JwsRefusal::Marker);
        }
        let is_known =
            leaf.is_understood(LEAF_MARKER) && intermediate.is_understood(INTERMEDIATE_MARKER);
        let is_issued = root.signs_certificates(1) && intermediate.signs_certificates(0);
        if !is_known || !is_issued || !leaf.signs_content() {
            return Err(JwsRefusal::Chain);
        }
        let (curve, point) = leaf.key().ok_or(JwsRefusal::Chain)?;
        if curve != P256 {
            return Err(JwsRefusal::Chain);
        }
        let all = [&leaf, &intermediate, root];
        let periods = all.map(SigningCertificate::validity);
        let [first, second, third] = periods;
        Ok(ChainKey {
            point: point.to_vec(),
            not_before: first.0.max(second.0).max(third.0),
            not_after: first.1.min(second.1).min(third.1),
        })
    }
}

/// Returns the digest of the certificates that count of a chain, with those.
fn identified(chain: &[String]) -> Result<(Digest, &str, &str), JwsRefusal> {
    let [leaf, intermediate, _] = chain else {
        return Err(JwsRefusal::Chain);
    };
    let id = digest(&SHA256, format!("{leaf}.{intermediate}").as_bytes());
    Ok((id, leaf, intermediate))
}

impl ChainKey {
    /// Returns the key if all certificates of its chain were valid at this time.
    fn at(self: Arc<Self>, signed_at: Timestamp) -> Result<Arc<Self>, JwsRefusal> {
        let is_valid = (self.not_before..=self.not_after).contains(&signed_at);
        is_valid.then_some(self).ok_or(JwsRefusal::Time)
    }
}

impl SigningCertificate {
    /// Reads a certificate in base64.
    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_CERTIFICATE_BYTES {
            return None;
        }
        Self::of(&STANDARD.decode(text).ok()?)
    }

    /// Reads a certificate in DER.
    fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let mut reader = SliceReader::new(der).ok()?;
        Header::decode(&mut reader).ok()?;
        let signed = reader.tlv_bytes().ok()?.to_vec();
        Some(Self {
            certificate,
            signed,
        })
    }

    fn extensions(&self) -> &[Extension] {
        let extensions = &self.certificate.tbs_certificate.extensions;
        extensions.as_deref().unwrap_or_default()
    }

    fn has(&self, oid: ObjectIdentifier) -> bool {
        self.extensions().iter().any(|one| one.extn_id == oid)
    }

    /// Whether every critical extension is one whose rule is checked here, and none occurs twice.
    fn is_understood(&self, marker: ObjectIdentifier) -> bool {
        let known = [BASIC_CONSTRAINTS, KEY_USAGE, marker];
        let all = self.extensions();
        let is_single =
            |oid: &ObjectIdentifier| all.iter().filter(|one| one.extn_id == *oid).count() < 2;
        let mut critical = all.iter().filter(|one| one.critical);
        critical.all(|one| known.contains(&one.extn_id)) && known.iter().all(is_single)
    }

    /// Returns whether it is an authority, and of how long chains; `None` if the certificate does not show it.
    fn constraints(&self) -> Result<Option<BasicConstraints>, JwsRefusal> {
        let found = self.certificate.tbs_certificate.get::<BasicConstraints>();
        let found = found.map_err(|_| JwsRefusal::Chain)?;
        Ok(found.map(|(_, constraints)| constraints))
    }

    /// Returns what the key may do; `None` if the certificate does not restrict it.
    fn usage(&self) -> Result<Option<KeyUsage>, JwsRefusal> {
        let found = self.certificate.tbs_certificate.get::<KeyUsage>();
        let found = found.map_err(|_| JwsRefusal::Chain)?;
        Ok(found.map(|(_, usage)| usage))
    }

    /// Whether it may issue a certificate of a chain in which this many other authorities follow it.
    fn signs_certificates(&self, followers: u8) -> bool {
        let is_long_enough = |longest: u8| longest >= followers;
        let is_authority = |constraints: BasicConstraints| {
            let longest = constraints.path_len_constraint;
            constraints.ca && longest.is_none_or(is_long_enough)
        };
        let constraints = self.constraints();
        let usage = self.usage();
        let is_allowed = usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.key_cert_sign()));
        constraints.is_ok_and(|found| found.is_some_and(is_authority)) && is_allowed
    }

    /// Whether it may sign a JWS. An authority may not.
    fn signs_content(&self) -> bool {
        let constraints = self.constraints();
        let is_leaf = constraints.is_ok_and(|found| found.is_none_or(|found| !found.ca));
        let usage = self.usage();
        let is_allowed =
            usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.digital_signature()));
        is_leaf && is_allowed
    }

    /// Returns the curve and the point of an elliptic key.
    fn key(&self) -> Option<(ObjectIdentifier, &[u8])> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let curve = key.algorithm.parameters.as_ref()?;
        let curve = curve.decode_as::<ObjectIdentifier>().ok()?;
        let point = key.subject_public_key.as_bytes()?;
        (key.algorithm.oid == EC_PUBLIC_KEY).then_some((curve, point))
    }

    /// Whether this authority issued the certificate: by its name, and by its signature.
    fn is_issued_by(&self, issuer: &Self) -> bool {
        let own = &self.certificate;
        let is_named = own.tbs_certificate.issuer == issuer.certificate.tbs_certificate.subject;
        let has_one_algorithm = own.signature_algorithm == own.tbs_certificate.signature;
        let verified = || {
            let (curve, point) = issuer.key()?;
            let algorithm = algorithm(curve, own.signature_algorithm.oid)?;
            let key = UnparsedPublicKey::new(algorithm, point);
            key.verify(&self.signed, own.signature.as_bytes()?).ok()
        };
        is_named && has_one_algorithm && verified().is_some()
    }

    /// Returns the beginning and the end of its validity.
    fn validity(&self) -> (Timestamp, Timestamp) {
        let validity = &self.certificate.tbs_certificate.validity;
        (instant(validity.not_before), instant(validity.not_after))
    }
}

/// Returns the algorithm of a signature with a key on this curve.
fn algorithm(
    curve: ObjectIdentifier,
    signature: ObjectIdentifier,
) -> Option<&'static dyn VerificationAlgorithm> {
    if (curve, signature) == (P256, ECDSA_WITH_SHA256) {
        Some(&ECDSA_P256_SHA256_ASN1)
    } else if (curve, signature) == (P256, ECDSA_WITH_SHA384) {
        Some(&ECDSA_P256_SHA384_ASN1)
    } else if (curve, signature) == (P384, ECDSA_WITH_SHA384) {
        Some(&ECDSA_P384_SHA384_ASN1)
    } else {
        None
    }
}

fn instant(time: Time) -> Timestamp {
    let millis = time.to_unix_duration().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
