//! Signs payloads in the way Apple does, for samples, the simulated store and tests. The chain is under a root of its
//! own, so that nothing accepts a payload unless it trusts that root.
//!
//! Shares no code with the verifier on purpose: the form of the certificates and of a JWS is written a second time
//! here.

use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use serde_json::{Value, json};
use std::error::Error;
use std::str::FromStr as _;
use std::sync::LazyLock;
use std::time::Duration;
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::{self, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

/// Marks a certificate that signs receipts and notifications.
const LEAF_MARKER: &str = "1.2.840.113635.100.6.11.1";
/// Marks an intermediate certificate of Apple's Worldwide Developer Relations.
const INTERMEDIATE_MARKER: &str = "1.2.840.113635.100.6.2.1";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
/// The content of a marker: NULL.
const NULL: [u8; 2] = [5, 0];
/// Beginning and end of the validity: 2020-01-01 and 2049-12-31, in seconds since 1970.
const VALID: [u64; 2] = [1_577_836_800, 2_524_521_600];

/// A key or certificate that cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("no P-256 key to sign with")]
pub struct Unusable(#[source] Box<dyn Error + Send + Sync>);

fn unusable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Unusable {
    Unusable(cause.into())
}

/// A chain of three certificates, with the key of its leaf.
pub struct Chain {
    root: Vec<u8>,
    /// The certificates as base64, that of the leaf first.
    certificates: Vec<String>,
    key: EcdsaKeyPair,
}

/// The chain that signs the samples of this process; `None` if none can be created.
static OF_SAMPLES: LazyLock<Option<Chain>> = LazyLock::new(|| Chain::generate().ok());

/// Returns the chain that signs the samples and the simulated store of this process. It is not stored: what it signed
/// is verified once, by the same process.
pub fn of_samples() -> Option<&'static Chain> {
    OF_SAMPLES.as_ref()
}

impl Chain {
    /// Creates a chain with new keys.
    ///
    /// # Errors
    /// A key or certificate cannot be created.
    pub fn generate() -> Result<Self, Unusable> {
        let [root_key, intermediate_key] = [
            key(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
            key(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
        ];
        let key = key(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let (root, intermediate, leaf) =
            certificates([&root_key, &intermediate_key, &key]).map_err(unusable)?;
        let certificates = [&leaf, &intermediate, &root];
        Ok(Self {
            certificates: certificates.map(|one| STANDARD.encode(one)).to_vec(),
            root,
            key,
        })
    }

    /// Returns the root certificate in DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Returns the root certificate in PEM, as the operator's settings expect it.
    pub fn root_pem(&self) -> String {
        let encoded = STANDARD.encode(&self.root);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for (at, letter) in encoded.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem + "\n-----END CERTIFICATE-----\n"
    }

    /// Returns the payload as a JWS in compact form, signed with ES256.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, payload: &Value) -> Result<String, Unusable> {
        let header = json!({ "alg": "ES256", "x5c": self.certificates });
        self.sign_text(&header.to_string(), &payload.to_string())
    }

    /// Returns a JWS with these texts as header and payload, signed with ES256 regardless of their content.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_text(&self, header: &str, payload: &str) -> Result<String, Unusable> {
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = format!("{header}.{payload}");
        let signature = self.key.sign(&clock::random(), text.as_bytes());
        let signature = signature.map_err(|_| unusable("the key does not sign"))?;
        Ok(format!(
            "{text}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
    }
}

/// Creates a key for signatures of this form.
fn key(algorithm: &'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, Unusable> {
    let random = clock::random();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
    let document = document.map_err(|_| unusable("no key is generated"))?;
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
        .map_err(|_| unusable("the key is not read"))
}

/// The fields in which the certificates of a chain differ.
struct Draft<'a> {
    serial: u8,
    subject: &'a str,
    issuer: &'a str,
    /// Maximum number of authorities below it; `None` if it is no authority.
    authority: Option<Option<u8>>,
    marker: Option<&'a str>,
}

/// Returns the root, the intermediate and the leaf of a chain with these keys, in DER.
fn certificates(keys: [&EcdsaKeyPair; 3]) -> der::Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    const ROOT: &str = "CN=settle samples root";
    const INTERMEDIATE: &str = "CN=settle samples intermediate";
    const LEAF: &str = "CN=settle samples";
    let [root_key, intermediate_key, leaf_key] = keys;
    let root = Draft {
        serial: 1,
        subject: ROOT,
        issuer: ROOT,
        authority: Some(None),
        marker: None,
    };
    let intermediate = Draft {
        serial: 2,
        subject: INTERMEDIATE,
        issuer: ROOT,
        authority: Some(Some(0)),
        marker: Some(INTERMEDIATE_MARKER),
    };
    let leaf = Draft {
        serial: 3,
        subject: LEAF,
        issuer: INTERMEDIATE,
        authority: None,
        marker: Some(LEAF_MARKER),
    };
    Ok((
        root.signed(root_key, root_key)?,
        intermediate.signed(intermediate_key, root_key)?,
        leaf.signed(leaf_key, intermediate_key)?,
    ))
}

impl Draft<'_> {
    /// Returns the certificate of a key in DER, signed with the issuer's key.
    fn signed(&self, key: &EcdsaKeyPair, issuer_key: &EcdsaKeyPair) -> der::Result<Vec<u8>> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: oid(ECDSA_WITH_SHA256)?,
            parameters: None,
        };
        let [not_before, not_after] = VALID;
        let content = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::from(self.serial),
            signature: algorithm.clone(),
            issuer: Name::from_str(self.issuer)?,
            validity: Validity {
                not_before: time(not_before)?,
                not_after: time(not_after)?,
            },
            subject: Name::from_str(self.subject)?,
            subject_public_key_info: public_key(key)?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions()?),
        };
        let signature = issuer_key.sign(&clock::random(), &content.to_der()?);
        let signature = signature.map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
        let certificate = Certificate {
            tbs_certificate: content,
            signature_algorithm: algorithm,
            signature: BitString::from_bytes(signature.as_ref())?,
        };
        certificate.to_der()
    }

    fn extensions(&self) -> der::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: self.authority.is_some(),
            path_len_constraint: self.authority.flatten(),
        };
        let usage: FlagSet<KeyUsages> = match self.authority {
            Some(_) => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            None => KeyUsages::DigitalSignature.into(),
        };
        let mut extensions = vec![
            extension(BASIC_CONSTRAINTS, constraints.to_der()?)?,
            extension(KEY_USAGE, KeyUsage(usage).to_der()?)?,
        ];
        if let Some(marker) = self.marker {
            extensions.push(Extension {
                critical: false,
                ..extension(marker, NULL.to_vec())?
            });
        }
        Ok(extensions)
    }
}

/// Returns a critical extension.
fn extension(id: &str, content: Vec<u8>) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: oid(id)?,
        critical: true,
        extn_value: OctetString::new(content)?,
    })
}

fn oid(text: &str) -> der::Result<ObjectIdentifier> {
    ObjectIdentifier::new(text).map_err(der::Error::from)
}

/// Returns a time until 2049, after which certificates have another form of it.
fn time(seconds: u64) -> der::Result<Time> {
    UtcTime::from_unix_duration(Duration::from_secs(seconds)).map(Time::UtcTime)
}

fn public_key(key: &EcdsaKeyPair) -> der::Result<SubjectPublicKeyInfoOwned> {
    Ok(SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: oid(EC_PUBLIC_KEY)?,
            parameters: Some(Any::encode_from(&oid(P256)?)?),
        },
        subject_public_key: BitString::from_bytes(key.public_key().as_ref())?,
    })
}
