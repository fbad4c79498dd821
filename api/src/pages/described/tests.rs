//! What a described form shows, and what it sends.

use super::{Entered, Known, changes, creation, groups, wrong_lines};
use crate::form::Sent;
use api::error::Field as Wrong;
use api::resources::forms::{Form, of_destinations, of_stores};
use api::stores;
use serde_json::{Value, json};

fn form(name: &str) -> Form {
    of_destinations()
        .into_iter()
        .chain(of_stores(&stores::all().collect::<Vec<_>>()))
        .find(|form| form.name == name)
        .expect("a form of this name")
}

fn shown<'a>(groups: &'a [super::Group], name: &str) -> &'a super::view::FieldView {
    groups
        .iter()
        .flat_map(|group| &group.fields)
        .find(|field| field.name == name)
        .expect("a field of this name")
}

#[test]
fn every_described_field_is_sent_as_its_type() {
    let sent = Sent::parse(
        b"name=Billing&url=https%3A%2F%2Fa.example%2F&enabled=true&events=user.erased&events=purchase.updated&rate=7\
          &filter.environments=sandbox&schedule=5,+60&headers=X-Team%3A+a%0D%0AX-Key%3A+b&without_external_id=skip",
    );
    let body = creation(&form("webhook"), &sent);
    let expected = json!({
        "name": "Billing", "url": "https://a.example/", "enabled": true, "events": ["user.erased", "purchase.updated"],
        "rate": 7, "filter": { "platforms": [], "environments": ["sandbox"] }, "schedule": [5, 60],
        "headers": { "X-Team": "a", "X-Key": "b" }, "without_external_id": "skip", "device_receipts": false,
        "both_environments": false, "secret_url": false,
    });
    assert_eq!(Value::Object(body), expected);
}

#[test]
fn what_is_no_number_is_shown_again_with_its_error() {
    let sent = Sent::parse(b"name=B&rate=many&secret=whsec_entered");
    let form = form("webhook");
    assert_eq!(creation(&form, &sent)["rate"], "many");
    let wrong = [Wrong {
        field: "rate".to_owned(),
        expected: "a whole number".to_owned(),
    }];
    let groups = groups(&form, Entered::Sent(&sent, &wrong), &Known::default());
    let rate = shown(&groups, "rate");
    assert_eq!(
        (rate.value.as_str(), rate.wrong.as_deref()),
        ("many", Some("a whole number"))
    );
    assert!(
        groups
            .iter()
            .any(|group| group.title == "More" && group.is_open),
        "a wrong field is not folded away"
    );
    assert_eq!(
        shown(&groups, "secret").value,
        "",
        "a secret is not sent back"
    );
}

#[test]
fn a_wrong_header_is_named_by_its_line_and_none_is_sent_back() {
    let form = form("webhook");
    for (lines, at) in [
        ("X-Team: a\r\n\r\nBearer hidden", Some(3)),
        ("a hidden: b", Some(1)),
        (": hidden", Some(1)),
        ("X-Team: hidden", None),
    ] {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("headers", lines)
            .finish();
        let sent = Sent::parse(body.as_bytes());
        let wrong: Vec<Wrong> = wrong_lines(&form, &sent).into_iter().collect();
        let expected = wrong
            .first()
            .map(|one| (one.field.as_str(), one.expected.clone()));
        assert_eq!(
            expected,
            at.map(|at| ("headers", format!("`Name: value` in line {at}"))),
            "{lines}"
        );
        if at.is_some() {
            assert!(
                !Value::Object(creation(&form, &sent))
                    .to_string()
                    .contains("hidden"),
                "{lines}"
            );
        }
        let groups = groups(&form, Entered::Sent(&sent, &wrong), &Known::default());
        let field = shown(&groups, "headers");
        assert!(
            field.value.is_empty() && field.help.contains("Enter the headers again"),
            "{field:?}"
        );
    }
}

