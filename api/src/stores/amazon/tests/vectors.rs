//! Our own vectors: three types and two versions, with and without a subject, signed once with a key that was then
//! discarded. They show that a message that was valid once stays valid.

use super::super::verify_file;
use super::{at, workspace};
use std::path::PathBuf;

const DURING: &str = "2026-06-01T12:00:00Z";
const NAMES: [&str; 8] = [
    "notification-v1",
    "notification-v2",
    "notification-subject-v1",
    "notification-subject-v2",
    "subscription-v1",
    "subscription-v2",
    "unsubscription-v1",
    "unsubscription-v2",
];

fn folder() -> PathBuf {
    workspace().join("tests/fixtures/sns")
}

fn vector(name: &str) -> (Vec<u8>, Vec<u8>) {
    let read = |name: &str| {
        std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    (read(&format!("{name}.json")), read("certificate.pem"))
}

#[test]
fn our_vectors_are_valid_in_the_life_of_their_certificate() {
    for name in NAMES {
        let (message, certificate) = vector(name);
        assert_eq!(
            verify_file(&message, &certificate, at(DURING)),
            Ok(()),
            "{name}"
        );
        for outside in ["2025-12-31T23:59:59Z", "2056-01-01T00:00:01Z"] {
            assert!(
                verify_file(&message, &certificate, at(outside)).is_err(),
                "{name} at {outside}"
            );
        }
    }
}

#[test]
fn our_vectors_with_another_character_in_any_field_are_refused() {
    for name in NAMES {
        let (message, certificate) = vector(name);
        let document: serde_json::Value = serde_json::from_slice(&message).expect("JSON");
        for (field, value) in document.as_object().expect("an object") {
            if matches!(field.as_str(), "UnsubscribeURL" | "SigningCertURL") {
                continue;
            }
            let mut text = value.as_str().expect("a string").to_owned();
            let last = text.pop().expect("not empty");
            // Before the base64 padding, so that the text remains base64.
            text.insert(text.len() / 2, if last == 'a' { 'b' } else { 'a' });
            text.push(last);
            let mut changed = document.clone();
            changed[field] = text.into();
            let verdict = verify_file(changed.to_string().as_bytes(), &certificate, at(DURING));
            assert!(verdict.is_err(), "{name} {field}");
        }
    }
}
