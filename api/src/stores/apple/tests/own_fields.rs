//! The platform fields that only the App Store has: what is stored, and the one sentence for each wrong field.

use super::super::own_fields::{NAMES, check_package, read};
use super::super::settings::{
    ACCOUNT_IDS, APP_APPLE_ID, ISSUER_ID, KEY_ID, PRIVATE_KEY, expected_app,
};
use super::{BUNDLE, platform_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Environment;
use protocols::stores::apple::notification::ExpectedApp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use storage::StorePart;

const ISSUER: &str = "57246542-96fe-1a63-e053-0824d011072a";
const KEY: &str = "2X9R4HXF34";
/// A text that errors must not repeat.
const MARK: &str = "hunter2";

/// Returns a private key in PKCS #8 as PEM, in lines of 64 characters as in Apple's files.
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----")
}

/// Returns a new key on this curve.
fn curve(algorithm: &'static EcdsaSigningAlgorithm) -> String {
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
    pem(key.expect("a key").as_ref())
}

fn key_file() -> String {
    curve(&ECDSA_P256_SHA256_FIXED_SIGNING)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("no object: {other}"),
    }
}

fn valid(value: Value) -> StorePart {
    read(&fields(value)).expect("valid fields")
}

/// Returns the names of the wrong fields, each with what is expected.
fn wrong(value: Value) -> Vec<(&'static str, String)> {
    let wrong = read(&fields(value)).expect_err("wrong fields");
    wrong
        .into_iter()
        .map(|wrong| (wrong.field, wrong.expected))
        .collect()
}

/// Returns what is expected of the only wrong field.
fn expected(name: &'static str, value: Value) -> String {
    let mut all = wrong(json!({ name: value }));
    assert_eq!(all.len(), 1, "{all:?}");
    let (field, expected) = all.remove(0);
    assert_eq!(field, name);
    expected
}

#[test]
fn all_fields_are_stored_and_the_key_is_a_credential() {
    let file = key_file();
    let part = valid(json!({
        APP_APPLE_ID: "1234567890", ISSUER_ID: ISSUER, KEY_ID: KEY, ACCOUNT_IDS: "external",
        PRIVATE_KEY: file,
    }));
    let settings = json!({
        APP_APPLE_ID: "1234567890", ISSUER_ID: ISSUER, KEY_ID: KEY, ACCOUNT_IDS: "external",
    });
    assert_eq!(part.settings, Some(settings.clone()));
    let credentials = part.credentials.expect("credentials");
    let stored: Value = serde_json::from_str(credentials.expose_secret()).expect("JSON");
    assert_eq!(stored, json!({ PRIVATE_KEY: file }));
    // Stored fields are read again with each change.
    assert_eq!(valid(settings.clone()).settings, Some(settings.clone()));

    let platform = platform_with(Some(settings));
    let app = ExpectedApp {
        bundle_id: BUNDLE,
        apple_id: Some(1_234_567_890),
        environment: Environment::Production,
    };
    assert_eq!(expected_app(&platform), app);
}

#[test]
fn every_field_is_optional() {
    let part = valid(json!({}));
    assert_eq!(part.settings, None);
    assert!(part.credentials.is_none());
    let platform = platform_with(None);
    assert_eq!(expected_app(&platform).apple_id, None);

    // A change without the key keeps the stored one.
    let part = valid(json!({ KEY_ID: KEY }));
    assert_eq!(part.settings, Some(json!({ KEY_ID: KEY })));
    assert!(part.credentials.is_none());
}

#[test]
fn blanks_around_a_value_are_removed() {
    let file = key_file();
    let part = valid(
        json!({ PRIVATE_KEY: format!("\u{feff}{file}\r\n"), ISSUER_ID: format!(" {ISSUER}\n") }),
    );
    assert_eq!(part.settings, Some(json!({ ISSUER_ID: ISSUER })));
    let credentials = part.credentials.expect("credentials");
    let stored: Value = serde_json::from_str(credentials.expose_secret()).expect("JSON");
    assert_eq!(stored[PRIVATE_KEY], file);
}

