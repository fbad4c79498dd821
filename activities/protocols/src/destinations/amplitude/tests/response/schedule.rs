//! When a failed attempt is repeated, and for how long.

use super::*;

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
    // A 400 from a proxy is not Amplitude's response: the retry costs nothing but time.
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
