//! Verdicts on answers, row by row of Amplitude's table.

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

/// Each event's class, its wait in milliseconds or its end, and whether the attempt counts.
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
fn defective_requests_fail_with_an_alarm() {
    for body in [
        json!({"code": 400, "error": "Invalid JSON request body"}),
        json!({"code": 400, "error": "Request missing required field", "missing_field": "api_key"}),
    ] {
        let result = judge_answer(400, body.clone(), 2);
        assert_eq!(
            summary(&result),
            rows(&[("defect", "failed", true); 2]),
            "{body}"
        );
        assert_eq!(
            (result.endpoint_signal, result.alarm.is_some()),
            (FAILURE, true)
        );
    }
}

#[test]
fn a_misdirected_request_is_retried_with_an_alarm() {
    for error in ["Missing request body", "Invalid request path"] {
        let body = json!({"code": 400, "error": error}).to_string();
        for (number, wait) in [(1, "5000"), (9, "86400000"), (100, "86400000")] {
            let one = Attempt {
                number,
                refusals: number - 1,
                ..events(1)[0].clone()
            };
            let result = judge_reply(&answer(400, &body), &[one.clone(), one]);
            assert_eq!(
                summary(&result),
                rows(&[("misdirected", wait, true); 2]),
                "{error}"
            );
            assert_eq!(
                (result.endpoint_signal, result.alarm.is_some()),
                (FAILURE, true)
            );
        }
    }
}

#[test]
fn an_unknown_api_key_disables_and_loses_nothing() {
    for status in [400, 401, 403] {
        let result = judge_answer(
            status,
            json!({"code": status, "error": format!("Invalid API key: {API_KEY}")}),
            2,
        );
        assert_eq!(
            summary(&result),
            rows(&[("invalid_api_key", "3600000", false); 2])
        );
        let reason = "Amplitude does not know the key `api_key`".to_owned();
        assert_eq!(result.endpoint_signal, Signal::Gone { reason });
    }
}

#[test]
fn an_unknown_sandbox_key_is_retried_hourly_with_an_alarm() {
    let body = json!({"code": 400, "error": format!("Invalid API key: {SANDBOX_KEY}")}).to_string();
    let result = judge_reply(
        &answer(400, &body),
        &[Attempt {
            body: BODIES[1].clone(),
            ..events(1)[0].clone()
        }],
    );
    assert_eq!(
        summary(&result),
        rows(&[("invalid_api_key", "3600000", false)])
    );
    let alarm = Some("Amplitude does not know the key `sandbox_api_key`".to_owned());
    assert_eq!(
        (result.endpoint_signal, result.alarm),
        (Signal::Neutral, alarm)
    );
}

#[test]
fn an_unknown_only_sandbox_key_disables_the_integration() {
    let body = json!({"code": 400, "error": format!("Invalid API key: {SANDBOX_KEY}")}).to_string();
    let alone = ready(json!({"api_key": null, "secret_key": null}));
    let events = [Attempt {
        body: BODIES[1].clone(),
        ..events(1)[0].clone()
    }];
    let result = judge(
        &alone,
        Exchange {
            events: &events,
            reply: &answer(400, &body),
            at: now(),
            jitter: 0.5,
        },
    );
    assert_eq!(
        summary(&result),
        rows(&[("invalid_api_key", "3600000", false)])
    );
    let reason = "Amplitude does not know the key `sandbox_api_key`".to_owned();
    assert_eq!(
        (result.endpoint_signal, result.alarm),
        (Signal::Gone { reason }, None)
    );
}

#[test]
fn named_events_fail_and_the_others_are_retried_at_once() {
    for kind in [
        "events_with_invalid_fields",
        "events_with_missing_fields",
        "events_with_invalid_id_lengths",
    ] {
        let body = json!({"code": 400, "error": "Invalid field values on some events", kind: {"time": [1], "who": [2]}});
        let result = judge_answer(400, body, 4);
        let expected = [
            ("not_taken", "0", false),
            ("refused", "failed", true),
            ("refused", "failed", true),
            ("not_taken", "0", false),
        ];
        assert_eq!(
            (summary(&result), &result.endpoint_signal),
            (rows(&expected), &Signal::Success),
            "{kind}"
        );
        let message = |place: usize| result.events[place].error.as_deref().unwrap();
        assert_eq!(message(1), "Amplitude refused the event for its `time`");
        assert_eq!(
            message(2),
            "Amplitude refused the event for one of its fields"
        );
    }
}

