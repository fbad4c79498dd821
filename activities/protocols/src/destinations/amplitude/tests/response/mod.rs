//! Verdicts on responses, row by row of Amplitude's table.

mod refusals;
mod schedule;
mod throttling;

use super::*;
use crate::destinations::amplitude::response::{describe_test, judge};
use crate::destinations::amplitude::{GIVES_UP_AFTER, KIND};
use crate::http::Reply;
use domain::time::{HOUR, MINUTE, duration};
use std::sync::LazyLock;
use storage::{AttemptClass, DeliveryResult, EndpointSignal as Signal, Verdict};

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const FAILURE: Signal = Signal::Failure { pause: None };

/// A frozen production event, and a sandbox one.
pub(super) static BODIES: LazyLock<[String; 2]> = LazyLock::new(|| {
    [Environment::Production, Environment::Sandbox].map(|environment| {
        let unsent = Unsent {
            environment,
            ..unsent(TransitionKind::Renewed.event_type())
        };
        body(&integration(json!({})).0, &unsent)
    })
});

pub(super) fn now() -> Timestamp {
    time("2026-03-10T00:00:00Z")
}

pub(super) fn events(count: usize) -> Vec<Attempt> {
    vec![
        attempt(
            &unsent(TransitionKind::Renewed.event_type()),
            BODIES[0].clone()
        );
        count
    ]
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer {
        status,
        retry_after: None,
        headers: Vec::new(),
        body: body.to_owned(),
    }
}

fn judge_reply(reply: &Reply, events: &[Attempt]) -> DeliveryResult {
    judge(
        &ready(json!({})),
        Exchange {
            events,
            reply,
            at: now(),
            jitter: 0.5,
        },
    )
}

fn judge_answer(status: u16, body: Value, count: usize) -> DeliveryResult {
    judge_reply(&answer(status, &body.to_string()), &events(count))
}

/// Returns, for each event, its class, its wait in milliseconds or its final result, and whether the attempt counts.
fn summary(result: &DeliveryResult) -> Vec<(&'static str, String, bool)> {
    let became = |verdict: &Verdict| match verdict {
        Verdict::Delivered => "delivered".to_owned(),
        Verdict::Retry { delay } => delay.as_millis().to_string(),
        Verdict::Failed => "failed".to_owned(),
    };
    result
        .events
        .iter()
        .map(|one| (one.class.as_str(), became(&one.verdict), one.counts))
        .collect()
}

