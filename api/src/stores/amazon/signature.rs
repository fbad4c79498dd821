//! Verifies the signature of an SNS document.

use super::envelope::{Envelope, Kind, Link, Version};
use super::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

/// Maximum length of a signature in bytes, which is that of an 8192-bit key.
const MAX_SIGNATURE_BYTES: usize = 1024;
const WRONG: Refusal = Refusal::Invalid("signature is wrong");

/// Verifies the signature of a document with an `RSAPublicKey` in DER.
///
/// # Errors
/// This key did not sign exactly these fields.
pub fn verify(envelope: &Envelope<'_>, key: &[u8]) -> Result<(), Refusal> {
    let mut space = [0; MAX_SIGNATURE_BYTES + 3];
    let length = STANDARD
        .decode_slice(envelope.signature.as_bytes(), &mut space)
        .map_err(|_| Refusal::Invalid("Signature is not base64"))?;
    let signature = space.get(..length).ok_or(WRONG)?;
    let algorithm = match envelope.version {
        Version::One => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Version::Two => &RSA_PKCS1_2048_8192_SHA256,
    };
    let fields = signed_fields(envelope);
    let mut text = String::with_capacity(
        fields
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum(),
    );
    for (name, value) in fields {
        text.extend([name, "\n", value, "\n"]);
    }
    UnparsedPublicKey::new(algorithm, key)
        .verify(text.as_bytes(), signature)
        .map_err(|_| WRONG)
}

/// Returns the name and value of each signed field, in the order of AWS's page "Verifying the signatures of Amazon SNS
/// messages". The document's type determines which fields are signed. If the fields that are present determined it, an
/// attacker could move text from one field to another and keep the signature.
fn signed_fields<'e>(envelope: &'e Envelope<'_>) -> Vec<(&'static str, &'e str)> {
    let mut fields = Vec::with_capacity(7);
    fields.push(("Message", &*envelope.message));
    fields.push(("MessageId", &*envelope.message_id));
    match &envelope.kind {
        Kind::Notification { subject } => {
            fields.extend(subject.as_deref().map(|subject| ("Subject", subject)));
            fields.push(("Timestamp", &*envelope.timestamp));
        }
        Kind::SubscriptionConfirmation(link) | Kind::UnsubscribeConfirmation(link) => {
            let Link {
                subscribe_url,
                token,
            } = link;
            fields.push(("SubscribeURL", &**subscribe_url));
            fields.push(("Timestamp", &*envelope.timestamp));
            fields.push(("Token", &**token));
        }
    }
    fields.push(("TopicArn", &*envelope.topic_arn));
    fields.push(("Type", type_name(&envelope.kind)));
    fields
}

const fn type_name(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::Notification { .. } => "Notification",
        Kind::SubscriptionConfirmation(_) => "SubscriptionConfirmation",
        Kind::UnsubscribeConfirmation(_) => "UnsubscribeConfirmation",
    }
}
