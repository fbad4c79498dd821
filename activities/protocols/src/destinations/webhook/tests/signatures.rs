//! Signed requests, checked by a reference verifier and in the strict form that every verifier accepts.

use super::{
    AT_SECONDS, BODY, ID, SECRET, URL, after, at, attempt, config, config_of, created, header,
    sent, shown,
};
use crate::destinations::webhook::config::{Config, change, rotate};
use crate::destinations::webhook::request::{request, test};
use crate::destinations::webhook::signature::Key;
use crate::destinations::{Allowed, ChangedSettings, Rotation};
use crate::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::signature::{ED25519, UnparsedPublicKey};
use secrecy::SecretString;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::{SystemTime, UNIX_EPOCH};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn headers(request: &Request) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        (
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        )
    };
    request.headers.iter().map(pair).collect()
}

fn signatures(config: &Config, at: Timestamp) -> Vec<String> {
    header(&sent(config, at, BODY), "webhook-signature")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

/// Returns the text that is signed, rebuilt from the headers and the body.
fn signed_text(request: &Request) -> String {
    let body = std::str::from_utf8(&request.body).unwrap();
    format!(
        "{}.{}.{body}",
        header(request, "webhook-id"),
        header(request, "webhook-timestamp")
    )
}

fn is_signed_by(public_key: &str, text: &str, signature: &str) -> bool {
    let key = STANDARD
        .decode(public_key.strip_prefix("whpk_").unwrap())
        .unwrap();
    let signature = STANDARD
        .decode(signature.strip_prefix("v1a,").unwrap())
        .unwrap();
    UnparsedPublicKey::new(&ED25519, key)
        .verify(text.as_bytes(), &signature)
        .is_ok()
}

fn rotation(new_secret: Option<&str>, overlap_ms: i64, now: Timestamp) -> Rotation {
    let random = [u8::try_from(now.micros() % 251).unwrap(); 32];
    Rotation {
        new_secret: new_secret.map(SecretString::from),
        until: now.plus_millis(overlap_ms),
        now,
        random,
    }
}

fn rotated(from: &ChangedSettings, rotation: &Rotation) -> ChangedSettings {
    rotate(&from.settings, &from.secret, rotation).unwrap()
}

fn new(new_secret: &Value) -> ChangedSettings {
    let created = created(new_secret);
    ChangedSettings {
        settings: created.settings,
        secret: created.secret,
        shown: created.shown,
        profile: None,
    }
}

#[test]
fn the_signature_of_the_specifications_example() {
    let signature = Key::parse(SECRET)
        .unwrap()
        .sign(&format!("{ID}.{AT_SECONDS}.{BODY}"));
    assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}

#[test]
fn the_asymmetric_signature_of_svixs_test() {
    let private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let key = Key::parse(private).unwrap();
    assert_eq!(
        key.public().unwrap(),
        "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    );
    let signature = key.sign(r#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#);
    let expected = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    assert_eq!(signature, expected);
    // The appended public key of another private key is refused.
    let other = private.replace("fVKIDij2", "fVKIDij3");
    assert!(Key::parse(&other).is_err());
}

#[test]
fn a_request_is_the_stored_body_and_signed_headers() {
    let config = config(&json!({"secret": SECRET, "headers": {"X-Tenant": "t-1"}}));
    let request = sent(&config, at(), BODY);
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let text = format!(
        "POST {}\n{headers}\n{}",
        request.url,
        String::from_utf8(request.body).unwrap()
    );
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "[version]"), @r#"
    POST https://example.com/hook
    content-type: application/json
    user-agent: settle/[version]
    webhook-id: fd3ab93f-c82f-53b3-a74b-310c278924ea
    webhook-signature: v1,wZtQfIXZd+eodY1el0ltamAErq8ZIYrD+IlINkDBEeo=
    webhook-timestamp: 1649367553
    x-tenant: t-1

    {"email":"test@example.com","username":"test_user"}
    "#);
    assert!(!request.is_operator_url);
}

#[test]
fn a_test_request_is_signed_and_marked_as_a_test() {
    let config = config(&json!({"secret": SECRET}));
    let request = test(&config, at(), "0192", None).unwrap();
    assert_eq!(header(&request, "webhook-id"), "test_0192");
    assert_eq!(header(&request, "webhook-test"), "true");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["type"], &body["id"]),
        (&json!("test"), &json!("test_0192"))
    );
    assert_eq!(body["timestamp"], json!(at()));
    let signature = Key::parse(SECRET).unwrap().sign(&signed_text(&request));
    assert_eq!(header(&request, "webhook-signature"), signature);
    assert_eq!(
        header(
            &test(&config, at(), "test_0192", None).unwrap(),
            "webhook-id"
        ),
        "test_0192"
    );
    for id in ["a.b", "a b", "a\r\nb", "é"] {
        assert_eq!(
            test(&config, at(), id, None).err().unwrap().field,
            "webhook-id",
            "{id}"
        );
    }
}

