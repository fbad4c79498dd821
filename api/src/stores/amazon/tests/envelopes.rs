//! Malformed documents: what is refused, with its stable reason, and that nothing panics.

use super::super::envelope::{MAX_BODY_BYTES, Version, parse};
use super::super::notification;
use super::{SIGNER, TOKEN, header, now, verdict};
use proptest::prelude::*;

fn signed() -> String {
    SIGNER
        .sign_notification(&header(Version::One), Some("Hello"), "Hello world")
        .expect("signed")
}

/// The document with one part of its text replaced.
fn with(from: &str, to: &str) -> String {
    let document = signed();
    assert!(document.contains(from), "{from} is in {document}");
    document.replacen(from, to, 1)
}

#[test]
fn a_signed_document_of_each_type_and_version_is_valid() {
    for version in [Version::One, Version::Two] {
        let header = header(version);
        for document in [
            SIGNER.sign_notification(&header, None, "Hello"),
            SIGNER.sign_notification(
                &header,
                Some("A subject"),
                "Gr\u{fc}\u{df}e \u{1f600}\n\t\"\\",
            ),
            SIGNER.sign_subscription(&header, TOKEN),
            SIGNER.sign_unsubscription(&header, TOKEN),
        ] {
            assert_eq!(verdict(&document.expect("signed")), "valid");
        }
    }
}

#[test]
fn a_document_reads_the_same_however_its_json_is_written() {
    let value: serde_json::Value = serde_json::from_str(&signed()).expect("JSON");
    let escaped: String = value.to_string().replace("Hello", "\\u0048\\u0065llo");
    for document in [
        value.to_string(),
        serde_json::to_string_pretty(&value).expect("JSON"),
        escaped,
    ] {
        assert_eq!(verdict(&document), "valid", "{document}");
    }
}

#[test]
fn unsigned_fields_are_never_read() {
    for more in [
        r#""MessageAttributes":{"a":{"Type":"String","Value":"b"}},"#,
        r#""x":[1,2.5,null,true],"#,
    ] {
        assert_eq!(verdict(&with("{\n", &format!("{{{more}"))), "valid");
    }
    let document = signed();
    let (head, _) = document
        .split_once("  \"UnsubscribeURL\"")
        .expect("it is last");
    assert_eq!(
        verdict(&format!("{head}\"UnsubscribeURL\":\"UnsubscribeUrl\"}}")),
        "valid"
    );
    assert_eq!(verdict(&format!("{head}\"UnsubscribeURL\":7}}")), "valid");
    assert_eq!(
        verdict(&format!("{}}}", head.trim_end().trim_end_matches(','))),
        "valid"
    );
}

/// Replacements in a signed message, each with the reason of its refusal.
const REPLACED: [(&str, &str, &str); 32] = [
    (
        "Hello world",
        "Hello \\ud800 world",
        "body is not a JSON object",
    ),
    ("\"Notification\"", "\"notification\"", "Type is unknown"),
    ("\"Notification\"", "\"Notification \"", "Type is unknown"),
    ("\"Notification\"", "null", "Type is not a string"),
    (
        "\"Notification\"",
        "\"SubscriptionConfirmation\"",
        "SubscribeURL is missing",
    ),
    ("\"MessageId\"", "\"messageId\"", "MessageId is missing"),
    ("b1c4d9bb-", "b1c4d9bb", "MessageId is not a UUID"),
    (
        "b1c4d9bb-0fd9-54b2-8f74-8e59c91e396a",
        "{b1c4d9bb-0fd9-54b2-8f74-8e59c91e396a}",
        "MessageId is not a UUID",
    ),
    ("\"TopicArn\"", "\"Topic\"", "TopicArn is missing"),
    ("\"Message\"", "\"Massage\"", "Message is missing"),
    ("\"Hello world\"", "{}", "Message is not a string"),
    // A value that is not a string is skipped without being parsed, because the message is not verified yet.
    ("\"Hello world\"", "[1e400]", "Message is not a string"),
    ("\"Hello\"", "1", "Subject is not a string"),
    ("\"Timestamp\"", "\"Time\"", "Timestamp is missing"),
    (
        "2026-06-01T12:00:00.000Z",
        "2026-06-01T12:00:00.000+00:00",
        "Timestamp is not a UTC time",
    ),
    (
        "2026-06-01T12:00:00.000Z",
        "2026-06-01 12:00:00Z",
        "Timestamp is not a UTC time",
    ),
    (
        "2026-06-01T12:00:00.000Z",
        "2026-06-31T12:00:00.000Z",
        "Timestamp is not a UTC time",
    ),
    (
        "2026-06-01T12:00:00.000Z",
        "1780315200000",
        "Timestamp is not a UTC time",
    ),
    (
        "\"SignatureVersion\"",
        "\"Version\"",
        "SignatureVersion is missing",
    ),
    (
        "\"SignatureVersion\" : \"1\"",
        "\"SignatureVersion\" : \"3\"",
        "SignatureVersion is neither 1 nor 2",
    ),
    (
        "\"SignatureVersion\" : \"1\"",
        "\"SignatureVersion\" : 1",
        "SignatureVersion is not a string",
    ),
    (
        "\"SignatureVersion\" : \"1\"",
        "\"SignatureVersion\" : \"2\"",
        "signature is wrong",
    ),
    ("\"Signature\"", "\"Sig\"", "Signature is missing"),
    (
        "\"Signature\" : \"",
        "\"Signature\" : \"EXAMPLEab123...",
        "Signature is not base64",
    ),
    (
        "\"Signature\" : \"",
        "\"Signature\" : \"AAAA",
        "signature is wrong",
    ),
    (
        "\"SigningCertURL\"",
        "\"SigningCertUrl\"",
        "SigningCertURL is missing",
    ),
    ("\"Subject\" : \"Hello\",", "", "signature is wrong"),
    ("{\n", "{\"Type\":\"Notification\",", "a key appears twice"),
    ("{\n", "{\"Message\":\"another\",", "a key appears twice"),
    (
        "{\n",
        "{\"Messa\\u0067e\":\"another\",",
        "a key appears twice",
    ),
    ("{\n", "{\"extra\":1,\"extra\":1,", "a key appears twice"),
    ("\"Hello world\"", "\"Hello world \"", "signature is wrong"),
];

