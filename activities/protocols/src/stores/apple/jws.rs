//! What Apple signed: a JWS in compact form (RFC 7515), whose header contains the chain of its certificate.
//!
//! Outer and inner signatures are verified in the same way, each by itself, without the network. Nothing of a payload
//! counts before that, neither its bundle nor its environment.

use super::chain::{ChainKey, Chains};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Maximum size of a JWS. Apple's notifications have about 10 KiB.
const MAX_BYTES: usize = 64 * 1024;
const ALGORITHM: &str = "ES256";
/// The number of certificates in a header: those of the signer, of its issuer, and a root, which is ignored.
const CERTIFICATES: usize = 3;
/// The payload's members that contain the signing time, in milliseconds since 1970. The second one is that of an app
/// transaction, which has no other.
const SIGNED_AT: [&str; 2] = ["signedDate", "receiptCreationDate"];
/// The beginning of 2020, before Apple signed any of these payloads.
const EARLIEST: Timestamp = Timestamp::from_millis(1_577_836_800_000);
/// How far a signing time may be ahead of this machine's clock, in milliseconds.
const MAX_AHEAD_MS: i64 = 15 * 60 * 1000;

/// Why a text is not what Apple signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwsRefusal {
    /// Not three parts in base64url, or not JSON.
    Form,
    Algorithm,
    /// Not three certificates, or they lead to no trusted root.
    Chain,
    /// A certificate lacks the extension by which Apple marks it.
    Marker,
    Signature,
    /// The signing time is missing, impossible, or outside the validity of a certificate.
    Time,
    /// The environment of a development tool, in which nothing is bought.
    Environment,
    /// The chain was not verified before, so that it has to be verified first.
    NewChain,
}

impl JwsRefusal {
    /// Returns the stable reason, used as a metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Form => "no signed payload",
            Self::Algorithm => "signed payload is not signed with ES256",
            Self::Chain => "certificates of the signed payload lead to no trusted root",
            Self::Marker => "certificates of the signed payload are not those of the App Store",
            Self::Signature => "signature of the payload is wrong",
            Self::Time => "signing time of the payload is missing or impossible",
            Self::Environment => "payload of a development tool",
            Self::NewChain => "certificates of the signed payload were not verified before",
        }
    }
}

/// A payload whose signature was verified. It has no debug output, since it contains ids of customers.
pub struct VerifiedPayload {
    pub members: Map<String, Value>,
    pub signed_at: Timestamp,
}

#[derive(Deserialize)]
struct JwsHeader {
    alg: String,
    /// The certificates in DER, each as base64, that of the signer first.
    #[serde(default)]
    x5c: Vec<String>,
    /// Extensions that a verifier must support (RFC 7515, 4.1.11); none is supported here.
    crit: Option<IgnoredAny>,
}

/// Verifies a text at a time, by chains.
pub type Verifier = fn(&Chains, &str, Timestamp) -> Result<VerifiedPayload, JwsRefusal>;

/// Verifies a JWS by the chain in its header.
///
/// # Errors
/// The text is no JWS, or is not signed under a trusted root.
pub fn verify(chains: &Chains, text: &str, now: Timestamp) -> Result<VerifiedPayload, JwsRefusal> {
    verify_with(text, now, |certificates, at| chains.key(certificates, at))
}

/// Like [`verify`], but only by a chain that is remembered, which is cheap.
///
/// # Errors
/// As [`verify`]; [`JwsRefusal::NewChain`] if the chain is not remembered.
pub fn verify_known(
    chains: &Chains,
    text: &str,
    now: Timestamp,
) -> Result<VerifiedPayload, JwsRefusal> {
    verify_with(text, now, |certificates, at| {
        chains.remembered_key(certificates, at)
    })
}

fn verify_with(
    text: &str,
    now: Timestamp,
    key: impl Fn(&[String], Timestamp) -> Result<Arc<ChainKey>, JwsRefusal>,
) -> Result<VerifiedPayload, JwsRefusal> {
    if text.len() > MAX_BYTES {
        return Err(JwsRefusal::Form);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(JwsRefusal::Form)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsRefusal::Form)?;
    let header: JwsHeader =
        serde_json::from_slice(&decoded(header)?).map_err(|_| JwsRefusal::Form)?;
    let signature = decoded(signature)?;
    if header.alg != ALGORITHM || header.crit.is_some() {
        return Err(JwsRefusal::Algorithm);
    }
    if header.x5c.len() != CERTIFICATES {
        return Err(JwsRefusal::Chain);
    }
    let members = serde_json::from_slice(&decoded(payload)?);
    let members: Map<String, Value> = members.map_err(|_| JwsRefusal::Form)?;
    let signed_at = SIGNED_AT.iter().find_map(|name| members.get(*name));
    let signed_at = signed_at.and_then(Value::as_i64);
    let signed_at = Timestamp::from_millis(signed_at.ok_or(JwsRefusal::Time)?);
    if !(EARLIEST..=now.plus_millis(MAX_AHEAD_MS)).contains(&signed_at) {
        return Err(JwsRefusal::Time);
    }
    let key = key(&header.x5c, signed_at)?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point);
    key.verify(signed.as_bytes(), &signature)
        .map_err(|_| JwsRefusal::Signature)?;
    Ok(VerifiedPayload { members, signed_at })
}

/// Returns the bytes of a part. A part with a point in it, as in a text of more than three parts, is none.
fn decoded(part: &str) -> Result<Vec<u8>, JwsRefusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsRefusal::Form)
}
