//! The settings of an integration.

use super::*;
use crate::destinations::Kind as _;
use crate::destinations::amplitude::kind::Amplitude;
use crate::destinations::{self, Connector as _, Invalid};
use domain::time::DAY;
use domain::user::Attributes;
use secrecy::ExposeSecret as _;

fn wrong(result: Result<destinations::NewSettings, Vec<Invalid>>) -> Vec<String> {
    let mut fields: Vec<_> = result
        .err()
        .unwrap()
        .into_iter()
        .map(|wrong| wrong.field)
        .collect();
    fields.sort();
    fields
}

#[test]
fn amplitude_without_success_is_disabled_after_seven_days() {
    let config = ready(json!({}));
    assert_eq!(config.disable_after(), DAY * 7);
}

#[test]
fn absent_fields_have_their_defaults() {
    let fields = object(json!({"endpoint": "eu", "api_key": API_KEY}));
    let kind = destinations::kind("amplitude").unwrap();
    let integration = kind.create(&fields, &allowed(), [0; 32]).unwrap();
    let expected = json!({
        "endpoint": "eu", "user_id": "external_id", "without_external_id": "send", "min_id_length": 5,
        "prefix": "namiml_", "user_properties": "documented", "has_api_key": true, "has_secret_key": false,
        "has_sandbox_api_key": false,
    });
    assert_eq!(integration.settings, expected);
    assert_eq!(
        (integration.traits.per_request, integration.traits.per_user),
        (10, true)
    );
    assert_eq!(kind.max_rate(), Some(90));
    assert_eq!(integration.traits.wildcards, Wildcards::Listed);
    assert!(integration.shown.is_empty());
}

#[test]
fn all_wrong_fields_are_named_at_once_without_keys() {
    let fields = object(json!({
        "endpoint": "us", "api_key": "a key with spaces", "secret_key": 7, "user_id": "email",
        "without_external_id": "drop", "min_id_length": 0, "prefix": "no spaces", "region": "eu", "has_api_key": true,
        "partner_id": "no spaces",
    }));
    let refused = config::create(&fields, &allowed()).err().unwrap();
    assert!(
        !refused
            .iter()
            .any(|wrong| wrong.to_string().contains("a key with spaces")),
        "{refused:?}"
    );
    let named: Vec<_> = refused.iter().map(|wrong| wrong.field.as_str()).collect();
    let expected = [
        "api_key",
        "endpoint",
        "has_api_key",
        "min_id_length",
        "partner_id",
        "prefix",
        "region",
        "secret_key",
        "user_id",
        "without_external_id",
    ];
    assert_eq!(named, expected);
}

#[test]
fn an_endpoint_and_a_key_are_required() {
    assert_eq!(
        wrong(config::create(&Map::new(), &allowed())),
        ["api_key", "endpoint"]
    );
    let sandbox_alone = object(json!({"endpoint": "standard", "sandbox_api_key": SANDBOX_KEY}));
    assert_eq!(
        config::create(&sandbox_alone, &allowed()).unwrap().settings["has_sandbox_api_key"],
        json!(true)
    );
    assert_eq!(
        wrong(config::create(
            &fields(json!({"endpoint": null})),
            &allowed()
        )),
        ["endpoint"]
    );
    assert_eq!(
        wrong(config::create(
            &fields(json!({"sandbox_api_key": API_KEY})),
            &allowed()
        )),
        ["sandbox_api_key"]
    );
}

