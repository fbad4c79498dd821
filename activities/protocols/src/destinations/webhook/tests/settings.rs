//! The settings of a webhook, and what is shown of them.

use super::{URL, config, created, destination, fields, shown};
use crate::destinations::webhook::config::{change, create, newest_secret, ready, redact};
use crate::destinations::{self, Allowed, ChangedSettings, Connector as _, Invalid, NewSettings};
use crate::http::Rules;
use domain::time::DAY;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

fn wrong(input: &Value) -> Vec<String> {
    let created = create(&fields(input), &Allowed::default(), [7; 32]);
    created
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|invalid| invalid.field)
        .collect()
}

fn changed(created: &NewSettings, input: &Value) -> Result<ChangedSettings, Vec<Invalid>> {
    change(
        &created.settings,
        &created.secret,
        &fields(input),
        &Allowed::default(),
    )
}

#[test]
fn a_webhook_without_success_is_disabled_after_five_days() {
    let config = config(&json!({}));
    assert_eq!(config.disable_after(), DAY * 5);
}

#[test]
fn a_url_is_enough_and_its_secret_is_shown_once() {
    let created = created(&json!({ "url": URL }));
    let settings = json!({
        "url": URL, "headers": [], "body": "event", "signature": "v1", "without_external_id": "send",
        "device_batch": 1, "device_receipts": false,
    });
    assert_eq!(created.settings, settings);
    let shown = shown(&created.shown);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].0, "secret");
    assert!(shown[0].1.starts_with("whsec_"), "{shown:?}");
    assert_eq!(
        newest_secret(&created.secret).unwrap().expose_secret(),
        &shown[0].1
    );
    assert_eq!(created.traits, storage::Traits::default());
}

#[test]
fn a_public_key_is_shown_and_its_private_key_is_not() {
    for (signature, expected) in [
        ("v1a", vec!["public_key"]),
        ("v1,v1a", vec!["secret", "public_key"]),
    ] {
        let created = created(&json!({"url": URL, "signature": signature}));
        let names: Vec<_> = shown(&created.shown)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, expected);
        assert!(
            created.settings["public_key"]
                .as_str()
                .unwrap()
                .starts_with("whpk_"),
            "{}",
            created.settings
        );
        assert!(!format!("{}{:?}", created.settings, shown(&created.shown)).contains("whsk_"));
        assert!(created.secret.expose_secret().contains("whsk_"));
    }
}