#[test]
fn a_change_has_only_what_differs() {
    let stored = json!({
        "name": "Billing", "url": "https://a.example/", "enabled": true, "events": ["a", "b"], "rate": 7,
        "filter": { "platforms": [], "environments": [] }, "concurrency": 32, "schedule": null,
        "without_external_id": "send", "signature": "v1",
    });
    let same = b"name=Billing&url=https%3A%2F%2Fa.example%2F&enabled=true&events=b&events=a&rate=7&concurrency=32\
                 &without_external_id=send&signature=v1";
    let form = form("webhook");
    assert_eq!(
        changes(&form, &Sent::parse(same), &stored).unwrap(),
        serde_json::Map::new()
    );
    let less =
        b"name=Billing&url=https%3A%2F%2Fa.example%2F&events=a&concurrency=32&without_external_id=send&signature=v1";
    let expected = json!({ "enabled": false, "events": ["a"], "rate": null });
    assert_eq!(
        Value::Object(changes(&form, &Sent::parse(less), &stored).unwrap()),
        expected
    );
}

#[test]
fn an_empty_secret_stays_as_it_is() {
    let form = form("amazon");
    let stored = json!({ "name": "fire", "package_name": "a.b", "environment": "production" });
    let sent = Sent::parse(b"name=fire&package_name=a.b&environment=production&shared_secret=");
    assert!(
        !changes(&form, &sent, &stored)
            .unwrap()
            .contains_key("shared_secret")
    );
}

#[test]
fn the_documented_fields_come_first_and_in_their_order() {
    let groups = groups(&form("amplitude"), Entered::New, &Known::default());
    let labels: Vec<_> = groups[0].fields.iter().map(|field| field.label).collect();
    let documented = [
        "Enable Integration",
        "Name",
        "URL",
        "API Key",
        "User ID",
        "Events",
    ];
    assert_eq!(
        labels,
        [&documented[..], &["Sandbox API Key", "Secret Key"]].concat(),
        "no key is folded away"
    );
    let optional = |name: &str| shown(&groups, name).is_optional;
    assert!(
        !optional("api_key") && !optional("sandbox_api_key") && optional("secret_key"),
        "one of two is needed"
    );
    let events = shown(&groups, "events");
    let counts: Vec<_> = events
        .choices
        .iter()
        .map(|group| (group.title, group.choices.len()))
        .collect();
    assert!(counts.starts_with(&[("", 1)]), "{counts:?}");
    let count = |title| {
        counts
            .iter()
            .find(|(name, _)| *name == title)
            .map(|(_, count)| *count)
    };
    assert_eq!(
        (count("device"), count("journey"), count("subscription")),
        (Some(2), Some(3), Some(8)),
        "{counts:?}"
    );
}

#[test]
fn a_new_webhook_wants_every_event_and_is_on() {
    let groups = groups(&form("webhook"), Entered::New, &Known::default());
    let every = &shown(&groups, "events").choices[0].choices[0];
    assert_eq!(
        (
            every.value.as_str(),
            every.is_on,
            shown(&groups, "enabled").is_on
        ),
        ("*", true, true)
    );
    assert!(
        every.label.contains("not alarm.*, destination.*"),
        "{}",
        every.label
    );
    let listed = super::groups(&form("amplitude"), Entered::New, &Known::default());
    let every = &shown(&listed, "events").choices[0].choices[0];
    assert_eq!(
        (every.label.as_str(), every.is_on),
        ("All 13 listed events", true)
    );
}

#[test]
fn the_choice_of_all_is_counted_in_each_of_its_groups() {
    let counts = |events: &[&str]| {
        let stored = json!({ "events": events });
        let groups = groups(
            &form("amplitude"),
            Entered::Stored(&stored),
            &Known::default(),
        );
        let all = &shown(&groups, "events").choices;
        let of = |title| {
            all.iter()
                .find(|group| group.title == title)
                .map(|one| (one.included, one.is_every))
        };
        (
            of("subscription"),
            of("others").is_some_and(|(included, is_every)| included == 0 && !is_every),
        )
    };
    assert_eq!(counts(&["*"]), (Some((8, true)), true));
    assert_eq!(
        counts(&["user.subscription.renewed"]),
        (Some((1, true)), true)
    );
}

#[test]
fn a_wildcard_is_a_choice_with_what_it_includes() {
    let stored = json!({ "events": ["user.*"] });
    let first = |kind: &str| {
        let groups = groups(&form(kind), Entered::Stored(&stored), &Known::default());
        let events = &shown(&groups, "events").choices[0].choices;
        events
            .iter()
            .map(|one| (one.value.clone(), one.label.clone(), one.is_on))
            .collect::<Vec<_>>()
    };
    let of_webhooks = first("webhook");
    let names: Vec<&str> = of_webhooks.iter().map(|(name, ..)| name.as_str()).collect();
    let of_users = ["user.*", "user.journey.*", "user.subscription.*"];
    assert_eq!(
        names[..5],
        ["*", "alarm.*", "destination.*", "device.*", "revenue.*"]
    );
    assert_eq!(names[5..], of_users);
    let on: Vec<_> = of_webhooks
        .iter()
        .filter(|(.., is_on)| *is_on)
        .map(|(_, label, _)| label.as_str())
        .collect();
    assert_eq!(on, ["user.*: 15 types, and types added later"]);
    let listed = first("amplitude");
    assert_eq!(
        listed[1].1, "user.*: 11 types from the list",
        "the documented form has it where it is stored"
    );
    assert_eq!(listed.len(), 2);
}

