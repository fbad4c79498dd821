//! Tests of each kind's stored form, the list of kinds and the secrets of a rotation, and what the kinds' tests share.

use super::{Allowed, Invalid, Kind, Rotation, add, kind, kinds, ready, rotate};
use crate::smtp::Server;
use domain::{CollapseKey, DeviceId, Environment, EventId, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
pub(super) use storage::fixtures::destination;
use storage::{Attempt, StreamedEvent, Unsent, fixtures};
use uuid::Uuid;

/// Returns the first attempt at a `purchase.updated` with this frozen body.
pub(super) fn attempt(body: &str) -> Attempt {
    fixtures::attempt("purchase.updated", body)
}

/// Returns an event about no customer that is not rendered yet.
pub(super) fn unsent(event_type: &str, body: Value) -> Unsent {
    Unsent {
        event_id: EventId::new(Uuid::nil()),
        event_type: event_type.to_owned(),
        collapse_key: CollapseKey::new(Uuid::nil()),
        revision: 1,
        created_at: Timestamp::default(),
        occurred_at: None,
        body,
        user_id: None,
        first_user_id: None,
        user_revision: None,
        user_state: Value::Null,
        user_profile: Value::Null,
        external_id: None,
        analytics_device_id: None,
        data: Value::Null,
        store: String::new(),
        environment: Environment::Production,
        siblings: Vec::new(),
        acked_revision: None,
        earned: None,
    }
}

/// Returns a device event without an attempt yet.
pub(super) fn of_device(body: &Value) -> StreamedEvent {
    StreamedEvent {
        seq: 1,
        id: EventId::new(Uuid::nil()),
        device_id: DeviceId::new(Uuid::nil()),
        event_type: "device.transaction".to_owned(),
        environment: Environment::Production,
        occurred_at: Timestamp::default(),
        body: body.to_string(),
        attempts: 0,
        refusals: 0,
        first_tried_at: None,
        tried_at: None,
        next_due_at: Timestamp::default(),
        last_error: None,
        batch_id: None,
    }
}

#[test]
fn debug_output_of_a_rotation_hides_secret_and_random_bytes() {
    let now = Timestamp::from_micros(0);
    let rotation = Rotation {
        new_secret: Some("whsec_new".into()),
        until: now,
        now,
        random: [171; 32],
    };
    let shown = format!("{rotation:?} {rotation:#?}");
    for hidden in ["whsec", "random", "171", "0xab"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

/// Stored settings and secrets of each kind, as version 0.1.0 and the current one write them.
const STORED: [(&str, &str, &str); 6] = [
    (
        "webhook",
        r#"{"body":"event","device_batch":1,"device_receipts":false,"headers":["x-key"],"signature":"v1","url":"https://example.com/hook","without_external_id":"send"}"#,
        r#"{"headers":{"x-key":"hunter2"},"keys":[{"secret":"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},{"secret":"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="}]}"#,
    ),
    (
        "webhook",
        r#"{"body":"slack","device_batch":7,"device_receipts":true,"headers":[],"sealed_url":"https://hooks.slack.com/…","secret_url":true,"signature":"v1","without_external_id":"wait"}"#,
        r#"{"headers":{},"keys":[{"secret":"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},{"secret":"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="}],"url":"https://hooks.slack.com/services/T0000/B0000/c8Vt1uZ5mEr3"}"#,
    ),
    (
        "amplitude",
        r#"{"endpoint":"eu","has_api_key":true,"has_sandbox_api_key":false,"has_secret_key":false,"min_id_length":5,"prefix":"namiml_","user_id":"external_id","user_properties":"documented","without_external_id":"send"}"#,
        r#"{"api_key":"0123456789abcdef0123456789abcdef"}"#,
    ),
    (
        "amplitude",
        r#"{"endpoint":"https://proxy.example.com/2/httpapi","has_api_key":true,"has_sandbox_api_key":true,"has_secret_key":true,"min_id_length":1,"partner_id":"settle","prefix":"a_","user_id":"user_id","user_properties":"extended","without_external_id":"skip"}"#,
        r#"{"api_key":"0123456789abcdef0123456789abcdef","sandbox_api_key":"00112233445566778899aabbccddeeff","secret_key":"fedcba9876543210fedcba9876543210"}"#,
    ),
    (
        "email",
        r#"{"subject_prefix":"[settle]","to":["ops@example.com"]}"#,
        "{}",
    ),
    (
        "email",
        r#"{"subject_prefix":"","to":["ops@example.com","cto@example.org"]}"#,
        "{}",
    ),
];

#[test]
fn what_is_stored_is_read_and_written_byte_for_byte() {
    let allowed = Allowed {
        origins: [(
            "amplitude",
            vec!["https://proxy.example.com".parse().unwrap()],
        )]
        .into(),
        mail: Server::parse("smtp://localhost?tls=none", "settle@example.com").ok(),
        ..Allowed::default()
    };
    for (name, settings, secret) in STORED {
        let stored = destination(name, serde_json::from_str(settings).unwrap());
        let sealed = SecretString::from(secret);
        let connector = ready(&stored, &sealed, &allowed);
        assert!(connector.is_ok(), "{name}: {connector:?}");
        let unchanged = kind(name)
            .unwrap()
            .change(&stored.settings, &sealed, &Map::new(), &allowed)
            .unwrap();
        assert_eq!(unchanged.settings.to_string(), settings);
        assert_eq!(unchanged.secret.expose_secret(), secret);
    }
}

#[test]
fn each_kind_is_found_by_the_name_that_is_stored() {
    let names: Vec<&str> = kinds().map(Kind::name).collect();
    assert_eq!(names, ["webhook", "amplitude", "email"]);
    for one in kinds() {
        let (form, schemas) = (one.form(), one.schemas());
        assert_eq!((form.name, schemas.kind), (one.name(), one.name()));
        assert_eq!(kind(one.name()).map(Kind::name), Ok(one.name()));
        let field = one.origins_setting().map(|setting| setting.field);
        let expected = format!("{}.allowed_urls", one.name());
        assert!(field.is_none_or(|field| field == expected), "{field:?}");
    }
}

#[test]
fn no_kind_is_added_late_or_under_a_known_name() {
    let known = kind("webhook").unwrap();
    assert!(!add(&[known]), "a known name");
    assert!(!add(&[]), "after the first use");
}

#[test]
fn a_kind_describes_only_fields_that_it_has() {
    for one in kinds() {
        let (schemas, help, form) = (one.schemas(), one.help_text(), one.form());
        let created = |name: &str| name == "kind" || schemas.created.contains_key(name);
        for (field, _) in schemas.rules {
            assert!(created(field), "{}: {field}", one.name());
        }
        for (field, _) in schemas.change_rules {
            assert!(
                schemas.changeable().contains(field),
                "{}: {field}",
                one.name()
            );
        }
        for (field, _) in help.flags {
            let is_entry = form.entries.iter().any(|entry| entry.name == *field);
            assert!(is_entry, "{}: {field}", one.name());
        }
        assert!(!help.examples.is_empty(), "{}", one.name());
        let takes_sample = one.test_notes(&Value::Null).takes_sample;
        assert_eq!(help.sample.is_some(), takes_sample, "{}", one.name());
    }
}

#[test]
fn a_kind_that_signs_nothing_has_no_secret_to_rotate() {
    let now = Timestamp::default();
    let rotation = Rotation {
        new_secret: None,
        until: now,
        now,
        random: [7; 32],
    };
    for name in ["amplitude", "email", "pigeon"] {
        let rotated = rotate(&destination(name, Value::Null), &"{}".into(), &rotation);
        let expected = format!("`webhook`: nothing is signed for `{name}`");
        assert_eq!(rotated.err(), Some(Invalid::new("kind", expected)));
    }
}
