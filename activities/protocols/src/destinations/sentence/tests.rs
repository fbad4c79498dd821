//! Titles and lines of each group of events, and what none of their texts may contain.

use super::{MAX_TITLE_CHARS, MAX_VALUE_CHARS, Sentence, sentence};
use serde_json::{Value, json};

fn failing() -> Value {
    json!({
        "id": "i", "event_type": "destination.failing", "created_date": "2026-03-04T12:00:00.000000+00:00",
        "destination": { "id": "d", "name": "Billing", "kind": "k", "app_id": "a" }, "state": "open",
        "reason": "the endpoint answered 500", "since": "2026-03-03T12:00:00.000000Z", "failures": 10, "pending": 30,
    })
}

fn raised(count: i64) -> Value {
    json!({
        "id": "i", "event_type": "alarm.opened", "created_date": "2026-03-04T12:05:00.000000+00:00", "app_id": null,
        "alarm": {
            "id": "a", "kind": "destination_failing", "about": "Billing", "platform_id": null, "destination_id": "d",
            "detail": "ten failures in a row", "first_at": "2026-03-04T10:00:00Z", "last_at": "2026-03-04T11:00:00Z",
            "count": count,
        },
        "closed_by": null, "note": null,
    })
}

fn record(more: &Value) -> Value {
    let mut data = json!({
        "last_seen_external_id": "anna@shop", "product_ref_id": "gold_monthly", "purchase_price": "4.99",
        "purchase_currency": "USD", "is_active": true, "is_auto_renewable": true, "is_in_trial_period": false,
        "expires_at": "2026-04-01T12:00:00.000000Z", "environment": "production", "platform_type": "store",
        "purchase_guid": "receipt", "transaction_id": "receipt", "revoked_at": null, "payment_issues_began_at": null,
        "pending_sku_ref_id": null, "pending_at": null, "purchase_country": "US",
    });
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "attributes": { "event_type": "purchase.updated" }, "data": data })
}

fn renewed() -> Value {
    json!({
        "event_type": "user.subscription.renewed", "environment": "sandbox", "event_platform": "store",
        "active_skus": ["gold", "silver"], "occurred_at": "2026-03-02T12:00:00.000000Z", "expiration_reason": null,
        "user_id": "b50cf1e1", "pending_sku_ref_id": "silver", "pending_at": "2026-04-02T12:00:00Z",
        "external_ids": [
            { "key": "external_id", "type": "custom", "value": "anna@shop" },
            { "key": "receipt_id", "type": "receipt_id", "value": "receipt" },
        ],
        "customer_journey_state": { "in_trial_period": false, "in_grace_period": true, "is_cancelled": true },
    })
}

fn bought() -> Value {
    json!({
        "attributes": { "event_type": "device.transaction", "event_time": "2026-11-18T11:06:40.000000Z" },
        "data": {
            "device": { "app_version": "3.1", "os": { "name": "fireos", "version": "8" }, "platform_type": "store" },
            "external_id": null, "user_id": "19572e5e", "kind": "purchased", "purchase_country": "DE",
            "purchase_currency": "EUR", "purchase_price": "4.99", "sku_ref_id": "month",
        },
    })
}

/// Returns the value of the line with this label; empty if there is none.
fn value<'a>(sentence: &'a Sentence, label: &str) -> &'a str {
    sentence
        .lines
        .iter()
        .find(|(name, _)| *name == label)
        .map_or("", |(_, value)| value)
}

/// Returns the lines, each as one text.
fn lines(sentence: &Sentence) -> Vec<String> {
    sentence
        .lines
        .iter()
        .map(|(label, value)| format!("{label}: {value}"))
        .collect()
}

#[test]
fn a_destination_is_named_with_its_trouble() {
    let all = sentence("destination.failing", &failing());
    assert_eq!(all.title, "Billing is failing");
    let expected = [
        "Reason: the endpoint answered 500",
        "Since: 2026-03-03 12:00 UTC",
        "Failures in a row: 10",
        "Pending: 30 deliveries",
    ];
    assert_eq!(lines(&all), expected);
    for (event_type, title) in [
        ("destination.disabled", "Billing is disabled"),
        ("destination.recovered", "Billing works again"),
        ("destination.exhausted", "Billing: a delivery failed"),
        ("destination.later", "Billing: destination.later"),
    ] {
        assert_eq!(sentence(event_type, &failing()).title, title);
    }
    let mut many = failing();
    many["pending"] = json!(100_000);
    assert_eq!(
        value(&sentence("destination.failing", &many), "Pending"),
        "100000 deliveries or more"
    );
    many["pending"] = json!(1);
    assert_eq!(
        value(&sentence("destination.failing", &many), "Pending"),
        "1 delivery"
    );
}

