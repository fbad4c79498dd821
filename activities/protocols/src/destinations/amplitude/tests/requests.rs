//! Requests, byte for byte.

use super::*;
use crate::destinations::amplitude::deletion;
use crate::destinations::amplitude::request::{lacks_key, request, test};
use crate::http::{Reply, Request};

fn shown(request: &Request) -> String {
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    without_version(&format!(
        "{:?} {}\n{headers}\n{body:#}",
        request.method, request.url
    ))
}

fn sent(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn attempts(destination: &Destination, unsent: &[Unsent]) -> Vec<Attempt> {
    unsent
        .iter()
        .map(|unsent| attempt(unsent, body(destination, unsent)))
        .collect()
}

/// Returns the ledger's entry for a single event of this type.
fn payment(event_type: &str) -> Option<Earned> {
    let kinds = [
        (TransitionKind::Purchased, EntryKind::Initial),
        (TransitionKind::TrialConverted, EntryKind::TrialConversion),
        (TransitionKind::Renewed, EntryKind::Renewal),
        (TransitionKind::Recovered, EntryKind::Recovery),
    ];
    let (_, kind) = kinds
        .into_iter()
        .find(|(what, _)| what.event_type() == event_type)?;
    Some(earned(kind, Some("5.43")))
}

#[test]
fn the_request_of_each_type_of_event() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    for event_type in types() {
        let paid = Unsent {
            earned: payment(event_type),
            ..unsent(event_type)
        };
        let request = request(&config, &attempts(&destination, &[paid])).unwrap();
        insta::assert_snapshot!(event_type, shown(&request));
    }
}

#[test]
fn a_deletion_names_the_user_and_needs_the_secret_key() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let ids = [
        "anna".to_owned(),
        "1c3f1f0e-0d55-5a53-9f5b-0e4f4d1b7a90".to_owned(),
    ];
    let deletion = deletion::request(&config, &ids).unwrap();
    assert_eq!(
        (deletion.method.name(), deletion.url.path()),
        ("POST", "/api/2/deletions/users")
    );
    assert_eq!(sent(&deletion)["user_ids"], json!(ids));
    let (destination, secret) = integration(json!({ "secret_key": null }));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    assert!(deletion::request(&config, &ids).is_none());
    let answer = |status| Reply::Answer {
        status,
        retry_after: None,
        headers: Vec::new(),
        body: "anna".to_owned(),
    };
    assert_eq!(deletion::judge(&answer(200)), Ok(()));
    for status in [400, 401, 403, 429, 500] {
        let why = deletion::judge(&answer(status)).unwrap_err();
        assert!(!why.contains("anna"), "{why}");
    }
}

#[test]
fn events_are_sent_in_order_and_repeat_byte_for_byte() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let all: Vec<_> = types().map(unsent).collect();
    let attempts = attempts(&destination, &all);
    let one = request(&config, &attempts).unwrap();
    assert_eq!(one.body, request(&config, &attempts).unwrap().body);
    let sent = sent(&one);
    let order: Vec<_> = sent["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_type"].clone())
        .collect();
    assert_eq!(order, types().map(Value::from).collect::<Vec<_>>());
    assert!(sent.get("options").is_none());
}

#[test]
fn a_stale_event_and_a_purchase_leave_the_profile_alone() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let all = [
        TransitionKind::Renewed.event_type(),
        TransitionKind::Expired.event_type(),
        PURCHASE_UPDATED,
    ]
    .map(unsent);
    let mut attempts = attempts(&destination, &all);
    attempts[0].is_stale = true;
    let sent = sent(&request(&config, &attempts).unwrap());
    let skips = [0, 1, 2].map(|place| {
        sent["events"][place]
            .get("$skip_user_properties_sync")
            .cloned()
    });
    assert_eq!(skips, [Some(json!(true)), None, Some(json!(true))]);
}

#[test]
fn a_requests_url_is_the_regions_or_the_operators() {
    for (endpoint, events, search, is_operator_url) in [
        (
            "standard",
            "https://api2.amplitude.com/2/httpapi",
            "https://amplitude.com/api/2/usersearch",
            false,
        ),
        (
            "eu",
            "https://api.eu.amplitude.com/2/httpapi",
            "https://analytics.eu.amplitude.com/api/2/usersearch",
            false,
        ),
        (
            "http://127.0.0.1:9000/a/b",
            "http://127.0.0.1:9000/a/b",
            "http://127.0.0.1:9000/api/2/usersearch",
            true,
        ),
    ] {
        let (destination, secret) = integration(json!({ "endpoint": endpoint }));
        let config = config::ready(&destination, &secret, &allowed()).unwrap();
        let sent_request = request(
            &config,
            &attempts(&destination, &[unsent(PURCHASE_UPDATED)]),
        )
        .unwrap();
        assert_eq!(
            (
                sent_request.method.name(),
                sent_request.url.as_str(),
                sent_request.is_operator_url
            ),
            ("POST", events, is_operator_url)
        );
        let tested = test(&config).unwrap();
        assert_eq!(
            (
                tested.method.name(),
                tested.is_operator_url,
                tested.body.len()
            ),
            ("GET", is_operator_url, 0)
        );
        assert_eq!(
            tested.url.as_str(),
            format!("{search}?user=settle-connection-test")
        );
    }
}

