//! The SNS document around a store's message.
//!
//! An accepted document must read the same after it is written again, and only the signed documents of
//! `tests/fixtures/sns` may verify: their key no longer exists.

use api::stores::amazon::envelope::{Envelope, Kind, Version, parse};
use api::stores::amazon::verify_file;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// A time within the certificate's validity, after the times of all documents.
const NOW: &str = "2026-06-01T12:00:00Z";
const CERTIFICATE: &[u8] = include_bytes!("../../fixtures/sns/certificate.pem");
const SIGNED: [&[u8]; 8] = [
    include_bytes!("../../fixtures/sns/notification-subject-v1.json"),
    include_bytes!("../../fixtures/sns/notification-subject-v2.json"),
    include_bytes!("../../fixtures/sns/notification-v1.json"),
    include_bytes!("../../fixtures/sns/notification-v2.json"),
    include_bytes!("../../fixtures/sns/subscription-v1.json"),
    include_bytes!("../../fixtures/sns/subscription-v2.json"),
    include_bytes!("../../fixtures/sns/unsubscription-v1.json"),
    include_bytes!("../../fixtures/sns/unsubscription-v2.json"),
];

/// The signed documents, without the fields that no signature covers.
static KNOWN: LazyLock<Vec<Map<String, Value>>> = LazyLock::new(|| {
    SIGNED
        .iter()
        .map(|document| covered(&parse(document).expect("a fixture")))
        .collect()
});

pub fn check(data: &[u8]) {
    let envelope = match parse(data) {
        Ok(envelope) => envelope,
        Err(refusal) => {
            assert!(
                (400..500).contains(&refusal.status()),
                "{refusal}: the sender would repeat it for ever"
            );
            return;
        }
    };
    let written = written(&envelope);
    for text in [
        Value::from(written.clone()).to_string(),
        format!("{:#}", Value::from(written.clone())),
    ] {
        let again = parse(text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
        assert_eq!(self::written(&again), written);
        assert_eq!((again.at, again.version), (envelope.at, envelope.version));
    }
    if verify_file(data, CERTIFICATE, NOW.parse().expect("a time")).is_ok() {
        assert!(
            KNOWN.contains(&covered(&envelope)),
            "nobody signed this: {written:?}"
        );
    }
}

/// Returns all fields of a document.
fn written(envelope: &Envelope<'_>) -> Map<String, Value> {
    let version = match envelope.version {
        Version::One => "1",
        Version::Two => "2",
    };
    let (kind, own): (&str, Vec<(&str, &str)>) = match &envelope.kind {
        Kind::Notification { subject } => (
            "Notification",
            subject.iter().map(|text| ("Subject", &**text)).collect(),
        ),
        Kind::SubscriptionConfirmation(link) => (
            "SubscriptionConfirmation",
            vec![
                ("SubscribeURL", &*link.subscribe_url),
                ("Token", &*link.token),
            ],
        ),
        Kind::UnsubscribeConfirmation(link) => (
            "UnsubscribeConfirmation",
            vec![
                ("SubscribeURL", &*link.subscribe_url),
                ("Token", &*link.token),
            ],
        ),
    };
    let fields = [
        ("Type", kind),
        ("MessageId", &*envelope.message_id),
        ("TopicArn", &*envelope.topic_arn),
        ("Message", &*envelope.message),
        ("Timestamp", &*envelope.timestamp),
        ("SignatureVersion", version),
        ("Signature", &*envelope.signature),
        ("SigningCertURL", &*envelope.certificate_url),
    ];
    fields
        .into_iter()
        .chain(own)
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}

/// Returns the fields that the signature covers.
fn covered(envelope: &Envelope<'_>) -> Map<String, Value> {
    let mut fields = written(envelope);
    fields.retain(|name, _| {
        !matches!(
            name.as_str(),
            "Signature" | "SigningCertURL" | "SignatureVersion"
        )
    });
    fields
}