/// The documentation names only the first offending event of a request.
#[test]
fn each_round_removes_at_least_one_wrong_event() {
    let mut wrong = vec![true, false, true, true, false, true];
    let mut rounds = 0;
    while let Some(first) = wrong.iter().position(|is_wrong| *is_wrong) {
        let body = json!({"code": 400, "error": "Invalid field values on some events",
            "events_with_invalid_fields": {"user_id": [first]}});
        let result = judge_answer(400, body, wrong.len());
        let verdicts = result.events.iter().zip(&wrong);
        wrong = verdicts
            .filter(|(one, _)| one.verdict != Verdict::Failed)
            .map(|(_, is_wrong)| *is_wrong)
            .collect();
        rounds += 1;
    }
    assert_eq!((rounds, wrong), (4, vec![false, false]));
}

#[test]
fn a_silenced_customers_events_fail_with_an_alarm() {
    let silenced = [("silenced", "failed", true), ("not_taken", "0", false)];
    let result = judge_answer(
        400,
        json!({"code": 400, "error": "x", "silenced_events": [0], "eps_threshold": 30}),
        2,
    );
    assert_eq!(
        (summary(&result), result.alarm.is_some()),
        (rows(&silenced), true)
    );
    for devices in [json!({USER.to_string(): 40}), json!([USER])] {
        let result = judge_answer(
            400,
            json!({"code": 400, "error": "x", "silenced_devices": devices}),
            2,
        );
        assert_eq!(summary(&result), rows(&[("silenced", "failed", true); 2]));
    }
    let other = judge_answer(
        400,
        json!({"code": 400, "error": "x", "silenced_devices": ["another"]}),
        1,
    );
    assert_eq!(summary(&other), rows(&[("refused", "5000", true)]));
}

#[test]
fn a_throttled_customer_pauses_30_seconds_alone() {
    let user = USER.to_string();
    for body in [
        json!({"throttled_users": {user.as_str(): 31}}),
        json!({"throttled_devices": {user.as_str(): 31}, "throttled_users": {}}),
        json!({"throttled_events": [0]}),
    ] {
        for status in [400, 429] {
            let mut body = body.clone();
            body["code"] = json!(status);
            let result = judge_answer(status, body.clone(), 2);
            assert_eq!(
                summary(&result),
                rows(&[("throttled", "30000", false); 2]),
                "{body}"
            );
            assert_eq!(
                (result.endpoint_signal, result.user_pause),
                (Signal::Neutral, Some(duration(30_000)))
            );
        }
    }
}

#[test]
fn a_customer_over_quota_is_retried_hourly() {
    for list in ["exceeded_daily_quota_users", "exceeded_daily_quota_devices"] {
        let body = json!({"code": 429, "error": "x", list: {"someone": 500_001}, "throttled_users": {"someone": 40}});
        let result = judge_answer(429, body, 1);
        assert_eq!(summary(&result), rows(&[("quota", "3600000", false)]));
        assert_eq!(
            (result.endpoint_signal, result.user_pause),
            (Signal::Neutral, Some(HOUR))
        );
    }
}

#[test]
fn a_throttled_project_is_paused_as_a_whole() {
    for body in [
        "",
        "slow down",
        r#"{"code":429,"error":"Too many requests for some devices and users","eps_threshold":1000}"#,
    ] {
        let result = judge_reply(&answer(429, body), &events(2));
        assert_eq!(
            summary(&result),
            rows(&[("throttled", "30000", false); 2]),
            "{body}"
        );
        assert_eq!(
            (result.endpoint_signal, result.user_pause),
            (
                Signal::Failure {
                    pause: Some(duration(30_000))
                },
                None
            )
        );
    }
    for (retry_after, pause_ms) in [
        ("1", 30_000),
        ("90", 90_000),
        ("99999999999999999999", HOUR_MS),
        ("soon", 30_000),
    ] {
        let reply = Reply::Answer {
            status: 429,
            retry_after: Some(retry_after.into()),
            headers: vec![],
            body: String::new(),
        };
        assert_eq!(
            judge_reply(&reply, &events(1)).endpoint_signal,
            Signal::Failure {
                pause: Some(duration(pause_ms))
            },
            "{retry_after}"
        );
    }
}

