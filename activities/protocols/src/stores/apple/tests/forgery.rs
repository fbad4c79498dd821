//! A payload under a chain of our own, with something altered before or after it is signed.

use super::{Drafts, now, payload};
use crate::stores::apple::chain::Chains;
use crate::stores::apple::jws::{JwsRefusal, verify};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// The key that signs a certificate or the payload.
#[derive(Clone, Copy)]
pub(super) enum Signer {
    Root,
    Intermediate,
    Leaf,
    /// A key of which no certificate exists.
    Other,
}

/// A payload and its chain before they are signed.
pub(super) struct Forgery {
    pub(super) drafts: Drafts,
    pub(super) root_algorithm: &'static SignatureAlgorithm,
    pub(super) intermediate_algorithm: &'static SignatureAlgorithm,
    pub(super) leaf_algorithm: &'static SignatureAlgorithm,
    pub(super) intermediate_signer: Signer,
    pub(super) leaf_signer: Signer,
    pub(super) payload_signer: Signer,
    /// The issuer that the intermediate names, if it is not the root.
    pub(super) intermediate_issuer: Option<CertificateParams>,
    /// The issuer that the leaf names, if it is not the intermediate.
    pub(super) leaf_issuer: Option<CertificateParams>,
    pub(super) payload: Value,
    pub(super) now: Timestamp,
    /// A change of the signed certificates in DER, the leaf first.
    pub(super) certificates: fn(&mut [Vec<u8>; 3]),
    /// A change of the header before the payload is signed.
    pub(super) header: fn(&mut Value),
    /// A change of the signed text.
    pub(super) text: fn(String) -> String,
}

impl Forgery {
    /// A payload in which nothing is altered.
    pub(super) fn new() -> Self {
        Self {
            drafts: Drafts::apple(),
            root_algorithm: &PKCS_ECDSA_P256_SHA256,
            intermediate_algorithm: &PKCS_ECDSA_P256_SHA256,
            leaf_algorithm: &PKCS_ECDSA_P256_SHA256,
            intermediate_signer: Signer::Root,
            leaf_signer: Signer::Intermediate,
            payload_signer: Signer::Leaf,
            intermediate_issuer: None,
            leaf_issuer: None,
            payload: payload(now()),
            now: now(),
            certificates: |_| {},
            header: |_| {},
            text: |text| text,
        }
    }

    /// Returns the verdict about the payload, and the one with what the first one left in memory.
    pub(super) fn verdicts(&self) -> [Result<(), JwsRefusal>; 2] {
        let keys = Keys::of(self);
        let drafts = &self.drafts;
        let root = drafts.root.self_signed(&keys.root).expect("a root");
        let issuer = self.intermediate_issuer.as_ref().unwrap_or(&drafts.root);
        let issuer = Issuer::from_params(issuer, keys.key(self.intermediate_signer));
        let intermediate = drafts.intermediate.signed_by(&keys.intermediate, &issuer);
        let intermediate = intermediate.expect("an intermediate");
        let issuer = self.leaf_issuer.as_ref().unwrap_or(&drafts.intermediate);
        let issuer = Issuer::from_params(issuer, keys.key(self.leaf_signer));
        let leaf = drafts.leaf.signed_by(&keys.leaf, &issuer).expect("a leaf");
        let mut certificates = [&leaf, &intermediate, &root].map(|one| one.der().to_vec());
        (self.certificates)(&mut certificates);
        let certificates = certificates.map(|one| STANDARD.encode(one));
        let mut header = json!({ "alg": "ES256", "x5c": certificates });
        (self.header)(&mut header);
        let parts = [&header, &self.payload];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = keys.sign(self.payload_signer, signed.as_bytes());
        let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let text = (self.text)(text);
        let chains = Chains::under(&[root.der().to_vec()]);
        [(), ()].map(|()| verify(&chains, &text, self.now).map(drop))
    }
}

struct Keys {
    root: KeyPair,
    intermediate: KeyPair,
    leaf: KeyPair,
    other: KeyPair,
}

impl Keys {
    fn of(forgery: &Forgery) -> Self {
        let key = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
        Self {
            root: key(forgery.root_algorithm),
            intermediate: key(forgery.intermediate_algorithm),
            leaf: key(forgery.leaf_algorithm),
            other: key(&PKCS_ECDSA_P256_SHA256),
        }
    }

    const fn key(&self, signer: Signer) -> &KeyPair {
        match signer {
            Signer::Root => &self.root,
            Signer::Intermediate => &self.intermediate,
            Signer::Leaf => &self.leaf,
            Signer::Other => &self.other,
        }
    }

    fn sign(&self, signer: Signer, content: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            self.key(signer).serialized_der(),
            &random,
        );
        let signature = key.expect("a signing key").sign(&random, content);
        signature.expect("a signature").as_ref().to_vec()
    }
}
