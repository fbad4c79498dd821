//! Secret URLs: where they are stored, what is shown of them, and what a change does.

use super::{URL, config_of, created, destination, fields};
use crate::destinations::webhook::config::{change, create, ready, redact, refusal, rotate};
use crate::destinations::{
    self, Allowed, ChangedSettings, Rotation, has_secret_url, shown_entry, shown_settings,
};
use crate::http::Rules;
use domain::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

const SLACK: &str = "https://hooks.slack.com/services/T0000/B0000/c8Vt1uZ5mEr3";
const SHOWN: &str = "https://hooks.slack.com/…";
const TOKEN: &str = "https://example.com:8443/hook?token=9f2c41d07ab3";

fn shown(settings: &Value) -> Value {
    shown_settings("webhook", settings)
}

fn changed(settings: &Value, secret: &SecretString, input: &Value) -> ChangedSettings {
    change(settings, secret, &fields(input), &Allowed::default()).unwrap()
}

/// Checks that a webhook's URL is encrypted, and that requests use it in full.
fn check_sealed(settings: &Value, secret: &SecretString, url: &str, cut_off: &str) {
    assert!(!settings.to_string().contains(url), "{settings}");
    assert_eq!(config_of(settings, secret).url.as_str(), url);
    let shown = shown(settings);
    assert_eq!(
        (&shown["url"], shown.get("sealed_url")),
        (&json!(cut_off), None),
        "{shown}"
    );
}

#[test]
fn a_url_of_a_chat_is_shown_without_its_path() {
    let slack = created(&json!({ "url": SLACK, "body": "slack" }));
    assert_eq!(slack.settings["url"], SLACK);
    assert_eq!(shown(&slack.settings)["url"], SHOWN);
    assert_eq!(
        shown(&shown(&slack.settings)),
        shown(&slack.settings),
        "what is shown is shown as it is"
    );
    let other = created(&json!({ "url": TOKEN }));
    assert_eq!(shown(&other.settings), other.settings, "it is no secret");
    let bare = created(&json!({ "url": "https://example.com/", "body": "slack" }));
    assert_eq!(
        shown(&bare.settings)["url"],
        "https://example.com/",
        "there is nothing to hide"
    );
}

#[test]
fn a_secret_url_is_encrypted_and_opened_for_requests_alone() {
    let new = created(&json!({ "url": TOKEN, "secret_url": true }));
    check_sealed(
        &new.settings,
        &new.secret,
        TOKEN,
        "https://example.com:8443/…",
    );
    let slack = created(&json!({ "url": SLACK, "body": "slack" }));
    let sealed = changed(
        &slack.settings,
        &slack.secret,
        &json!({ "secret_url": true }),
    );
    check_sealed(&sealed.settings, &sealed.secret, SLACK, SHOWN);
    let rotation = Rotation {
        new_secret: None,
        until: Timestamp::default(),
        now: Timestamp::default(),
        random: [9; 32],
    };
    let rotated = rotate(&sealed.settings, &sealed.secret, &rotation).unwrap();
    check_sealed(&rotated.settings, &rotated.secret, SLACK, SHOWN);
}