#[test]
fn each_wrong_shape_has_its_own_reason() {
    let cases = [
        (String::new(), "body is not a JSON object"),
        ("[]".to_owned(), "body is not a JSON object"),
        ("Hello world".to_owned(), "body is not a JSON object"),
        ("\u{feff}{}".to_owned(), "body is not a JSON object"),
        (format!("{} {{}}", signed()), "body is not a JSON object"),
        ("[".repeat(100_000), "body is not a JSON object"),
        (
            r#"{"appPackageName":"com.example.app","notificationType":"SUBSCRIPTION_RENEWED"}"#
                .to_owned(),
            "Type is missing",
        ),
        (
            with("\"Hello world\"", &("[".repeat(200) + &"]".repeat(200))),
            "Message is not a string",
        ),
    ];
    let replaced = REPLACED.map(|(old, new, reason)| (with(old, new), reason));
    for (document, reason) in cases.into_iter().chain(replaced) {
        assert_eq!(verdict(&document), format!("400 {reason}"), "{document}");
    }
}

#[test]
fn a_body_larger_than_any_message_is_refused_unread() {
    let largest = with(
        "Hello world",
        &"x".repeat(MAX_BODY_BYTES - signed().len() + "Hello world".len()),
    );
    assert_eq!(largest.len(), MAX_BODY_BYTES);
    assert_eq!(verdict(&largest), "400 signature is wrong");
    assert_eq!(
        verdict(&format!("{largest} ")),
        "413 body larger than 2 MiB"
    );
}

#[test]
fn only_the_future_is_too_far_away() {
    let at_distance = |minutes: i64| {
        let moved = super::Header {
            at: now().plus_millis(minutes * 60_000),
            ..header(Version::Two)
        };
        verdict(
            &SIGNER
                .sign_notification(&moved, None, "Hello")
                .expect("signed"),
        )
    };
    assert_eq!(at_distance(15), "valid");
    assert_eq!(at_distance(16), "503 Timestamp is in the future");
    assert_eq!(at_distance(-60 * 24 * 365 * 14), "valid");
}

#[test]
fn a_timestamp_is_signed_as_it_is_written() {
    for (shown, is_valid) in [
        ("2026-06-01T12:00:00.000Z", true),
        ("2026-06-01T12:00:00Z", false),
        ("2026-06-01T12:00:00.0Z", false),
    ] {
        assert_eq!(
            verdict(&with("2026-06-01T12:00:00.000Z", shown)) == "valid",
            is_valid,
            "{shown}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(parse(&body).is_err());
    }

    #[test]
    fn a_document_with_arbitrary_bytes_in_it_never_panics(place in 0_usize..2000, bytes in proptest::collection::vec(any::<u8>(), 1..9)) {
        let mut document = signed().into_bytes();
        let place = place.min(document.len());
        let end = (place + bytes.len()).min(document.len());
        document.splice(place..end, bytes);
        let _ = super::super::verify_file(&document, &super::certificate(), now());
    }

    #[test]
    fn an_arbitrary_message_never_panics(message in ".{0,400}", field in "[a-zA-Z\",{}:\\[\\]]{0,60}") {
        let _ = notification::read(&message);
        let _ = notification::read(&field);
        let _ = notification::read(&format!("{{\"receiptId\":{field}}}"));
    }
}
