//! Signed payloads: with chains of our own, and with those that Apple published.

mod checks;
mod forged;
mod forgery;
mod handed;
mod hostile;
mod notifications;
mod repairs;
mod server;
mod vectors;
mod verdicts;

use super::chain::Chains;
use super::jws::{JwsRefusal, verify};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

const LEAF_MARKER: &[u64] = &[1, 2, 840, 113635, 100, 6, 11, 1];
const INTERMEDIATE_MARKER: &[u64] = &[1, 2, 840, 113635, 100, 6, 2, 1];

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The time of the tests.
fn now() -> Timestamp {
    at("2026-11-30T12:00:00Z")
}

/// A payload that was signed at this time.
fn payload(signed_at: Timestamp) -> Value {
    json!({ "bundleId": "com.example", "signedDate": signed_at.micros() / 1000 })
}

/// The certificates of a chain before they are signed.
struct Drafts {
    root: CertificateParams,
    intermediate: CertificateParams,
    leaf: CertificateParams,
}

impl Drafts {
    /// Certificates as Apple's, valid for two years.
    fn apple() -> Self {
        let mut root = named("Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut intermediate = named("Intermediate");
        intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        intermediate.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        intermediate.custom_extensions = vec![marker(INTERMEDIATE_MARKER)];
        let mut leaf = named("Leaf");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.custom_extensions = vec![marker(LEAF_MARKER)];
        Self {
            root,
            intermediate,
            leaf,
        }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

/// An extension that marks a certificate. Its content is NULL, as Apple's.
fn marker(oid: &[u64]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, vec![5, 0])
}

/// A chain with the key of its leaf.
struct SigningChain {
    root: Vec<u8>,
    /// In base64, the leaf first.
    certificates: Vec<String>,
    key: EcdsaKeyPair,
}

impl SigningChain {
    /// Signs the certificates after a change.
    fn new(change: impl FnOnce(&mut Drafts)) -> Self {
        let mut drafts = Drafts::apple();
        change(&mut drafts);
        let keys = [(), (), ()].map(|()| KeyPair::generate().expect("a key"));
        let [root_key, intermediate_key, leaf_key] = keys;
        let root = drafts.root.self_signed(&root_key).expect("a root");
        let issuer = Issuer::new(drafts.root, root_key);
        let intermediate = drafts.intermediate.signed_by(&intermediate_key, &issuer);
        let intermediate = intermediate.expect("an intermediate");
        let issuer = Issuer::new(drafts.intermediate, intermediate_key);
        let leaf = drafts.leaf.signed_by(&leaf_key, &issuer).expect("a leaf");
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            leaf_key.serialized_der(),
            &SystemRandom::new(),
        );
        let certificates = [&leaf, &intermediate, &root];
        Self {
            root: root.der().to_vec(),
            certificates: certificates
                .map(|certificate| STANDARD.encode(certificate.der()))
                .to_vec(),
            key: key.expect("a signing key"),
        }
    }

    fn apple() -> Self {
        Self::new(|_| {})
    }

    /// Returns the chains under the root of this one.
    fn trusted(&self) -> Chains {
        Chains::under(std::slice::from_ref(&self.root))
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "x5c": self.certificates })
    }

    fn sign(&self, header: &Value, payload: &Value) -> String {
        let parts = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Returns the verdict about a payload of this chain that was signed at this time, under its own root.
    fn verdict(&self, signed_at: Timestamp) -> Result<(), JwsRefusal> {
        let text = self.sign(&self.header(), &payload(signed_at));
        verify(&self.trusted(), &text, now()).map(drop)
    }
}