#[test]
fn an_endpoint_is_a_region_or_an_allowed_origin() {
    let settle = |endpoint: &str| {
        let integration = config::create(&fields(json!({ "endpoint": endpoint })), &allowed());
        integration
            .map(|integration| {
                integration.settings["endpoint"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .ok()
    };
    for (endpoint, stored) in [
        ("standard", "standard"),
        ("eu", "eu"),
        ("https://api2.amplitude.com/2/httpapi", "standard"),
        ("https://api.eu.amplitude.com/2/httpapi", "eu"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/2/httpapi"),
        (
            "https://proxy.example.com:443/amplitude",
            "https://proxy.example.com/amplitude",
        ),
    ] {
        assert_eq!(settle(endpoint).as_deref(), Some(stored), "{endpoint}");
    }
    for refused in [
        "",
        "EU",
        "https://api2.amplitude.com/batch",
        "http://127.0.0.1:9001/",
        "https://127.0.0.1:9000/",
        "http://me@127.0.0.1:9000/",
        "http://127.0.0.1:9000/?a=b",
        "http://127.0.0.1:9000/#a",
        "http://proxy.example.com/",
        "https://proxy.example.com.evil.example/",
        "127.0.0.1:9000",
        "file:///etc/passwd",
    ] {
        assert_eq!(settle(refused), None, "{refused}");
    }
    let refused = config::create(
        &fields(json!({ "endpoint": "http://127.0.0.1:9001/" })),
        &allowed(),
    )
    .err()
    .unwrap();
    assert!(
        refused[0]
            .expected
            .contains("SETTLE_AMPLITUDE_ALLOWED_URLS"),
        "what to do: {refused:?}"
    );
}

#[test]
fn the_form_offers_each_allowed_url_as_it_is_stored() {
    let origins = ["https://proxy.internal", "http://127.0.0.1:9000/own"];
    let allowed = Allowed {
        origins: [(
            "amplitude",
            origins.map(|url| url.parse().unwrap()).to_vec(),
        )]
        .into(),
        ..Allowed::default()
    };
    let offered = [
        ("endpoint", "https://proxy.internal/2/httpapi".to_owned()),
        ("endpoint", "http://127.0.0.1:9000/own".to_owned()),
    ];
    assert_eq!(Amplitude.choices(&allowed), offered);
}

#[test]
fn an_endpoint_no_longer_allowed_is_not_used() {
    let (destination, secret) = integration(json!({"endpoint": "http://127.0.0.1:9000"}));
    let refused = config::ready(&destination, &secret, &Allowed::default())
        .err()
        .unwrap();
    assert_eq!(refused.field, "endpoint");
    assert!(
        refused
            .expected
            .contains("`amplitude.allowed_urls` (SETTLE_AMPLITUDE_ALLOWED_URLS)"),
        "{refused}"
    );
}

#[test]
fn bounds_of_numbers_and_names_hold() {
    for (field, right, off) in [
        (
            "min_id_length",
            vec![json!(1), json!(36), json!(null)],
            vec![json!(0), json!(37), json!("5"), json!(2.5)],
        ),
        (
            "prefix",
            vec![json!("a"), json!("A_1"), json!("x".repeat(32)), json!(null)],
            vec![
                json!(""),
                json!("x".repeat(33)),
                json!("a-b"),
                json!("ü"),
                json!(1),
            ],
        ),
        (
            "partner_id",
            vec![
                json!("a"),
                json!("set-tle_1.0"),
                json!("x".repeat(64)),
                json!(null),
            ],
            vec![
                json!(""),
                json!("x".repeat(65)),
                json!("a b"),
                json!("ü"),
                json!(1),
            ],
        ),
        (
            "api_key",
            vec![json!("k-e_y.1")],
            vec![
                json!(""),
                json!("a b"),
                json!("a\nb"),
                json!("x".repeat(129)),
            ],
        ),
        (
            "user_id",
            vec![json!("user_id"), json!("external_id"), json!(null)],
            vec![json!("User_Id"), json!(1)],
        ),
        (
            "without_external_id",
            vec![json!("wait"), json!("skip"), json!(null)],
            vec![json!(""), json!([])],
        ),
        (
            "user_properties",
            vec![json!("documented"), json!("extended"), json!(null)],
            vec![json!("all"), json!(true)],
        ),
    ] {
        for value in right {
            assert!(
                config::create(&fields(json!({ field: value.clone() })), &allowed()).is_ok(),
                "{field}: {value}"
            );
        }
        for value in off {
            let refused = config::create(&fields(json!({ field: value.clone() })), &allowed());
            assert_eq!(wrong(refused), [field], "{value}");
        }
    }
}

#[test]
fn a_change_leaves_the_rest_and_null_removes() {
    let (destination, secret) =
        integration(json!({"prefix": "shop_", "user_id": "user_id", "partner_id": "shop"}));
    let change =
        |fields: Value| config::change(&destination.settings, &secret, &object(fields), &allowed());
    let extended = change(json!({"user_properties": "extended"})).unwrap();
    assert_eq!(
        (&extended.settings["user_properties"], extended.profile),
        (&json!("extended"), Some(Attributes::Extended))
    );
    assert_eq!(
        change(json!({"partner_id": null}))
            .unwrap()
            .settings
            .get("partner_id"),
        None
    );
    let changed = change(json!({"secret_key": null, "prefix": null, "min_id_length": 3})).unwrap();
    let expected = json!({
        "endpoint": "standard", "user_id": "user_id", "without_external_id": "send", "min_id_length": 3,
        "prefix": "namiml_", "user_properties": "documented", "partner_id": "shop", "has_api_key": true, "has_secret_key": false,
        "has_sandbox_api_key": true,
    });
    assert_eq!(changed.settings, expected);
    let stored: Value = serde_json::from_str(changed.secret.expose_secret()).unwrap();
    assert_eq!(
        stored,
        json!({"api_key": API_KEY, "sandbox_api_key": SANDBOX_KEY})
    );
    let unchanged = change(json!({})).unwrap();
    assert_eq!(unchanged.settings, destination.settings);
    assert_eq!(unchanged.secret.expose_secret(), secret.expose_secret());
    let refused =
        change(json!({"api_key": null, "sandbox_api_key": null, "endpoint": null, "url": "x"}));
    let named: Vec<_> = refused
        .err()
        .unwrap()
        .into_iter()
        .map(|wrong| wrong.field)
        .collect();
    assert_eq!(named, ["endpoint", "url", "api_key"]);
}

#[test]
fn an_integration_without_a_key_is_not_used() {
    let (destination, _) = integration(json!({}));
    for stored in ["{}", "", "[]", "null", r#"{"secret_key":"abc"}"#] {
        let refused = config::ready(&destination, &SecretString::from(stored), &allowed())
            .err()
            .unwrap();
        assert_eq!(refused.field, "api_key", "{stored}");
    }
}