#[test]
fn an_alarm_is_named_when_it_opens_and_when_it_closes() {
    let once = sentence("alarm.opened", &raised(1));
    assert_eq!(once.title, "Alarm: Billing: destination failing");
    assert_eq!(
        lines(&once),
        [
            "Detail: ten failures in a row",
            "Raised: 2026-03-04 10:00 UTC"
        ]
    );
    assert_eq!(once.link, None);
    let again = sentence("alarm.opened", &raised(3));
    assert_eq!(value(&again, "Raised last"), "2026-03-04 11:00 UTC");
    assert_eq!(value(&again, "Times raised"), "3");
    let mut closed = raised(1);
    closed["closed_by"] = json!("anna");
    closed["note"] = json!("fixed\nby hand");
    let closed = sentence("alarm.closed", &closed);
    assert_eq!(closed.title, "Alarm closed: Billing: destination failing");
    assert_eq!(value(&closed, "Closed"), "2026-03-04 12:05 UTC");
    assert_eq!(
        (value(&closed, "Closed by"), value(&closed, "Note")),
        ("anna", "fixed by hand")
    );
    let mut of_all = raised(1);
    of_all["alarm"]["about"] = Value::Null;
    assert_eq!(
        sentence("alarm.opened", &of_all).title,
        "Alarm: destination failing"
    );
    assert_eq!(value(&sentence("alarm.opened", &of_all), "App"), "all");
}

#[test]
fn an_alarm_names_app_cause_counts_and_a_page() {
    let mut body = raised(1);
    body["app_name"] = json!("Radio");
    let page = "https://settle.example.com/ui/destinations/d";
    let more = json!({ "cause": "HTTP 503", "failures": 18, "pending": 34, "url": page });
    body["alarm"]
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let all = sentence("alarm.opened", &body);
    let expected = [
        "App: Radio",
        "Detail: ten failures in a row",
        "Cause: HTTP 503",
        "Failures in a row: 18",
        "Pending: 34 deliveries",
        "Raised: 2026-03-04 10:00 UTC",
    ];
    assert_eq!(lines(&all), expected);
    assert_eq!(all.link.as_deref(), Some(page));
    for no_address in [
        "javascript:x",
        "https://a.example/<!channel>",
        "https://a.example/\n@here",
        "",
    ] {
        body["alarm"]["url"] = json!(no_address);
        assert_eq!(sentence("alarm.opened", &body).link, None, "{no_address}");
    }
}

#[test]
fn a_purchase_shows_customer_product_price_and_state() {
    let all = sentence("purchase.updated", &record(&json!({})));
    assert_eq!(all.title, "A purchase's record changed");
    let expected = [
        "Customer: anna@shop",
        "Product: gold_monthly",
        "Price: 4.99 USD",
        "State: active, renews 2026-04-01 12:00 UTC",
        "Country: US",
        "Platform: store",
        "Environment: production",
        "Store's purchase id: receipt",
    ];
    assert_eq!(lines(&all), expected);
    for (more, state) in [
        (
            json!({ "is_auto_renewable": false }),
            "active, ends 2026-04-01 12:00 UTC",
        ),
        (
            json!({ "is_in_trial_period": true }),
            "in a trial, renews 2026-04-01 12:00 UTC",
        ),
        (
            json!({ "is_active": false }),
            "no access since 2026-04-01 12:00 UTC",
        ),
        (
            json!({ "is_active": false, "expires_at": null }),
            "no access",
        ),
        (json!({ "is_active": true, "expires_at": null }), "active"),
        (json!({ "is_active": null }), ""),
        (
            json!({ "revoked_at": "2026-03-05T12:00:00Z" }),
            "revoked 2026-03-05 12:00 UTC",
        ),
        (
            json!({ "payment_issues_began_at": "2026-03-05T12:00:00Z", "expires_at": null }),
            "active, payment failed 2026-03-05 12:00 UTC",
        ),
    ] {
        assert_eq!(
            value(&sentence("purchase.updated", &record(&more)), "State"),
            state,
            "{more}"
        );
    }
    let renewal = sentence(
        "purchase.updated",
        &record(&json!({ "transaction_id": "receipt:2" })),
    );
    assert_eq!(value(&renewal, "Transaction"), "receipt:2");
}

#[test]
fn the_sandbox_is_named_in_the_title_and_in_a_line() {
    let of_purchase = sentence(
        "purchase.updated",
        &record(&json!({ "environment": "sandbox" })),
    );
    assert_eq!(of_purchase.title, "A purchase's record changed (sandbox)");
    assert_eq!(value(&of_purchase, "Environment"), "sandbox");
    assert_eq!(
        sentence("user.subscription.renewed", &renewed()).title,
        "A subscription renewed (sandbox)"
    );
}

#[test]
fn a_user_event_has_the_customer_and_their_state() {
    let all = sentence("user.subscription.renewed", &renewed());
    let expected = [
        "Customer: anna@shop",
        "Active products: gold, silver",
        "State: payment failed, in the grace period, auto-renewal is off",
        "Next plan: silver from 2026-04-02 12:00 UTC",
        "Happened: 2026-03-02 12:00 UTC",
        "Platform: store",
        "Environment: sandbox",
        "Store's purchase id: receipt",
    ];
    assert_eq!(lines(&all), expected);
    let erased = sentence(
        "user.erased",
        &json!({ "event_type": "user.erased", "user_id": "b50cf1e1" }),
    );
    assert_eq!(
        (erased.title.as_str(), lines(&erased)),
        (
            "A customer was erased: delete what you store about them",
            vec!["User: b50cf1e1".to_owned()],
        )
    );
}