#[test]
fn a_request_may_provide_the_keys() {
    let mine = json!({"url": URL, "secret": super::SECRET});
    assert_eq!(
        shown(&created(&mine).shown),
        [("secret", super::SECRET.to_owned())]
    );
    let private = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let created = created(&json!({"url": URL, "private_key": private, "signature": "v1a"}));
    // RFC 8032 7.1, test 1.
    assert_eq!(
        created.settings["public_key"],
        "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
    assert_eq!(wrong(&json!({"url": URL, "secret": private})), ["secret"]);
    assert_eq!(
        wrong(&json!({"url": URL, "private_key": super::SECRET})),
        ["private_key"]
    );
    assert_eq!(
        wrong(&json!({"url": URL, "secret": "whsec_c2hvcnQ="})),
        ["secret"]
    );
    assert_eq!(wrong(&json!({"url": URL, "secret": 7})), ["secret"]);
}

#[test]
fn all_wrong_fields_are_named_at_once_without_their_values() {
    let input = json!({"headers": {"host": "secret-1"}, "signature": "v2", "urls": [], "secret": "secret-2"});
    let refused = create(&fields(&input), &Allowed::default(), [7; 32]).unwrap_err();
    let named: Vec<&str> = refused
        .iter()
        .map(|invalid| invalid.field.as_str())
        .collect();
    assert_eq!(
        named,
        ["urls", "secret", "url", "headers.host", "signature"]
    );
    assert!(!format!("{refused:?}").contains("secret-"), "{refused:?}");
}

#[test]
fn a_url_is_https_and_carries_no_user() {
    for right in ["https://example.com:8443/hook?a=b", "https://example.com"] {
        assert_eq!(
            wrong(&json!({ "url": right })),
            Vec::<String>::new(),
            "{right}"
        );
    }
    let refused = [
        "http://example.com/",
        "ftp://example.com/",
        "https://me@example.com/",
        "https://:pw@example.com/",
    ];
    let more = [
        "https://",
        "example.com",
        "",
        "https://example.com/#part",
        "mailto:me@example.com",
        "https://[::1%25a]/",
    ];
    for url in refused.into_iter().chain(more) {
        assert_eq!(wrong(&json!({ "url": url })), ["url"], "{url}");
    }
    assert_eq!(wrong(&json!({"url": 7})), ["url"]);
    assert_eq!(wrong(&json!({"url": null})), ["url"]);
    let plain = fields(&json!({"url": "http://127.0.0.1:9000/"}));
    let rules = Rules {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        allow_http: true,
        ..Rules::default()
    };
    assert!(
        create(
            &plain,
            &Allowed {
                rules,
                ..Allowed::default()
            },
            [7; 32]
        )
        .is_ok()
    );
}

#[test]
fn a_forbidden_address_or_port_is_refused() {
    for never in [
        "https://2130706433/",
        "https://10.1.2.3/",
        "https://[fe80::1]/",
        "https://localhost/",
    ] {
        assert_eq!(wrong(&json!({ "url": never })), ["url"], "{never}");
    }
    assert_eq!(
        wrong(&json!({"url": "https://example.com:9000/"})),
        ["url"],
        "no network is allowed all ports"
    );
    let rules = Rules {
        allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Rules::default()
    };
    let allowed = Allowed {
        rules,
        ..Allowed::default()
    };
    for (url, is_right) in [
        ("https://10.1.2.3:9000/", true),
        ("https://example.com:9000/", true),
        ("https://192.168.1.1/", false),
    ] {
        assert_eq!(
            create(&fields(&json!({ "url": url })), &allowed, [7; 32]).is_ok(),
            is_right,
            "{url}"
        );
    }
}

#[test]
fn a_refused_url_names_the_allowing_variables_else_every_reason() {
    let expected = |url: &str, rules: Rules| {
        let allowed = Allowed {
            rules,
            ..Allowed::default()
        };
        create(&fields(&json!({ "url": url })), &allowed, [7; 32]).unwrap_err()[0]
            .expected
            .clone()
    };
    let networks = |text: &str| Rules {
        allowed_networks: vec![text.parse().unwrap()],
        ..Rules::default()
    };
    let plain = expected("http://127.0.0.1:9999/", Rules::default());
    let line = "a public https:// URL; for a receiver on this machine start settle with \
                `SETTLE_DESTINATIONS_ALLOW_HTTP=true SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8`";
    assert_eq!(plain, line);
    let form = "a URL that begins with https://, such as https://example.com/hook";
    assert_eq!(expected("127.0.0.1:9000", Rules::default()), form);
    assert_eq!(
        expected("localhost:9000", Rules::default()),
        format!("{form}, but it begins with `localhost:`")
    );
    let own = expected("https://10.1.2.3/", networks("192.168.7.0/24"));
    let variable =
        "in your network start settle with `SETTLE_DESTINATIONS_ALLOWED_NETWORKS=…,10.1.2.3/32`";
    assert!(own.ends_with(variable), "{own}");
    assert!(
        !own.contains("192.168"),
        "what is allowed is not shown: {own}"
    );
    let port = expected("http://example.com:9000/", Rules::default());
    assert!(
        port.contains("scheme") && port.contains("port") && !port.contains("start settle"),
        "{port}"
    );
    let denied = Rules {
        denied_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Rules::default()
    };
    assert!(
        !expected("http://127.0.0.1:9999/", denied).contains("start settle"),
        "no variable allows it"
    );
    let public = "for plain HTTP start settle with `SETTLE_DESTINATIONS_ALLOW_HTTP=true`";
    assert!(expected("http://example.com/", Rules::default()).ends_with(public));
}

#[test]
fn the_choice_without_an_external_id_is_stored_and_reset() {
    let waiting = created(&json!({ "url": URL, "without_external_id": "wait" }));
    assert_eq!(waiting.settings["without_external_id"], "wait");
    let other = changed(&waiting, &json!({ "url": "https://example.com/other" })).unwrap();
    assert_eq!(
        other.settings["without_external_id"], "wait",
        "another change leaves it"
    );
    let reset = changed(&waiting, &json!({ "without_external_id": null })).unwrap();
    assert_eq!(reset.settings["without_external_id"], "send");
    for never in [json!("drop"), json!(true)] {
        assert_eq!(
            wrong(&json!({ "url": URL, "without_external_id": never })),
            ["without_external_id"]
        );
    }
}

#[test]
fn headers_are_shown_by_name_and_changed_one_by_one() {
    let created = created(
        &json!({"url": URL, "headers": {"X-Tenant": "t-1", "authorization": "Bearer abc"}}),
    );
    assert_eq!(
        created.settings["headers"],
        json!(["authorization", "x-tenant"])
    );
    assert!(!created.settings.to_string().contains("abc"));
    let next = changed(
        &created,
        &json!({"headers": {"x-tenant": null, "X-Other": "o"}}),
    )
    .unwrap();
    assert_eq!(
        next.settings["headers"],
        json!(["authorization", "x-other"])
    );
    assert!(next.secret.expose_secret().contains("Bearer abc"));
    assert!(next.shown.is_empty());
    let none = changed(&created, &json!({"headers": null})).unwrap();
    assert_eq!(none.settings["headers"], json!([]));
    assert!(!none.secret.expose_secret().contains("Bearer"));
}

#[test]
fn headers_of_metadata_services_are_refused() {
    let names = [
        "Metadata-Flavor",
        "metadata",
        "Metadata-Token",
        "X-aws-ec2-metadata-token-ttl-seconds",
        "x-aws-ec2-metadata-token",
        "X-Google-Metadata-Request",
        "x-aliyun-ecs-metadata-token",
    ];
    for name in names {
        assert_eq!(
            wrong(&json!({"url": URL, "headers": {name: "v"}})),
            [format!("headers.{name}")],
            "{name}"
        );
    }
    assert_eq!(
        wrong(&json!({"url": URL, "headers": {"x-meta": "v"}})),
        Vec::<String>::new()
    );
}

#[test]
fn reserved_and_connection_headers_are_refused() {
    let names = [
        "webhook-id",
        "Webhook-Signature",
        "webhook-own",
        "host",
        "Content-Length",
        "content-type",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "Proxy-Authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "accept-encoding",
        "expect",
    ];
    for name in names {
        let refused = wrong(&json!({"url": URL, "headers": {name: "v"}}));
        assert_eq!(refused, [format!("headers.{name}")], "{name}");
    }
    for name in ["", "a b", "a:b", "é", "a\r\nb", &"n".repeat(101)] {
        let refused = wrong(&json!({"url": URL, "headers": {"ok": "v", name: "v"}}));
        let at = usize::from(name > "ok");
        assert_eq!(
            refused,
            [format!("headers[{at}]")],
            "{name} may be a secret in the wrong place"
        );
    }
    for value in [
        "",
        " a",
        "a ",
        "a\r\nb: c",
        "a\0",
        "é",
        "\u{7f}",
        &"v".repeat(2049),
    ] {
        assert_eq!(
            wrong(&json!({"url": URL, "headers": {"x-a": value}})),
            ["headers.x-a"],
            "{value:?}"
        );
    }
    assert_eq!(
        wrong(&json!({"url": URL, "headers": {"x-a": 7}})),
        ["headers.x-a"]
    );
    assert_eq!(wrong(&json!({"url": URL, "headers": ["x-a"]})), ["headers"]);
    assert_eq!(
        wrong(&json!({"url": URL, "headers": {"x-a": "1", "X-A": "2"}})),
        ["headers.x-a"]
    );
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("x-{n}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
    };
    assert_eq!(
        wrong(&json!({"url": URL, "headers": many(20)})),
        Vec::<String>::new()
    );
    assert_eq!(
        wrong(&json!({"url": URL, "headers": many(21)})),
        ["headers"]
    );
}

#[test]
fn a_changed_signature_shows_its_verification_key() {
    let first = created(&json!({ "url": URL }));
    let both = changed(&first, &json!({"signature": "v1,v1a"})).unwrap();
    let names: Vec<_> = shown(&both.shown)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["public_key"]);
    assert_eq!(
        shown(&both.shown)[0].1,
        both.settings["public_key"].as_str().unwrap()
    );
    let back = changed(&first, &json!({"signature": null})).unwrap();
    assert_eq!((&back.settings, back.shown.len()), (&first.settings, 0));
    let refused = changed(
        &first,
        &json!({"signature": "v1a,v1", "secret": super::SECRET}),
    )
    .unwrap_err();
    let named: Vec<&str> = refused
        .iter()
        .map(|invalid| invalid.field.as_str())
        .collect();
    assert_eq!(named, ["secret", "signature"]);
}