#[test]
fn one_event_is_one_request() {
    let config = config(&json!({}));
    for attempts in [vec![], vec![attempt(BODY), attempt(BODY)]] {
        assert_eq!(
            request(&config, at(), &attempts).err().unwrap().field,
            "attempts"
        );
    }
    assert_eq!(
        header(
            &sent(&config, Timestamp::from_micros(-1), BODY),
            "webhook-timestamp"
        ),
        "0"
    );
}

#[test]
fn a_reference_verifier_accepts_current_requests_only() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the verifier compares with the real clock"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap());
    let created = new(&json!({ "url": URL }));
    let (old, config) = (shown(&created.shown)[0].1.clone(), after(&created));
    let verifier = Webhook::new(&old).unwrap();
    let request = sent(&config, now, BODY);
    assert!(verifier.verify(&request.body, &headers(&request)).is_ok());
    assert!(verifier.verify(b"{}", &headers(&request)).is_err());
    let earlier = sent(&config, now.plus_millis(-400_000), BODY);
    assert!(verifier.verify(&earlier.body, &headers(&earlier)).is_err());
    assert!(
        Webhook::new(SECRET)
            .unwrap()
            .verify(&request.body, &headers(&request))
            .is_err()
    );
    // While two secrets overlap, a receiver may verify with either.
    let next = rotated(&created, &rotation(Some(SECRET), DAY_MS, now));
    let request = sent(&after(&next), now, BODY);
    for secret in [&old, SECRET] {
        assert!(
            Webhook::new(secret)
                .unwrap()
                .verify(&request.body, &headers(&request))
                .is_ok()
        );
    }
}

#[test]
fn a_replaced_secret_signs_until_its_overlap_ends() {
    let first = new(&json!({"url": URL, "secret": SECRET}));
    let second = rotated(&first, &rotation(None, 2 * HOUR_MS, at()));
    let (config, until) = (after(&second), at().plus_millis(2 * HOUR_MS));
    let old = signatures(&after(&first), at());
    assert_eq!(signatures(&config, at()).len(), 2);
    assert_eq!(signatures(&config, at())[1..], old);
    assert_eq!(
        signatures(&config, Timestamp::from_micros(until.micros() - 1)).len(),
        2
    );
    assert_eq!(signatures(&config, until).len(), 1);
    assert_ne!(
        signatures(&config, until),
        signatures(&after(&first), until)
    );
    assert_eq!(shown(&second.shown).len(), 1);
    assert_ne!(shown(&second.shown), shown(&first.shown));
    // Without an overlap the old key is removed at once.
    let third = rotated(&first, &rotation(None, 0, at()));
    assert_eq!(
        signatures(&after(&third), at().plus_millis(-HOUR_MS)).len(),
        1
    );
}

