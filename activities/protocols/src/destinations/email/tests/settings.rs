//! The settings, and the events that can be chosen.

use super::super::config::{change, refusal};
use super::*;
use crate::destinations;
use secrecy::SecretString;

fn wrong(fields: &Value) -> Vec<String> {
    created(fields)
        .err()
        .unwrap()
        .into_iter()
        .map(|one| one.field)
        .collect()
}

#[test]
fn absent_fields_have_their_defaults() {
    let created = created(&json!({ "to": [" ops@example.com "] })).unwrap();
    assert_eq!(
        created.settings,
        json!({ "to": ["ops@example.com"], "subject_prefix": "[settle]" })
    );
    assert!(created.shown.is_empty());
    let kind = destinations::kind(KIND).unwrap();
    assert_eq!((kind.usual_rate(), kind.max_rate()), (Some(1), None));
}

#[test]
fn wrong_fields_are_named() {
    let many: Vec<String> = (0..11)
        .map(|number| format!("a{number}@example.com"))
        .collect();
    for to in [
        json!(null),
        json!([]),
        json!("ops@example.com"),
        json!(["ops"]),
        json!(["ops@example.com", "OPS@example.com"]),
        json!(["öps@example.com"]),
        json!(["ops@example.com\r\nBcc: <other@example.com>"]),
        json!(["<ops@example.com>"]),
        json!(["\"a>b\"@example.com"]),
        json!(["ops@example.com, cto@example.com"]),
        json!(many),
    ] {
        assert_eq!(wrong(&json!({ "to": to })), ["to"], "{to}");
    }
    assert_eq!(wrong(&json!({})), ["to"]);
    let long = "x".repeat(51);
    for prefix in [
        "a\r\nBcc: other@example.com",
        &long,
        "Locked: http://evil.example/",
    ] {
        assert_eq!(
            wrong(&json!({ "to": ["a@b.example"], "subject_prefix": prefix })),
            ["subject_prefix"]
        );
    }
    assert_eq!(
        wrong(&json!({ "to": ["a@b.example"], "url": "https://example.com" })),
        ["url"]
    );
}

#[test]
fn a_change_leaves_what_it_does_not_name() {
    let before =
        created(&json!({ "to": ["ops@example.com"], "subject_prefix": "[shop]" })).unwrap();
    let changed = |fields: Value| {
        change(
            &before.settings,
            &before.secret,
            fields.as_object().unwrap(),
            &allowed(),
        )
        .map(|changed| changed.settings)
        .map_err(|wrong| wrong[0].field.clone())
    };
    assert_eq!(
        changed(json!({ "to": ["b@c.example"] })).unwrap()["subject_prefix"],
        "[shop]"
    );
    assert_eq!(
        changed(json!({ "subject_prefix": null })).unwrap()["subject_prefix"],
        "[settle]"
    );
    assert_eq!(changed(json!({ "to": null })), Err("to".to_owned()));
}

#[test]
fn without_a_server_the_missing_setting_is_named() {
    let none = Allowed::default();
    let fields = json!({ "to": ["ops@example.com"] });
    let refused = create(fields.as_object().unwrap(), &none).err().unwrap();
    let stored = destination(created(&fields).unwrap().settings);
    for invalid in [
        &refused[0],
        &ready(&stored, &none).err().unwrap(),
        &refusal(&stored, &none).unwrap(),
    ] {
        assert!(
            invalid.field == "kind" && invalid.expected.contains("SETTLE_MAIL_URL"),
            "{invalid}"
        );
    }
    assert_eq!(refusal(&stored, &allowed()), None);
}

#[test]
fn recipients_are_of_the_domains_that_the_operator_allows() {
    let domains = ["Example.com".to_owned(), "shop.example".to_owned()];
    let server = allowed().mail.unwrap();
    for wrong in [
        "",
        "a@example.com",
        "example.com, shop.example",
        "[192.0.2.1]",
    ] {
        assert!(
            server.clone().for_domains(&[wrong.to_owned()]).is_err(),
            "{wrong}"
        );
    }
    let some = Allowed {
        mail: Some(server.for_domains(&domains).unwrap()),
        ..Allowed::default()
    };
    let both = |to: &Value| {
        let (fields, before) = (
            json!({ "to": to }),
            created(&json!({ "to": ["a@b.example"] })).unwrap(),
        );
        let new = create(fields.as_object().unwrap(), &some).map(|new| new.settings);
        let changed = change(
            &before.settings,
            &before.secret,
            fields.as_object().unwrap(),
            &some,
        );
        assert_eq!(new.is_ok(), changed.is_ok(), "{to}");
        new
    };
    let right = both(&json!(["ops@EXAMPLE.com", "a@shop.example"])).unwrap();
    assert!(
        refusal(&destination(right.clone()), &some).is_none()
            && ready(&destination(right), &some).is_ok()
    );
    for to in [
        "a@b.example",
        "a@sub.example.com",
        "a@example.com.evil.example",
    ] {
        let refused = both(&json!(["ops@example.com", to])).err().unwrap();
        assert!(
            refused[0].field == "to" && refused[0].expected.contains("SETTLE_MAIL_ALLOWED_DOMAINS"),
            "{refused:?}"
        );
        let stored = destination(created(&json!({ "to": [to] })).unwrap().settings);
        assert!(
            refusal(&stored, &some).is_some() && ready(&stored, &some).is_err(),
            "one from before gets nothing"
        );
    }
}

/// Version 0.1.0 stored such addresses.
#[test]
fn a_stored_address_without_emails_can_be_replaced() {
    let stored = json!({ "to": ["\"a>b\"@example.com"], "subject_prefix": "[shop]" });
    let unready = ready(&destination(stored.clone()), &allowed())
        .err()
        .unwrap();
    assert!(
        unready.field == "to" && unready.expected.contains("special characters"),
        "{unready}"
    );
    let secret = SecretString::from("{}");
    let changed = |fields: Value| {
        let changed = change(&stored, &secret, fields.as_object().unwrap(), &allowed());
        changed
            .map(|changed| changed.settings)
            .map_err(|wrong| wrong[0].field.clone())
    };
    let replaced = changed(json!({ "to": ["ops@example.com"] })).unwrap();
    assert_eq!(
        replaced,
        json!({ "to": ["ops@example.com"], "subject_prefix": "[shop]" })
    );
    assert_eq!(
        changed(json!({ "subject_prefix": "[app]" })).unwrap()["to"],
        stored["to"]
    );
    assert_eq!(changed(json!({ "to": stored["to"] })), Err("to".to_owned()));
}

#[test]
fn events_that_would_flood_a_mailbox_cannot_be_chosen() {
    let email = destinations::kind(KIND).unwrap();
    let webhook = destinations::kind("webhook").unwrap();
    let takes = |choice: &str| email.refused_choice(choice).is_none();
    for choice in domain::event::choices() {
        let is_flood =
            choice.starts_with("device.") || (choice.ends_with('*') && choice != "destination.*");
        assert_eq!(takes(choice), !is_flood || choice == "alarm.*", "{choice}");
        assert_eq!(webhook.refused_choice(choice), None);
    }
    let expected =
        destinations::expected_events(KIND, &["destination.*".to_owned(), "*".to_owned()]);
    assert!(expected.is_some_and(
        |expected| expected.contains("`alarm.*`") && expected.ends_with("and not `*`")
    ));
}