#[test]
fn what_is_stored_in_the_clear_is_sealed_once() {
    let slack = created(&json!({ "url": SLACK, "body": "slack" }));
    let stored = destination(slack.settings, None);
    let sealed = destinations::sealed(&stored, &slack.secret)
        .unwrap()
        .unwrap();
    check_sealed(&sealed.settings, &sealed.secret, SLACK, SHOWN);
    let again = destination(sealed.settings.clone(), None);
    assert!(
        destinations::sealed(&again, &sealed.secret)
            .unwrap()
            .is_none()
    );
    // The URL stays encrypted when another setting changes, and a new URL is encrypted too.
    let batched = changed(
        &sealed.settings,
        &sealed.secret,
        &json!({ "device_batch": 5 }),
    );
    check_sealed(&batched.settings, &batched.secret, SLACK, SHOWN);
    let moved = changed(
        &batched.settings,
        &batched.secret,
        &json!({ "url": format!("{SLACK}2") }),
    );
    check_sealed(&moved.settings, &moved.secret, &format!("{SLACK}2"), SHOWN);
    let other = created(&json!({ "url": TOKEN }));
    assert!(
        destinations::sealed(&destination(other.settings, None), &other.secret)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_shown_url_that_is_sent_back_changes_nothing() {
    for more in [json!({}), json!({ "secret_url": true })] {
        let mut input = json!({ "url": SLACK, "body": "slack" });
        input.as_object_mut().unwrap().extend(fields(&more));
        let before = created(&input);
        let same = changed(&before.settings, &before.secret, &json!({ "url": SHOWN }));
        assert_eq!(
            (&same.settings, same.secret.expose_secret()),
            (&before.settings, before.secret.expose_secret())
        );
        let event = changed(
            &before.settings,
            &before.secret,
            &json!({ "body": "event", "url": SHOWN }),
        );
        check_sealed(&event.settings, &event.secret, SLACK, SHOWN);
        assert_eq!(
            (&event.settings["body"], &event.settings["secret_url"]),
            (&json!("event"), &json!(true))
        );
    }
}

#[test]
fn no_change_shows_a_url_that_was_a_secret() {
    let before = created(&json!({ "url": TOKEN, "secret_url": true }));
    let change_to = |input: &Value| {
        change(
            &before.settings,
            &before.secret,
            &fields(input),
            &Allowed::default(),
        )
    };
    for input in [
        json!({ "secret_url": false }),
        json!({ "secret_url": null }),
        json!({ "secret_url": false, "url": TOKEN }),
    ] {
        let refused = change_to(&input).unwrap_err();
        assert_eq!(refused[0].field, "secret_url", "{input}");
        assert!(!format!("{refused:?}").contains("9f2c41"), "{refused:?}");
    }
    let open = change_to(&json!({ "secret_url": false, "url": URL })).unwrap();
    assert_eq!(
        (&open.settings["url"], open.settings.get("secret_url")),
        (&json!(URL), None)
    );
    assert_eq!(shown(&open.settings)["url"], URL);
    assert!(
        !open.secret.expose_secret().contains("9f2c41"),
        "the old one is gone"
    );
    let wrong = create(
        &fields(&json!({ "url": URL, "secret_url": "yes" })),
        &Allowed::default(),
        [7; 32],
    );
    assert_eq!(
        wrong.unwrap_err()[0].to_string(),
        "`secret_url`: expected true or false"
    );
    let stored = create(
        &fields(&json!({ "url": URL, "sealed_url": URL })),
        &Allowed::default(),
        [7; 32],
    );
    assert_eq!(stored.unwrap_err()[0].field, "sealed_url");
}

#[test]
fn no_part_of_a_secret_url_is_in_debug_output_or_responses() {
    let new = created(&json!({ "url": format!("{TOKEN}&a=b"), "secret_url": true }));
    let config = config_of(&new.settings, &new.secret);
    assert!(!format!("{config:?}").contains("9f2c41"), "{config:?}");
    for text in [
        "POST /hook?token=9f2c41d07ab3&a=b",
        "no token 9f2c41d07ab3",
        &format!("{TOKEN}&a=b is gone"),
        "cut 9f2c41d0",
    ] {
        let redacted = redact(&config, text);
        assert!(!redacted.contains("9f2c41"), "{redacted}");
    }
    assert_eq!(
        redact(&config, "the hook of a"),
        "the hook of a",
        "short parts are words"
    );
    let open = created(&json!({ "url": TOKEN }));
    assert!(redact(&config_of(&open.settings, &open.secret), TOKEN).contains("9f2c41"));
}

#[test]
fn the_rules_of_addresses_apply_to_an_encrypted_url() {
    let rules = Rules {
        allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
        allow_http: true,
        ..Rules::default()
    };
    let allowed = Allowed {
        rules,
        ..Allowed::default()
    };
    let url = fields(&json!({ "url": "http://10.1.2.3:9000/a-secret-path", "secret_url": true }));
    let new = create(&url, &allowed, [7; 32]).unwrap();
    let stored = destination(new.settings, None);
    assert_eq!(refusal(&stored, &allowed), None);
    let refused = [
        refusal(&stored, &Allowed::default()).unwrap(),
        ready(&stored, &new.secret, &Allowed::default()).unwrap_err(),
    ];
    for refused in refused {
        assert!(
            refused.field == "url" && !refused.expected.contains("a-secret-path"),
            "{refused}"
        );
    }
}

#[test]
fn an_entry_of_the_audit_log_is_shown_without_the_url() {
    let entry =
        |url: &str, body: &str| json!({ "settings": { "url": url, "body": body }, "rate": 5 });
    let cut_off = "https://example.com:8443/…";
    assert_eq!(shown_entry(&entry(SLACK, "slack")), entry(SHOWN, "slack"));
    assert_eq!(shown_entry(&entry(SHOWN, "slack")), entry(SHOWN, "slack"));
    assert_eq!(
        shown_entry(&entry(TOKEN, "event")),
        entry(cut_off, "event"),
        "it may have been a secret"
    );
    let of = |kind: &str| json!({ "kind": kind, "settings": { "url": TOKEN } });
    assert_eq!(shown_entry(&of("webhook"))["settings"]["url"], cut_off);
    assert_eq!(shown_entry(&of("amplitude")), of("amplitude"));
    for other in [
        json!({ "rate": 5 }),
        json!({ "settings": null }),
        json!({ "settings": {} }),
        Value::Null,
    ] {
        assert_eq!(shown_entry(&other), other);
    }
}

#[test]
fn an_entry_with_a_secret_url_is_counted() {
    let entry = |url: &str, body: &str| json!({ "settings": { "url": url, "body": body } });
    let now = |settings: Value| destination(created(&settings).settings, None);
    let (open, secret) = (
        now(json!({ "url": URL })),
        now(json!({ "url": URL, "secret_url": true })),
    );
    assert!(
        has_secret_url(&entry(SLACK, "slack"), &open)
            && has_secret_url(&entry(TOKEN, "event"), &secret)
    );
    assert!(
        !has_secret_url(&entry(TOKEN, "event"), &open)
            && !has_secret_url(&entry(SHOWN, "slack"), &secret)
    );
    assert!(!has_secret_url(&json!({ "rate": 5 }), &secret));
}
