//! Bodies as chat messages: their form, what none of their texts can do, the setting, and Slack's responses.

use super::{SECRET, URL, at, attempt, config, created, destination, fields, header};
use crate::destinations::tests::{of_device, unsent};
use crate::destinations::webhook::body::{render, render_streamed};
use crate::destinations::webhook::config::{change, create};
use crate::destinations::webhook::request::{batch_id, request, streamed, test};
use crate::destinations::webhook::response::{describe_test, judge};
use crate::destinations::{Allowed, Exchange};
use crate::http::Reply;
use domain::Timestamp;
use domain::event::DESTINATION_FAILING;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use storage::{Attempt, EndpointSignal, Rendered, Unsent, Verdict};

fn failing(name: &str) -> Value {
    json!({
        "event_type": DESTINATION_FAILING, "destination": { "name": name }, "state": "open", "reason": "<b>500</b> & more",
        "since": "2026-03-03T12:00:00.000000Z", "failures": 10, "pending": 30,
    })
}

fn named(event_type: &str, body: Value) -> Unsent {
    Unsent {
        external_id: Some("anna@shop".to_owned()),
        ..unsent(event_type, body)
    }
}

fn settings(body: &Value) -> Value {
    created(&json!({ "url": URL, "body": body })).settings
}

/// Returns the body rendered for a webhook with this value of the setting `body`.
fn body(setting: &str, event_type: &str, event: Value) -> Value {
    let destination = destination(settings(&json!(setting)), None);
    match render(&destination, &named(event_type, event)) {
        Rendered::Body(body) => serde_json::from_str(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Returns the text of a message, which is the body's only field.
fn text(body: &Value) -> &str {
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["text"].as_str().unwrap()
}

#[test]
fn an_event_becomes_a_message_with_a_bold_title_and_its_lines() {
    let message = body("slack", DESTINATION_FAILING, failing("Billing"));
    let expected = "*Billing is failing*\nReason: &lt;b&gt;500&lt;/b&gt; &amp; more\nSince: 2026-03-03 12:00 UTC\n\
        Failures in a row: 10\nPending: 30 deliveries";
    assert_eq!(text(&message), expected);
    assert_eq!(
        body("event", DESTINATION_FAILING, failing("Billing")),
        failing("Billing")
    );
}

#[test]
fn an_alarm_links_to_its_page() {
    let page = "https://settle.example.com/ui/destinations/d";
    let event = json!({ "event_type": "alarm.opened", "app_name": "Radio", "alarm": {
        "kind": "destination_failing", "about": "Billing", "detail": "see https://evil.example", "cause": "HTTP 503",
        "count": 1, "failures": 18, "pending": 34, "url": page,
    } });
    let expected = format!(
        "*Alarm: Billing: destination failing*\nApp: Radio\nDetail: see https:\u{200b}//evil.example\n\
         Cause: HTTP 503\nFailures in a row: 18\nPending: 34 deliveries\nLink: {page}"
    );
    assert_eq!(text(&body("slack", "alarm.opened", event)), expected);
}

#[test]
fn no_text_is_a_link_or_a_mention() {
    for (name, shown) in [
        (
            "<!channel> & <https://example.com|us>",
            "&lt;!channel&gt; &amp; &lt;https:\u{200b}//example.com|us&gt;",
        ),
        ("@channel", "@\u{200b}channel"),
        (
            "<@U1> @Here, @anna",
            "&lt;@\u{200b}U1&gt; @\u{200b}Here, @\u{200b}anna",
        ),
        (
            "a@everyone @@all",
            "a@\u{200b}everyone @\u{200b}@\u{200b}all",
        ),
        ("anna@shop.example", "anna@shop.example"),
        ("me@hereford.example", "me@hereford.example"),
        ("https://evil.example", "https:\u{200b}//evil.example"),
        (
            "see HTTP://a.example,ftp://b.example",
            "see HTTP:\u{200b}//a.example,ftp:\u{200b}//b.example",
        ),
        (
            "[Pay](https://evil.example)",
            "[Pay]\u{200b}(https:\u{200b}//evil.example)",
        ),
        ("[é](mailto:a@b.example)", "[é]\u{200b}(mailto:a@b.example)"),
        ("[Pay] (now): a/b // 1:1", "[Pay] (now): a/b // 1:1"),
        ("&amp; already", "&amp;amp; already"),
        ("a\n*b*", "a *b*"),
        ("@", "@\u{200b}"),
    ] {
        let message = body("slack", DESTINATION_FAILING, failing(name));
        let title = text(&message).lines().next().unwrap();
        assert_eq!(title, format!("*{shown} is failing*"), "{name}");
    }
}

#[test]
fn receipts_of_devices_are_in_no_message_without_the_setting() {
    let event = json!({
        "attributes": { "event_type": "device.transaction" },
        "data": { "app_user_id": "u1", "purchase_guid": "r1", "sku_ref_id": "month" },
    });
    for (receipts, is_shown) in [(false, false), (true, true)] {
        let input = json!({ "url": URL, "body": "slack", "device_receipts": receipts });
        let rendered = render_streamed(
            &destination(created(&input).settings, None),
            &of_device(&event),
        );
        let Rendered::Body(message) = rendered else {
            panic!("{rendered:?}")
        };
        let message: Value = serde_json::from_str(&message).unwrap();
        assert!(text(&message).contains("Product: month"), "{message}");
        assert_eq!(
            text(&message).contains("Store's purchase id: r1"),
            is_shown,
            "{message}"
        );
    }
}

#[test]
fn a_message_is_signed_as_any_body_and_comes_by_itself() {
    let config = config(&json!({ "body": "slack", "device_batch": 100, "secret": SECRET }));
    assert_eq!(config.device_batch, 1);
    let message = attempt(r#"{"text":"*a*"}"#);
    assert_eq!(batch_id(&config, std::slice::from_ref(&message)), None);
    let sent = streamed(&config, at(), std::slice::from_ref(&message)).unwrap();
    assert_eq!(
        sent.body,
        request(&config, at(), std::slice::from_ref(&message))
            .unwrap()
            .body
    );
    assert_eq!(sent.body, message.body.as_bytes());
    let (id, time) = (
        header(&sent, "webhook-id"),
        header(&sent, "webhook-timestamp").parse().unwrap(),
    );
    let expected = Webhook::new(SECRET)
        .unwrap()
        .sign(id, time, &sent.body)
        .unwrap();
    assert_eq!(header(&sent, "webhook-signature"), expected);
    assert_eq!(header(&sent, "content-type"), "application/json");
    // A batch that was first sent before the setting was changed is repeated as one message.
    let batch = streamed(&config, at(), &[message.clone(), message]).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&batch.body).unwrap(),
        json!({ "text": "*a*\n\n*a*" })
    );
}

#[test]
fn a_test_is_a_message_too_and_a_sample_is_marked() {
    let config = config(&json!({ "body": "slack" }));
    let sent = |sample: Option<&Value>| {
        let request = test(&config, at(), "id", sample).unwrap();
        assert_eq!(header(&request, "webhook-test"), "true");
        serde_json::from_slice::<Value>(&request.body).unwrap()
    };
    assert_eq!(
        text(&sent(None)),
        "*A test of this destination*\nEvent: none"
    );
    assert!(text(&sent(Some(&failing("Billing")))).starts_with("*Test: Billing is failing*\n"));
    let record = json!({ "attributes": { "event_type": "purchase.updated" }, "data": { "product_ref_id": "gold" } });
    assert_eq!(
        text(&sent(Some(&record))),
        "*Test: A purchase's record changed*\nProduct: gold"
    );
}

#[test]
fn the_setting_is_changed_reset_and_refused_with_its_choices() {
    let before = created(&json!({ "url": URL }));
    assert_eq!(before.settings["body"], "event");
    let changed = |body: &Value| {
        change(
            &before.settings,
            &before.secret,
            &fields(&json!({ "body": body })),
            &Allowed::default(),
        )
    };
    assert_eq!(changed(&json!("slack")).unwrap().settings["body"], "slack");
    assert_eq!(changed(&Value::Null).unwrap().settings["body"], "event");
    for wrong in [json!("teams"), json!(true), json!({})] {
        let refused = create(
            &fields(&json!({ "url": URL, "body": wrong })),
            &Allowed::default(),
            [7; 32],
        );
        for refused in [refused.unwrap_err(), changed(&wrong).unwrap_err()] {
            assert_eq!(
                refused[0].to_string(),
                "`body`: expected `event` (the default) or `slack`",
                "{wrong}"
            );
        }
    }
    let mut old = before.settings.clone();
    old.as_object_mut().unwrap().remove("body");
    let rendered = render(
        &destination(old, None),
        &named(DESTINATION_FAILING, failing("Billing")),
    );
    assert!(
        matches!(rendered, Rendered::Body(body) if body.starts_with('{') && body.contains("event_type"))
    );
}

/// Slack's documented responses (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
#[test]
fn the_answers_of_slack_are_judged() {
    let judged = |status: u16, body: &str, refusals: i64| {
        let reply = Reply::Answer {
            status,
            retry_after: None,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        let events = [Attempt {
            event_type: "alarm.opened".to_owned(),
            refusals,
            ..attempt("{}")
        }];
        let config = config(&json!({ "body": "slack" }));
        let exchange = Exchange {
            events: &events,
            reply: &reply,
            at: Timestamp::default(),
            jitter: 0.5,
        };
        let result = judge(&config, exchange);
        assert_eq!(describe_test(&reply).is_ok(), status == 200);
        (result.events[0].verdict, result.endpoint_signal)
    };
    assert_eq!(
        judged(200, "ok", 0),
        (Verdict::Delivered, EndpointSignal::Success)
    );
    for (status, body) in [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "no_service"),
    ] {
        let (verdict, signal) = judged(status, body, 0);
        assert!(
            matches!(verdict, Verdict::Retry { .. }),
            "{status}: {verdict:?}"
        );
        assert_eq!(
            signal,
            EndpointSignal::Failure { pause: None },
            "{status} disables after five days at the earliest"
        );
        assert_eq!(
            judged(status, body, 4).0,
            Verdict::Failed,
            "the fifth refusal"
        );
    }
    let (verdict, signal) = judged(410, "channel_is_archived", 9);
    assert!(
        matches!(verdict, Verdict::Retry { .. }),
        "it waits until somebody enables the destination: {verdict:?}"
    );
    assert!(matches!(signal, EndpointSignal::Gone { .. }), "{signal:?}");
    assert!(matches!(
        judged(429, "rate_limited", 0).1,
        EndpointSignal::Failure { pause: Some(_) }
    ));
}