#[test]
fn an_event_of_a_device_names_that_nobody_verified_it() {
    let all = sentence("device.transaction", &bought());
    assert_eq!(all.title, "A purchase was made or restored on a device");
    let expected = [
        "User: 19572e5e",
        "Kind: purchased",
        "Product: month",
        "Price: 4.99 EUR",
        "Country: DE",
        "Device: fireos 8, app 3.1",
        "Platform: store",
        "Happened: 2026-11-18 11:06 UTC",
        "Verified: no, the app reported it",
    ];
    assert_eq!(lines(&all), expected);
    let product = |number: usize| json!({ "sku_ref_id": format!("sku{number}"), "price": "1", "currency": "USD" });
    let products: Vec<Value> = (1..=7).map(product).collect();
    let shown = json!({ "attributes": {}, "data": { "paywall": "summer", "products": products } });
    let shown = sentence("device.impression", &shown);
    let offered = "sku1 for 1 USD, sku2 for 1 USD, sku3 for 1 USD, sku4 for 1 USD, sku5 for 1 USD, and 2 more";
    assert_eq!(
        (value(&shown, "Paywall"), value(&shown, "Products")),
        ("summer", offered)
    );
    let mut whole = bought();
    whole["data"]["purchase_guid"] = json!("receipt");
    assert_eq!(
        value(
            &sentence("device.transaction", &whole),
            "Store's purchase id"
        ),
        "receipt"
    );
}

#[test]
fn an_unknown_type_has_its_name_alone() {
    for body in [Value::Null, json!({}), json!([1]), failing()] {
        assert_eq!(
            sentence("later.type", &body),
            Sentence {
                title: "later.type".to_owned(),
                lines: Vec::new(),
                link: None
            }
        );
    }
    assert_eq!(sentence("user.later", &json!({})).title, "user.later");
    let every = domain::event::choices()
        .into_iter()
        .filter(|name| !name.ends_with('*'));
    for event_type in every.chain(["alarm.opened", "alarm.closed", "test"]) {
        for body in [
            Value::Null,
            json!({ "data": 7, "alarm": [], "destination": "x", "external_ids": {} }),
        ] {
            let title = sentence(event_type, &body).title;
            assert!(
                !title.is_empty() && !title.ends_with('.'),
                "{event_type}: {title}"
            );
        }
    }
}

#[test]
fn no_text_is_long_or_has_a_line_of_its_own() {
    let mut long = failing();
    long["destination"]["name"] = json!(format!("a\nb\u{202e}{}", "n".repeat(400)));
    long["reason"] = json!(format!("first\r\n\u{2028}second {}", "ä".repeat(400)));
    let long = sentence("destination.failing", &long);
    assert_eq!(long.title.chars().count(), MAX_TITLE_CHARS);
    assert!(
        long.title.starts_with("a bn") && long.title.ends_with('…'),
        "{}",
        long.title
    );
    let reason = value(&long, "Reason");
    assert_eq!(reason.chars().count(), MAX_VALUE_CHARS);
    assert!(
        reason.starts_with("first second ä") && reason.ends_with('…'),
        "{reason}"
    );
    let mut empty = failing();
    empty["reason"] = json!(" \u{200b}\n");
    assert_eq!(
        value(&sentence("destination.failing", &empty), "Reason"),
        ""
    );
}

#[test]
fn a_change_of_a_payment_shows_whether_it_is_an_estimate() {
    let mut body = json!({
        "event_type": "revenue.adjusted", "environment": "production", "kind": "refund", "usd": "-9.99", "sku": "gold",
        "collapse_key": "k", "occurred_at": "2026-03-02T12:00:00.000000Z", "transaction_id": null, "is_estimate": true,
    });
    let estimate = sentence("revenue.adjusted", &body);
    assert!(
        estimate
            .title
            .starts_with("The revenue of a payment changed"),
        "{estimate:?}"
    );
    assert!(
        estimate
            .lines
            .contains(&("Revenue", "-9.99 USD".to_owned())),
        "{estimate:?}"
    );
    assert!(
        estimate
            .lines
            .iter()
            .any(|(label, text)| *label == "Note" && text.contains("estimate")),
        "{estimate:?}"
    );
    (body["transaction_id"], body["is_estimate"]) = (json!("T1"), json!(false));
    let shown = sentence("revenue.adjusted", &body);
    assert!(
        shown
            .lines
            .contains(&("Shown by", "the sales report, T1".to_owned())),
        "{shown:?}"
    );
    assert!(
        shown.lines.iter().all(|(label, _)| *label != "Note"),
        "{shown:?}"
    );
}