#[test]
fn a_rotation_without_overlap_ends_earlier_overlaps() {
    let until = |of: &ChangedSettings| of.settings["old_secret_signs_until"].clone();
    let first = new(&json!({"url": URL, "secret": SECRET}));
    let second = rotated(&first, &rotation(None, DAY_MS, at()));
    let later = at().plus_millis(1);
    let third = rotated(&second, &rotation(None, HOUR_MS, later));
    assert_eq!(signatures(&after(&third), later).len(), 3);
    assert_eq!(until(&third), json!(at().plus_millis(DAY_MS)));
    let latest = at().plus_millis(2);
    let last = rotated(&third, &rotation(None, 0, latest));
    assert_eq!(signatures(&after(&last), latest).len(), 1);
    assert_eq!(until(&last), Value::Null);
    // Only the keys of the replaced version end, and only keys that sign are shown.
    let both = new(&json!({"url": URL, "signature": "v1,v1a"}));
    let both = rotated(&both, &rotation(None, DAY_MS, at()));
    let one = rotated(&both, &rotation(Some(SECRET), 0, later));
    assert_eq!(signatures(&after(&one), later).len(), 3);
    assert_eq!(until(&one), json!(at().plus_millis(DAY_MS)));
    let fields = json!({ "signature": "v1" });
    let changed = change(
        &one.settings,
        &one.secret,
        fields.as_object().unwrap(),
        &Allowed::default(),
    )
    .unwrap();
    assert_eq!(until(&changed), Value::Null);
}

#[test]
fn at_most_ten_replaced_secrets_sign_and_expired_ones_go() {
    let mut now = at();
    let mut destination = new(&json!({"url": URL, "secret": SECRET}));
    for round in 1..=10 {
        now = now.plus_millis(1);
        destination = rotated(&destination, &rotation(None, DAY_MS, now));
        assert_eq!(signatures(&after(&destination), now).len(), round + 1);
    }
    let refused = rotate(
        &destination.settings,
        &destination.secret,
        &rotation(None, DAY_MS, now.plus_millis(1)),
    );
    assert_eq!(refused.err().unwrap().field, "secret");
    let without = rotated(&destination, &rotation(None, 0, now.plus_millis(1)));
    assert_eq!(signatures(&after(&without), now.plus_millis(1)).len(), 1);
    let later = now.plus_millis(DAY_MS);
    assert_eq!(
        signatures(
            &after(&rotated(&destination, &rotation(None, HOUR_MS, later))),
            later
        )
        .len(),
        2
    );
}

#[test]
fn a_rotation_needs_a_new_key_and_overlaps_seven_days_at_most() {
    let first = new(&json!({"url": URL, "secret": SECRET}));
    let refused = |rotation: &Rotation| {
        rotate(&first.settings, &first.secret, rotation)
            .err()
            .unwrap()
            .field
    };
    assert_eq!(refused(&rotation(Some(SECRET), 0, at())), "secret");
    assert_eq!(
        refused(&rotation(Some("whsec_c2hvcnQ="), 0, at())),
        "secret"
    );
    assert_eq!(refused(&rotation(None, 7 * DAY_MS + 1, at())), "until");
    // Rotating back to a secret that still overlaps makes it the newest key, without a duplicate.
    let second = rotated(&first, &rotation(None, DAY_MS, at()));
    let third = rotated(&second, &rotation(Some(SECRET), DAY_MS, at()));
    let back = signatures(&after(&third), at());
    assert_eq!(
        (back.len(), &back[..1]),
        (2, &signatures(&after(&first), at())[..])
    );
}