#[test]
fn an_unusable_stored_setting_is_named() {
    let created = created(&json!({ "url": URL }));
    let unusable = |settings: Value, secret: &SecretString| {
        ready(&destination(settings, None), secret, &Allowed::default())
            .map(drop)
            .map_err(|invalid| invalid.field)
    };
    assert_eq!(unusable(created.settings.clone(), &created.secret), Ok(()));
    assert_eq!(unusable(json!({}), &created.secret), Err("url".to_owned()));
    assert_eq!(
        unusable(json!([]), &created.secret),
        Err("settings".to_owned())
    );
    assert_eq!(
        unusable(json!({"url": "http://example.com/"}), &created.secret),
        Err("url".to_owned())
    );
    assert_eq!(
        unusable(json!({"url": URL, "signature": "v9"}), &created.secret),
        Err("signature".to_owned())
    );
    for secret in [
        "",
        "whsec_x",
        "{}",
        r#"{"keys":[],"headers":{}}"#,
        r#"{"keys":[{"secret":"x"}],"headers":{}}"#,
    ] {
        assert_eq!(
            unusable(json!({ "url": URL }), &SecretString::from(secret)),
            Err("secret".to_owned()),
            "{secret}"
        );
    }
}

#[test]
fn debug_output_and_replies_show_neither_keys_nor_headers() {
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let config = config(
        &json!({"secret": secret, "headers": {"authorization": "Bearer to\"ken-1", "x-n": "42"}}),
    );
    let debug = format!("{config:?}");
    let text = format!(
        "{secret} {} Bearer to\"ken-1 to\"ken-1 {} 42",
        &secret[6..],
        r#"{"was":"Bearer to\"ken-1"}"#
    );
    let shown = redact(&config, &text);
    for hidden in ["C2FVsBQ", "ken-1"] {
        assert!(!debug.contains(hidden), "{debug}");
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert_eq!(
        shown,
        r#"[redacted] [redacted] [redacted] [redacted] {"was":"[redacted]"} 42"#
    );
}

#[test]
fn a_token_cut_off_at_the_end_of_a_reply_is_redacted() {
    let token: String = (0..250).map(|number| format!("{number:08x}")).collect();
    let config = config(&json!({"headers": {"authorization": format!("Bearer {token}")}}));
    // Header values are cut off after 256 characters: this one contains only the token's beginning.
    for (text, shown) in [
        (token[..256].to_owned(), "[redacted]"),
        (format!("Bearer {token}")[..256].to_owned(), "[redacted]"),
        (format!("got {}", &token[..6]), "got [redacted]"),
        (
            format!("{token} and {}", &token[..1999]),
            "[redacted] and [redacted]",
        ),
        (format!("got {}", &token[..5]), "got 00000"),
        (
            format!("got {} and more", &token[..5]),
            "got 00000 and more",
        ),
        (
            "nothing to hide: \u{e9}".to_owned(),
            "nothing to hide: \u{e9}",
        ),
    ] {
        assert_eq!(redact(&config, &text), shown);
    }
}

#[test]
fn a_rotations_debug_output_shows_no_secret_or_randomness() {
    let now = domain::Timestamp::from_micros(0);
    let rotation = destinations::Rotation {
        new_secret: Some("whsec_given".into()),
        until: now,
        now,
        random: [171; 32],
    };
    let shown = format!("{rotation:?} {rotation:#?}");
    for hidden in ["whsec", "random", "171", "0xab"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn an_unknown_kind_is_named() {
    let unknown = destinations::kind("pigeon")
        .err()
        .map(|wrong| wrong.to_string());
    assert_eq!(
        unknown.as_deref(),
        Some("`kind`: expected `webhook`, `amplitude` or `email`, and not `pigeon`")
    );
}