#[test]
fn a_request_too_large_is_halved_and_a_single_event_fails() {
    for (count, half) in [(10, 5), (5, 2), (3, 1), (2, 1)] {
        let result = judge_reply(&answer(413, "<html>"), &events(count));
        assert_eq!(
            (result.at_most, result.endpoint_signal.clone()),
            (Some(half), Signal::Neutral)
        );
        assert_eq!(
            summary(&result),
            vec![("too_large", "0".to_owned(), false); count]
        );
    }
    let result = judge_answer(413, json!({"code": 413, "error": "Payload too large"}), 1);
    assert_eq!(
        (summary(&result), result.alarm.is_some()),
        (rows(&[("too_large", "failed", true)]), true)
    );
}

#[test]
fn a_firewall_refusal_is_retried_rarely() {
    for (number, wait) in [(1, "900000"), (2, "900000"), (4, "7200000")] {
        let result = judge_reply(
            &answer(403, "Forbidden"),
            &[Attempt {
                number,
                ..events(1)[0].clone()
            }],
        );
        assert_eq!(summary(&result), rows(&[("forbidden", wait, true)]));
        assert_eq!(
            (result.endpoint_signal, result.alarm.is_some()),
            (FAILURE, true)
        );
    }
}

#[test]
fn an_unlisted_refusal_is_bisected_and_fails_at_the_fifth() {
    let body = json!({"code": 400, "error": "Something else"});
    let result = judge_answer(400, body.clone(), 10);
    assert_eq!(
        (result.at_most, &result.endpoint_signal),
        (Some(5), &Signal::Neutral)
    );
    assert_eq!(
        summary(&result),
        vec![("refused", "0".to_owned(), false); 10]
    );
    let alone = |number, refusals| {
        let one = Attempt {
            number,
            refusals,
            ..events(1)[0].clone()
        };
        let result = judge_reply(&answer(400, &body.to_string()), &[one]);
        assert_eq!(result.endpoint_signal, FAILURE);
        summary(&result)
    };
    assert_eq!(alone(1, 0), rows(&[("refused", "5000", true)]));
    assert_eq!(alone(9, 3), rows(&[("refused", "86400000", true)]));
    assert_eq!(alone(5, 4), rows(&[("refused", "failed", true)]));
}

#[test]
fn server_failures_are_retried_by_schedule() {
    for (status, class, pause_ms) in [
        (301, "redirect", None),
        (307, "redirect", None),
        (404, "client_error", None),
        (408, "client_error", None),
        (410, "client_error", None),
        (500, "server_error", None),
        (501, "server_error", None),
        (502, "server_error", Some(5_000)),
        (503, "server_error", Some(5_000)),
        (504, "server_error", Some(5_000)),
        (199, "unexpected_status", None),
        (600, "unexpected_status", None),
    ] {
        for body in [
            "",
            r#"{"code":200,"events_ingested":1}"#,
            r#"{"throttled_events":[0]}"#,
        ] {
            let result = judge_reply(&answer(status, body), &events(1));
            assert_eq!(summary(&result), rows(&[(class, "5000", true)]), "{status}");
            assert_eq!(
                result.endpoint_signal,
                Signal::Failure {
                    pause: pause_ms.map(duration)
                },
                "{status}"
            );
        }
    }
    // A 400 of a proxy is not Amplitude's answer: it costs nothing but time.
    let result = judge_reply(
        &answer(400, "<html>"),
        &[Attempt {
            number: 6,
            refusals: 5,
            ..events(1)[0].clone()
        }],
    );
    assert_eq!(
        summary(&result),
        rows(&[("client_error", "36000000", true)])
    );
    let failure = Reply::Failure {
        class: AttemptClass::Timeout,
        message: "no response came in time".to_owned(),
    };
    let result = judge_reply(&failure, &events(2));
    assert_eq!(
        (summary(&result), result.endpoint_signal),
        (rows(&[("timeout", "5000", true); 2]), FAILURE)
    );
    assert_eq!(
        result.events[0].error.as_deref(),
        Some("no response came in time")
    );
}