#[test]
fn a_lower_minimum_id_length_is_sent() {
    let (destination, secret) = integration(json!({"min_id_length": 1}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let sent_request = request(
        &config,
        &attempts(&destination, &[unsent(PURCHASE_UPDATED)]),
    )
    .unwrap();
    assert_eq!(sent(&sent_request)["options"], json!({"min_id_length": 1}));
}

#[test]
fn environments_are_sent_apart_each_with_its_key() {
    let (destination, secret) = integration(json!({}));
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let production = unsent(TransitionKind::Renewed.event_type());
    let sandbox = Unsent {
        environment: Environment::Sandbox,
        ..unsent(TransitionKind::Expired.event_type())
    };
    let keys = |all: &[&Unsent]| {
        let all: Vec<_> = all.iter().map(|unsent| (*unsent).clone()).collect();
        let sent = sent(&request(&config, &attempts(&destination, &all)).unwrap());
        (
            sent["api_key"].as_str().unwrap().to_owned(),
            sent["events"].as_array().unwrap().len(),
        )
    };
    assert_eq!(keys(&[&production, &production]), (API_KEY.to_owned(), 2));
    assert_eq!(keys(&[&production, &sandbox]), (API_KEY.to_owned(), 1));
    assert_eq!(
        keys(&[&sandbox, &sandbox, &production]),
        (SANDBOX_KEY.to_owned(), 2)
    );
}

#[test]
fn without_a_key_or_with_a_foreign_body_nothing_is_sent() {
    let (destination, secret) = integration(json!({}));
    let sandbox = Unsent {
        environment: Environment::Sandbox,
        ..unsent(PURCHASE_UPDATED)
    };
    let frozen = attempts(&destination, &[sandbox]);
    let fields = object(json!({"sandbox_api_key": null}));
    let changed = config::change(&destination.settings, &secret, &fields, &allowed()).unwrap();
    let config = config::ready(&destination, &changed.secret, &allowed()).unwrap();
    assert_eq!(
        request(&config, &frozen).err().unwrap().field,
        "sandbox_api_key"
    );
    let why = "the `sandbox_api_key` was removed, and it must not be sent to another project";
    assert_eq!(lacks_key(&config, &frozen[0]).as_deref(), Some(why));
    let others = attempts(&destination, &[unsent(PURCHASE_UPDATED)]);
    assert_eq!(
        lacks_key(&config, &others[0]),
        None,
        "events of the other environment are still sent"
    );
    let foreign = attempt(&unsent(PURCHASE_UPDATED), "{}".to_owned());
    assert_eq!(request(&config, &[foreign]).err().unwrap().field, "body");
}

#[test]
fn a_connection_test_searches_a_user_with_the_secret_key() {
    let config = ready(json!({}));
    let tested = test(&config).unwrap();
    insta::assert_snapshot!(shown(&tested), @r"
    Get https://amplitude.com/api/2/usersearch?user=settle-connection-test
    authorization: Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=
    user-agent: settle/[version]

    null
    ");
    let refused = test(&ready(json!({"secret_key": null}))).err().unwrap();
    assert_eq!(refused.field, "secret_key");
    let sandbox_alone = ready(json!({"api_key": null}));
    assert_ne!(test(&sandbox_alone).unwrap().headers, tested.headers);
}

proptest! {
    #[test]
    fn no_key_is_frozen_and_no_secret_key_is_sent(what in 0..TransitionKind::ALL.len(), is_sandbox in any::<bool>()) {
        let (destination, secret) = integration(json!({}));
        let environment = if is_sandbox { Environment::Sandbox } else { Environment::Production };
        let unsent = Unsent { environment, ..unsent(TransitionKind::ALL[what].event_type()) };
        let frozen = body(&destination, &unsent);
        for key in [API_KEY, SECRET_KEY, SANDBOX_KEY] {
            prop_assert!(!frozen.contains(key));
        }
        let config = config::ready(&destination, &secret, &allowed()).unwrap();
        let sent_request = request(&config, &[attempt(&unsent, frozen)]).unwrap();
        let (right, wrong) = if is_sandbox { (SANDBOX_KEY, API_KEY) } else { (API_KEY, SANDBOX_KEY) };
        let text = String::from_utf8(sent_request.body.clone()).unwrap();
        prop_assert!(text.contains(right) && !text.contains(wrong) && !text.contains(SECRET_KEY));
        let shown = format!("{sent_request:?}");
        prop_assert!(!shown.contains(right));
    }
}
