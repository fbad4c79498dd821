//! The form of a platform, and the steps at Google.

use super::super::form::form;
use super::super::own_fields::{CREDENTIAL_FLAGS, NAMES, read};
use super::super::settings::{PUSH_AUDIENCE, SERVICE_ACCOUNT};
use protocols::form::{Entry, Input, MORE, SetupEvidence};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Group of the store's own fields in requests, with the separator.
const OWN: &str = "store_settings.";

/// Returns the store's own fields, by name.
fn own() -> Vec<(&'static str, Entry)> {
    let entries = form().entries.into_iter();
    entries
        .filter_map(|entry| Some((entry.name.strip_prefix(OWN)?, entry)))
        .collect()
}

#[test]
fn the_form_has_each_own_field_once() {
    let names: Vec<&str> = own().iter().map(|(name, _)| *name).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "{names:?}");
    assert_eq!(once, NAMES.into_iter().collect());
    let all = form().entries;
    let once: BTreeSet<&str> = all.iter().map(|entry| entry.name).collect();
    assert_eq!(all.len(), once.len());
    assert!(once.contains("name") && once.contains("package_name"));
}

#[test]
fn each_own_field_describes_its_value() {
    for (name, entry) in own() {
        let help = entry.help.expect("no schema describes these fields");
        assert!(help.ends_with('.') && !help.contains("  "), "{help}");
        assert!(!entry.label.is_empty() && !entry.label.ends_with('.'));
        let is_secret = matches!(entry.input, Input::Password);
        assert_eq!(is_secret, name == SERVICE_ACCOUNT, "{name}");
        let is_folded = entry.group == MORE;
        assert_eq!(is_folded, name == PUSH_AUDIENCE, "{name}");
    }
}

#[test]
fn each_choice_is_accepted() {
    let mut chosen = 0;
    for (name, entry) in own() {
        for (value, label) in entry.choices {
            let fields = Map::from_iter([(name.to_owned(), Value::from(*value))]);
            assert!(read(&fields).is_ok(), "{name}: {value}");
            assert!(!label.is_empty());
            chosen += 1;
        }
    }
    assert_eq!(chosen, 4);
}

#[test]
fn the_flag_of_the_credential_names_its_field() {
    let expected = format!("--store-setting {SERVICE_ACCOUNT}=@FILE");
    assert_eq!(CREDENTIAL_FLAGS, expected);
}

#[test]
fn each_remedy_of_a_refusal_is_one_sentence() {
    let mut reasons = BTreeSet::new();
    for step in form().guide {
        let remedies = match step.evidence {
            Some(
                SetupEvidence::Message(remedies)
                | SetupEvidence::Passage(remedies, _)
                | SetupEvidence::Setting(_, remedies)
                | SetupEvidence::LastMessage(remedies),
            ) => remedies,
            _ => continue,
        };
        for remedy in remedies {
            assert!(reasons.insert(remedy.reason), "{}", remedy.reason);
            let is_sentence = remedy.action.ends_with('.') && !remedy.action.contains("  ");
            assert!(is_sentence, "{}", remedy.action);
        }
    }
    assert_eq!(reasons.len(), 11);
}

#[test]
fn the_steps_lead_from_the_topic_to_a_test_notification() {
    let guide = form().guide;
    let titles: Vec<&str> = guide.iter().map(|step| step.title).collect();
    let expected = [
        "Create a topic",
        "Let Google Play publish to it",
        "Create the push account",
        "Enter the subscription",
        "Copy the notification URL",
        "Create a push subscription",
        "Let the subscription never expire",
        "Turn on the API",
        "Create a key of a second service account",
        "Give the account its rights",
        "Turn on the notifications",
        "Send a test notification",
        "Check that it was accepted",
    ];
    assert_eq!(titles, expected);
    let copied: Vec<&str> = guide.iter().filter_map(|step| step.copy).collect();
    assert_eq!(copied, ["notification_url", "store_settings.push_audience"]);
    for step in guide {
        assert!(step.evidence.is_some(), "{}", step.title);
        let is_sentence = step.text.ends_with('.') && !step.text.contains("  ");
        assert!(is_sentence, "{}", step.text);
        let places = ["Google Cloud console", "Play Console", "settle"];
        assert!(places.contains(&step.place), "{}", step.place);
        let is_https = step.url.is_none_or(|url| url.starts_with("https://"));
        assert!(is_https, "{:?}", step.url);
    }
}
