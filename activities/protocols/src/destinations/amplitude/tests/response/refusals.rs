//! What Amplitude refuses for good: requests, keys and single events.

use super::*;

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