#[test]
fn a_form_from_before_a_change_of_another_person_is_refused() {
    let form = form("webhook");
    let everything = json!({ "platforms": [], "environments": [] });
    let stored = json!({ "name": "Billing", "url": "https://a.example/", "enabled": true, "events": ["a"], "filter": everything.clone() });
    let groups = groups(&form, Entered::Stored(&stored), &Known::default());
    let text = format!(
        "name=Invoices&url=https%3A%2F%2Fa.example%2F&enabled=true&events=a&based_on={}",
        groups[0].based_on
    );
    let sent = Sent::parse(text.as_bytes());
    assert_eq!(
        Value::Object(changes(&form, &sent, &stored).unwrap()),
        json!({ "name": "Invoices" })
    );
    let disabled = json!({ "name": "Billing", "url": "https://a.example/", "enabled": false, "events": ["a"], "filter": everything });
    assert!(
        changes(&form, &sent, &disabled).is_err(),
        "it would be enabled again"
    );
}

#[test]
fn a_platform_that_is_no_choice_any_more_stays_chosen() {
    let stored = json!({ "name": "Billing", "filter": { "platforms": ["gone", "here"], "environments": [] } });
    let known = Known {
        platforms: vec![("here".to_owned(), "fire".to_owned())],
        is_change: true,
        ..Known::default()
    };
    let groups = groups(&form("webhook"), Entered::Stored(&stored), &known);
    let field = shown(&groups, "filter.platforms");
    let chosen: Vec<_> = field.choices[0]
        .choices
        .iter()
        .map(|one| (one.value.as_str(), one.is_on))
        .collect();
    assert_eq!(chosen, [("here", true), ("gone", true)]);
}

#[test]
fn an_allowed_url_can_be_chosen_and_a_stored_one_stays() {
    let known = Known {
        allowed: vec![("endpoint", "https://proxy.internal/2/httpapi".to_owned())],
        is_change: true,
        ..Known::default()
    };
    let chosen = |endpoint: &str| -> Vec<(String, bool)> {
        let stored = json!({ "name": "Analytics", "endpoint": endpoint });
        let groups = groups(&form("amplitude"), Entered::Stored(&stored), &known);
        shown(&groups, "endpoint").choices[0]
            .choices
            .iter()
            .map(|one| (one.value.clone(), one.is_on))
            .collect()
    };
    let is_on = |list: &[(String, bool)]| -> Vec<bool> { list.iter().map(|(_, on)| *on).collect() };
    assert_eq!(is_on(&chosen("eu")), [false, true, false]);
    let proxy = chosen("https://proxy.internal/2/httpapi");
    assert_eq!(is_on(&proxy), [false, false, true]);
    let other = chosen("https://gone.internal/2/httpapi");
    assert_eq!(is_on(&other), [false, false, false, true]);
    assert_eq!(other[3].0, "https://gone.internal/2/httpapi");
}

#[test]
fn mails_offer_what_floods_no_mailbox_and_take_a_list() {
    let form = form("email");
    let groups = groups(&form, Entered::New, &Known::default());
    let events = &shown(&groups, "events").choices;
    let all: Vec<&str> = events
        .iter()
        .flat_map(|group| &group.choices)
        .map(|one| one.value.as_str())
        .collect();
    assert!(
        all.contains(&"destination.*") && !all.contains(&"*"),
        "{all:?}"
    );
    assert!(
        !all.iter()
            .any(|name| name.starts_with("device.") || *name == "user.*"),
        "{all:?}"
    );
    let sent =
        Sent::parse(b"name=on-call&to=a%40b.example%2C+c%40d.example&events=destination.%2A");
    assert_eq!(
        creation(&form, &sent)["to"],
        json!(["a@b.example", "c@d.example"])
    );
}