#[test]
fn amplitudes_retry_after_is_bounded() {
    for (retry_after, wait, pause_ms) in [
        ("1", "5000", 5_000),
        ("60", "60000", 60_000),
        ("7200", "3600000", HOUR_MS),
    ] {
        let reply = Reply::Answer {
            status: 503,
            retry_after: Some(retry_after.into()),
            headers: vec![],
            body: String::new(),
        };
        let result = judge_reply(&reply, &events(1));
        assert_eq!(
            summary(&result),
            rows(&[("server_error", wait, true)]),
            "{retry_after}"
        );
        assert_eq!(
            result.endpoint_signal,
            Signal::Failure {
                pause: Some(duration(pause_ms))
            }
        );
    }
}

#[test]
fn the_last_attempt_is_shortly_before_the_seven_days_are_over() {
    let first = time("2026-03-01T00:00:00Z");
    let config = ready(json!({}));
    for jitter in [0.0, 0.5, 1.0] {
        let (mut at, mut attempts) = (first, 0);
        let last = loop {
            attempts += 1;
            let one = Attempt {
                number: attempts,
                first_tried_at: Some(first),
                ..events(1)[0].clone()
            };
            let result = judge(
                &config,
                Exchange {
                    events: &[one],
                    reply: &answer(500, ""),
                    at,
                    jitter,
                },
            );
            match result.events[0].verdict {
                Verdict::Retry { delay } => at = at.plus(delay),
                _ => break result.events[0].clone(),
            }
        };
        assert_eq!(
            (last.verdict, last.class),
            (Verdict::Failed, AttemptClass::ServerError),
            "it was sent, and may be counted"
        );
        assert_eq!(at.since(first), GIVES_UP_AFTER - MINUTE * 10);
        assert!((12..=17).contains(&attempts), "{attempts}");
    }
}

#[test]
fn early_attempts_do_not_shorten_the_seven_days() {
    for number in [13, 100, i64::MAX] {
        let one = Attempt {
            number,
            first_tried_at: Some(now().plus_millis(-HOUR_MS)),
            ..events(1)[0].clone()
        };
        assert_eq!(
            summary(&judge_reply(&answer(503, ""), &[one])),
            rows(&[("server_error", "86400000", true)])
        );
    }
}

#[test]
fn a_custom_schedule_is_used_and_cut_at_seven_days() {
    let (mut destination, secret) = integration(json!({}));
    destination.common.schedule = Some(vec![60, 8 * 24 * 3600]);
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let first = now().plus_millis(-MINUTE_MS);
    let at = |number| {
        let one = Attempt {
            number,
            first_tried_at: Some(first),
            ..events(1)[0].clone()
        };
        summary(&judge(
            &config,
            Exchange {
                events: &[one],
                reply: &answer(500, ""),
                at: now(),
                jitter: 0.5,
            },
        ))
    };
    assert_eq!(at(1), rows(&[("server_error", "60000", true)]));
    let left = (GIVES_UP_AFTER - MINUTE * 11).as_millis().to_string();
    assert_eq!(at(2), rows(&[("server_error", left.as_str(), true)]));
    assert_eq!(at(3), rows(&[("server_error", "failed", true)]));
}

#[test]
fn events_of_the_other_environment_are_postponed() {
    let mut events = events(3);
    events[1].body = BODIES[1].clone();
    let taken = json!({"code": 200, "events_ingested": 1}).to_string();
    let result = judge_reply(&answer(200, &taken), &events);
    let expected = [
        ("success", "delivered", true),
        ("postponed", "0", false),
        ("postponed", "0", false),
    ];
    assert_eq!((summary(&result), result.alarm), (rows(&expected), None));
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
    let config = crate::destinations::Config::ready(&destination, &secret, &allowed()).unwrap();
    assert_eq!(
        (destination.kind.as_str(), config.gives_up_after()),
        (KIND, Some(GIVES_UP_AFTER))
    );
    assert_eq!(config.redact(API_KEY), "[REDACTED]");
}