fn rows(rows: &[(&'static str, &str, bool)]) -> Vec<(&'static str, String, bool)> {
    rows.iter()
        .map(|(class, became, counts)| (*class, (*became).to_owned(), *counts))
        .collect()
}

#[test]
fn ingested_events_are_delivered() {
    let taken = json!({"code": 200, "events_ingested": 2, "payload_size_bytes": 50, "server_upload_time": 1});
    let result = judge_answer(200, taken, 2);
    assert_eq!(summary(&result), rows(&[("success", "delivered", true); 2]));
    assert_eq!(
        (
            result.endpoint_signal,
            result.alarm,
            result.at_most,
            result.user_pause
        ),
        (Signal::Success, None, None, None)
    );
    assert_eq!(judge_answer(200, json!({"code": 200}), 2).alarm, None);
}

#[test]
fn counting_too_many_events_delivers_and_raises_an_alarm() {
    let result = judge_answer(200, json!({"code": 200, "events_ingested": 3}), 2);
    assert_eq!(summary(&result), rows(&[("success", "delivered", true); 2]));
    assert_eq!(
        (result.endpoint_signal, result.alarm.is_some()),
        (Signal::Success, true)
    );
}

/// Amplitude may not count a repeated event, so the number of ingested events could stay too low on every retry.
#[test]
fn counting_too_few_events_retries_twice_and_raises_an_alarm() {
    for ingested in [-1, 0, 1] {
        let taken = json!({"code": 200, "events_ingested": ingested}).to_string();
        let at = |number| {
            let mut events = vec![
                Attempt {
                    number,
                    ..events(1)[0].clone()
                };
                2
            ];
            events[1].number = 1;
            let result = judge_reply(&answer(200, &taken), &events);
            assert_eq!(
                (&result.endpoint_signal, result.alarm.is_some()),
                (&Signal::Success, true),
                "{ingested}"
            );
            summary(&result)
        };
        assert_eq!(
            at(1),
            rows(&[("too_few", "5000", true), ("too_few", "5000", true)])
        );
        assert_eq!(
            at(2),
            rows(&[("too_few", "300000", true), ("too_few", "5000", true)])
        );
        assert_eq!(
            at(3),
            rows(&[("success", "delivered", true), ("too_few", "5000", true)]),
            "each by itself"
        );
    }
    let last = judge_reply(
        &answer(200, r#"{"events_ingested":0}"#),
        &[Attempt {
            number: 3,
            ..events(1)[0].clone()
        }],
    );
    let alarm =
        "Amplitude counted fewer events than a request held, and they are taken as delivered";
    assert_eq!(
        (summary(&last), last.alarm.as_deref()),
        (rows(&[("success", "delivered", true)]), Some(alarm))
    );
}

#[test]
fn a_200_that_is_not_amplitudes_is_no_success() {
    for body in [
        "",
        "OK",
        "<html></html>",
        "[]",
        "{}",
        r#"{"code":400}"#,
        r#"{"code":200,"error":"no"}"#,
        r#"{"code":20"#,
    ] {
        let result = judge_reply(&answer(200, body), &events(1));
        assert_eq!(
            (summary(&result), result.endpoint_signal),
            (rows(&[("unreadable", "5000", true)]), FAILURE),
            "{body}"
        );
    }
    let result = judge_reply(&answer(204, ""), &events(1));
    assert_eq!(
        summary(&result),
        rows(&[("unexpected_status", "5000", true)])
    );
}

#[test]
fn a_connection_tests_result_names_what_does_not_work() {
    let config = ready(json!({}));
    for body in [
        r#"{"matches":[],"type":"nomatch"}"#,
        r#"{"matches":[{"user_id":"a"}]}"#,
    ] {
        let expected = "Amplitude knows the `api_key` and the `secret_key`; the `sandbox_api_key` was not tried";
        assert_eq!(
            describe_test(&config, &answer(200, body)).as_deref(),
            Ok(expected)
        );
        let production =
            describe_test(&ready(json!({"sandbox_api_key": null})), &answer(200, body));
        assert_eq!(
            production.as_deref(),
            Ok("Amplitude knows the `api_key` and the `secret_key`")
        );
        let sandbox = describe_test(&ready(json!({"api_key": null})), &answer(200, body));
        assert_eq!(
            sandbox.as_deref(),
            Ok("Amplitude knows the `sandbox_api_key` and the `secret_key`")
        );
    }
    for body in [
        "",
        "<html>Log in</html>",
        "{}",
        "[]",
        r#"{"matches":null}"#,
        r#"{"code":200}"#,
        r#"{"matches":[]"#,
    ] {
        let wrong = describe_test(&config, &answer(200, body)).unwrap_err();
        assert!(
            wrong.contains("not by Amplitude") && wrong.contains("`api_key`"),
            "{body}: {wrong}"
        );
    }
    for status in [204, 301, 400, 401, 403, 429, 500] {
        assert!(
            describe_test(&config, &answer(status, API_KEY))
                .is_err_and(|why| !why.contains(API_KEY)),
            "{status}"
        );
    }
    let failure = Reply::Failure {
        class: AttemptClass::Dns,
        message: "the host's name could not be resolved".to_owned(),
    };
    let expected = "the host's name could not be resolved".to_owned();
    assert_eq!(describe_test(&config, &failure), Err(expected));
}

#[test]
fn the_kind_is_found_by_its_name() {
    let (destination, secret) = integration(json!({}));
    let config = crate::destinations::ready(&destination, &secret, &allowed()).unwrap();
    assert_eq!(
        (destination.kind.as_str(), config.gives_up_after()),
        (KIND, Some(GIVES_UP_AFTER))
    );
    assert_eq!(config.redact(API_KEY), "[REDACTED]");
}