#[test]
fn a_wrong_setting_is_refused_with_what_to_enter() {
    let simple = ISSUER.replace('-', "");
    let cases = [
        (APP_APPLE_ID, "", "Apple ID of the app"),
        (APP_APPLE_ID, "anna@example.com", "not the address"),
        (APP_APPLE_ID, "id1234567890", "a number"),
        (APP_APPLE_ID, "-1", "a number"),
        (APP_APPLE_ID, "0123456789", "a number"),
        (APP_APPLE_ID, "1234567890123456", "a number"),
        (APP_APPLE_ID, BUNDLE, "a number"),
        (ISSUER_ID, "", "the issuer id"),
        (ISSUER_ID, KEY, "the issuer id"),
        (ISSUER_ID, simple.as_str(), "the issuer id"),
        (KEY_ID, "", "the key id"),
        (KEY_ID, "2x9r4hxf34", "capital letters"),
        (
            KEY_ID,
            "SubscriptionKey_2X9R4HXF34.p8",
            "rest of the file's name",
        ),
        (KEY_ID, ISSUER, "the key id"),
        (ACCOUNT_IDS, "true", "`external`"),
    ];
    for (name, value, part) in cases {
        let expected = expected(name, value.into());
        assert!(expected.contains(part), "{value}: {expected}");
    }
    for name in NAMES {
        for value in [json!(7), json!(true), json!([]), json!({})] {
            expected(name, value);
        }
    }
}

#[test]
fn all_wrong_fields_are_reported_at_once() {
    let wrong = wrong(json!({
        APP_APPLE_ID: MARK, ISSUER_ID: MARK, KEY_ID: MARK, PRIVATE_KEY: MARK, ACCOUNT_IDS: MARK,
        "bundle_id": MARK, "package_name": MARK, MARK: MARK,
    }));
    let mut names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let others = ["*", "bundle_id", "package_name"];
    let mut all: Vec<&str> = NAMES.into_iter().chain(others).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    for (name, expected) in wrong {
        let is_sentence = !expected.contains(". ") && !expected.ends_with('.');
        assert!(
            is_sentence && !expected.contains(MARK),
            "{name}: {expected}"
        );
        assert!(!expected.contains("  "), "{name}: {expected}");
    }
}

#[test]
fn the_unknown_field_is_answered_with_all_known_ones() {
    let wrong = wrong(json!({ "colour": "red", "size": 7 }));
    let [(name, expected)] = &wrong[..] else {
        panic!("{wrong:?}");
    };
    assert_eq!(*name, "*");
    assert!(
        NAMES.iter().all(|name| expected.contains(name)),
        "{expected}"
    );
}

#[test]
fn a_text_that_is_no_key_file_is_refused() {
    let file = key_file();
    let sec1 = file.replace("PRIVATE KEY", "EC PRIVATE KEY");
    let public = file.replace("PRIVATE KEY", "PUBLIC KEY");
    let body = file.lines().nth(1).expect("a line");
    for text in [
        String::new(),
        MARK.to_owned(),
        body.to_owned(),
        file[..100].to_owned(),
        format!("{MARK}\n{file}"),
        format!("{file}\n{file}"),
        json!({ PRIVATE_KEY: file }).to_string(),
        sec1,
        public,
    ] {
        let expected = expected(PRIVATE_KEY, text.into());
        assert!(expected.contains("whole text"), "{expected}");
        assert!(!expected.contains(MARK) && !expected.contains(body));
    }
}

#[test]
fn only_a_private_key_on_the_curve_p_256_is_accepted() {
    let random = SystemRandom::new();
    let p384 = curve(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let edwards = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let rsa = RsaPrivateKey::new(&mut OsRng, 1024).expect("a key");
    let rsa = rsa.to_pkcs8_pem(LineEnding::LF).expect("its PEM");
    let file = key_file();
    let cut = file.lines().filter(|line| line.len() != 64);
    let cut: Vec<&str> = cut.collect();
    for text in [
        p384,
        pem(edwards.as_ref()),
        rsa.to_string(),
        cut.join("\n"),
        pem(MARK.as_bytes()),
        pem(&[]),
    ] {
        let expected = expected(PRIVATE_KEY, text.as_str().into());
        assert!(expected.contains("P-256 private key"), "{expected}");
        let mut lines = text.lines().filter(|line| !line.starts_with('-'));
        assert!(lines.all(|line| line.is_empty() || !expected.contains(line)));
    }
}

#[test]
fn a_bundle_id_has_hyphens_but_no_wildcard() {
    for name in ["com.example.radio", "com.my-app", "Com.2go", "radio"] {
        assert_eq!(check_package(name), Ok(()), "{name}");
    }
    let long = format!("com.{}", "a".repeat(200));
    for name in [
        "",
        "com.",
        ".com",
        "com..radio",
        "com.example.*",
        "com.example/x",
        "com.my_app",
        long.as_str(),
    ] {
        let expected = check_package(name).expect_err("an error");
        assert!(expected.starts_with("the bundle id"), "{name}");
    }
}
