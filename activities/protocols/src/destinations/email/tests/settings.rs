//! The settings, and the events that can be chosen.

use super::super::config::change;
use super::*;
use crate::destinations;

fn wrong(fields: &Value) -> Vec<String> {
    created(fields).err().unwrap().into_iter().map(|one| one.field).collect()
}

#[test]
fn absent_fields_have_their_defaults() {
    let created = created(&json!({ "to": [" ops@example.com "] })).unwrap();
    assert_eq!(created.settings, json!({ "to": ["ops@example.com"], "subject_prefix": "[settle]" }));
    assert!(created.shown.is_empty());
    assert_eq!((destinations::Config::usual_rate(KIND), destinations::Config::max_rate(KIND)), (Some(1), None));
}

#[test]
fn wrong_fields_are_named() {
    let many: Vec<String> = (0..11).map(|number| format!("a{number}@example.com")).collect();
    for to in [
        json!(null),
        json!([]),
        json!("ops@example.com"),
        json!(["ops"]),
        json!(["ops@example.com", "OPS@example.com"]),
        json!(["öps@example.com"]),
        json!(["ops@example.com\r\nBcc: <other@example.com>"]),
        json!(["<ops@example.com>"]),
        json!(["ops@example.com, cto@example.com"]),
        json!(many),
    ] {
        assert_eq!(wrong(&json!({ "to": to })), ["to"], "{to}");
    }
    assert_eq!(wrong(&json!({})), ["to"]);
    let long = "x".repeat(51);
    for prefix in ["a\r\nBcc: other@example.com", &long] {
        assert_eq!(wrong(&json!({ "to": ["a@b.example"], "subject_prefix": prefix })), ["subject_prefix"]);
    }
    assert_eq!(wrong(&json!({ "to": ["a@b.example"], "url": "https://example.com" })), ["url"]);
}

#[test]
fn a_change_leaves_what_it_does_not_name() {
    let before = created(&json!({ "to": ["ops@example.com"], "subject_prefix": "[shop]" })).unwrap();
    let changed = |fields: Value| {
        change(&before.settings, &before.secret, fields.as_object().unwrap())
            .map(|changed| changed.settings)
            .map_err(|wrong| wrong[0].field.clone())
    };
    assert_eq!(changed(json!({ "to": ["b@c.example"] })).unwrap()["subject_prefix"], "[shop]");
    assert_eq!(changed(json!({ "subject_prefix": null })).unwrap()["subject_prefix"], "[settle]");
    assert_eq!(changed(json!({ "to": null })), Err("to".to_owned()));
}

#[test]
fn without_a_server_the_missing_setting_is_named() {
    let none = Allowed::default();
    let fields = json!({ "to": ["ops@example.com"] });
    let refused = create(fields.as_object().unwrap(), &none).err().unwrap();
    let stored = destination(created(&fields).unwrap().settings);
    for invalid in [&refused[0], &ready(&stored, &none).err().unwrap(), &none.refusal(&stored).unwrap()] {
        assert!(invalid.field == "kind" && invalid.expected.contains("SETTLE_MAIL_URL"), "{invalid}");
    }
    assert_eq!(allowed().refusal(&stored), None);
}

#[test]
fn events_that_would_flood_a_mailbox_cannot_be_chosen() {
    let takes = |choice: &str| destinations::Config::takes(KIND, choice);
    for choice in domain::event::choices() {
        let is_flood = choice.starts_with("device.") || (choice.ends_with('*') && choice != "destination.*");
        assert_eq!(takes(choice), !is_flood || choice == "alarm.*", "{choice}");
        assert!(destinations::Config::takes("webhook", choice));
    }
    let expected = destinations::Config::expected_events(KIND, &["destination.*".to_owned(), "*".to_owned()]);
    assert!(expected.is_some_and(|expected| expected.contains("`alarm.*`") && expected.ends_with("and not `*`")));
}