#[test]
fn both_versions_are_signed_and_replaced_together_or_one_by_one() {
    let first = new(&json!({"url": URL, "secret": SECRET, "signature": "v1,v1a"}));
    let both = rotated(&first, &rotation(None, DAY_MS, at()));
    assert_ne!(both.settings["public_key"], first.settings["public_key"]);
    let versions = |list: &[String]| -> Vec<String> {
        list.iter()
            .map(|signature| signature.split_once(',').unwrap().0.to_owned())
            .collect()
    };
    assert_eq!(
        versions(&signatures(&after(&both), at())),
        ["v1", "v1", "v1a", "v1a"]
    );
    let mine = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let one = rotated(&first, &rotation(Some(mine), 0, at()));
    assert_eq!(versions(&signatures(&after(&one), at())), ["v1", "v1a"]);
    let names: Vec<_> = shown(&one.shown)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["public_key"]);
    let request = sent(&after(&one), at(), BODY);
    let public = one.settings["public_key"].as_str().unwrap();
    let signature = header(&request, "webhook-signature")
        .split(' ')
        .nth(1)
        .unwrap();
    assert!(is_signed_by(public, &signed_text(&request), signature));
    assert!(!is_signed_by(
        public,
        &format!("{} ", signed_text(&request)),
        signature
    ));
}

#[test]
fn neither_generated_key_reveals_the_other() {
    let created = new(&json!({"url": URL, "signature": "v1,v1a"}));
    let stored: Value =
        serde_json::from_str(secrecy::ExposeSecret::expose_secret(&created.secret)).unwrap();
    let bytes = |place: usize| {
        let text = stored["keys"][place]["secret"].as_str().unwrap();
        STANDARD.decode(text.split_once('_').unwrap().1).unwrap()
    };
    assert_eq!((bytes(0).len(), bytes(1).len()), (32, 32));
    assert_ne!(bytes(0), bytes(1));
    assert!(![bytes(0), bytes(1)].contains(&vec![7; 32]));
}

proptest! {
    #[test]
    fn any_body_and_secret_are_signed_like_the_reference_signer(
        random in any::<[u8; 32]>(), seconds in 0_i64..4_000_000_000, body in ".*",
    ) {
        let secret = format!("whsec_{}", STANDARD.encode(random));
        let config = config(&json!({ "secret": secret }));
        let request = sent(&config, Timestamp::from_micros(seconds * 1_000_000), &body);
        let id = header(&request, "webhook-id");
        let theirs = Webhook::new(&secret).unwrap().sign(id, seconds, body.as_bytes()).unwrap();
        prop_assert_eq!(header(&request, "webhook-signature"), theirs.as_str());
        prop_assert_eq!(request.body, body.into_bytes());
    }

    /// The form is: one space between signatures, one comma within each, standard base64 with padding, a plain integer
    /// as timestamp, lower-case header names, and no dot in the id.
    #[test]
    fn signed_headers_have_the_strictest_verifiers_form(
        random in any::<[u8; 32]>(), rounds in 0_usize..4, micros in 0_i64..4_000_000_000_000_000,
        signature in prop::sample::select(vec!["v1", "v1a", "v1,v1a"]),
    ) {
        let now = Timestamp::from_micros(micros);
        let mut destination = new(&json!({"url": URL, "signature": signature}));
        for round in 0..rounds {
            let random = random.map(|byte| byte.wrapping_add(u8::try_from(round).unwrap()));
            destination = rotated(&destination, &Rotation { random, ..rotation(None, DAY_MS, now) });
        }
        let request = sent(&config_of(&destination.settings, &destination.secret), now, BODY);
        for (name, value) in &request.headers {
            prop_assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
            prop_assert_eq!(value.trim(), value.as_str());
        }
        prop_assert!(!header(&request, "webhook-id").contains('.'));
        prop_assert_eq!(header(&request, "webhook-timestamp"), (micros / 1_000_000).to_string());
        let tokens: Vec<&str> = header(&request, "webhook-signature").split(' ').collect();
        prop_assert_eq!(tokens.len(), (rounds + 1) * signature.split(',').count());
        for token in tokens {
            let parts: Vec<&str> = token.split(',').collect();
            prop_assert_eq!(parts.len(), 2);
            let bytes = STANDARD.decode(parts[1]).unwrap();
            prop_assert_eq!(bytes.len(), if parts[0] == "v1" { 32 } else { 64 });
        }
    }
}
