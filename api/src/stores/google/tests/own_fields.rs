//! The platform fields that only Google Play has: what is stored, and the one sentence for each wrong field.

use super::super::own_fields::{NAMES, check_package, read};
use super::super::settings::{
    PUSH_ACCOUNT, PUSH_AUDIENCE, PushTarget, SERVICE_ACCOUNT, SUBSCRIPTION,
};
use super::{ACCOUNT, QUEUE, platform_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocols::stores::google::Credentials;
use protocols::stores::google::acknowledge::{ACKNOWLEDGE, Acknowledger};
use protocols::stores::google::customer::{ACCOUNT_IDS, AccountIds};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use storage::StorePart;

const DEFAULT_AUDIENCE: &str =
    "https://pubsub.googleapis.com/projects/example-project/subscriptions/play";
/// A text that errors must not repeat.
const MARK: &str = "hunter2";
const EMAIL: &str = "reader@example-project.iam.gserviceaccount.com";

/// A key for all tests, because generating one is slow.
static PEM: LazyLock<String> = LazyLock::new(|| rsa_pem(2048));

/// Returns a new RSA key of this size in bits, in PKCS #8.
fn rsa_pem(bits: usize) -> String {
    let key = RsaPrivateKey::new(&mut OsRng, bits).expect("a key");
    key.to_pkcs8_pem(LineEnding::LF)
        .expect("its PEM")
        .to_string()
}

/// Returns the key file of a service account with this key, in Google's format.
fn key_file(pem: &str) -> Value {
    json!({
        "type": "service_account", "project_id": "example-project", "private_key_id": "0123456789abcdef",
        "private_key": pem, "client_email": EMAIL, "client_id": "123456789012345678901",
        "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
    })
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
fn all_fields_are_stored_and_the_key_file_is_a_credential() {
    let file = key_file(&PEM).to_string();
    let part = valid(json!({
        SERVICE_ACCOUNT: file, SUBSCRIPTION: QUEUE, PUSH_ACCOUNT: ACCOUNT,
        PUSH_AUDIENCE: "https://settle.example/google", ACKNOWLEDGE: "settle", ACCOUNT_IDS: "external",
    }));
    let settings = json!({
        SUBSCRIPTION: QUEUE, PUSH_ACCOUNT: ACCOUNT, PUSH_AUDIENCE: "https://settle.example/google",
        ACKNOWLEDGE: "settle", ACCOUNT_IDS: "external",
    });
    assert_eq!(part.settings, Some(settings.clone()));
    let credentials = part.credentials.expect("credentials");
    let account = Credentials::account(&credentials).expect("an account that signs");
    assert_eq!(account.email(), EMAIL);

    let platform = platform_with(Some(settings));
    let target = PushTarget::of(&platform).expect("a target");
    assert_eq!((target.account, target.subscription), (ACCOUNT, QUEUE));
    assert_eq!(
        Acknowledger::of(platform.store_settings.as_ref()),
        Acknowledger::Settle
    );
    assert_eq!(
        AccountIds::of(platform.store_settings.as_ref()),
        AccountIds::External
    );
}

#[test]
fn every_field_is_optional() {
    let part = valid(json!({}));
    assert_eq!(part.settings, None);
    assert!(part.credentials.is_none());
    let platform = platform_with(None);
    assert_eq!(
        Acknowledger::of(platform.store_settings.as_ref()),
        Acknowledger::App
    );
    assert_eq!(
        AccountIds::of(platform.store_settings.as_ref()),
        AccountIds::Opaque
    );

    // A change without the key file keeps the stored one.
    let part = valid(json!({ ACKNOWLEDGE: "app" }));
    assert_eq!(part.settings, Some(json!({ ACKNOWLEDGE: "app" })));
    assert!(part.credentials.is_none());
}

#[test]
fn the_audience_is_filled_in_with_the_subscription() {
    let filled = json!({ SUBSCRIPTION: QUEUE, PUSH_AUDIENCE: DEFAULT_AUDIENCE });
    let part = valid(json!({ SUBSCRIPTION: QUEUE }));
    assert_eq!(part.settings, Some(filled.clone()));
    // Stored fields are read again with each change.
    assert_eq!(valid(filled.clone()).settings, Some(filled));
    let part = valid(json!({ PUSH_ACCOUNT: ACCOUNT }));
    assert_eq!(part.settings, Some(json!({ PUSH_ACCOUNT: ACCOUNT })));
}

#[test]
fn blanks_around_a_value_are_removed() {
    let part = valid(json!({
        SERVICE_ACCOUNT: format!("\u{feff}{}\n", key_file(&PEM)), SUBSCRIPTION: format!(" {QUEUE}\n"),
    }));
    let settings = part.settings.expect("settings");
    assert_eq!(settings[SUBSCRIPTION], QUEUE);
    assert!(Credentials::account(&part.credentials.expect("credentials")).is_some());
}

#[test]
fn names_that_google_allows_are_accepted() {
    let valid_values = [
        (
            SUBSCRIPTION,
            "projects/example.com:radio/subscriptions/a-._~+%1",
        ),
        (PUSH_ACCOUNT, "123456-compute@developer.gserviceaccount.com"),
        (PUSH_ACCOUNT, "my-project@appspot.gserviceaccount.com"),
        (
            PUSH_ACCOUNT,
            "push@radio.example.com.iam.gserviceaccount.com",
        ),
        (PUSH_AUDIENCE, "http://localhost:8080"),
        (PUSH_AUDIENCE, DEFAULT_AUDIENCE),
        (ACKNOWLEDGE, "app"),
        (ACCOUNT_IDS, "opaque"),
    ];
    for (name, value) in valid_values {
        let settings = valid(json!({ name: value })).settings.expect("settings");
        assert_eq!(settings[name], value);
    }
}

#[test]
fn a_wrong_setting_is_refused_with_what_to_enter() {
    let long = format!("projects/radio/subscriptions/a{}", "b".repeat(255));
    let cases = [
        (SUBSCRIPTION, "", "full name of the push subscription"),
        (SUBSCRIPTION, "play", "full name"),
        (SUBSCRIPTION, "projects/radio/topics/play", "full name"),
        (
            SUBSCRIPTION,
            "projects/1234567/subscriptions/play",
            "full name",
        ),
        (
            SUBSCRIPTION,
            "projects/radio/subscriptions/1play",
            "full name",
        ),
        (
            SUBSCRIPTION,
            "projects/radio/subscriptions/play/x",
            "full name",
        ),
        (SUBSCRIPTION, long.as_str(), "full name"),
        (PUSH_ACCOUNT, "", "email address of the service account"),
        (PUSH_ACCOUNT, "anna@example.com", "email address"),
        (
            PUSH_ACCOUNT,
            "Push@radio.iam.gserviceaccount.com",
            "email address",
        ),
        (
            PUSH_ACCOUNT,
            "@radio.iam.gserviceaccount.com",
            "email address",
        ),
        (
            PUSH_ACCOUNT,
            "a@b@radio.iam.gserviceaccount.com",
            "email address",
        ),
        (
            PUSH_ACCOUNT,
            "google-play-developer-notifications@system.gserviceaccount.com",
            "a service account of yours",
        ),
        (
            PUSH_ACCOUNT,
            "service-123@gcp-sa-pubsub.iam.gserviceaccount.com",
            "a service account of yours",
        ),
        (PUSH_AUDIENCE, "", "an http or https URL"),
        (PUSH_AUDIENCE, "radio", "an http or https URL"),
        (
            PUSH_AUDIENCE,
            "ftp://settle.example",
            "an http or https URL",
        ),
        (
            PUSH_AUDIENCE,
            "https://settle.example/a b",
            "an http or https URL",
        ),
        (
            PUSH_AUDIENCE,
            "https://settle.example/v1/stores/google/8f3c0f6a1e",
            "another URL than the notification URL",
        ),
        (ACKNOWLEDGE, "both", "`app`"),
        (ACCOUNT_IDS, "true", "`external`"),
    ];
    for (name, value, beginning) in cases {
        let expected = expected(name, value.into());
        assert!(expected.contains(beginning), "{value}: {expected}");
    }
    for name in [
        SUBSCRIPTION,
        PUSH_ACCOUNT,
        PUSH_AUDIENCE,
        ACKNOWLEDGE,
        ACCOUNT_IDS,
    ] {
        for value in [json!(7), json!(true), json!([]), json!({})] {
            expected(name, value);
        }
    }
}

#[test]
fn all_wrong_fields_are_reported_at_once() {
    let wrong = wrong(json!({
        SERVICE_ACCOUNT: MARK, SUBSCRIPTION: MARK, PUSH_ACCOUNT: MARK, PUSH_AUDIENCE: MARK, ACKNOWLEDGE: MARK,
        ACCOUNT_IDS: MARK, "package_name": MARK, MARK: MARK,
    }));
    let mut names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let mut all: Vec<&str> = NAMES.into_iter().chain(["*", "package_name"]).collect();
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
    let file = key_file(&PEM);
    let with = |name: &str, value: Value| {
        let mut file = file.clone();
        file[name] = value;
        file.to_string()
    };
    let (no_json, kind, form) = (
        "from its first brace",
        "not that of an OAuth client",
        "the JSON key file of a service account",
    );
    let cases = [
        (String::new(), no_json),
        (MARK.to_owned(), no_json),
        (PEM.clone(), no_json),
        ("[]".to_owned(), no_json),
        (file.to_string()[..300].to_owned(), no_json),
        ("{}".to_owned(), kind),
        (
            json!({ "installed": { "client_secret": MARK } }).to_string(),
            kind,
        ),
        (with("type", json!("authorized_user")), kind),
        (with("type", json!(7)), kind),
        (with("client_email", json!(MARK)), form),
        (with("private_key", json!(7)), form),
    ];
    for (text, part) in cases {
        let expected = expected(SERVICE_ACCOUNT, text.as_str().into());
        assert!(expected.contains(part), "{expected}");
        assert!(
            !expected.contains(MARK) && !expected.contains(EMAIL),
            "{expected}"
        );
    }
    expected(SERVICE_ACCOUNT, file);
}

#[test]
fn only_an_rsa_key_of_at_least_2048_bits_is_accepted() {
    let random = SystemRandom::new();
    let curve = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let encoded = STANDARD.encode(curve.expect("a key").as_ref());
    let curve = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    for pem in [MARK.to_owned(), rsa_pem(1024), curve, PEM[..600].to_owned()] {
        let text = key_file(&pem).to_string();
        let expected = expected(SERVICE_ACCOUNT, text.into());
        assert!(expected.contains("RSA key of 2048"), "{expected}");
        let mut lines = pem.lines().filter(|line| line.len() > 40);
        assert!(lines.all(|line| !expected.contains(line)), "{expected}");
        assert!(!expected.contains(MARK), "{expected}");
    }
}

#[test]
fn credentials_hold_the_file_alone() {
    let file = key_file(&PEM).to_string();
    let part = valid(json!({ SERVICE_ACCOUNT: file }));
    assert_eq!(part.settings, None, "nothing of the file is shown");
    let credentials = part.credentials.expect("credentials");
    let stored: Value = serde_json::from_str(credentials.expose_secret()).expect("JSON");
    assert_eq!(stored, json!({ SERVICE_ACCOUNT: file }));
}

#[test]
fn a_package_name_has_two_parts_or_more() {
    for name in ["com.example", "com.example.radio_2", "Com.Example.app"] {
        assert_eq!(check_package(name), Ok(()), "{name}");
    }
    let long = format!("com.{}", "a".repeat(200));
    for name in [
        "",
        "radio",
        "com.",
        "com.2go",
        "com.my-app",
        "com.example/x",
        long.as_str(),
    ] {
        let expected = check_package(name).expect_err("an error");
        assert!(expected.starts_with("the package name"), "{name}");
    }
}
